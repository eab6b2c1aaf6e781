"""``/v1/turns``: ask with text and pictures, and get the answer whole or as it comes."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Path
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bot.chatbot import AsyncChatBot
from bot.edits import answer_in
from bot.events import Event
from bot.sent import SentPicture
from bot.service.access.rights import Access
from bot.service.flow.streams import EventStream, frame, held, unless_gone
from bot.service.http.bodies import File, from_base64, read_either
from bot.service.http.openapi import BINARY, PROBLEMS, Key, body
from bot.service.http.problems import Problem, invalid, not_found
from bot.service.http.requests import Who, within
from bot.service.native.schema import AnswerOut, TurnAsked
from bot.service.observability.seen import Seen
from bot.taking import name_by_key

router = APIRouter(tags=["turns"])
StreamId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
LastEvent = Annotated[str, Header(alias="Last-Event-ID", max_length=64)]
_FORM = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "conversation": {"type": "string", "maxLength": 256},
        "library": {"type": "string"},
        "sender": {"type": "string", "maxLength": 200},
        "stream": {"type": "boolean"},
        "resumable": {"type": "boolean"},
        "pictures": {"type": "array", "items": BINARY},
    },
}
EVENTS = {
    "description": "The answer; with `stream` server-sent events: `evidence`, `token`, `citation`,"
    " `notice`, and `done` with the whole answer, or `error` with a problem document.",
    "model": AnswerOut,
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.post(
    "/v1/turns",
    responses={200: EVENTS, **PROBLEMS},
    openapi_extra=body(TurnAsked, multipart=_FORM),
)
async def take_turn(request: Request, access: Who, key: Key = None) -> Response:
    """Ask a question with text, pictures, or both."""
    request.app.state.admission.check()  # before its body is read and its key's budget is touched
    asked, files = await read_either(request, TurnAsked)
    bot = await bot_for(request, access, asked.library)
    pictures = await pictures_of(request, access, asked, files)
    if request.app.state.limiter is not None:
        await within(request.app.state.limiter.hit_turn(access))
    scoped = f"{access.tenant}:{key}" if key else None
    conversation = asked.conversation or (
        name_by_key(scoped) if scoped else f"c-{secrets.token_hex(6)}"
    )

    seen: Seen = request.app.state.seen

    def events() -> AsyncGenerator[Event, None]:
        return seen.turn(
            bot.stream(
                asked.text,
                images=pictures,
                conversation=conversation,
                sender=asked.sender,
                idempotency_key=scoped,
            )
        )

    flow = held(request.app.state.admission.turn, events)
    if not asked.stream:
        answer = await unless_gone(request, answer_in(flow))
        return JSONResponse(answer.to_json())
    if asked.resumable:
        streams = request.app.state.streams
        id = streams.begin(access.tenant, flow)
        response = await EventStream.begun(request, streams.read(access.tenant, id))
        response.headers["Location"] = f"/v1/turns/{id}/events"
    else:
        response = await EventStream.begun(request, frames_of(flow))
    response.headers["X-Conversation"] = conversation.encode("unicode_escape").decode()
    return response


@router.get("/v1/turns/{stream}/events", responses={200: EVENTS, **PROBLEMS})
async def resume_turn(
    request: Request, access: Who, stream: StreamId, last: LastEvent = ""
) -> Response:
    """Read a resumable turn on, from behind the event that was the last to arrive."""
    id, _, number = last.rpartition(":")
    if last and (id != stream or not number.isdigit() or len(number) > 9):
        raise invalid("Last-Event-ID", "give the id of the last event of this stream")
    frames = request.app.state.streams.read(access.tenant, stream, int(number or 0))
    return await EventStream.begun(request, frames)


@router.delete("/v1/turns/{stream}", status_code=204, responses=PROBLEMS)
async def end_turn(request: Request, access: Who, stream: StreamId) -> None:
    """End a resumable turn: what it has said so far is not saved."""
    await request.app.state.streams.cancel(access.tenant, stream)


async def frames_of(flow: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    number = 0
    async with aclosing(flow) as events:
        async for event in events:
            number += 1
            yield frame(event.type, event.to_json(), str(number))


async def bot_for(request: Request, access: Access, library: str) -> AsyncChatBot:
    """Return the bot over a library that ``access`` may read; else the problem of one that is
    absent."""
    if not access.may_read(library):
        raise not_found("library of that name")
    bot: AsyncChatBot = await request.app.state.bots.bot(access.tenant, library)
    return bot


async def pictures_of(
    request: Request, access: Access, asked: TurnAsked, files: list[File]
) -> list[SentPicture]:
    """Return the pictures of a question: those of the form, in the body, and uploaded ones."""
    most = request.app.state.bots.settings.pictures_per_turn
    if len(asked.pictures) + len(files) > most:
        raise invalid("pictures", f"{len(asked.pictures) + len(files)}, the most is {most}")
    found = [SentPicture(file.data, name=file.name) for file in files]
    for at, given in enumerate(asked.pictures):
        where = f"pictures[{at}]"
        if (given.data is None) == (given.upload is None):
            raise invalid(where, "give either data or upload")
        if given.data is not None:
            data = from_base64(given.data, f"{where}.data")
        else:
            data = await request.app.state.uploads.read(access.tenant, given.upload)
            if data is None:
                told = f"{where}.upload: there is none of that id; one is kept for an hour"
                raise Problem(404, "not-found", told, fields=[(f"{where}.upload", "unknown")])
        found.append(SentPicture(data, name=given.name, alt=given.alt))
    return found
