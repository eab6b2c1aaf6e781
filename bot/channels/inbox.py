"""Messages of a channel, stored before they are acknowledged, and answered once.

A message has one id or several (an event's, and the place where it was written); it is taken by
the first process that sees any of them, and remembered for a day. Who takes it holds a lease that
is renewed until it is done; when its process dies the lease lapses, and another one takes the
message up. All keys of a channel share a hash tag, hence one slot of a cluster. Knows nothing of
what a message holds.

    bifocal:x:{CHANNEL}:seen:ID   the token of a message that has this id; expires
    bifocal:x:{CHANNEL}:messages  hash: token -> the message
    bifocal:x:{CHANNEL}:leases    sorted set: token by the time (ms) at which its lease lapses
    bifocal:x:{CHANNEL}:state     hash: owner:TOKEN, tries:TOKEN, note:TOKEN
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from bot.service.stores.shared_redis import SharedRedis
from memory.errors import HistoryUnavailable
from memory.records import encode_name

LEASE = 15.0  #: seconds for which a message is its process's without being renewed
DAY = 86_400.0  #: seconds for which ids are remembered
MOST_BYTES = 64 * 1024 * 1024  #: of one message
MOST_WAITING = 10_000  #: messages of a channel that are not done

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000);"
# KEYS: messages, leases, state, seen … ARGV: token, message, owner, lease (ms), day (ms), most
_TAKE = f"""{_NOW}
local known = false
for i = 4, #KEYS do known = known or redis.call('EXISTS', KEYS[i]) == 1 end
if not known and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[6]) then return -1 end
for i = 4, #KEYS do redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[5], 'NX') end
if known then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[4]), ARGV[1])
redis.call('HSET', KEYS[3], 'owner:' .. ARGV[1], ARGV[3], 'tries:' .. ARGV[1], 1)
return 1
"""
# KEYS: messages, leases, state. ARGV: owner, lease (ms). The message whose lease lapsed first.
_TAKE_UP = f"""{_NOW}
while true do
  local found = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)
  if #found == 0 then return false end
  local token = found[1]
  local message = redis.call('HGET', KEYS[1], token)
  if message then
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[2]), token)
    redis.call('HSET', KEYS[3], 'owner:' .. token, ARGV[1])
    local tries = redis.call('HINCRBY', KEYS[3], 'tries:' .. token, 1)
    return {{token, message, tries, redis.call('HGET', KEYS[3], 'note:' .. token) or ''}}
  end
  redis.call('ZREM', KEYS[2], token)
end
"""
# KEYS: leases, state. ARGV: owner, lease (ms), token … Returns the tokens that are another's now.
_RENEW = f"""{_NOW}
local lost = {{}}
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[2], 'owner:' .. ARGV[i]) == ARGV[1] then
    redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now + ARGV[2]), ARGV[i])
  else lost[#lost + 1] = ARGV[i] end
end
return lost
"""
# KEYS: messages, leases, state. ARGV: owner, token.
_DONE = """
if redis.call('HGET', KEYS[3], 'owner:' .. ARGV[2]) ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[3], 'owner:' .. ARGV[2], 'tries:' .. ARGV[2], 'note:' .. ARGV[2])
return 1
"""
# KEYS: leases, state. ARGV: owner, token, after (ms), what to add to the tries.
_GIVE_BACK = f"""{_NOW}
if redis.call('HGET', KEYS[2], 'owner:' .. ARGV[2]) ~= ARGV[1] then return 0 end
redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now + ARGV[3]), ARGV[2])
redis.call('HINCRBY', KEYS[2], 'tries:' .. ARGV[2], ARGV[4])
return 1
"""
# KEYS: state. ARGV: owner, token, note.
_NOTE = """
if redis.call('HGET', KEYS[1], 'owner:' .. ARGV[2]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'note:' .. ARGV[2], ARGV[3])
return 1
"""


@dataclass(slots=True, eq=False)
class Taken:
    """A message that is this process's to answer.

    ``tries`` counts the processes that began with it, this one too. ``note`` is what one of them
    noted (:meth:`Inbox.note`). ``lost`` turns true when this process stood still for so long that
    another one took it up.
    """

    token: str
    message: bytes = field(repr=False)
    tries: int = 1
    note: bytes = b""
    lost: bool = False


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
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop renewing, and let others take up at once what is not done."""
        assert self._renewing is not None
        self._renewing.cancel()
        await asyncio.wait({self._renewing})
        with contextlib.suppress(HistoryUnavailable):  # the leases lapse by themselves
            await self._extend(list(self._held), 0)

    async def take(self, ids: Sequence[str], message: bytes) -> Taken | None:
        """Store a message and return it; ``None`` when one of its ids was seen before.

        It may be acknowledged then. When this raises, it may be stored or not: let it be delivered
        again; stored, it is taken up like one that was left behind.
        """
        if len(message) > MOST_BYTES:
            raise ValueError(f"a message of {len(message):,} bytes, the most is {MOST_BYTES:,}")
        token = secrets.token_hex(16)
        keys = [*self._keys("messages", "leases", "state")]
        keys += [f"{self._tag}:seen:{encode_name(id)}" for id in ids]
        args = (token, message, self._owner, self._ms, self._remember, self._most)

        async def work(client: Any) -> int:
            return int(await client.eval(_TAKE, len(keys), *keys, *args))

        said = await self._redis.write(work)
        if said < 0:
            raise HistoryUnavailable(f"{self._most} messages wait already; try again later")
        return self._hold(Taken(token, message)) if said else None

    async def done(self, taken: Taken) -> bool:
        """Remove a message that was answered; false when it is another process's by now."""
        keys = self._keys("messages", "leases", "state")

        async def work(client: Any) -> int:
            return int(await client.eval(_DONE, len(keys), *keys, self._owner, taken.token))

        removed = await self._redis.read(work)  # it may be done twice
        self._held.pop(taken.token, None)
        return bool(removed)

    async def note(self, taken: Taken, note: bytes) -> bool:
        """Keep a few bytes with a message, such as where its answer is shown, for whoever takes
        it up after a crash; false when it is another process's by now."""
        (key,) = self._keys("state")

        async def work(client: Any) -> int:
            return int(await client.eval(_NOTE, 1, key, self._owner, taken.token, note))

        taken.note = note
        return bool(await self._redis.read(work))

    async def give_back(self, taken: Taken, after: float = 0.0, *, counted: bool = True) -> None:
        """Let any process take a message up again, after some seconds. Not ``counted``, this try
        is none: it was ended in good order."""
        self.let_lapse(taken)
        keys = self._keys("leases", "state")
        args = (self._owner, taken.token, int(after * 1000), 0 if counted else -1)

        async def work(client: Any) -> int:
            return int(await client.eval(_GIVE_BACK, len(keys), *keys, *args))

        await self._redis.write(work)

    def let_lapse(self, taken: Taken) -> None:
        """Renew a message's lease no more: any process takes it up when that has lapsed."""
        self._held.pop(taken.token, None)

    async def take_up(self) -> Taken | None:
        """Take a message whose lease lapsed, if there is one."""
        keys = self._keys("messages", "leases", "state")

        async def work(client: Any) -> Any:
            return await client.eval(_TAKE_UP, len(keys), *keys, self._owner, self._ms)

        found = await self._redis.write(work)
        if not found:
            return None
        token, message, tries, note = found
        if token.decode() in self._held:  # its lease lapsed while Redis was down: it goes on
            return None
        return self._hold(Taken(token.decode(), message, int(tries), note))

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

    async def _extend(self, tokens: list[str], ms: int) -> list[str]:
        if not tokens:
            return []
        keys = self._keys("leases", "state")

        async def work(client: Any) -> list[bytes]:
            return list(await client.eval(_RENEW, len(keys), *keys, self._owner, ms, *tokens))

        return [token.decode() for token in await self._redis.read(work)]

    def _keys(self, *parts: str) -> list[str]:
        return [f"{self._tag}:{part}" for part in parts]

    @property
    def _ms(self) -> int:
        return int(self._lease * 1000)
