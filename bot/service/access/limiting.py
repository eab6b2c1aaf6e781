"""How much a key may ask: a rate for requests, and a budget of turns for a day.

Knows nothing of HTTP. The counting is the ``limits`` library's, in the Redis that all processes
share, by its scripts: two processes never both take the last place. A rate is a sliding window (two
counters a key, whatever the rate; a burst at the end of a minute is remembered in the next), the
budget a fixed one: a day begins with its first turn. Redis' clock counts, not a process's.
"""

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from limits import RateLimitItem, RateLimitItemPerDay, parse_many
from limits.aio.storage import RedisStorage
from limits.aio.strategies import (
    FixedWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)
from redis.asyncio import Redis

from bot.errors import AccessError
from bot.service.access.rights import Access
from bot.service.stores.shared_redis import SharedRedis

PREFIX = "bifocal:limits"
RATE = "120/minute"  #: of a key that has none of its own
LONGEST = 366 * 86_400  #: seconds of a rate's window at most
MOST = 10**9  #: requests in it at most

Which = Literal["rate", "turns"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something is allowed. ``limit`` and ``remaining`` are ``None`` without a limit.

    ``reset_seconds`` says when there is more again, at the earliest: 1 or more where there is a
    limit, 0 where there is none.
    """

    allowed: bool
    limit: int | None
    remaining: int | None
    reset_seconds: int
    which: Which


@lru_cache(1024)
def read_rate(rate: str) -> RateLimitItem:
    """Return what ``60/minute`` or ``5 per 10 seconds`` means; raises ``AccessError``."""
    try:
        if len(rate) > 40:
            raise ValueError
        (item,) = parse_many(rate)
    except ValueError:
        shown = repr(rate if len(rate) <= 40 else rate[:40] + "…")
        raise AccessError(
            f"rate {shown}: give one such as 60/minute, 5/second or 1000/day"
        ) from None
    if not 1 <= item.amount <= MOST or item.get_expiry() > LONGEST:
        raise AccessError(f"rate {rate!r}: give 1 to {MOST}, in a year at most")
    return item


class Limiter:
    """Counts in Redis. ``rate`` and ``turns_per_day`` are for keys that have none of their own.

    Raises ``HistoryUnavailable`` when Redis cannot say: nothing is allowed unseen.
    """

    def __init__(
        self, redis: SharedRedis, rate: str = RATE, turns_per_day: int | None = None
    ) -> None:
        read_rate(rate)
        self._redis = redis
        self._rate = rate
        self._turns_per_day = turns_per_day
        storage = _Storage(redis.client)
        self._rates = SlidingWindowCounterRateLimiter(storage)
        self._budgets = FixedWindowRateLimiter(storage)

    async def hit_request(self, access: Access, cost: int = 1) -> Verdict:
        """Count a request, or one that is worth ``cost``. What is refused is not counted."""
        if not access.key_id:
            return Verdict(True, None, None, 0, "rate")
        item = read_rate(access.rate or self._rate)
        return await self._hit(self._rates, item, access, "rate", cost)

    async def hit_turn(self, access: Access) -> Verdict:
        """Count a turn against the budget of the day."""
        budget = access.turns_per_day or self._turns_per_day
        if not access.key_id or budget is None:
            return Verdict(True, None, None, 0, "turns")
        return await self._hit(self._budgets, RateLimitItemPerDay(budget), access, "turns", 1)

    async def _hit(
        self, limiter: RateLimiter, item: RateLimitItem, access: Access, which: Which, cost: int
    ) -> Verdict:
        names = (which, access.key_id)

        async def work(_: Redis) -> Verdict:
            allowed = await limiter.hit(item, *names, cost=cost)
            ends, left = await limiter.get_window_stats(item, *names)
            # the library says 0 in the first millisecond of a sliding window
            seconds = max(1, math.ceil(ends - time.time()))
            return Verdict(allowed, item.amount, left, seconds, which)

        return await self._redis.write(work)


class _Storage(RedisStorage):
    """The library's storage on a client that there is: its own takes neither our addresses of
    clusters and Sentinels, nor what is known here about connections that fail."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        super().__init__("redis://", implementation="redispy", key_prefix=PREFIX)

    def configure_bridge(self) -> None:
        """Put the client where the library would put one of its own."""
        bridge: Any = self.bridge
        bridge.storage = self._client
        bridge.connection_getter = lambda readonly: self._client
