"""In which threads the bot takes part, and who began them, in Redis.

    bifocal:x:{slack#THREAD}:part          a thread in which it answers without being named; expires
    bifocal:x:{slack/TEAM/CHANNEL/USER}:b  conversations by the time (s) of their beginning; expires

Knows nothing of Slack's events, nor of turns.
"""

import time
from typing import Any

from bot.channels.working import MOST_KEPT
from bot.service.stores.shared_redis import SharedRedis
from memory.records import encode_name

MOST = 1000  #: conversations of one person in one channel that are remembered


class Threads:
    """``lifetime`` is that of turns, in seconds, 90 days unless set."""

    def __init__(self, redis: SharedRedis, lifetime: float | None = None) -> None:
        self._redis = redis
        self._ms = int(min(lifetime or MOST_KEPT, MOST_KEPT) * 1000)

    async def takes_part(self, conversation: str) -> bool:
        """Tell whether the bot answered in this thread, or is about to."""

        async def work(client: Any) -> bool:
            return bool(await client.exists(_part(conversation)))

        return await self._redis.read(work)

    async def begin(self, conversation: str, team: str, channel: str, user: str) -> None:
        """Take part in a thread, which this person asked for."""

        async def work(client: Any) -> None:
            if await client.set(_part(conversation), 1, px=self._ms, get=True) is None:
                key = _begun(team, channel, user)
                await client.zadd(key, {conversation: time.time()})
                await client.zremrangebyrank(key, 0, -MOST - 1)
                await client.pexpire(key, self._ms)

        await self._redis.read(work)

    async def begun(self, team: str, channel: str, user: str) -> list[str]:
        """Return the conversations that a person began in a channel, the last first."""

        async def work(client: Any) -> list[bytes]:
            return list(await client.zrevrange(_begun(team, channel, user), 0, -1))

        return [name.decode() for name in await self._redis.read(work)]

    async def drop(self, conversation: str, team: str, channel: str, user: str) -> None:
        """Leave a thread that this person began."""

        async def work(client: Any) -> None:
            await client.delete(_part(conversation))
            await client.zrem(_begun(team, channel, user), conversation)

        await self._redis.read(work)


def _part(conversation: str) -> str:
    return f"bifocal:x:{{slack#{encode_name(conversation)}}}:part"


def _begun(team: str, channel: str, user: str) -> str:
    return f"bifocal:x:{{slack/{'/'.join(map(encode_name, (team, channel, user)))}}}:b"
