"""Slack's HTTP mode: Slack calls ``bifocal serve`` at ``/slack/events``.

There when the setting ``slack.mode`` is ``http``. Whatever Slack did not sign is refused before it
is read. Knows nothing of what is said.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest, new
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from bot.channels.backend import OpenLibrary
from bot.errors import KNOWN_ERRORS
from bot.service.http.problems import Problem
from bot.service.observability import logs
from bot.service.stores.shared_redis import SharedRedis
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.channels.slack import SlackChannel

router = APIRouter(tags=["slack"])
MOST_BYTES = 1024 * 1024  #: of what Slack sends
PATIENCE = 5.0  #: seconds that the service's start waits for Slack
OLDEST = 300.0  #: seconds after which a signature counts no more


@router.post("/slack/events", include_in_schema=False)
async def events(request: Request) -> Response:
    """Take an event, a command or a press of a button."""
    joining: Joining = request.app.state.slack
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise Problem(413, "too-large", "Slack sends no more than 1 MB")
    stamp = request.headers.get("x-slack-request-timestamp", "")
    signature = request.headers.get("x-slack-signature", "")
    if not authentic(joining.secret, bytes(body), stamp, signature):
        raise Problem(401, "unauthorized", "this is not signed by Slack")
    if joining.channel is None:  # Slack sends it again
        raise Problem(503, "unavailable", "Slack could not be reached yet", retry_after=5)
    return await joining.channel.handle(bytes(body), dict(request.headers))


def authentic(secret: str, body: bytes, stamp: str, signature: str) -> bool:
    """Tell whether Slack signed a body, a short while ago."""
    if not secret or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return False
    if abs(time.time() - int(stamp)) > OLDEST:
        return False
    made = new(secret.encode(), f"v0:{stamp}:".encode() + body, sha256).hexdigest()
    return compare_digest(f"v0={made}".encode(), signature.encode("utf-8", "replace"))


@dataclass(slots=True)
class Joining:
    """The channel, once Slack could be reached; the service does not wait for that."""

    secret: str
    channel: "SlackChannel | None" = None
    first: asyncio.Event = field(default_factory=asyncio.Event)

    async def join(self, settings: Settings, opening: OpenLibrary, redis: SharedRedis) -> None:
        """Be in Slack until cancelled; ``SettingsError`` where something is wrong or missing."""
        from bot.channels.slack import SlackChannel

        async with SlackChannel.open(settings, opening, redis) as self.channel:
            self.first.set()
            await asyncio.Event().wait()


@asynccontextmanager
async def opened(
    settings: Settings, opening: OpenLibrary, redis: SharedRedis
) -> AsyncIterator[Joining | None]:
    """Open the channel if HTTP mode is on; a while later where Slack cannot be reached."""
    if settings.slack.mode != "http":
        yield None
        return
    from bot.channels.slack_needed import needed

    needed()
    secret = settings.slack.signing_secret
    joining = Joining(secret.get_secret_value() if secret else "")
    task = asyncio.create_task(_told(joining.join(settings, opening, redis)))
    first = asyncio.create_task(joining.first.wait())
    try:
        await asyncio.wait({task, first}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield joining
    finally:
        for one in (task, first):
            one.cancel()
        await asyncio.gather(task, first, return_exceptions=True)


async def _told(joining: Coroutine[Any, Any, None]) -> None:
    try:
        await joining
    except KNOWN_ERRORS as error:
        logs.tell("Slack cannot be joined", level="error", error=error)
        raise
