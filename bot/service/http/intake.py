"""What a process takes in at once: requests, the bytes of each, the bytes of all, and how slowly.

Plain ASGI. Knows nothing of what a request asks.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from bot.service.http.problems import RETRY, Problem
from bot.service.settings import ServeSettings

#: Where sources for a library come in, which may be larger; the second is the web page's
UPLOADS = ("/v1/sources", "/_nicegui/client/")


class Intake:
    """Counts what is open. One for each process."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self.open = 0  #: requests under way
        self.held = 0  #: bytes of their bodies

    @contextmanager
    def request(self, scope: Scope, receive: Receive) -> Iterator[Receive]:
        """Count a request in while this is open, and give its ``receive``, which minds the caps.

        Raises the problem of what is too much, here or where the body is read.
        """
        if self.open >= self._settings.requests_at_once:
            raise Problem(503, "overloaded", "too many requests are open", retry_after=RETRY)
        body = _Body(self, self._settings, scope, receive)
        self.open += 1
        try:
            yield body.receive
        finally:
            self.open -= 1
            self.held -= body.bytes


class _Body:
    """One request's body on its way in."""

    def __init__(
        self, intake: Intake, settings: ServeSettings, scope: Scope, receive: Receive
    ) -> None:
        self._intake, self._receive = intake, receive
        self._seconds, self._most_held = settings.read_seconds, settings.bodies_bytes
        uploads = str(scope["path"]).startswith(UPLOADS)
        self._most = settings.upload_bytes if uploads else settings.body_bytes
        self.bytes, self._whole = 0, False
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._most:
            raise self._too_large()

    async def receive(self) -> Message:
        """See ASGI's ``receive``."""
        if self._whole:  # what comes now is only that the client left
            return await self._receive()
        try:
            async with asyncio.timeout(self._seconds):
                message = await self._receive()
        except TimeoutError:
            raise Problem(408, "slow", "the request did not arrive in time") from None
        self._whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.bytes += size
        self._intake.held += size
        if self.bytes > self._most:
            raise self._too_large()
        if self._intake.held > self._most_held:
            raise Problem(503, "overloaded", "too much is being sent at once", retry_after=RETRY)
        return message

    def _too_large(self) -> Problem:
        return Problem(413, "too-large", f"a request has {self._most:,} bytes at most")
