"""A stream of events in one event loop, pulled from ordinary code in another thread.

Knows nothing of turns.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from bot.events import Event


class Events:
    """A stream of events in the bot's event loop, pulled and ended from another thread."""

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._events = events
        self._pulling: asyncio.Task[Any] | None = None

    async def next(self) -> Event | None:
        """Return the next event, or ``None`` after the last one."""
        self._pulling = asyncio.current_task()
        try:
            return await anext(self._events, None)
        finally:
            self._pulling = None

    async def close(self) -> None:
        """End the stream; what is being waited for, after Ctrl-C, is cancelled."""
        if self._pulling is not None:
            self._pulling.cancel()
        while self._events.ag_running:  # type: ignore[attr-defined]  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.005)
        await self._events.aclose()
