"""A conversation as one file, from a service and to it.

Knows nothing of what is in the file but what it says of itself.
"""

import json
import os
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx

from bot.remote.conversations import of_conversation, other_form
from bot.remote.problems import Meaning
from bot.remote.wire import Broken, Wire, segment
from memory.archive import TEXT, TEXT_BYTES, Carried
from memory.errors import ArchiveRefused


async def export(wire: Wire, conversation: str, file: Path) -> Carried:
    """Write a conversation to ``file``, which must not be there yet; a broken end leaves none."""
    path = anyio.Path(file)
    if await path.exists():
        raise ArchiveRefused(f"{file} is there already: name another file, or remove it")
    part = None
    try:
        handle, made = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:60]}.")
        part = Path(made)
        with os.fdopen(handle, "wb") as out:
            address = f"/v1/conversations/{segment(conversation)}/export"
            async with wire.answer("GET", address, of_conversation(conversation)) as response:
                async for piece in response.aiter_bytes():
                    out.write(piece)
        carried = await anyio.to_thread.run_sync(_told, part)
        part.replace(file)
        return carried
    except httpx.TransportError as error:
        raise wire.unreachable(Broken(error)) from None
    except OSError as error:
        raise ArchiveRefused(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()


def _told(file: Path) -> Carried:
    """Return what an exported file says of itself."""
    try:
        with zipfile.ZipFile(file) as source:
            if source.getinfo(TEXT).file_size > TEXT_BYTES:
                raise other_form()
            value = json.loads(source.read(TEXT))
        notices = tuple(str(text) for text in value["notices"])
        return Carried(str(value["id"]), len(value["turns"]), len(value["pictures"]), notices)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
        raise other_form() from None


async def take_in(wire: Wire, file: Path, name: str | None) -> Carried:
    """Take in what :func:`export` wrote, under its own name or another."""
    try:
        data = file.open("rb")
    except OSError as error:
        told = f"{file} cannot be read as a conversation: {error.strerror or error}"
        raise ArchiveRefused(f"{told}; nothing was imported") from error
    with data:

        def form() -> dict[str, Any]:
            data.seek(0)
            return {"file": ("conversation.zip", data, "application/zip")}

        value = await wire.json(
            "POST",
            "/v1/conversations/import",
            Meaning(invalid=ArchiveRefused),
            again=False,
            files=form,
            data={"name": name} if name is not None else {},
        )
    try:
        notices = tuple(str(text) for text in value["notices"])
        return Carried(str(value["id"]), int(value["turns"]), int(value["pictures"]), notices)
    except (KeyError, TypeError, ValueError):
        raise other_form() from None
