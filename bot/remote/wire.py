"""Requests to a service and what comes back: tried again where that is safe, capped, checked.

Knows nothing of turns. The key is in a header and nowhere else: not in an address, an error, a log
or a ``repr``. Redirects are not followed. A proxy and certificates of the environment are used as
httpx does.
"""

import ipaddress
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio
import httpx

from bot.errors import ServiceError, SettingsError
from bot.remote.problems import RETRY, Meaning, Told

TRIES = 3
PATIENCE = 30.0  #: seconds that are waited between tries, all in all
MOST = 256 * 1024 * 1024  #: bytes of an answer, at most
#: The service did nothing with a request that it refuses so
_NOT_BEGUN = ("overloaded", "rate-limited", "stopping")
#: No byte of the request has left
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Broken(Exception):
    """A connection broke; ``sent`` tells that the service may have got the request."""

    def __init__(self, error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.sent = not isinstance(error, _NOT_SENT)


def segment(name: str) -> str:
    """Return a name as one segment of an address."""
    if name in (".", ".."):  # a client's library would take them for steps
        return name.replace(".", "%2E")
    return quote(name, safe="", errors="replace")


def checked_url(url: str, allow_http: bool) -> str:
    """Return the address of a service; ``SettingsError`` for one that cannot be used."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise SettingsError(f"service {str(url)[:80]!r}: give an address: https://…") from None
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise SettingsError("service: give its address alone, the key beside it, nothing behind it")
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 1) > 65_535:
        raise SettingsError(f"service {url[:80]!r}: give an address that begins with https://")
    if parsed.scheme == "http" and not (allow_http or _is_loopback(parsed.host)):
        raise SettingsError(
            f"service {url[:80]!r}: over http anybody on the way could read the key; give https://,"
            " or allow it (--allow-http, in Python allow_http=True)"
        )
    return str(parsed).rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _headers(key: str) -> httpx.Headers:
    if not re.fullmatch(r"[\x21-\x7e]{0,512}", key):
        raise SettingsError("service: the key has characters that no key has")
    found = httpx.Headers({"User-Agent": "bifocal"})
    if key:
        found["Authorization"] = f"Bearer {key}"
    return found


class Wire:
    """The connections to one service. Belongs to one event loop; end it with :meth:`aclose`."""

    def __init__(self, url: str, key: str, timeout: float, allow_http: bool) -> None:
        self.url = checked_url(url, allow_http)
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "headers": _headers(key),
            "timeout": httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            "follow_redirects": False,
        }
        self._client = httpx.AsyncClient(**self._options)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def json(
        self, method: str, path: str, meaning: Meaning, *, again: bool = True, **request: Any
    ) -> Any:
        """Return the JSON of an answer, or None of an empty one. See :meth:`data`."""
        body = await self.data(method, path, meaning, again=again, **request)
        try:
            return json.loads(body) if body else None
        except ValueError:
            raise ServiceError("the service answers with something that is no JSON") from None

    async def data(
        self, method: str, path: str, meaning: Meaning, *, again: bool = True, **request: Any
    ) -> bytes:
        """Return the bytes of an answer.

        ``again`` says that asking twice does no harm: else a request that may have arrived is not
        repeated. ``request`` is httpx's; a value that can be called is called for every try.
        """
        tries = Tries(again)
        while True:
            try:
                async with self._sent(method, path, request) as response:
                    if response.is_success:
                        return await _read(response)
                    told = await self._refusal(response)
            except httpx.TransportError as error:
                if not await tries.after_break(Broken(error)):
                    raise self.unreachable(Broken(error)) from None
                continue
            if told.status == 404 and method == "DELETE" and tries.broke:
                return b""  # the try before did it
            if not await tries.after(told):
                raise self._error(told, meaning)

    @asynccontextmanager
    async def answer(
        self, method: str, path: str, meaning: Meaning, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        """Give a good answer, its body not read yet; what breaks after that is the caller's."""
        tries = Tries(True)
        while True:
            async with AsyncExitStack() as stack:
                try:
                    response = await stack.enter_async_context(self._sent(method, path, request))
                    told = None if response.is_success else await self._refusal(response)
                except httpx.TransportError as error:
                    if not await tries.after_break(Broken(error)):
                        raise self.unreachable(Broken(error)) from None
                    continue
                if told is None:
                    yield response
                    return
            if not await tries.after(told):
                raise self._error(told, meaning)

    @asynccontextmanager
    async def _sent(
        self, method: str, path: str, request: dict[str, Any]
    ) -> AsyncIterator[httpx.Response]:
        made = {name: value() if callable(value) else value for name, value in request.items()}
        built = self._client.build_request(method, path, **made)
        response = await self._client.send(built, stream=True)
        try:
            yield response
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _refusal(self, response: httpx.Response) -> Told:
        if response.is_redirect:
            told = (
                "the service answers with a redirect, which is not followed; give its own address"
            )
            return Told(response.status_code, "", told)
        try:
            body = await _read(response, 1 << 20)
        except ServiceError:  # too long to be a problem
            body = b""
        return Told.read(response.status_code, body, response.headers.get("retry-after", ""))

    def _error(self, told: Told, meaning: Meaning) -> Exception:
        if told.kind != "unauthorized":
            return meaning.error(told)
        given = "Authorization" in self._options["headers"]
        said = "does not take this API key" if given else "asks for an API key"
        way = "set BIFOCAL_KEY (in Python key=) to one that `bifocal keys add` made there"
        return ServiceError(f"service {self.url} {said}; {way}", status=told.status, kind=told.kind)

    def unreachable(self, error: Broken) -> ServiceError:
        """Return what is told when a service does not answer, or not to the end."""
        if error.sent:
            told = "the connection broke before the answer was there; ask again"
        else:
            told = "it cannot be reached; is it running, and is the address right?"
        return ServiceError(f"service {self.url}: {told} ({error})", retry_after=RETRY)

    def fetch(self, path: str, meaning: Meaning) -> bytes:
        """Return the bytes of an answer, in whatever thread this is called; for pictures that are
        looked at later."""
        try:
            with httpx.Client(**self._options) as client:
                response = client.get(path)
        except httpx.TransportError as error:
            raise self.unreachable(Broken(error)) from None
        if not response.is_success:
            raise self._error(Told.read(response.status_code, response.content), meaning)
        return response.content


class Tries:
    """Counts the tries of a request, and waits between them."""

    def __init__(self, again: bool) -> None:
        self._again, self._done, self._patience = again, 1, PATIENCE
        self.broke = False  #: after the request had left, so that it may have been heeded

    async def after_break(self, error: Broken) -> bool:
        """Tell whether to try again after a connection broke, once the time for it has come."""
        if error.sent and not self._again:
            return False
        self.broke = self.broke or error.sent
        return await self._wait(0.2 * 2**self._done)

    async def after(self, told: Told) -> bool:
        """Tell likewise after a refusal."""
        if told.kind == "busy" and self.broke:  # by the try before, whose end nobody saw
            self._done = min(self._done, TRIES - 1)
            return await self._wait(told.retry_after or RETRY)
        if told.status == 429 or (told.status == 503 and (self._again or told.kind in _NOT_BEGUN)):
            return await self._wait(told.retry_after or RETRY)
        return False

    async def _wait(self, seconds: float) -> bool:
        if self._done >= TRIES or seconds > self._patience:
            return False
        self._done += 1
        self._patience -= seconds
        await anyio.sleep(seconds)
        return True


async def _read(response: httpx.Response, most: int = MOST) -> bytes:
    found = bytearray()
    async for piece in response.aiter_bytes():
        found += piece
        if len(found) > most:
            raise ServiceError(f"the service answers with more than {most:,} bytes")
    return bytes(found)
