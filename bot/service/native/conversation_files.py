"""``/v1/conversations/…/export`` and ``…/import``: a conversation as one file, and back.

The file is ``memory/archive.py``'s. What comes is read as something that anyone may have made, and
must be as this service would have written it. Knows nothing of how either is stored.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from bot.events import Answer
from bot.record import answer_again
from bot.service.http.bodies import media_type
from bot.service.http.openapi import BINARY, PROBLEMS, form
from bot.service.http.problems import Problem, invalid
from bot.service.http.replies import Json
from bot.service.http.requests import Who
from bot.service.http.segments import SegmentRoute, segment
from bot.service.native.conversation_schema import CarriedOut
from bot.service.native.conversations import C, found, history_of, names_for
from bot.service.served.bot import shown_turn
from bot.service.served.names import Names
from memory.archive import export_conversation, import_conversation
from memory.errors import ArchiveRefused
from memory.messages import Conversation, PictureRef, Turn
from memory.redis_history import RedisHistory
from retrievers.library import Library

if TYPE_CHECKING:
    from memory.history import History

router = APIRouter(tags=["conversations"], route_class=SegmentRoute)
NAME = 256  #: characters of a conversation's name
MOST = 2**40  #: any number of a picture's reference is less
LATEST = 10**11  #: any time of a turn is before (s)
_ZIP = {"content": {"application/zip": {"schema": BINARY}}}
_FORM = form("file", file=BINARY, name={"type": "string", "minLength": 1, "maxLength": NAME})


@dataclass(frozen=True, slots=True)
class _Shown:
    """A history as far as an export reads it, its sources called as they may be."""

    history: RedisHistory
    names: Names

    async def load(self, conversation: str, *, last: int | None = None) -> Conversation:
        whole = await self.history.load(conversation, last=last)
        return replace(whole, turns=tuple(shown_turn(turn, self.names) for turn in whole.turns))

    async def picture(self, conversation: str, number: int) -> bytes:
        return await self.history.picture(conversation, number)


@router.get(
    "/v1/conversations/{conversation}/export",
    response_class=FileResponse,
    responses={200: _ZIP, **PROBLEMS},
)
async def export(request: Request, access: Who, conversation: C) -> Response:
    """Return a conversation with its pictures as one file, which `import` takes."""
    await found(request, access, conversation)
    shown = _Shown(history_of(request, access), await names_for(request, access))
    folder = tempfile.TemporaryDirectory(prefix="bifocal-export-")
    file = Path(folder.name) / "conversation.zip"
    try:
        await export_conversation(cast("History", shown), conversation, file)
    except ArchiveRefused as error:
        folder.cleanup()
        raise _of_file(error, file, conversation) from error
    except BaseException:
        folder.cleanup()
        raise
    return _Once(
        file,
        folder,
        media_type="application/zip",
        filename="conversation.zip",
        headers={"Cache-Control": "no-store"},
    )


class _Once(FileResponse):
    """A file that is sent once; its folder goes with the answer, however that ends."""

    def __init__(self, file: Path, folder: "tempfile.TemporaryDirectory[str]", **of: Any) -> None:
        super().__init__(file, **of)
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._folder.cleanup()


@router.post(
    "/v1/conversations/import",
    status_code=201,
    response_model=CarriedOut,
    responses=PROBLEMS,
    openapi_extra=_FORM,
)
async def take_in(request: Request, access: Who) -> Response:
    """Take in a file that `export` wrote, under its own name or another; whole or not at all."""
    history = history_of(request, access)
    shelf = await request.app.state.bots.shelf("default")

    def check(name: str, turns: Sequence[Turn], pictures: Sequence[PictureRef]) -> None:
        _check(name, turns, pictures, shelf.library)

    async with _received(request) as (file, name):
        try:
            carried = await import_conversation(history, file, name, check=check)
        except ArchiveRefused as error:
            raise _of_file(error, file, "") from error
    told = {
        "id": carried.name,
        "turns": carried.turns,
        "pictures": carried.pictures,
        "notices": list(carried.notices),
    }
    return Json(told, 201, headers={"Location": f"/v1/conversations/{segment(carried.name)}"})


@asynccontextmanager
async def _received(request: Request) -> AsyncIterator[tuple[Path, str | None]]:
    """Put the form's file on disk, under a name of our own; it goes at the end."""
    if media_type(request) != "multipart/form-data":
        raise Problem(415, "unsupported-media-type", "send multipart/form-data with a file")
    try:
        async with request.form(max_files=1, max_fields=4) as form:
            file, name = form.get("file"), form.get("name")
            if not isinstance(file, UploadFile):
                raise invalid("file", "give one file")
            if name is not None and not (isinstance(name, str) and 0 < len(name) <= NAME):
                raise invalid("name", f"give 1 to {NAME} characters")
            with tempfile.TemporaryDirectory(prefix="bifocal-import-") as folder:
                target = Path(folder) / "conversation.zip"
                with target.open("wb") as out:
                    while piece := await file.read(1 << 20):
                        await asyncio.to_thread(out.write, piece)
                yield target, name
    except HTTPException as error:
        raise Problem(400, "bad-request", f"the form cannot be read: {error.detail}") from error


def _check(
    name: str, turns: Sequence[Turn], pictures: Sequence[PictureRef], library: Library
) -> None:
    """Raise what ``import_conversation`` refuses for what could not be shown or gone on with."""
    if not 0 < len(name) <= NAME:
        raise ValueError(f"its name has {len(name)} characters, the most is {NAME}; give another")
    name.encode()
    for turn in turns:
        if not 0 <= turn.at < LATEST:
            raise ValueError("a turn's time is none")
        if not 0 < len(turn.id) <= 128:
            raise ValueError("a turn's id is none")
        answer: Answer = answer_again(turn, name, library, {})
        json.dumps([turn.to_json(), answer.to_json()], allow_nan=False, ensure_ascii=False).encode()
    for ref in pictures:
        if not (0 <= ref.at < LATEST and max(ref.number, ref.width, ref.height, ref.bytes) < MOST):
            raise ValueError(f"the reference of picture {str(ref.number)[:20]} is none")
        json.dumps(ref.to_json(), allow_nan=False, ensure_ascii=False).encode()


def _of_file(error: ArchiveRefused, file: Path, name: str) -> Problem:
    """Return what a client is told of a file: its place on this machine is nobody's business."""
    told = str(error).replace(str(file), name or "the file").replace(str(file.parent), "")
    return invalid("file", told)
