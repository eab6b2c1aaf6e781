"""Where jobs are told of and libraries are held, in Redis, for all processes of a service.

What is known of a job lies there for a day, with a sign of life beside it that its process renews;
without that sign it counts as failed. Knows nothing of how files are taken in.

    bifocal:TENANT:{job:ID}:state      what is known of it, as JSON; a day
    bifocal:TENANT:{job:ID}:alive      its process lives; seconds
    bifocal:TENANT:{job:ID}:stop       it is to be stopped
    bifocal:{library:NAME}:ingest      the job that holds a library; seconds
"""

import json
from typing import Any

from bot.service.ingestion.job_state import JobState
from bot.service.stores.shared_redis import SharedRedis

DAY = 86_400
LEASE = 20.0  #: seconds for which a sign of life and a lease hold
STOPPED = "the service was stopped before this was done; upload again"

#: KEYS: lease. ARGV: job, lease (ms). The lease is taken, or renewed, unless another job has it.
HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
#: KEYS: lease. ARGV: job.
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class JobStore:
    """The jobs of all tenants. Every method raises ``HistoryUnavailable`` when Redis is away."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis

    async def read(self, tenant: str, id: str) -> dict[str, Any] | None:
        """Return a job as far as it is; ``None`` when there is none."""

        async def work(client: Any) -> tuple[bytes | None, int]:
            pipe = client.pipeline(transaction=True)
            pipe.get(_key(tenant, id, "state"))
            pipe.exists(_key(tenant, id, "alive"))
            raw, alive = await pipe.execute()
            return raw, alive

        raw, alive = await self._redis.read(work)
        if raw is None:
            return None
        value: dict[str, Any] = json.loads(raw)
        if value["ended"] is None and not alive:  # its process is gone
            value |= {"state": "failed", "reason": STOPPED, "ended": value["created"]}
        return value

    async def write(self, state: JobState) -> None:
        """Write down what is known of a job."""
        key, text = _key(state.tenant, state.id, "state"), json.dumps(state.to_json())

        async def work(client: Any) -> None:
            await client.set(key, text, ex=DAY)

        await self._redis.write(work)

    async def beat(self, state: JobState, holds: bool) -> tuple[bool, bool]:
        """Show that a job lives and renew its lease; return whether it still holds it, if it did,
        and whether it is to stop."""
        key = _key(state.tenant, state.id, "alive")

        async def work(client: Any) -> tuple[bool, bool]:
            await client.set(key, b"1", px=int(LEASE * 1000))
            held = not holds or await _hold(client, state)
            return held, bool(await client.exists(_key(state.tenant, state.id, "stop")))

        return await self._redis.write(work)

    async def hold(self, state: JobState) -> bool:
        """Take the library for a job; whether no other job has it."""

        async def work(client: Any) -> bool:
            return await _hold(client, state)

        return await self._redis.write(work)

    async def let_go(self, state: JobState) -> None:
        """Give the library back, and take the sign of life away."""

        async def work(client: Any) -> None:
            await client.eval(RELEASE, 1, _lease(state.library), state.id)
            await client.delete(_key(state.tenant, state.id, "alive"))

        await self._redis.write(work)

    async def ask_to_stop(self, tenant: str, id: str) -> None:
        """Tell the process of a job, whichever that is, to stop it."""

        async def work(client: Any) -> None:
            await client.set(_key(tenant, id, "stop"), b"1", ex=DAY)

        await self._redis.write(work)


async def _hold(client: Any, state: JobState) -> bool:
    return bool(await client.eval(HOLD, 1, _lease(state.library), state.id, int(LEASE * 1000)))


def _lease(library: str) -> str:
    return f"bifocal:{{library:{library}}}:ingest"


def _key(tenant: str, id: str, part: str) -> str:
    return f"bifocal:{tenant}:{{job:{id}}}:{part}"
