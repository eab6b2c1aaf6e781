"""The service put together: what its routes share, from start to drain.

The one place that knows every part. A route finds what it needs in ``request.app.state``:

- ``bots``       a bot for each tenant and library        bot/service/served/bots.py
- ``redis``      the Redis that all processes share       bot/service/stores/shared_redis.py
- ``keys``       who a key belongs to; None: keys are off bot/service/access/keys.py
- ``limiter``    rates and budgets of keys; None likewise bot/service/access/limiting.py
- ``admission``  the bounded queue before the turns       bot/service/flow/admission.py
- ``uploads``    pictures sent before their turns         bot/service/stores/uploads.py
- ``feedback``   what was said of answers                 memory/feedback.py
- ``jobs``       the taking in of uploaded files          bot/service/ingestion/jobs.py
- ``drawing``    how many pictures are drawn at once
- ``webhook``    the webhook, if it is set                bot/channels/webhook.py
- ``slack``      Slack's HTTP mode, if it is on           bot/channels/slack_http.py
- ``streams``    turns that outlive their connection      bot/service/flow/resuming.py
- ``fetcher``    gets pictures from web addresses; None:
                 they are not taken                      bot/service/openai/fetching.py
- ``cut``        set when open streams must end           bot/service/flow/stopping.py
- ``seen``       metrics, traces and the log              bot/service/observability/seen.py
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from bot.channels import slack_http, webhook
from bot.channels.seen_bot import opens_seen
from bot.errors import KNOWN_ERRORS
from bot.service.access.keys import KeyStore
from bot.service.access.limiting import Limiter
from bot.service.flow.admission import Admission
from bot.service.flow.resuming import Streams
from bot.service.flow.stopping import stops_with
from bot.service.flow.streams import ClientGone
from bot.service.http.bodies import of_validation
from bot.service.http.openai_errors import told
from bot.service.http.problems import Problem, not_found, problem_of
from bot.service.http.requests import Gate
from bot.service.ingestion.jobs import Jobs
from bot.service.native import (
    conversation_files,
    conversation_turns,
    conversations,
    feedback,
    jobs,
    libraries,
    pictures,
    sources,
    turns,
)
from bot.service.native.conversation_schema import AgainAsked, EditAsked, ForkAsked, RenameAsked
from bot.service.native.feedback import FeedbackGiven
from bot.service.native.library_schema import LibraryAsked
from bot.service.native.schema import TurnAsked
from bot.service.observability import health, seen
from bot.service.observability.traces import Traces
from bot.service.openai import api as openai_api
from bot.service.openai.fetching import PictureFetcher
from bot.service.openai.schema import ChatCompletionRequest, EmbeddingRequest
from bot.service.page import mounting
from bot.service.served.bots import Bots
from bot.service.stores.shared_redis import SharedRedis
from bot.service.stores.uploads import Uploads
from bot.settings import Settings
from memory.feedback import Feedback

ROUTERS = (
    conversation_files.router,
    conversation_turns.router,
    conversations.router,
    feedback.router,
    health.router,
    jobs.router,
    libraries.router,
    openai_api.router,
    pictures.router,
    seen.router,
    sources.router,
    turns.router,
)
BODIES = (
    AgainAsked,
    ChatCompletionRequest,
    EditAsked,
    EmbeddingRequest,
    FeedbackGiven,
    ForkAsked,
    LibraryAsked,
    RenameAsked,
    TurnAsked,
)  #: models of bodies that routes read themselves
#: The framework's own telemetry, which would tell the words of errors: ``seen`` does without
UNSEEN: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def create_app(settings: Settings) -> Gate:
    """Return the service as an ASGI application; it loads everything when it is started."""
    app = FastAPI(
        title="Bifocal",
        version=version("bifocal"),
        description="Talk about documents and pictures; every answer cites what it rests on.",
        lifespan=_lifespan(settings),
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        telemetry=UNSEEN,
        exception_handlers={
            Problem: _known,
            **dict.fromkeys(KNOWN_ERRORS, _known),
            Exception: _known,
            RequestValidationError: _invalid,
            HTTPException: _http,
            ClientGone: _gone,
        },
    )
    for router in ROUTERS:
        app.include_router(router)
    if settings.webhook.secret is not None:
        app.include_router(webhook.router)
    if settings.slack.mode == "http":
        app.include_router(slack_http.router)
    if settings.serve.page:
        mounting.mount(app, settings.serve.workers)
    _describe(app)
    app.state.seen = seen.Seen(content=settings.serve.log_content, traces=Traces.from_environment())
    served: ASGIApp = app
    if settings.serve.origins:
        served = CORSMiddleware(
            app,
            allow_origins=settings.serve.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-Id", "X-Conversation", "Retry-After"],
        )
    return Gate(served, settings.serve, app.state.seen, app)


def _lifespan(settings: Settings) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        serve, state = settings.serve, app.state
        state.settings = settings
        async with (
            mounting.starting(app),
            Bots.open(settings) as bots,
            await SharedRedis.of(settings) as redis,
            webhook.opened(
                settings.webhook,
                opens_seen(bots, settings.tenant, state.seen),
                redis,
                settings.turns_ttl,
            ) as state.webhook,
            slack_http.opened(
                settings, opens_seen(bots, settings.tenant, state.seen), redis
            ) as state.slack,
            stops_with(serve.grace_seconds) as stopping,
        ):
            state.bots, state.redis = bots, redis
            state.keys = KeyStore(redis) if serve.keys_on else None
            state.limiter = Limiter(redis, serve.rate, serve.turns_per_day) if state.keys else None
            state.admission = Admission(
                serve.turns_at_once, serve.turns_waiting, stopping, state.seen.metrics.queue
            )
            state.uploads = Uploads(redis)
            state.feedback = Feedback(redis, settings.turns_ttl)
            state.drawing = asyncio.Semaphore(2)
            state.jobs = Jobs(
                redis,
                (bots.engines.text, bots.engines.look),
                settings.ingest_workers,
                stopping,
                state.seen.failed,
            )
            state.streams = Streams(redis, serve.resume_seconds)
            state.fetcher = PictureFetcher() if serve.fetch_pictures else None
            state.cut = stopping.cut
            async with mounting.running(app):
                yield
            await state.jobs.aclose()
            await state.streams.aclose()
            if state.fetcher is not None:
                await state.fetcher.aclose()
            if state.keys is not None:
                await state.keys.aclose()
            await asyncio.to_thread(state.seen.close)

    return lifespan


async def _known(request: Request, error: Exception) -> Response:
    return told(problem_of(error), request.scope)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return told(of_validation(list(error.errors())), request.scope)


async def _http(request: Request, error: Exception) -> Response:
    """Say as a problem what the framework itself refuses."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        problem = not_found("address")
    elif error.status_code == 405:
        problem = Problem(405, "method-not-allowed", f"not {request.method} here",
                          headers=error.headers)  # fmt: skip
    else:
        problem = Problem(error.status_code, "bad-request", "the request cannot be read")
    return told(problem, request.scope)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


def _describe(app: FastAPI) -> None:
    """Put the bodies that routes read themselves into the OpenAPI description."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            known = schema.setdefault("components", {}).setdefault("schemas", {})
            for model in BODIES:
                made = model.model_json_schema(ref_template="#/components/schemas/{model}")
                known.update(made.pop("$defs", {}))
                known[model.__name__] = made
            for operation in (o for methods in schema["paths"].values() for o in methods.values()):
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]  # the framework's own, which is never sent
            schema["components"]["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "bf_…"}
            }
            schema["security"] = [{"key": []}, {}]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
