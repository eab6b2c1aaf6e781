"""The page in the service: which addresses are its own, its headers, its start and its end.

NiceGUI is loaded while the service starts, beside everything else, and only if it is there. It
keeps one application for a process; this module lets through to it exactly what the page needs,
and nothing at all without a session where keys are on. Knows nothing of what is on the page.
"""

import asyncio
import re
import secrets
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.service.http.problems import Problem, not_found
from bot.service.page import sign_in
from bot.service.page.sessions import Sessions, cookie_of

KEY = "bifocal.page"  #: in the scope of what goes to NiceGUI: a ``Visit``
TABS = 500  #: pages that a process keeps at once; one that is left is kept for seconds
MISSING = "The web page needs more packages: pip install 'bifocal[web]'\n"
#: A page and its connection must reach one process, and those that share a port cannot say which
ALONE = (
    "The web page needs a service of one process. Start another one for it, beside this one and"
    " with the same settings: bifocal serve --workers 1 --port 8001\n"
)
_STATIC = re.compile(
    r"/_nicegui/[0-9.]+/(?:static|libraries|components|resources|esm|dynamic_resources)/"
)
_UPLOAD = re.compile(r"/_nicegui/client/[0-9a-f-]{36}/upload/\d{1,9}")
_SOCKET = "/_nicegui_ws/socket.io/"


def policy(nonce: str) -> str:
    """Return the page's content security policy."""
    return "; ".join(
        (
            "default-src 'none'",
            # 'unsafe-eval': Vue compiles its templates in the browser, and NiceGUI's own event
            # handlers come as text. Scripts in the document need the nonce of this very answer.
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'",
            # 'unsafe-inline': Quasar sets style attributes, NiceGUI writes style elements
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",  # data: pictures that the service drew
            "font-src 'self'",
            "connect-src 'self'",  # includes ws: and wss: of this very host
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


@dataclass(frozen=True)
class Visit:
    """What the page is told of a request: the service's state, and who is signed in."""

    state: Any
    cookie: str


def mount(app: FastAPI, workers: int) -> None:
    """Put the page behind all other routes of the service; or words that say why there is none."""
    why = MISSING if not all(map(find_spec, ("nicegui", "nh3"))) else ALONE if workers > 1 else ""
    if why:

        async def told(request: Request) -> PlainTextResponse:
            return PlainTextResponse(why)

        app.add_route("/", told, include_in_schema=False)
        return
    app.include_router(sign_in.router)
    page = app.state.page = Page(app)
    app.router.routes.append(Route("/", page, methods=["GET"], include_in_schema=False))
    app.mount("/_nicegui", page)
    app.mount("/_nicegui_ws", page)


@asynccontextmanager
async def starting(app: FastAPI) -> AsyncIterator[None]:
    """Load what the page needs beside all else that starts; enter it first."""
    page: Page | None = getattr(app.state, "page", None)
    if page is None:
        yield
        return
    page.loading = asyncio.create_task(asyncio.to_thread(_load))
    try:
        yield
    finally:
        await asyncio.wait({page.loading})


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Run the page; enter it last."""
    page: Page | None = getattr(app.state, "page", None)
    if page is None or page.loading is None:
        yield
        return
    inner = await page.loading
    async with AsyncExitStack() as stack:
        with warnings.catch_warnings():  # it looks at all objects there are, also deprecated ones
            warnings.simplefilter("ignore")
            await stack.enter_async_context(inner.router.lifespan_context(inner))
        page.inner = inner
        yield
        page.inner = None


@lru_cache(1)
def _load() -> FastAPI:
    """Return the application of this process that NiceGUI is mounted in."""
    from bot.service.page.layout import nicegui_app

    return nicegui_app()


class Page:
    """An ASGI application: sign-in, headers, and NiceGUI behind them."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.inner: ASGIApp | None = None
        self.loading: asyncio.Task[FastAPI] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        wanted = (
            method == "POST"
            if _UPLOAD.fullmatch(path)
            else method in ("GET", "HEAD") and (path == "/" or _STATIC.match(path) is not None)
        )
        if self.inner is None or not wanted:
            raise not_found("address")
        if _STATIC.match(path):
            await self.inner(_for_inner(scope, None), receive, send)
            return
        visit = await self._visit(HTTPConnection(scope))
        if visit is None and path == "/":
            await sign_in.form()(scope, receive, send)
        elif visit is None:
            raise Problem(401, "unauthorized", "sign in first")
        elif path == "/":
            await self._page(_for_inner(scope, visit), receive, send)
        else:
            await self.inner(_for_inner(scope, visit), receive, send)

    async def _visit(self, connection: HTTPConnection) -> Visit | None:
        cookie = cookie_of(connection)
        if await Sessions(self._app.state).access(cookie) is None:
            return None
        return Visit(self._app.state, cookie)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the page, each script in it marked as ours."""
        from nicegui import Client

        if len(Client.instances) >= TABS:
            told = "as many pages are open as this service keeps; try again in a minute"
            raise Problem(503, "overloaded", told, retry_after=60)
        nonce = secrets.token_urlsafe(18)
        head: Message | None = None
        parts: list[bytes] = []

        async def sending(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                head = message
                return
            parts.append(message.get("body", b""))
            if message.get("more_body", False) or head is None:
                return
            # what comes from elsewhere has no "<" here: NiceGUI writes its data with &lt;
            body = b"".join(parts).replace(b"<script", f'<script nonce="{nonce}"'.encode())
            headers = MutableHeaders(scope=head)
            headers["Content-Length"] = str(len(body))
            headers["Content-Security-Policy"] = policy(nonce)
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers["Referrer-Policy"] = "same-origin"  # else signing out comes without its origin
            headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
            await send(head)
            await send({**message, "body": body if scope["method"] != "HEAD" else b""})

        assert self.inner is not None
        await self.inner(scope, receive, sending)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a page's own connection through; its host and origin were checked before."""
        try:
            if self.inner is None or scope["path"] != _SOCKET:
                raise not_found("address")
            visit = await self._visit(HTTPConnection(scope))
            if visit is None:
                raise Problem(401, "unauthorized", "sign in first")
        except Exception:  # Redis cannot be asked, among others: nothing opens unseen
            await send({"type": "websocket.close", "code": 1008})
            return
        await self.inner(_for_inner(scope, visit), receive, send)


def _for_inner(scope: Scope, visit: Visit | None) -> Scope:
    """Return a request as NiceGUI gets it: without the headers that would change what it writes."""
    dropped = (b"x-forwarded-prefix", b"accept-encoding")
    headers = [pair for pair in scope["headers"] if pair[0].lower() not in dropped]
    if visit is None:
        headers = [pair for pair in scope["headers"] if pair[0].lower() != dropped[0]]
    root = scope.get("app_root_path", scope.get("root_path", ""))  # NiceGUI's own paths are whole
    return {**scope, "headers": headers, "root_path": root, KEY: visit}


def visit_of(request: Request) -> Visit:
    """Return the visit that a page is made for."""
    visit: Visit = request.scope[KEY]
    return visit
