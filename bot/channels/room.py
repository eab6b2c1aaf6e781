"""Room in memory for what waits to be answered. Knows nothing of what lies in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Room for ``most`` bytes at a time; who asks first gets it first.

    What needs more than all of it is let in alone.
    """

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._first, self._freed = asyncio.Lock(), asyncio.Event()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Wait for room for some bytes, and keep it until this is left; none is had at once."""
        size = min(size, self._most)
        if size > 0:
            async with self._first:  # nobody overtakes who needs much
                while self._taken + size > self._most:
                    self._freed.clear()
                    await self._freed.wait()
                self._taken += size
        try:
            yield
        finally:
            if size > 0:
                self._taken -= size
                self._freed.set()
