"""What people said of answers, in Redis: one word a turn and sender.

It lies beside its conversation, as one of its parts (``memory/store.py``), so that it is gone in
the moment in which the conversation is, whoever forgets it. A sorted set for each tenant says when
what was said; entries in it that lead nowhere are removed when they are met. Knows nothing
of turns.

    bifocal:c:{TENANT:CONVERSATION}:feedback   hash: TURN/SENDER -> what was said, as JSON
    bifocal:{TENANT:feedback}                  sorted set: CONVERSATION/TURN/SENDER by time (s)
"""

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from memory.errors import FeedbackFull
from memory.records import conversation_key, decode_name, encode_name

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")

MOST = 5000  #: kept of one conversation
PAGE = 500  #: looked up at once

Rating = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said of an answer. ``at`` is in seconds since 1970."""

    conversation: str
    turn: str
    rating: Rating
    comment: str = ""
    sender: str = ""
    at: float = 0.0

    @property
    def field(self) -> str:
        """Its place among what was said of its conversation."""
        return f"{encode_name(self.turn)}/{encode_name(self.sender)}"

    @property
    def entry(self) -> str:
        """Its place among what was said to the tenant."""
        return f"{encode_name(self.conversation)}/{self.field}"


class Way(Protocol):
    """The way to a Redis."""

    async def read(self, work: "Callable[[Redis], Awaitable[T]]") -> T:
        """Do ``work``, which may be done twice."""
        ...

    async def write(self, work: "Callable[[Redis], Awaitable[T]]") -> T:
        """Do ``work`` once."""
        ...


class Feedback:
    """The feedback of all tenants. ``lifetime`` is that of turns in seconds, if they have one."""

    def __init__(self, redis: Way, lifetime: float | None = None) -> None:
        self._redis, self._lifetime = redis, lifetime

    async def save(self, tenant: str, said: Said) -> None:
        """Keep what was said, in place of what the same sender said of the turn before.

        ``FeedbackFull`` when the conversation has all that is kept.
        """
        key, value = _key(tenant, said.conversation), json.dumps(asdict(said))

        async def work(client: Any) -> bool:
            if await client.hlen(key) >= MOST and not await client.hexists(key, said.field):
                return False
            await client.zadd(_index(tenant), {said.entry: said.at})
            await client.hset(key, said.field, value)
            if self._lifetime is not None:
                await client.pexpire(key, max(1, int(self._lifetime * 1000)))
                await client.zremrangebyscore(_index(tenant), "-inf", time.time() - self._lifetime)
            return True

        if not await self._redis.write(work):
            raise FeedbackFull("this conversation has all the feedback that is kept; delete some")

    async def said(self, tenant: str, since: float, limit: int) -> list[Said]:
        """Return what was said after a time (s), the first first."""
        found: list[Said] = []
        start = f"({since!r}"
        passed = 0
        while len(found) < limit:

            async def work(client: Any, passed: int = passed) -> tuple[list[bytes], list[Any]]:
                entries = await client.zrangebyscore(
                    _index(tenant), start, "+inf", start=passed, num=PAGE
                )
                pipe = client.pipeline(transaction=False)
                for name, field in map(_parts, entries):
                    pipe.hget(_key(tenant, name), field)
                return entries, await pipe.execute() if entries else []

            entries, values = await self._redis.read(work)
            found += [Said(**json.loads(value)) for value in values if value is not None]
            gone = [e for e, value in zip(entries, values, strict=True) if value is None]
            await self._unlist(tenant, gone)
            passed += len(entries) - len(gone)
            if len(entries) < PAGE:
                break
        return found[:limit]

    async def drop(self, tenant: str, conversation: str, turn: str, sender: str) -> bool:
        """Remove what a sender said of a turn; whether there was something."""
        said = Said(conversation, turn, "up", sender=sender)

        async def work(client: Any) -> int:
            await client.zrem(_index(tenant), said.entry)
            removed: int = await client.hdel(_key(tenant, conversation), said.field)
            return removed

        return bool(await self._redis.write(work))

    async def forget(self, tenant: str, conversation: str, turn: str | None = None) -> None:
        """Remove everything that was said of a conversation, or of one of its turns."""
        key, of = _key(tenant, conversation), f"{encode_name(turn or '')}/"

        async def work(client: Any) -> list[bytes]:
            fields = [
                f for f in await client.hkeys(key) if turn is None or f.startswith(of.encode())
            ]
            if fields:
                await client.hdel(key, *fields)
            prefix = f"{encode_name(conversation)}/{of if turn is not None else ''}"
            pattern = prefix.replace("*", "\\*").replace("?", "\\?").replace("[", "\\[") + "*"
            return [
                e async for e, _ in client.zscan_iter(_index(tenant), match=pattern, count=1000)
            ]

        await self._unlist(tenant, await self._redis.write(work))

    async def _unlist(self, tenant: str, entries: Sequence[bytes]) -> None:
        if entries:

            async def work(client: Any) -> None:
                await client.zrem(_index(tenant), *entries)

            await self._redis.write(work)


def _parts(entry: bytes) -> tuple[str, str]:
    """Return the conversation of an entry, and its field there."""
    name, _, field = entry.decode().partition("/")
    return decode_name(name), field


def _key(tenant: str, conversation: str) -> str:
    return conversation_key(tenant, conversation, "feedback")


def _index(tenant: str) -> str:
    return f"bifocal:{{{encode_name(tenant)}:feedback}}"
