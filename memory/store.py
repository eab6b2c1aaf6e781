"""What every part of a history works with: a tenant's keys, the way to its Redis, its settings.

Knows nothing of what is written or read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from redis import exceptions as rx
from redis.asyncio import Redis

from memory.claims import DAY, LEASE
from memory.client import Link
from memory.embedded import EmbeddedRedis
from memory.errors import HistoryUnavailable
from memory.pictures import PictureStore
from memory.records import conversation_key

T = TypeVar("T")

#: What a conversation has on its slot; ``lease`` and ``keys`` are ``memory/lease.py``'s
PARTS = ("turns", "pictures", "meta", "keys")


@dataclass(frozen=True, slots=True)
class Store:
    """One tenant's place in one Redis. ``lease`` and ``remember`` are seconds: how long a turn's
    claim holds without being renewed, and how long an idempotency key is known."""

    tenant: str
    link: Link
    embedded: EmbeddedRedis | None
    pictures: PictureStore
    lease: float = LEASE
    remember: float = DAY

    def key(self, conversation: str, part: str) -> str:
        """Return the key of a conversation's part."""
        return conversation_key(self.tenant, conversation, part)

    async def read(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """Do ``work``, which may be done twice, once more if an embedded server had died."""
        try:
            return await self.write(work)
        except HistoryUnavailable as error:
            if self.embedded is None or not _is_gone(error):
                raise
        return await self.link.run(work)

    async def write(self, work: Callable[[Redis], Awaitable[T]], limit: float | None = None) -> T:
        """Do ``work``. An embedded server that has died is started again for the next call."""
        try:
            return await self.link.run(work, limit)
        except HistoryUnavailable as error:
            if self.embedded is not None and _is_gone(error):
                await asyncio.to_thread(self.embedded.revive)
            raise


def _is_gone(error: HistoryUnavailable) -> bool:
    cause = error.__cause__
    return isinstance(cause, rx.ConnectionError) and not isinstance(
        cause, rx.AuthenticationError | rx.BusyLoadingError | rx.MaxConnectionsError
    )
