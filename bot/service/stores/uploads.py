"""Pictures that were uploaded before the turns that use them: kept for an hour, by tenant.

The id is the picture's content hash as the tenant's conversations know it, so that the same picture
twice is stored once. Knows nothing of HTTP.
"""

from redis.asyncio import Redis

from bot.service.stores.shared_redis import SharedRedis

KEPT = 3600  #: seconds


class Uploads:
    """Keeps encoded pictures in Redis."""

    def __init__(self, redis: SharedRedis, kept: int = KEPT) -> None:
        self._redis, self._kept = redis, kept

    async def save(self, tenant: str, sha256: str, data: bytes) -> None:
        """Keep a picture's bytes from now on."""

        async def work(client: Redis) -> None:
            await client.set(_key(tenant, sha256), data, ex=self._kept)

        await self._redis.write(work)

    async def read(self, tenant: str, id: str | None) -> bytes | None:
        """Return a picture's bytes, None when they are not there."""

        async def work(client: Redis) -> bytes | None:
            found = await client.get(_key(tenant, id or ""))
            return found if isinstance(found, bytes) else None

        return await self._redis.read(work)

    async def drop(self, tenant: str, id: str) -> bool:
        """Remove a picture; whether there was one."""

        async def work(client: Redis) -> int:
            removed: int = await client.delete(_key(tenant, id))
            return removed

        return bool(await self._redis.write(work))


def _key(tenant: str, id: str) -> str:
    return f"bifocal:{tenant}:upload:{{{id}}}"
