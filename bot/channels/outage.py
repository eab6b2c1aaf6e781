"""Waits while a served bot is away: what came in meanwhile is done when it is back.

Knows nothing of what is done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.errors import KNOWN_ERRORS, ServiceError

LONGEST = 86_400.0  #: seconds for which it is waited: keys of questions are known for a day
PAUSE, LONGEST_PAUSE = 1.0, 15.0  #: seconds between two tries, the first and the last

T = TypeVar("T")


def is_away(error: BaseException) -> bool:
    """Tell whether an error says that the service is not there now."""
    return isinstance(error, ServiceError) and error.away


class Outage:
    """The time for which a service is away, as one piece of work sees it."""

    def __init__(self) -> None:
        self._pause, self._waited = PAUSE, 0.0

    async def wait(self) -> bool:
        """Wait for a while; false where it has lasted too long to wait any more."""
        if self._waited >= LONGEST:
            return False
        await asyncio.sleep(self._pause)
        self._waited += self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return True


async def when_there(work: Callable[[], Awaitable[T]]) -> T:
    """Do what may be done twice, and return what it returns; while the service is away, wait."""
    outage = Outage()
    while True:
        try:
            return await work()
        except KNOWN_ERRORS as error:
            if not is_away(error) or not await outage.wait():
                raise
