"""``/v1/feedback``: thumbs up or down for an answer, with a comment, for whoever runs the service.

Knows nothing of how it is kept (``memory/feedback.py``).
"""

import time
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from bot.service.http.bodies import read_json
from bot.service.http.openapi import PROBLEMS, Name, Strict, body, example
from bot.service.http.problems import not_found
from bot.service.http.replies import Json
from bot.service.http.requests import Who
from bot.service.native.conversations import history_of
from memory.feedback import Feedback, Said

router = APIRouter(tags=["feedback"])
LINES = "application/x-ndjson"
Turn = Annotated[str, Field(min_length=1, max_length=128)]
Sender = Annotated[str, Field(max_length=200, description="The name of who says so.")]


class FeedbackGiven(Strict):
    """What somebody says of an answer."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"conversation": "c-7b1e", "turn": "5f0c…", "rating": "down",
                 "comment": "The height is in the other table."}
            ]
        },
    )  # fmt: skip

    conversation: Name
    turn: Turn
    rating: Literal["up", "down"]
    comment: Annotated[str, Field(max_length=4000)] = ""
    sender: Sender = ""


_SAID = {
    "conversation": "c-7b1e", "turn": "5f0c7a1e9d", "rating": "down",
    "comment": "The height is in the other table.", "sender": "Anna", "at": 1795726800.0,
}  # fmt: skip


class FeedbackOut(BaseModel):
    """What somebody said of an answer; ``at`` is in seconds since 1970."""

    model_config = example(**_SAID)

    conversation: str
    turn: str
    rating: Literal["up", "down"]
    comment: str
    sender: str
    at: float


class FeedbackPage(BaseModel):
    """What was said, the first first. Ask on with ``since`` the ``at`` of the last."""

    model_config = example(feedback=[_SAID])

    feedback: list[FeedbackOut]


_LISTED: dict[int | str, dict[str, Any]] = {
    200: {"model": FeedbackPage, "content": {LINES: {"schema": {"type": "string"}}}},
    **PROBLEMS,
}


@router.post(
    "/v1/feedback",
    status_code=201,
    response_model=FeedbackOut,
    responses=PROBLEMS,
    openapi_extra=body(FeedbackGiven),
)
async def give_feedback(request: Request, access: Who) -> Response:
    """Say what an answer is worth; what the same sender said of it before is replaced."""
    given = await read_json(request, FeedbackGiven)
    said = Said(**given.model_dump(), at=time.time())
    await history_of(request, access).give_feedback(said)
    return Json(asdict(said), 201)


@router.get("/v1/feedback", response_model=FeedbackPage, responses=_LISTED)
async def list_feedback(
    request: Request,
    access: Who,
    since: Annotated[float, Query(ge=0, le=1e11, description="Seconds since 1970.")] = 0.0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str, Header(max_length=1000)] = "",
) -> Response:
    """List what was said after a time; as JSON lines for `Accept: application/x-ndjson`."""
    store: Feedback = request.app.state.feedback
    found = [asdict(said) for said in await store.said(access.tenant, since, limit)]
    if LINES in accept.lower():
        lines = b"".join(bytes(Json(one).body) + b"\n" for one in found)
        return Response(lines, media_type=LINES)
    return Json({"feedback": found})


@router.delete("/v1/feedback", status_code=204, responses=PROBLEMS)
async def withdraw_feedback(
    request: Request,
    access: Who,
    conversation: Annotated[str, Query(min_length=1, max_length=256)],
    turn: Annotated[str, Query(min_length=1, max_length=128)],
    sender: Annotated[str, Query(max_length=200)] = "",
) -> None:
    """Take back what a sender said of a turn."""
    store: Feedback = request.app.state.feedback
    if not await store.drop(access.tenant, conversation, turn, sender):
        raise not_found("feedback on that turn")
