"""``/v1/conversations``: list, find, read, name, copy and forget them, and their pictures.

A conversation's name is one segment of the address, percent-encoded; any text may be one. Knows
nothing of how turns are answered (``conversation_turns.py``).
"""

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from bot.service.access.rights import Access
from bot.service.http.bodies import read_json
from bot.service.http.openapi import PROBLEMS, body
from bot.service.http.problems import Problem, invalid, not_found
from bot.service.http.replies import Json
from bot.service.http.requests import Who
from bot.service.http.segments import SegmentRoute, segment
from bot.service.native.conversation_schema import (
    CarriedOut,
    ConversationOut,
    ConversationPage,
    ForkAsked,
    RenameAsked,
    SearchOut,
)
from bot.service.native.pictures import PICTURE, picture_response
from bot.service.served.bot import ServedBot, shown_turn
from bot.service.served.bots import DEFAULT
from bot.service.served.names import Names
from memory.errors import HistoryError
from memory.feedback import Feedback
from memory.messages import Conversation, PictureRef, Turn
from memory.redis_history import RedisHistory

router = APIRouter(tags=["conversations"], route_class=SegmentRoute)
C = Annotated[
    str,
    Path(
        min_length=1,
        max_length=256,
        description="The conversation's name, percent-encoded as one segment.",
    ),
]
Number = Annotated[int, Path(ge=1, le=10**9, description="The number of a picture.")]
LAST = 200  #: turns that are returned unless more are asked for


def history_of(request: Request, access: Access) -> RedisHistory:
    """Return the conversations of whoever asks."""
    history: RedisHistory = request.app.state.bots.history_of(access.tenant)
    return history


async def own_bot(request: Request, access: Access) -> ServedBot:
    """Return a bot of the tenant that forgets; it is asked nothing, so any library does."""
    bot: ServedBot = await request.app.state.bots.bot(access.tenant, DEFAULT)
    return bot


async def names_for(request: Request, access: Access, library: str = DEFAULT) -> Names:
    """Return the names of a library's sources for what was stored: of one that cannot be read
    nothing is told, and sources go by their own names."""
    bots = request.app.state.bots
    root = bots.settings.serve.libraries.expanduser().absolute()
    if not access.may_read(library):
        return Names((await bots.shelf(DEFAULT)).library.folder, root=root)
    names: Names = await asyncio.to_thread((await bots.names(library)).now)
    return replace(names, root=root)


async def found(request: Request, access: Access, name: str, last: int | None = 1) -> Conversation:
    """Return a conversation that is there; the problem of an absent one otherwise."""
    conversation = await history_of(request, access).load(name, last=last)
    if not conversation.total:
        raise not_found("conversation of that name")
    return conversation


@router.get("/v1/conversations", response_model=ConversationPage, responses=PROBLEMS)
async def list_conversations(
    request: Request,
    access: Who,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """List conversations, the last written first."""
    history = history_of(request, access)
    lines, total = await asyncio.gather(
        history.conversations(offset, limit), history.conversation_count()
    )
    listed = [
        {"id": s.id, "title": s.title, "turns": s.turns, "pictures": s.pictures,
         "updated": s.updated}
        for s in lines
    ]  # fmt: skip
    return Json({"conversations": listed, "offset": offset, "total": total})


@router.get("/v1/conversations/search", response_model=SearchOut, responses=PROBLEMS)
async def search_conversations(
    request: Request,
    access: Who,
    q: Annotated[str, Query(min_length=1, max_length=1000, description="Words; all must stand.")],
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> Response:
    """Find past turns by their words; "quoted words" stand together."""
    try:
        result = await history_of(request, access).search(q, limit)
    except HistoryError as error:
        raise invalid("q", str(error)) if type(error) is HistoryError else error from error
    hits = [
        {"conversation": f.conversation, "title": f.title, "turn": f.id, "number": f.turn,
         "at": f.at, "by": f.by, "line": f.line, "marks": [list(m) for m in f.marks]}
        for f in result.found
    ]  # fmt: skip
    return Json(
        {
            "found": hits,
            "conversations": result.conversations,
            "turns": result.turns,
            "partial": result.partial,
            "notices": list(result.notices),
        }
    )


@router.get("/v1/conversations/{conversation}", response_model=ConversationOut, responses=PROBLEMS)
async def read_conversation(
    request: Request,
    access: Who,
    conversation: C,
    last: Annotated[int, Query(ge=1, le=5000, description="How many turns, the last ones.")] = LAST,
) -> Response:
    """Return a conversation: its last turns and all of its pictures."""
    whole = await found(request, access, conversation, last)
    title = await history_of(request, access).title(conversation)
    names = await names_for(request, access)
    return Json(
        {
            "id": whole.id,
            "title": title,
            "total": whole.total,
            "turns": [_turn(turn, names) for turn in whole.turns],
            "pictures": [_picture(ref) for ref in whole.pictures],
            "dropped": list(whole.dropped),
            "notices": list(whole.notices),
        }
    )


def _turn(turn: Turn, names: Names) -> dict[str, Any]:
    return {
        "id": turn.id,
        "at": turn.at,
        "question": turn.question.to_json(),
        "answer": turn.answer.to_json(),
        "citations": list(shown_turn(turn, names).citations),
    }


def _picture(ref: PictureRef) -> dict[str, Any]:
    return {
        "number": ref.number,
        "sha256": ref.sha256,
        "name": ref.name,
        "caption": ref.caption,
        "media_type": ref.media_type,
        "width": ref.width,
        "height": ref.height,
        "bytes": ref.bytes,
        "by": ref.sender,
        "sender": ref.who,
        "at": ref.at,
    }


@router.patch(
    "/v1/conversations/{conversation}",
    status_code=204,
    responses=PROBLEMS,
    openapi_extra=body(RenameAsked),
)
async def rename_conversation(request: Request, access: Who, conversation: C) -> None:
    """Give a conversation another title."""
    asked = await read_json(request, RenameAsked)
    try:
        await history_of(request, access).rename(conversation, asked.title)
    except HistoryError as error:
        raise invalid("title", str(error)) if type(error) is HistoryError else error from error


@router.delete("/v1/conversations/{conversation}", status_code=204, responses=PROBLEMS)
async def forget_conversation(request: Request, access: Who, conversation: C) -> None:
    """Forget a conversation: its turns, its pictures, what was said of its answers."""
    known = await history_of(request, access).load(conversation, last=1)
    await (await own_bot(request, access)).forget(conversation)
    feedback: Feedback = request.app.state.feedback
    await feedback.forget(access.tenant, conversation)
    if not known.total:  # what was left there, if anything, was no conversation to anybody
        raise not_found("conversation of that name")


@router.post(
    "/v1/conversations/{conversation}/fork",
    status_code=201,
    response_model=CarriedOut,
    responses=PROBLEMS,
    openapi_extra=body(ForkAsked),
)
async def fork_conversation(request: Request, access: Who, conversation: C) -> Response:
    """Copy a conversation, up to a turn or all of it; both go on by themselves."""
    asked = await read_json(request, ForkAsked)
    bot = await own_bot(request, access)
    name = await bot.fork(conversation, asked.name, turn=asked.turn)
    copy = await found(request, access, name)
    told = {"id": name, "turns": copy.total, "pictures": len(copy.pictures), "notices": []}
    return Json(told, 201, headers={"Location": f"/v1/conversations/{segment(name)}"})


@router.get(
    "/v1/conversations/{conversation}/pictures/{number}",
    response_class=Response,
    responses={200: PICTURE, **PROBLEMS},
)
async def read_picture(request: Request, access: Who, conversation: C, number: Number) -> Response:
    """Return a picture of a conversation."""
    known = await found(request, access, conversation)
    if number not in {ref.number for ref in known.pictures}:
        raise not_found("picture of that number")
    data = await history_of(request, access).picture(conversation, number)
    try:
        return picture_response(data)
    except Problem:  # it was imported, and is something else
        raise Problem(410, "not-found", "what is stored there is no picture; delete it") from None


@router.delete(
    "/v1/conversations/{conversation}/pictures/{number}", status_code=204, responses=PROBLEMS
)
async def drop_picture(request: Request, access: Who, conversation: C, number: Number) -> None:
    """Take a picture out of a conversation; what was said of it stays, its number is not reused."""
    await found(request, access, conversation)
    await history_of(request, access).drop(conversation, number)
