"""What every request goes through before a route sees it: an id, caps, headers, and who asks.

Plain ASGI, so that nothing stands between a route and its stream. Knows nothing of routes.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.service.access.rights import OPEN, Access
from bot.service.http.intake import Intake
from bot.service.http.openai_errors import told
from bot.service.http.problems import Problem, problem_of
from bot.service.settings import ServeSettings

#: The id of the request that this task works for
REQUEST: ContextVar[str] = ContextVar("request", default="")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: What whoever watches over the service asks, by whatever address it has
_PROBES = frozenset({"/livez", "/readyz"})
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
        self._intake = Intake(settings)
        self.inner = inner  #: the application whose routes stand behind all layers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        headers = Headers(scope=scope) if scope["type"] != "lifespan" else Headers()
        if scope["type"] == "websocket":  # a browser opens one for any page: see whose it is
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
            with self._intake.request(scope, receive) as receiving:
                await self._app(scope, receiving, sending)
        except Exception as error:  # nothing gets out but a problem document
            self._eyes.failed(error)
            if status == 0:
                await told(problem_of(error), scope)(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "")
            self._eyes.request(scope["method"], route, status, time.perf_counter() - began)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuse names and origins that are not ours: without keys, the browser of whoever sits at
        this machine must not be talked into asking for others."""
        host_and_port = headers.get("host", "").lower()
        host = re.sub(r":\d{1,5}$", "", host_and_port)
        known = {*self._settings.hosts}
        if not self._settings.keys_on:
            known |= _LOOPBACK_NAMES | {self._settings.host}
        if known and host not in known and scope["path"] not in _PROBES:
            raise Problem(421, "bad-request", "the service is not known under this Host")
        origin = headers.get("origin")
        ours = (f"http://{host_and_port}", f"https://{host_and_port}")  # a proxy may end TLS
        if origin and origin.lower() not in ours and origin not in self._settings.origins:
            raise Problem(403, "forbidden-origin", "pages of this origin may not call the service;"
                          " the setting serve.origins allows them")  # fmt: skip


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
