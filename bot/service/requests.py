"""What every request goes through before a route sees it: an id, caps, headers, and who asks.

Plain ASGI, so that nothing stands between a route and its stream. Knows nothing of routes.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.service.access import OPEN, Access
from bot.service.logs import REQUEST
from bot.service.problems import Problem, problem_of
from bot.service.settings import ServeSettings

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: Headers of every answer; the web page's own policy is in ``bot/service/page``
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}


class Eyes(Protocol):
    """What is shown each request."""

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """See a request whose answer is out."""

    def failed(self, error: Exception) -> None:
        """See what a request failed with."""


class Gate:
    """The outermost layer: gives an id, checks host and origin, caps the body, adds the headers,
    turns whatever is raised into a problem document, and shows each request to ``eyes``."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, eyes: Eyes, inner: FastAPI) -> None:
        self._app, self._settings, self._eyes = app, settings, eyes
        self.inner = inner  #: the application whose routes stand behind all layers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        headers = Headers(scope=scope) if scope["type"] != "lifespan" else Headers()
        if (
            scope["type"] == "websocket"
        ):  # no browser asks before it opens one: see whose page it is
            try:
                self._check(scope, headers)
            except Problem:
                await send({"type": "websocket.close", "code": 1008})
                return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = headers.get("x-request-id", "")
        id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = id
        REQUEST.set(id)
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                told = MutableHeaders(scope=message)
                told["X-Request-Id"] = id
                for name, value in HEADERS.items():
                    told.setdefault(name, value)
            async with asyncio.timeout(self._settings.read_seconds):  # a reader that stands still
                await send(message)

        try:
            self._check(scope, headers)
            await self._app(scope, self._capped(scope, headers, receive), sending)
        except Exception as error:  # nothing gets out but a problem document
            self._eyes.failed(error)
            if status == 0:
                await problem_of(error).response(id)(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "")
            self._eyes.request(scope["method"], route, status, time.perf_counter() - began)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuse names and origins that are not ours: without keys, the browser of whoever sits at
        this machine must not be talked into asking for others."""
        host = re.sub(r":\d{1,5}$", "", headers.get("host", "").lower())
        known = {*self._settings.hosts}
        if not self._settings.keys_on:
            known |= _LOOPBACK_NAMES | {self._settings.host}
        if known and host not in known:
            raise Problem(421, "bad-request", "the service is not known under this Host")
        origin = headers.get("origin")
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        ours = f"{scheme}://{headers.get('host', '')}"
        if origin and origin != ours and origin not in self._settings.origins:
            raise Problem(403, "forbidden-origin", "pages of this origin may not call the service;"
                          " the setting serve.origins allows them")  # fmt: skip

    def _capped(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """Return ``receive`` with a cap on the body's bytes and on the wait for each piece."""
        uploads = scope["path"].startswith(("/v1/sources", "/_nicegui/client/"))
        most = self._settings.upload_bytes if uploads else self._settings.body_bytes
        too_large = Problem(413, "too-large", f"a request has {most:,} bytes at most")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > most:
            raise too_large
        seen, whole = 0, False

        async def receiving() -> Message:
            nonlocal seen, whole
            if whole:  # what comes now is only that the client left
                return await receive()
            try:
                async with asyncio.timeout(self._settings.read_seconds):
                    message = await receive()
            except TimeoutError:
                raise Problem(408, "slow", "the request did not arrive in time") from None
            whole = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > most:
                raise too_large
            return message

        return receiving


async def who(request: Request) -> Access:
    """Return who asks; a problem of status 401 without a key that is good.

    For routes: :data:`Who`. Counts the request against the key's rate.
    """
    state = request.app.state
    if state.keys is None:
        return OPEN
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    access: Access | None = None
    if scheme.lower() == "bearer":
        access = await state.keys.check(token.strip())
    if access is None:
        raise Problem(401, "unauthorized", "give an API key: Authorization: Bearer bf_…",
                      headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
    await within(state.limiter.hit_request(access))
    request.state.access = access
    return access


Who = Annotated[Access, Depends(who)]


async def within(asking: Awaitable[Any]) -> None:
    """Raise a problem of status 429 when a limiter says that it is too much."""
    verdict = await asking
    if not verdict.allowed:
        raise Problem(429, "rate-limited", f"this key may make {verdict.limit}; ask again later",
                      retry_after=verdict.reset_seconds)  # fmt: skip
