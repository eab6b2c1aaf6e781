"""``/v1/conversations/…/turns``: read a turn again, ask it otherwise, answer it again, delete it.

Knows nothing of how an answer comes about.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from bot.edits import answer_in
from bot.events import Event
from bot.service.access.rights import Access
from bot.service.flow.streams import EventStream, held, unless_gone
from bot.service.http.bodies import checked, read_json
from bot.service.http.openapi import PROBLEMS, body
from bot.service.http.problems import Problem, invalid
from bot.service.http.replies import Json
from bot.service.http.requests import Who, within
from bot.service.http.segments import SegmentRoute
from bot.service.native.conversation_schema import AgainAsked, EditAsked
from bot.service.native.conversations import C, history_of, names_for, own_bot
from bot.service.native.schema import AnswerOut, LibraryName
from bot.service.native.turns import EVENTS, bot_for, frames_of
from bot.service.served.bot import stored_answer
from bot.service.served.bots import DEFAULT

router = APIRouter(tags=["conversations"], route_class=SegmentRoute)
T = Annotated[str, Path(min_length=1, max_length=128, description="The turn's id.")]
_ADDRESS = "/v1/conversations/{conversation}/turns/{turn}"


@router.get(_ADDRESS, response_model=AnswerOut, responses=PROBLEMS)
async def read_turn(
    request: Request,
    access: Who,
    conversation: C,
    turn: T,
    library: Annotated[LibraryName, Query(description="Whose names sources go by.")] = DEFAULT,
) -> Response:
    """Return a turn's answer as it was, with its evidence; it has no timings."""
    stored = await history_of(request, access).turn(conversation, turn)
    names = await names_for(request, access, library)
    bot = await own_bot(request, access)
    try:
        answer = stored_answer(stored, conversation, bot.parts, names)
    except (KeyError, TypeError, ValueError, AttributeError):
        told = "this turn was not written by this service and cannot be shown; delete it"
        raise Problem(409, "conflict", told) from None
    return Json(answer.to_json())


@router.patch(
    _ADDRESS, response_model=AnswerOut, responses={200: EVENTS, **PROBLEMS},
    openapi_extra=body(EditAsked),
)  # fmt: skip
async def edit_turn(request: Request, access: Who, conversation: C, turn: T) -> Response:
    """Ask a turn's question in other words and answer it in its place; later turns stay."""
    asked = await read_json(request, EditAsked)
    if not asked.text.strip():
        raise invalid("text", "give the question; DELETE takes the turn out")
    bot = await bot_for(request, access, asked.library)
    await history_of(request, access).turn(conversation, turn)
    return await _answered(
        request, access, asked.stream, lambda: bot.stream_again(conversation, turn, asked.text)
    )


@router.post(
    f"{_ADDRESS}/regenerate", response_model=AnswerOut, responses={200: EVENTS, **PROBLEMS},
    openapi_extra=body(AgainAsked),
)  # fmt: skip
async def regenerate_turn(request: Request, access: Who, conversation: C, turn: T) -> Response:
    """Answer a turn again, in its place; later turns stay. The body may be left out."""
    data = await request.body()
    asked = checked(AgainAsked, data) if data else AgainAsked()
    bot = await bot_for(request, access, asked.library)
    await history_of(request, access).turn(conversation, turn)
    return await _answered(
        request, access, asked.stream, lambda: bot.stream_again(conversation, turn)
    )


@router.delete(_ADDRESS, status_code=204, responses=PROBLEMS)
async def delete_turn(request: Request, access: Who, conversation: C, turn: T) -> None:
    """Take a turn out, with the pictures that only it names and what was said of it."""
    await (await own_bot(request, access)).delete_turn(conversation, turn)


async def _answered(
    request: Request,
    access: Access,
    stream: bool,
    events: Callable[[], AsyncGenerator[Event, None]],
) -> Response:
    """Return an answer whole or as it comes, once it has its place among the turns."""
    state = request.app.state
    if state.limiter is not None:
        await within(state.limiter.hit_turn(access))
    flow = held(state.admission.turn, lambda: state.seen.turn(events()))
    if stream:
        return await EventStream.begun(request, frames_of(flow))
    answer = await unless_gone(request, answer_in(flow))
    return Json(answer.to_json())
