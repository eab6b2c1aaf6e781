"""Copies files that came with messages, at once, since their addresses expire.

Only from Discord's own hosts, never more than a picture may have, never through a redirect. Knows
nothing of what is in them.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import PurePath

import aiohttp
from yarl import URL

from bot.channels.discord_events import Attached
from bot.channels.room import Room
from bot.sent import SentPicture
from retrievers.imaging import MAX_BYTES

READ = frozenset(f"image/{kind}" for kind in ("png", "jpeg", "webp", "gif", "bmp", "tiff"))
_ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"))
AT_ONCE = 32  #: messages whose files are copied before it is their turn
MOST_HELD = 128 * 1024 * 1024  #: bytes of all those copies, by what Discord says
MOST_TAKEN = 256 * 1024 * 1024  #: bytes of the pictures of all questions whose turn it is
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
        self._room = Room(MOST_TAKEN)

    async def __aenter__(self) -> "Files":
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=SECONDS), auto_decompress=False
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        for key in list(self._copies):
            self.drop(key)
        await self._session.close()

    def begin(self, key: str, files: Sequence[Attached]) -> None:
        """Begin to copy the pictures of a message; of many messages, the last ones' are kept."""
        pictures = [file for file in files if is_picture(file)][: self._most]
        if pictures:
            self._held[key] = sum(file.size for file in pictures)
            self._copies[key] = {f.id: asyncio.create_task(self._fetch(f.url)) for f in pictures}
            while len(self._copies) > 1 and self._is_full():
                self.drop(next(iter(self._copies)))  # the oldest: fetched when it is its turn

    def _is_full(self) -> bool:
        return len(self._copies) > AT_ONCE or sum(self._held.values()) > MOST_HELD

    def drop(self, key: str) -> None:
        """Let go of the copies of a message."""
        self._held.pop(key, None)
        _cancel(self._copies.pop(key, {}))

    def room(self, files: Sequence[Attached]) -> AbstractAsyncContextManager[None]:
        """Return room for the pictures among files: enter it before they are taken, and leave it
        when their question is answered."""
        largest_first = sorted((f.size for f in files if is_picture(f)), reverse=True)
        return self._room.of(sum(largest_first[: self._most]))

    async def take(
        self, key: str, files: Sequence[Attached], renew: Renew
    ) -> tuple[list[SentPicture], list[str]]:
        """Return the pictures of a message, and the names of files that cannot be read."""
        pictures: list[SentPicture] = []
        unread: list[str] = []
        self._held.pop(key, None)
        copies = self._copies.pop(key, {})
        try:
            for file in files:
                if is_picture(file) and len(pictures) >= self._most:
                    unread.append(f"{file.name} (only {self._most} pictures are looked at)")
                    continue
                begun = copies.get(file.id)
                data = await self._copy(file, begun, renew) if is_picture(file) else None
                if data is None:
                    unread.append(file.name)
                else:
                    pictures.append(SentPicture(data, name=file.name, alt=file.alt))
        finally:
            _cancel(copies)
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


def _cancel(copies: Mapping[int, "asyncio.Task[bytes]"]) -> None:
    for task in copies.values():
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task.cancel()


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
