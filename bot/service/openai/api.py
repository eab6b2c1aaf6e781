"""The OpenAI-compatible interface: ``/v1/chat/completions``, ``/v1/models``, ``/v1/embeddings``.

What is asked is read in :mod:`bot.service.openai.asking`, how an answer is told is in
:mod:`bot.service.openai.answers`, and errors in :mod:`bot.service.http.openai_errors`.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bot.edits import answer_in
from bot.events import Event
from bot.service.flow.streams import held, unless_gone
from bot.service.http.bodies import read_json
from bot.service.http.openapi import PROBLEMS, Key, body
from bot.service.http.requests import Who, within
from bot.service.observability.seen import Seen
from bot.service.openai.answers import ChunkStream, Telling
from bot.service.openai.asking import ALIAS, bot_of, no_model, read_asking
from bot.service.openai.embeddings import embedded, encoders
from bot.service.openai.schema import (
    ChatCompletion,
    ChatCompletionRequest,
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorOut,
    Model,
    ModelList,
)
from bot.service.served.bots import Bots
from retrievers.library_schema import FILE

router = APIRouter(tags=["openai"])
ModelName = Annotated[str, Path(max_length=256)]
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {**told, "model": ErrorOut} for status, told in PROBLEMS.items() if status != 422
}
_ANSWER = {
    "description": "The answer; with `stream` chunks as server-sent events, then `[DONE]`.",
    "model": ChatCompletion,
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.post(
    "/v1/chat/completions",
    responses={200: _ANSWER, **ERRORS},
    openapi_extra=body(ChatCompletionRequest),
)
async def complete_chat(request: Request, access: Who, key: Key = None) -> Response:
    """Answer the last of the messages, in OpenAI's form."""
    given = await read_json(request, ChatCompletionRequest)
    state = request.app.state
    bot = await bot_of(state.bots, access, given.model)
    serve, fetcher = state.settings.serve, getattr(state, "fetcher", None)
    asking = await unless_gone(request, read_asking(given, bot, fetcher, serve.body_bytes))
    if state.limiter is not None:
        await within(state.limiter.hit_turn(access))
    seen: Seen = state.seen

    def events() -> AsyncGenerator[Event, None]:
        return seen.turn(asking.events(f"{access.tenant}:{key}" if key else None))

    flow = held(state.admission.turn, events)
    telling = Telling(
        given.model,
        given.citations or serve.citations,
        usage=given.tells_usage,
        kept=asking.conversation is not None,
        notices=asking.notices,
    )
    if given.stream:
        return await ChunkStream.begun(request, telling.chunks(flow))
    answer = await unless_gone(request, answer_in(flow))
    return JSONResponse(telling.completion(answer))


@router.get("/v1/models", responses=ERRORS)
async def list_models(request: Request, access: Who) -> ModelList:
    """List what may be named as model: libraries that can be asked, and encoders."""
    bots: Bots = request.app.state.bots

    def listed() -> list[Model]:
        found = [name for name in bots.libraries() if access.may_read(name)]
        models = {name: Model(id=name, created=_changed(bots, name)) for name in found}
        if "default" in models:
            models.setdefault(ALIAS, models["default"].model_copy(update={"id": ALIAS}))
        for name in encoders(bots):
            models.setdefault(name, Model(id=name, created=0))
        return list(models.values())

    return ModelList(data=await asyncio.to_thread(listed))


@router.get("/v1/models/{model}", responses=ERRORS)
async def show_model(request: Request, access: Who, model: ModelName) -> Model:
    """Tell of one of them."""
    for one in (await list_models(request, access)).data:
        if one.id == model:
            return one
    raise no_model(model)


@router.post(
    "/v1/embeddings",
    responses={200: {"model": EmbeddingResponse}, **ERRORS},
    openapi_extra=body(EmbeddingRequest),
)
async def embed(request: Request, access: Who) -> Response:
    """Make vectors of texts, by the encoder that the libraries are searched with."""
    given = await read_json(request, EmbeddingRequest)
    state = request.app.state
    encoder = encoders(state.bots).get(given.model)
    if encoder is None:
        raise no_model(given.model)

    async def work() -> EmbeddingResponse:
        async with state.admission.turn():
            return await embedded(given, encoder)

    made = await unless_gone(request, work())
    return JSONResponse(made.model_dump())


def _changed(bots: Bots, library: str) -> int:
    """Return when a library was changed last, as far as its file says."""
    try:
        return int((bots.folder(library) / FILE).stat().st_mtime)
    except OSError:
        return 0
