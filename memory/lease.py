"""One turn at a time: the lease of a conversation, and the keys that make a repeat no second turn.

A lease is a key that expires; whoever sets it may take the turn, and renews it while the turn
runs. With it comes a *token*, a number that only grows (``fence`` in the conversation's ``meta``).
A holder that was stopped past its lease cannot know that another took over: so it is the store
that checks, in the transaction that saves, that no later token was given (``memory/writes.py``).

An *idempotency key* is noted with a fingerprint of its question, first as under way, for as long
as the lease is its turn's, and then (in the transaction that saves) as done, for a day. All of
this lies on the conversation's own slot, and is taken, renewed and given back by three scripts of
one round trip each. Knows nothing of how a turn is stored.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from memory import assembly
from memory.claims import Claim, Once, reused
from memory.edits import turn_not_found
from memory.errors import ConversationBusy, HistoryUnavailable, TurnInFlight
from memory.messages import Conversation, Turn
from memory.reads import find_turn, loaded, queue_load
from memory.store import Store

# KEYS: lease, meta, keys. ARGV: turn, lease (ms), key or '', fingerprint, memory of keys (ms).
# A record of a key is "UNTIL(ms) FINGERPRINT TURN flight|done". What is past its time is removed a
# few at a time. The token begins at the clock (us), so that it grows also after a forgetting.
ACQUIRE = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local holder = redis.call('GET', KEYS[1])
if ARGV[3] ~= '' then
  local seen = redis.call('HGET', KEYS[3], ARGV[3])
  if seen then
    local till, print, turn, state = string.match(seen, '^(%d+) (%x+) (.+) (%a+)$')
    if till and tonumber(till) > now and turn ~= ARGV[1]
        and (state == 'done' or holder == turn) then
      if print ~= ARGV[4] then return {'reused', turn} end
      return {state, turn, redis.call('PTTL', KEYS[1])}
    end
  end
end
if holder and holder ~= ARGV[1] then return {'busy', '', redis.call('PTTL', KEYS[1])} end
local last = tonumber(redis.call('HGET', KEYS[2], 'fence')) or 0
local token = string.format('%.0f', math.max(last + 1, t[1] * 1000000 + t[2]))
local fresh = redis.call('EXISTS', KEYS[2]) == 0
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], 'fence', token)
if fresh then redis.call('PEXPIRE', KEYS[2], 86400000) end
if ARGV[3] ~= '' then
  local till = string.format('%.0f', now + ARGV[5])
  redis.call('HSET', KEYS[3], ARGV[3], till .. ' ' .. ARGV[4] .. ' ' .. ARGV[1] .. ' flight')
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
  local some = redis.call('HRANDFIELD', KEYS[3], 4, 'WITHVALUES')
  for i = 1, #some, 2 do
    local till = string.match(some[i + 1], '^(%d+) ')
    if not till or tonumber(till) < now then redis.call('HDEL', KEYS[3], some[i]) end
  end
end
return {'taken', token, 0}
"""

# KEYS: lease, meta. ARGV: turn, lease (ms), token.
RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if holder or redis.call('HGET', KEYS[2], 'fence') ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# KEYS: lease, keys. ARGV: turn, key or ''. What was done stays.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
if ARGV[2] ~= '' then
  local seen = redis.call('HGET', KEYS[2], ARGV[2])
  local turn, state = string.match(seen or '', '^%d+ %x+ (.+) (%a+)$')
  if turn == ARGV[1] and state == 'flight' then redis.call('HDEL', KEYS[2], ARGV[2]) end
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """The next turn of one conversation, under the id ``turn``, to be claimed.

    ``last`` is how many of its turns are loaded with it, ``wait`` for how many seconds it waits
    for another turn, ``again`` the id of the turn that is answered again.
    """

    store: Store
    conversation: str
    turn: str
    last: int | None = None
    wait: float = 0.0
    once: Once | None = None
    again: str | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Claim]:
        """Take it, renew it until the end, and give it back unless saving did so."""
        claim = await self._take()
        if claim.answered is not None:
            yield claim
            return
        renewing = asyncio.create_task(self._renew(claim))
        try:
            if self.again is not None:
                self._go_back(claim, self.again)
            yield claim
        finally:
            renewing.cancel()
            if not claim.saved:
                with contextlib.suppress(HistoryUnavailable):  # it ends by itself
                    await self._release()

    def _go_back(self, claim: Claim, turn: str) -> None:
        found = assembly.until(claim.conversation, turn, self.last)
        if found is None:
            raise turn_not_found(self.conversation, turn)
        claim.conversation, claim.again, claim.own = found

    async def _take(self) -> Claim:
        clock = asyncio.get_running_loop().time
        until, pause = clock() + self.wait, 0.01
        while True:
            reply, conversation = await self._acquire()
            try:
                said, value = _verdict(reply, self.conversation)
            except TurnInFlight:
                raise
            except ConversationBusy:
                if clock() >= until:
                    raise
                await asyncio.sleep(pause)
                pause = min(0.25, pause * 1.5)
                continue
            if said == "taken":
                return Claim(self.turn, conversation, value, self.once)
            answered = await self._find(value)
            if answered is not None:
                return Claim(self.turn, conversation, answered=answered)
            await self._free()  # it was deleted since

    async def _acquire(self) -> tuple[Sequence[Any], Conversation]:
        """Return what the script said, and the conversation: one round trip."""
        remember = int(self.store.remember * 1000)
        key, body = (self.once.key, self.once.body) if self.once else ("", "")

        async def work(client: Any) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            keys = self._keys("lease", "meta", "keys")
            pipe.eval(ACQUIRE, 3, *keys, self.turn, self._lasts, key, body, remember)
            last = self.last if self.again is None else None
            queue_load(pipe, self.store, self.conversation, last)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            return replies

        reply, *replies = await self.store.link.read(work)
        if isinstance(reply, Exception):
            replies = [reply]
        found, _ = loaded(self.store, self.conversation, replies)
        return reply, found

    async def _find(self, turn: str) -> Turn | None:
        key = self.store.key(self.conversation, "turns")
        _, found = await self.store.link.read(lambda client: find_turn(client, key, turn))
        return found

    async def _free(self) -> None:
        assert self.once is not None
        (keys,), field = self._keys("keys"), self.once.key

        async def work(client: Any) -> None:
            await client.hdel(keys, field)

        await self.store.link.write(work)

    async def _renew(self, claim: Claim) -> None:
        keys = self._keys("lease", "meta")

        async def work(client: Any) -> Any:
            return await client.eval(RENEW, 2, *keys, self.turn, self._lasts, claim.token)

        while True:
            await asyncio.sleep(self.store.lease / 3)
            with contextlib.suppress(HistoryUnavailable):
                if not await self.store.link.write(work):
                    return  # lost: saving will say so

    async def _release(self) -> None:
        keys, key = self._keys("lease", "keys"), self.once.key if self.once else ""

        async def work(client: Any) -> None:
            await client.eval(RELEASE, 2, *keys, self.turn, key)

        await self.store.link.write(work)

    def _keys(self, *parts: str) -> list[str]:
        return [self.store.key(self.conversation, part) for part in parts]

    @property
    def _lasts(self) -> int:
        """How long the lease holds (ms)."""
        return int(self.store.lease * 1000)


def _verdict(reply: Sequence[Any], conversation: str) -> tuple[str, str]:
    """Return what :data:`ACQUIRE` said: ``taken`` and the token, or ``done`` and the turn.

    Raises ``ConversationBusy``, ``TurnInFlight`` or ``KeyReused``.
    """
    said, value = reply[0].decode(), reply[1].decode()
    if said == "reused":
        raise reused()
    if said in ("busy", "flight"):
        wait = max(1, math.ceil(int(reply[2]) / 1000))
        if said == "flight":
            raise TurnInFlight(
                f"this question is being answered already: ask for its answer again in {wait} s",
                wait,
            )
        raise ConversationBusy(
            f"conversation {conversation!r} is busy with another turn: try again in {wait} s", wait
        )
    return said, value
