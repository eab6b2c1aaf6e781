"""Messages of a channel, stored before they are acknowledged, and answered once.

A message has one id or several (an event's, and the place where it was written); it is taken by
the first process that sees any of them, and remembered for a day. Messages of one line (a
conversation) are worked at in the order in which they were taken, whichever processes took them:
only the first of a line has an owner, and whoever is done with it goes on with the next. The owner
holds a lease that is renewed until it is done; when its process dies the lease lapses, and another
one takes the message up. A message that is about an earlier one (an edit, a deletion) tells the
owner of that, so that it need not be finished. All keys of a channel share a hash tag, hence one
slot of a cluster. Knows nothing of what a message holds.

    bifocal:x:{CHANNEL}:seen:ID   the token of the last message that has this id; expires
    bifocal:x:{CHANNEL}:messages  hash: token -> the message
    bifocal:x:{CHANNEL}:leases    sorted set: token of the first of a line by the time (ms) at which
                                  its lease lapses
    bifocal:x:{CHANNEL}:state     hash: owner:TOKEN, tries:TOKEN, note:TOKEN, withdrawn:TOKEN;
                                  line:TOKEN, next:TOKEN (of its line), last:LINE (its last token)
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from bot.channels import inbox_scripts as scripts
from bot.service.stores.shared_redis import SharedRedis
from memory.errors import HistoryUnavailable
from memory.records import encode_name

LEASE = 15.0  #: seconds for which a message is its process's without being renewed
LOOK = 1.0  #: seconds after which a process sees what another one took about its messages
DAY = 86_400.0  #: seconds for which ids are remembered
MOST_BYTES = 64 * 1024 * 1024  #: of one message
MOST_WAITING = 10_000  #: messages of a channel that are not done


@dataclass(slots=True, eq=False)
class Taken:
    """A message that was stored.

    ``waits`` says that it stands behind another one of its line: whoever is done with that gets it
    (:meth:`Inbox.done`). Otherwise it is this process's to answer. ``tries`` counts the processes
    that began with it, this one too. ``note`` is what one of them noted (:meth:`Inbox.note`).
    ``withdrawn`` is set when a later message is about it: it was edited or deleted. ``age`` is for
    how long, in seconds, it was waiting when this process got it. ``lost`` turns true when this
    process stood still for so long that another one took it up.
    """

    token: str
    message: bytes = field(repr=False)
    tries: int = 1
    note: bytes = b""
    waits: bool = False
    age: float = 0.0
    lost: bool = False
    withdrawn: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


class Lost(Exception):
    """A message is another process's by now: this one stood still for too long."""


class Inbox:
    """The messages of one channel, shared by all processes. An asynchronous context manager.

    Every method raises ``HistoryUnavailable`` while Redis is down, :meth:`left_behind` waits.
    """

    def __init__(
        self,
        redis: SharedRedis,
        channel: str,
        *,
        lease: float = LEASE,
        remember: float = DAY,
        most: int = MOST_WAITING,
    ) -> None:
        self._redis, self._tag = redis, f"bifocal:x:{{{encode_name(channel)}}}"
        self._lease, self._remember, self._most = lease, int(remember * 1000), most
        self._owner = secrets.token_hex(8)
        self._held: dict[str, Taken] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._tasks = {asyncio.create_task(work) for work in (self._renew(), self._look())}
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop renewing, and let others take up at once what is not done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.let_go(*self._held.values())

    async def take(
        self, ids: Sequence[str], message: bytes, *, line: str = "", about: str | None = None
    ) -> Taken | None:
        """Store a message and return it; ``None`` when one of its ids was seen before.

        ``line`` is what it is worked at in order with; without one it stands alone. ``about`` is
        the id of an earlier message that it edits or deletes: that one is withdrawn, or, if it
        comes only later, was seen before.

        The message may be acknowledged then. When this raises, it may be stored or not: let it be
        delivered again; stored, it is taken up like one that was left behind.
        """
        if len(message) > MOST_BYTES:
            raise ValueError(f"a message of {len(message):,} bytes, the most is {MOST_BYTES:,}")
        token = secrets.token_hex(16)
        keys = [*self._keys("messages", "leases", "state"), *map(self._seen, ids)]
        if about is not None:
            keys.append(self._seen(about))
        args = (token, message, self._owner, self._ms, self._remember, self._most)

        async def work(client: Any) -> Any:
            found = (line or token, len(ids))
            return await client.eval(scripts.TAKE, len(keys), *keys, *args, *found)

        said, earlier = await self._redis.write(work)
        if said < 0:
            raise HistoryUnavailable(f"{self._most} messages wait already; try again later")
        if not said:
            return None
        if (before := self._held.get(earlier.decode())) is not None:
            before.withdrawn.set()
        taken = Taken(token, message, waits=said == 2)
        return taken if taken.waits else self._hold(taken)

    async def waiting(self, id: str) -> bytes | None:
        """Return the last message that has an id or is about it, if it is not done."""
        (messages,) = self._keys("messages")

        async def work(client: Any) -> bytes | None:
            token = await client.get(self._seen(id))
            found: bytes | None = await client.hget(messages, token) if token else None
            return found

        return await self._redis.read(work)

    async def done(self, taken: Taken) -> Taken | None:
        """Remove a message that was answered, unless it is another process's by now; return the
        next one of its line, which is this process's then."""
        keys = self._keys("messages", "leases", "state")
        args = (self._owner, taken.token, self._ms)

        async def work(client: Any) -> Any:
            return await client.eval(scripts.DONE, len(keys), *keys, *args)

        found = await self._redis.read(work)  # done twice, the next one is taken up by its lease
        self._held.pop(taken.token, None)
        return self._given(found) if found else None

    async def note(self, taken: Taken, note: bytes) -> bool:
        """Keep a few bytes with a message, such as where its answer is shown, for whoever takes
        it up after a crash; false when it is another process's by now."""
        (key,) = self._keys("state")

        async def work(client: Any) -> int:
            args = (self._owner, taken.token, note)
            return int(await client.eval(scripts.NOTE, 1, key, *args))

        taken.note = note
        return bool(await self._redis.read(work))

    async def give_back(self, taken: Taken, after: float = 0.0) -> None:
        """Let any process take a message up again, after some seconds; its line waits for it."""
        self._held.pop(taken.token, None)
        await self._extend([taken.token], int(after * 1000))

    async def let_go(self, *taken: Taken, after: float = 0.0) -> None:
        """Let any process take messages up after some seconds, as if this one had not begun with
        them."""
        tokens = [one.token for one in taken if self._held.pop(one.token, None)]
        keys = self._keys("leases", "state")

        async def work(client: Any) -> None:
            await client.eval(
                scripts.LET_GO, len(keys), *keys, self._owner, int(after * 1000), *tokens
            )

        if tokens:
            with contextlib.suppress(HistoryUnavailable):  # the leases lapse by themselves
                await self._redis.write(work)

    async def take_up(self) -> Taken | None:
        """Take a message whose lease lapsed, if there is one."""
        keys = self._keys("messages", "leases", "state")

        async def work(client: Any) -> Any:
            return await client.eval(scripts.TAKE_UP, len(keys), *keys, self._owner, self._ms)

        found = await self._redis.write(work)
        if not found or found[0].decode() in self._held:  # its lease lapsed while Redis was down
            return None
        return self._given(found)

    async def left_behind(self) -> AsyncIterator[Taken]:
        """Yield messages whose process died, for ever; waits for them, and while Redis is down."""
        while True:
            taken: Taken | None = None
            with contextlib.suppress(HistoryUnavailable):
                taken = await self.take_up()
            if taken is None:
                await asyncio.sleep(self._lease / 3)
            else:
                yield taken

    def _given(self, found: Sequence[Any]) -> Taken:
        """Return and hold what a script gave to this process."""
        token, message, tries, note, withdrawn, age = found
        taken = Taken(token.decode(), message, int(tries), note, age=int(age) / 1000)
        if withdrawn:
            taken.withdrawn.set()
        return self._hold(taken)

    def _hold(self, taken: Taken) -> Taken:
        self._held[taken.token] = taken
        return taken

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            with contextlib.suppress(HistoryUnavailable):
                for token in await self._extend(list(self._held), self._ms):
                    if taken := self._held.pop(token, None):
                        taken.lost = True

    async def _look(self) -> None:
        """Learn which messages were withdrawn through other processes."""
        (state,) = self._keys("state")
        while True:
            await asyncio.sleep(min(LOOK, self._lease / 3))
            if not self._held:
                continue
            held = list(self._held.values())
            fields = [f"withdrawn:{taken.token}" for taken in held]

            async def work(client: Any, fields: list[str] = fields) -> list[bytes | None]:
                return list(await client.hmget(state, fields))

            with contextlib.suppress(HistoryUnavailable):
                for taken, found in zip(held, await self._redis.read(work), strict=True):
                    if found:
                        taken.withdrawn.set()

    async def _extend(self, tokens: list[str], ms: int) -> list[str]:
        if not tokens:
            return []
        keys = self._keys("leases", "state")

        async def work(client: Any) -> list[bytes]:
            args = (self._owner, ms, *tokens)
            return list(await client.eval(scripts.RENEW, len(keys), *keys, *args))

        return [token.decode() for token in await self._redis.read(work)]

    def _keys(self, *parts: str) -> list[str]:
        return [f"{self._tag}:{part}" for part in parts]

    def _seen(self, id: str) -> str:
        return f"{self._tag}:seen:{encode_name(id)}"

    @property
    def _ms(self) -> int:
        return int(self._lease * 1000)
