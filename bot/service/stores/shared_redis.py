"""The Redis that all processes of a service share, for its keys and its limits.

Knows nothing of either. It is the one that holds the conversations, embedded or not; this is a
second, small set of connections to it, so that a long load of pictures never holds up a check.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from redis.asyncio import Redis

from bot.settings import Settings
from memory.client import Link
from memory.embedded import EmbeddedRedis, Fsync
from memory.errors import HistoryUnavailable
from memory.store import is_gone

T = TypeVar("T")


class SharedRedis:
    """Made by :meth:`open`; an asynchronous context manager. Belongs to its event loop.

    Every failure is ``HistoryUnavailable``, within ``timeout`` seconds.
    """

    def __init__(self, link: Link, embedded: EmbeddedRedis | None = None) -> None:
        self._link = link
        self._embedded = embedded

    @classmethod
    async def open(
        cls,
        url: str | None = None,
        *,
        folder: Path | None = None,
        fsync: Fsync = "everysec",
        timeout: float = 2.0,  # noqa: ASYNC109 - kept as the deadline of every call
        connections: int = 8,
    ) -> "SharedRedis":
        """Connect to ``url`` (see ``memory/connect.py``), or to a server kept in ``folder``."""
        embedded = None
        if url is None:
            if folder is None:
                raise HistoryUnavailable("keys have no place: give a Redis address or a folder")
            embedded = await EmbeddedRedis.aopen(folder, fsync=fsync)
        try:
            link = await Link.open(
                embedded.url if embedded else url or "",
                name=f"the Redis of {folder}" if embedded else "",
                timeout=timeout,
                connections=connections,
            )
        except BaseException:
            if embedded is not None:
                await embedded.aclose()
            raise
        return cls(link, embedded)

    @classmethod
    async def of(cls, settings: Settings) -> "SharedRedis":
        """Open the Redis of the settings: the one of the conversations."""
        return await cls.open(
            settings.redis_url.get_secret_value() if settings.redis_url else None,
            folder=settings.library.expanduser().absolute() / "redis",
            fsync=settings.redis_fsync,
        )

    @property
    def client(self) -> Redis:
        """The client, for what is to be built around it; use it only inside of :meth:`write`."""
        return self._link.client

    async def read(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """Do ``work``, which may be done twice, once more if an embedded server had died."""
        try:
            return await self.write(work)
        except HistoryUnavailable as error:
            if self._embedded is None or not is_gone(error):
                raise
        return await self._link.run(work)

    async def write(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """Do ``work`` once. An embedded server that has died is started for the next call."""
        try:
            return await self._link.run(work)
        except HistoryUnavailable as error:
            if self._embedded is not None and is_gone(error):
                await asyncio.to_thread(self._embedded.revive)
            raise

    async def aclose(self) -> None:
        """Close the connections, and leave an embedded server."""
        await self._link.aclose()
        if self._embedded is not None:
            await self._embedded.aclose()

    async def __aenter__(self) -> "SharedRedis":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
