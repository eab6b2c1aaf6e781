"""Files that are uploaded into a library: one component of a name, in one folder, whole or not.

What a client calls a file is only ever words. Knows nothing of jobs.
"""

import asyncio
import os
import re
import secrets
import time
import unicodedata
from pathlib import Path

from starlette.datastructures import UploadFile

from bot.service.http.problems import invalid
from bot.service.served.names import UPLOADS
from retrievers.ingest.kinds import kind_of_name, known

LONGEST = 200  #: bytes of a name
PIECE = 1 << 20  #: bytes that are in memory at once
STALE = 3600.0  #: seconds after which a part that a kill left is removed
#: What some system takes for a device, whatever its ending
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)
_UNSAFE = re.compile(r'[<>:"|?*]')


def clean_name(given: str) -> str:
    """Return the name under which an uploaded file is kept: one component, the same on every file
    system. A problem when nothing is left of it, or when its kind is not read."""
    last = unicodedata.normalize("NFC", given).replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c for c in last if unicodedata.category(c)[0] != "C" or c == "\u200d")
    shown = _UNSAFE.sub("_", " ".join(shown.split())).strip(" .")
    stem, dot, ending = shown.rpartition(".")
    if not stem:
        raise invalid("file", f"{given[:80]!r}: give a name with an ending, as in notes.md")
    if _DEVICES.fullmatch(stem.partition(".")[0].strip()):
        stem = f"_{stem}"
    room = LONGEST - len(ending.encode()) - 1
    stem = stem.encode()[: max(1, room)].decode(errors="ignore").rstrip(" .") or "_"
    name = stem + dot + ending
    if kind_of_name(Path(name)) is None:
        raise invalid("file", f"{name[:80]!r}: no known kind of file; give one of {known()}")
    return name


async def keep(part: UploadFile, folder: Path, name: str) -> Path:
    """Put a file into the library's folder under a name of :func:`clean_name`, in place of an
    earlier one of that name."""
    uploads = folder / UPLOADS
    temporary = uploads / f".part-{secrets.token_hex(8)}"
    await asyncio.to_thread(_prepare, uploads)
    try:
        with await asyncio.to_thread(temporary.open, "xb") as out:
            while piece := await part.read(PIECE):
                await asyncio.to_thread(out.write, piece)
            out.flush()
            await asyncio.to_thread(os.fsync, out.fileno())
        target = uploads / name
        await asyncio.to_thread(temporary.replace, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _prepare(uploads: Path) -> None:
    uploads.mkdir(exist_ok=True)
    for left in uploads.glob(".part-*"):
        if left.stat().st_mtime < time.time() - STALE:
            left.unlink(missing_ok=True)
