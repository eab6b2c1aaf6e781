"""Copies files that came with messages, at once, since their addresses expire.

Only from Discord's own hosts, never more than a picture may have, never through a redirect. Knows
nothing of what is in them.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from pathlib import PurePath

import aiohttp
from yarl import URL

from bot.channels.discord_events import Attached
from bot.sent import SentPicture
from retrievers.imaging import MAX_BYTES

READ = frozenset(f"image/{kind}" for kind in ("png", "jpeg", "webp", "gif", "bmp", "tiff"))
_ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"))
AT_ONCE = 32  #: messages whose files are copied before it is their turn
MOST_HELD = 128 * 1024 * 1024  #: bytes of all those copies, by what Discord says
FETCHING = 8  #: files that are fetched at the same time
SECONDS = 30.0  #: for one file
TRIES = 3

#: Gives a file's new address, if it has one
Renew = Callable[[Attached], Awaitable[str | None]]


class Gone(Exception):
    """A file is no longer there, or not where files may be fetched from."""


class Files:
    """Fetches files, ``most`` pictures of a message. An asynchronous context manager."""

    def __init__(self, hosts: Sequence[str], most: int = 8) -> None:
        self._hosts, self._most = frozenset(hosts), most
        self._places = asyncio.Semaphore(FETCHING)
        self._copies: dict[str, dict[int, asyncio.Task[bytes]]] = {}
        self._held: dict[str, int] = {}

    async def __aenter__(self) -> "Files":
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=SECONDS), auto_decompress=False
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        for key in list(self._copies):
            await self.drop(key)
        await self._session.close()

    def begin(self, key: str, files: Sequence[Attached]) -> None:
        """Begin to copy the pictures of a message, unless many are being copied already."""
        pictures = [file for file in files if is_picture(file)][: self._most]
        size = sum(file.size for file in pictures)
        room = len(self._copies) < AT_ONCE and sum(self._held.values()) + size <= MOST_HELD
        if pictures and room:
            self._held[key] = size
            self._copies[key] = {f.id: asyncio.create_task(self._fetch(f.url)) for f in pictures}

    async def drop(self, key: str) -> None:
        """Let go of the copies of a message."""
        self._held.pop(key, None)
        if tasks := self._copies.pop(key, None):
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def take(
        self, key: str, files: Sequence[Attached], renew: Renew
    ) -> tuple[list[SentPicture], list[str]]:
        """Return the pictures of a message, and the names of files that cannot be read."""
        pictures: list[SentPicture] = []
        unread: list[str] = []
        copies = self._copies.get(key, {})
        for file in files:
            if is_picture(file) and len(pictures) >= self._most:
                unread.append(f"{file.name} (only {self._most} pictures are looked at)")
                continue
            data = await self._copy(file, copies.get(file.id), renew) if is_picture(file) else None
            if data is None:
                unread.append(file.name)
            else:
                pictures.append(SentPicture(data, name=file.name, alt=file.alt))
        return pictures, unread

    async def _copy(
        self, file: Attached, begun: asyncio.Task[bytes] | None, renew: Renew
    ) -> bytes | None:
        try:
            return await (begun or self._fetch(file.url))
        except Gone:
            pass
        try:
            url = await renew(file)
            return await self._fetch(url) if url else None
        except Gone:
            return None

    async def _fetch(self, url: str) -> bytes:
        for tries in range(TRIES):
            try:
                async with self._places:
                    return await self._read(url)
            except (aiohttp.ClientError, TimeoutError):
                if tries == TRIES - 1:
                    raise Gone from None
            await asyncio.sleep(0.5 * 2**tries)
        raise Gone

    async def _read(self, url: str) -> bytes:
        address = URL(url)
        host = address.host or ""
        if host not in self._hosts or not (address.scheme == "https" or _is_here(host)):
            raise Gone
        async with self._session.get(address, allow_redirects=False) as response:
            if response.status >= 500 or response.status == 429:
                raise aiohttp.ClientError("again")
            if response.status != 200:
                raise Gone
            data = bytearray()
            async for piece in response.content.iter_chunked(1 << 16):
                data += piece
                if len(data) > MAX_BYTES:
                    raise Gone
            return bytes(data)


def is_picture(file: Attached) -> bool:
    """Return whether a file says that it is a picture of a kind that can be read."""
    if file.size > MAX_BYTES:
        return False
    if file.type:
        return file.type in READ
    return PurePath(file.name.lower()).suffix in _ENDINGS


def _is_here(host: str) -> bool:
    """Return whether a host is this machine, by its number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
