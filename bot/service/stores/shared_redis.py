"""The Redis that all processes of a service share, for its keys and its limits.

Knows nothing of either. It is the one that holds the conversations, embedded or not; this is a
second, small set of connections to it, so that a long load of pictures never holds up a check.
"""

from bot.settings import Settings
from memory.client import Link


class SharedRedis(Link):
    """Opened by :meth:`of`. Every failure is ``HistoryUnavailable``, within 2 seconds."""

    @classmethod
    async def of(cls, settings: Settings) -> "SharedRedis":
        """Open the Redis of the settings: the one of the conversations."""
        return await cls.open(
            settings.redis_url.get_secret_value() if settings.redis_url else None,
            folder=settings.library.expanduser().absolute() / "redis",
            fsync=settings.redis_fsync,
            connections=8,
        )
