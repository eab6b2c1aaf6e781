"""How many turns a process works at, and how many wait; more are told to come again.

Knows nothing of HTTP beyond the problem that it raises.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bot.service.flow.stopping import Stopping
from bot.service.http.problems import Problem


class Admission:
    """A bounded queue before the turns. Belongs to one event loop."""

    def __init__(
        self,
        at_once: int,
        waiting: int,
        stopping: Stopping,
        changed: Callable[["Admission"], None] = lambda _: None,
    ) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._at_once, self._most = at_once, waiting
        self.waiting = 0  #: turns that wait
        self.running = 0  #: turns that are worked at
        self.refused = 0  #: turns that were sent away so far
        self._usual = 1.0  #: seconds that a turn took lately
        self._stopping = stopping
        self._changed = changed  #: told whenever the counts are others

    @property
    def stopping(self) -> bool:
        """Whether no new turn is taken."""
        return self._stopping.begun.is_set()

    def check(self) -> None:
        """Raise what :meth:`turn` would raise now: cheap, before a request is read."""
        if self.stopping:
            raise Problem(503, "stopping", "the service is stopping; ask again", retry_after=5)
        if self._slots.locked() and self.waiting >= self._most:
            self.refused += 1
            told = f"{self.running} turns are under way and {self.waiting} wait; ask again later"
            raise Problem(503, "overloaded", told, retry_after=self.retry_after)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place and hold it. A problem of status 503 when too many wait already, or
        when the service is stopping."""
        self.check()
        self.waiting += 1
        self._changed(self)
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
            self._changed(self)
        self.running += 1
        self._changed(self)
        began = time.monotonic()
        try:
            yield
        finally:
            self.running -= 1
            self._changed(self)
            self._usual += 0.1 * (time.monotonic() - began - self._usual)
            self._slots.release()

    @property
    def retry_after(self) -> float:
        """Seconds until those who wait now will be through, by how long turns took lately."""
        return min(120.0, max(1.0, self._usual * (self.waiting + 1) / self._at_once))
