"""Has what crashes left behind removed, once an hour, off every caller's path.

A process that dies between noting a hold of a picture and storing its turn, or between removing a
conversation and letting go of its pictures, leaves bytes that nobody refers to
(``memory/pictures.py``); so does a caller who is cut off meanwhile. All processes of a tenant agree
by one key which of them sweeps. Nothing of this fails a caller: what goes wrong is logged, and the
next hour tries again. Knows nothing of what is swept.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from memory.client import Link
from memory.errors import HistoryError
from memory.records import sweep_key

AFTER = 60.0  #: seconds from opening to the first sweep: a command that ends sooner does none
EVERY = 3600  #: seconds from one sweep of a tenant to the next

#: KEYS: who sweeps. ARGV: seconds until the next may. Returns 1 for the one that may now. A full
#: server refuses SET, but not a script that begins with a removal (here of what is not there).
CLAIM = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
return 1
"""

_log = logging.getLogger(__name__)


class Sweeper:
    """Calls ``sweep`` for a tenant ``after`` seconds from :meth:`start`, and then every hour, if no
    other process of the tenant did. Belongs to the event loop that starts it."""

    def __init__(
        self, link: Link, tenant: str, sweep: Callable[[], Awaitable[int]], after: float = AFTER
    ) -> None:
        self._link = link
        self._key = sweep_key(tenant)
        self._sweep = sweep
        self._after = after
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait for the first sweep."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await asyncio.sleep(self._after)
        while True:
            await self.once()
            await asyncio.sleep(EVERY * random.uniform(1.0, 1.1))

    async def once(self) -> int | None:
        """Sweep, and return how many pictures' bytes went; ``None`` when another process did within
        the hour, or when it failed."""
        try:
            if not await self._link.write(self._claim):
                return None
            removed = await self._sweep()
        except HistoryError as error:
            _log.warning("what crashes left behind was not swept: %s", error)
            return None
        except Exception as error:  # whatever it is, conversations go on; its words may be secret
            _log.warning("what crashes left behind was not swept: %s", type(error).__name__)
            return None
        if removed:
            _log.info("%d pictures that no conversation has were swept", removed)
        return removed

    async def _claim(self, client: Any) -> bool:
        return bool(await client.eval(CLAIM, 1, self._key, EVERY))

    async def aclose(self) -> None:
        """Stop; no task is left. A sweep that is under way ends where it is, and harms nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
