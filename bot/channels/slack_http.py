"""Slack's HTTP mode: Slack calls ``bifocal serve`` at ``/slack/events``.

There when the setting ``slack.mode`` is ``http``. Whatever Slack did not sign is refused before it
is read. Knows nothing of what is said.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from hmac import compare_digest, new
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from bot.channels.backend import OpenLibrary
from bot.service.http.problems import Problem
from bot.service.stores.shared_redis import SharedRedis
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.channels.slack import SlackChannel

router = APIRouter(tags=["slack"])
MOST_BYTES = 1024 * 1024  #: of what Slack sends
OLDEST = 300.0  #: seconds after which a signature counts no more


@router.post("/slack/events", include_in_schema=False)
async def events(request: Request) -> Response:
    """Take an event, a command or a press of a button."""
    channel: SlackChannel = request.app.state.slack
    secret = channel.settings.signing_secret
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise Problem(413, "too-large", "Slack sends no more than 1 MB")
    stamp = request.headers.get("x-slack-request-timestamp", "")
    signature = request.headers.get("x-slack-signature", "")
    if secret is None or not authentic(secret.get_secret_value(), bytes(body), stamp, signature):
        raise Problem(401, "unauthorized", "this is not signed by Slack")
    return await channel.handle(bytes(body), dict(request.headers))


def authentic(secret: str, body: bytes, stamp: str, signature: str) -> bool:
    """Tell whether Slack signed a body, a short while ago."""
    if not secret or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return False
    if abs(time.time() - int(stamp)) > OLDEST:
        return False
    made = new(secret.encode(), f"v0:{stamp}:".encode() + body, sha256).hexdigest()
    return compare_digest(f"v0={made}".encode(), signature.encode("utf-8", "replace"))


@asynccontextmanager
async def opened(
    settings: Settings, opening: OpenLibrary, redis: SharedRedis
) -> AsyncIterator["SlackChannel | None"]:
    """Open the channel if HTTP mode is on."""
    if settings.slack.mode != "http":
        yield None
        return
    from bot.channels.slack_needed import needed

    needed()
    from bot.channels.slack import SlackChannel

    async with SlackChannel.open(settings, opening, redis) as channel:
        yield channel
