"""``/livez`` and ``/readyz``: whether the process lives, and whether it can answer."""

import asyncio
from typing import Any

from fastapi import APIRouter
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import JSONResponse

from bot.errors import KNOWN_ERRORS
from bot.service.served.bots import DEFAULT

router = APIRouter(tags=["health"])


@router.get("/livez")
async def alive() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A part cannot be used"}})
async def ready(request: Request) -> JSONResponse:
    """Say whether Redis, the library and the model can be used, and whether the service goes on."""
    state = request.app.state
    parts = {
        "redis": await _redis(state),
        "library": await _library(state),
        "model": "ok" if getattr(state.bots.engines.model, "ready", True) else "is being loaded",
        "service": "is stopping" if state.admission.stopping else "ok",
    }
    whole = all(told == "ok" for told in parts.values())
    return JSONResponse(
        {"status": "ok" if whole else "unavailable", "parts": parts}, 200 if whole else 503
    )


async def _redis(state: Any) -> str:
    async def work(client: Redis) -> None:
        await client.ping()

    try:
        await state.redis.read(work)
    except KNOWN_ERRORS:
        return "cannot be reached"
    return "ok"


async def _library(state: Any) -> str:
    try:
        shelf = await state.bots.shelf(DEFAULT)
        await asyncio.to_thread(lambda: shelf.library.version)
    except KNOWN_ERRORS:
        return "cannot be read"
    return "ok"
