"""Fetch a picture from a public ``http(s)`` address, and reach nothing else.

The check is where connections are made: :class:`PublicOnly` is the network that httpcore connects
through. It resolves the name once, refuses it if any of its addresses is not public, and connects
to the addresses that it checked; TLS and the ``Host`` header still carry the name. So nothing that
a URL, a redirect or a name server says leads to another address. No proxy, cookie or credential is
ever used, and no connection is used twice.

Whatever went wrong on the way to an answer (no such name, a private address, nothing there, no TLS,
no answer in time) is told in the same words: who may name URLs is not to learn from us what this
machine can see. What they can still measure is time; a private address is never connected to.

Knows nothing of FastAPI, of messages or of pictures: the caller decodes what it gets.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Self

import httpcore
import httpx

from bot.errors import BifocalError
from bot.service.openai.addresses import is_public
from retrievers.imaging import MAX_BYTES

#: A name to its addresses, of either family; ``OSError`` when it has none
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_URL = 2048
MAX_REDIRECTS = 3
MAX_TRIES = 4  #: addresses of one name that are tried

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_TYPES = re.compile(r"image/[a-z0-9.+-]+|application/octet-stream|binary/octet-stream")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?!0x)(?=[a-z0-9-]*[a-z]){_LABEL}")
_WAY_OUT = "send it as a data URI"
_NAMELESS = "a picture"
_TIMEOUTS = {"timeout": {"connect": 3.0}}  #: seconds for each address; ``seconds`` is for all
_HEADERS = (
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"bifocal"),
)


class FetchRefused(BifocalError):
    """A picture was not fetched; one line that names the host, and nothing else of the URL."""


class _Unreachable(Exception):
    """There is no way to an answer; never told apart from others of its kind."""


class PublicOnly(httpcore.AsyncNetworkBackend):
    """A network that has public addresses only. ``network`` makes the connections."""

    def __init__(self, network: httpcore.AsyncNetworkBackend, resolve: Resolve) -> None:
        self._network, self._resolve = network, resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's own interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the name's addresses that answers, if all are public."""
        addresses = [host] if _is_literal(host) else list(await self._resolve(host, port))
        if not addresses or not all(map(is_public, addresses)):
            raise _Unreachable
        for address in addresses[:MAX_TRIES]:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise _Unreachable

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SystemNames:
    """The names that this machine knows, looked up in threads of their own.

    So a name server that never answers holds up no other work of the process.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name, those with a scope still with it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _look_up, host, port)

    def close(self) -> None:
        """Begin no further look-up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class PictureFetcher:
    """Fetches pictures by their URL, at most ``at_once``; the others wait their turn.

    ``seconds`` is for all of a fetch: waiting, redirects and reading. ``most`` is the most bytes.
    ``resolve`` and ``network`` are the machine's own unless given. Close it when done.
    """

    def __init__(
        self,
        *,
        ports: Collection[int] = (80, 443),
        most: int = MAX_BYTES,
        seconds: float = 10.0,
        at_once: int = 4,
        resolve: Resolve | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._ports, self._most, self._seconds = frozenset(ports), most, seconds
        self._slots, self._given_context = asyncio.Semaphore(at_once), ssl_context
        self._names = SystemNames(at_once)  # starts no thread before it is asked
        self._network = PublicOnly(network or httpcore.AnyIOBackend(), resolve or self._names)

    async def fetch(self, url: str) -> bytes:
        """Return what lies at ``url``, by its media type a picture; ``FetchRefused`` if it fails.

        The bytes are as hostile as the URL: give them to ``retrievers.imaging.read_picture``.
        """
        target = self._check(url)
        host = _shown(target)
        deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError as error:
            raise FetchRefused(
                f"{host}: too many pictures are being fetched; ask again later, or {_WAY_OUT}"
            ) from error
        try:
            async with asyncio.timeout_at(deadline):
                return await self._follow(target, host)
        except (
            _Unreachable,
            TimeoutError,
            OSError,
            UnicodeError,
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
        ):
            # what went wrong is not chained: a log of it would be the port scanner
            raise FetchRefused(
                f"{host}: no picture could be fetched from there; {_WAY_OUT}"
            ) from None
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """Begin no further look-up of names."""
        self._names.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def _check(self, url: str, host: str = "") -> httpx.URL:
        """Return a URL that may be asked for; its host is checked when it is connected to.

        ``host`` is whose redirect it is, and the one that an error names.
        """
        if len(url) > MAX_URL:
            raise FetchRefused(
                f"{host or _NAMELESS}: a URL of {len(url)} characters, the most is {MAX_URL};"
                f" {_WAY_OUT}"
            )
        refused = FetchRefused(f"{host or _NAMELESS}: a URL that is malformed; {_WAY_OUT}")
        if "\\" in url or not url.isprintable() or any(map(str.isspace, url)):
            raise refused
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise refused from None
        if target.scheme not in _PORTS or not target.raw_host:
            raise FetchRefused(f"{host or _NAMELESS}: a URL that is not http or https; {_WAY_OUT}")
        if "@" in url.partition("//")[2].partition("/")[0].partition("?")[0].partition("#")[0]:
            raise FetchRefused(
                f"{host or _shown(target)}: a URL with a name or password; {_WAY_OUT}"
            )
        if _port(target) not in self._ports:
            allowed = ", ".join(map(str, sorted(self._ports)))
            raise FetchRefused(
                f"{host or _shown(target)}: only the ports {allowed} are asked; {_WAY_OUT}"
            )
        return target

    async def _follow(self, target: httpx.URL, host: str) -> bytes:
        """Ask, and go where the answer points, each hop checked like the first."""
        for _ in range(MAX_REDIRECTS + 1):
            found = await self._ask(target, host)
            if isinstance(found, bytes):
                return found
            target = self._check(found, host)
        raise FetchRefused(f"{host}: more than {MAX_REDIRECTS} redirects; {_WAY_OUT}")

    async def _ask(self, target: httpx.URL, host: str) -> bytes | str:
        """Return the picture at one URL, or the URL that it points to."""
        name = _host(target)
        if not (_is_literal(name) or _NAME.fullmatch(name)):
            raise _Unreachable
        url = httpcore.URL(
            scheme=target.raw_scheme,
            host=target.raw_host,
            port=target.port,
            target=target.raw_path,
        )
        headers = [(b"Host", target.netloc), *_HEADERS]
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._ssl_context if target.scheme == "https" else None,
                max_keepalive_connections=0,
                network_backend=self._network,
            ) as pool,
            pool.stream("GET", url, headers=headers, extensions=_TIMEOUTS) as response,
        ):
            given = httpx.Headers(response.headers)
            if response.status in _REDIRECTS and given.get("location"):
                return _joined(target, given["location"], host)
            return await self._read(response, given, host)

    async def _read(self, response: httpcore.Response, given: httpx.Headers, host: str) -> bytes:
        if response.status != 200:
            raise FetchRefused(f"{host}: answered {response.status}, no picture; {_WAY_OUT}")
        kind = given.get("content-type", "").partition(";")[0].strip().lower()
        if not _TYPES.fullmatch(kind):
            raise FetchRefused(f"{host}: what lies there is no picture; {_WAY_OUT}")
        if given.get("content-encoding", "identity").strip().lower() != "identity":
            raise FetchRefused(f"{host}: the picture comes compressed; {_WAY_OUT}")
        too_large = FetchRefused(
            f"{host}: the most is {self._most / 1e6:.0f} MB; make the picture smaller or {_WAY_OUT}"
        )
        length = given.get("content-length", "")
        if length.isdecimal() and len(length) < 20 and int(length) > self._most:
            raise too_large
        data = bytearray()
        async for chunk in response.aiter_stream():
            if len(data) + len(chunk) > self._most:
                raise too_large
            data += chunk
        return bytes(data)

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return self._given_context or httpx.create_ssl_context(trust_env=False)


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [
        f"{sockaddr[0]}%{sockaddr[3]}" if len(sockaddr) > 3 and sockaddr[3] else str(sockaddr[0])
        for *_, sockaddr in found
    ]


def _host(target: httpx.URL) -> str:
    return target.raw_host.decode("ascii", "replace").lower()


def _port(target: httpx.URL) -> int:
    return _PORTS[target.scheme] if target.port is None else target.port


def _is_literal(host: str) -> bool:
    """Tell whether a host is an address in its usual form; "127.1" and "0x7f000001" are not."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


def _joined(target: httpx.URL, location: str, host: str) -> str:
    try:
        return str(target.join(location))
    except (httpx.InvalidURL, ValueError):
        raise FetchRefused(f"{host}: a redirect that is malformed; {_WAY_OUT}") from None


def _shown(target: httpx.URL) -> str:
    """Return a host as it may be shown: printable ASCII, short."""
    shown = "".join(c if c.isprintable() else "?" for c in _host(target)[:80])
    return shown or _NAMELESS
