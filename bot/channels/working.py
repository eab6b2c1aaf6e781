"""Works through an inbox, and remembers what became of its messages.

Knows nothing of any channel, nor of bots: a channel gives the work to be done with a message.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from bot.channels.inbox import Inbox, Lost, Taken
from bot.service.observability import logs
from bot.service.stores.shared_redis import SharedRedis
from memory.errors import HistoryUnavailable
from memory.records import encode_name

TRIES = 5  #: processes that begin with a message before it is given up
AGAIN = 5.0  #: seconds until a message whose work failed is tried again
LATEST = 3600.0  #: seconds after which an answer is not waited for any longer
MOST_KEPT = 90 * 86_400.0  #: seconds for which turns of messages are known, at most
MOST_MESSAGES = 4000  #: of one conversation that are known, the last ones

Work = Callable[[Taken], Awaitable[None]]


class Unreachable(Exception):
    """The channel cannot be reached now: what was to be done is done when it can."""


class InOrder:
    """A lock for each name, taken in the order of asking; a name nobody waits for costs nothing."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._wanted: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait until everybody who asked for ``name`` before is through."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._wanted[name] += 1
        try:
            async with lock:
                yield
        finally:
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name], self._locks[name]


class Worker:
    """Does ``work`` with every message of an inbox. An asynchronous context manager.

    ``at_once`` turns run at a time, given that ``work`` hands :attr:`places` on to
    ``delivery.answer``. A message whose work raises is tried again after a while, by any process,
    and given up after :data:`TRIES`; ``work`` may look at ``taken.tries`` to say so on the last.
    Where it raises ``Unreachable``, that is no try, for an hour.
    """

    def __init__(
        self, inbox: Inbox, work: Work, *, at_once: int = 16, again: float = AGAIN
    ) -> None:
        self._inbox, self._work, self._again = inbox, work, again
        self.places = asyncio.Semaphore(at_once)  #: for turns, see ``delivery.answer``
        self._tasks: dict[asyncio.Task[None], Taken] = {}
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *error: object) -> None:
        """End; what is not done is taken up elsewhere, or after the next start."""
        assert self._looking is not None
        tasks = dict(self._tasks)
        for task in (self._looking, *tasks):
            task.cancel()
        await asyncio.wait({self._looking, *tasks})
        await self._inbox.let_go(*(taken for task, taken in tasks.items() if task.cancelled()))

    def begin(self, taken: Taken) -> None:
        """Have a message worked at, soon, unless it waits: then its turn comes by itself."""
        if taken.waits:
            return
        task = asyncio.create_task(self._do(taken))
        self._tasks[task] = taken
        task.add_done_callback(self._tasks.pop)

    async def idle(self) -> None:
        """Wait until nothing that was begun is under way."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _look(self) -> None:
        async for taken in self._inbox.left_behind():
            self.begin(taken)

    async def _do(self, taken: Taken) -> None:
        if await self._tried(taken):
            await self._end(taken)

    async def _tried(self, taken: Taken) -> bool:
        """Work at a message; false when it was given back, to be tried again."""
        try:
            if taken.tries > TRIES:
                logs.tell("a message ended so many processes that it is given up")
            elif not taken.lost:
                await self._work(taken)
        except Lost:
            logs.tell("a message was taken up by another process", level="warning")
        except Exception as error:  # whatever a channel's client raises
            if isinstance(error, Unreachable) and taken.age < LATEST:
                logs.tell("the channel cannot be reached; trying again", level="warning")
                await self._inbox.let_go(taken, after=self._again)
                return False
            logs.tell("a message could not be answered", level="error", error=error)
            if taken.tries < TRIES:
                with contextlib.suppress(HistoryUnavailable):  # its lease lapses by itself
                    await self._inbox.give_back(taken, self._again)
                return False
        return True

    async def _end(self, taken: Taken) -> None:
        """Remove a message, when Redis is back if it is down: its lease is renewed until then."""
        while True:
            with contextlib.suppress(HistoryUnavailable):
                if (after := await self._inbox.done(taken)) is not None:
                    self.begin(after)
                return
            await asyncio.sleep(self._again)


class Turns:
    """Which turn a message of a channel is, and which conversation it belongs to.

    Both the question's message and the answer's are remembered, so that memory follows edits and
    deletions, and feedback and replies find what they are about. ``lifetime`` is that of turns, in
    seconds, 90 days unless set; of one conversation the ``most`` last messages are remembered.

        bifocal:x:{CHANNEL/CONVERSATION}:turns  hash: message -> turn; expires
        bifocal:x:{CHANNEL/CONVERSATION}:since  sorted set: those messages by the time (s) at which
                                                they were saved; expires
        bifocal:x:{CHANNEL#MESSAGE}:of          the conversation of a message; expires
    """

    def __init__(
        self,
        redis: SharedRedis,
        channel: str,
        lifetime: float | None = None,
        *,
        most: int = MOST_MESSAGES,
    ) -> None:
        self._redis, self._channel, self._most = redis, encode_name(channel), most
        self._ms = int(min(lifetime or MOST_KEPT, MOST_KEPT) * 1000)

    async def save(self, conversation: str, turn: str, *messages: str) -> None:
        """Remember that these messages are a turn of a conversation."""
        key, since = self._turns(conversation), self._since(conversation)

        async def work(client: Any) -> None:
            await client.zadd(since, dict.fromkeys(messages, time.time()))
            await client.hset(key, mapping=dict.fromkeys(messages, turn))
            await client.pexpire(since, self._ms)
            await client.pexpire(key, self._ms)
            if old := await client.zrange(since, 0, -self._most - 1):
                await client.hdel(key, *old)
                await client.zrem(since, *old)
                for name in old:
                    await client.delete(self._of(name.decode()))
            for message in messages:
                await client.set(self._of(message), conversation, px=self._ms)

        await self._redis.read(work)  # it may be done twice

    async def turn(self, conversation: str, message: str) -> str | None:
        """Return the id of the turn that a message is, if it is one."""
        key = self._turns(conversation)

        async def work(client: Any) -> bytes | None:
            found: bytes | None = await client.hget(key, message)
            return found

        found = await self._redis.read(work)
        return found.decode() if found is not None else None

    async def messages(self, conversation: str, turn: str) -> list[str]:
        """Return the messages that are a turn: its question's and its answer's."""
        key = self._turns(conversation)

        async def work(client: Any) -> dict[bytes, bytes]:
            found: dict[bytes, bytes] = await client.hgetall(key)
            return found

        found = await self._redis.read(work)
        return [message.decode() for message, of in found.items() if of.decode() == turn]

    async def conversation(self, message: str) -> str | None:
        """Return the conversation to which a message belongs, if it is known."""

        async def work(client: Any) -> bytes | None:
            found: bytes | None = await client.get(self._of(message))
            return found

        found = await self._redis.read(work)
        return found.decode() if found is not None else None

    async def drop(self, conversation: str, message: str) -> None:
        """Forget a message: its turn was deleted."""

        async def work(client: Any) -> None:
            await client.hdel(self._turns(conversation), message)
            await client.zrem(self._since(conversation), message)
            await client.delete(self._of(message))

        await self._redis.read(work)

    async def forget(self, conversation: str) -> None:
        """Forget all messages of a conversation."""
        key = self._turns(conversation)

        async def work(client: Any) -> None:
            for message in await client.hkeys(key):
                await client.delete(self._of(message.decode()))
            await client.delete(key)
            await client.delete(self._since(conversation))

        await self._redis.read(work)

    def _turns(self, conversation: str) -> str:
        return f"bifocal:x:{{{self._channel}/{encode_name(conversation)}}}:turns"

    def _since(self, conversation: str) -> str:
        return f"bifocal:x:{{{self._channel}/{encode_name(conversation)}}}:since"

    def _of(self, message: str) -> str:
        return f"bifocal:x:{{{self._channel}#{encode_name(message)}}}:of"
