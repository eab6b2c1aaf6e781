"""Conversations that mix pictures and words, kept in Redis; usable without the rest of Bifocal.

``RedisHistory`` and ``EmbeddedRedis`` are imported at first use, so that ``import memory`` loads no
Redis client.
"""

from typing import TYPE_CHECKING, Any

from memory.errors import ConversationNotFound, HistoryDamaged, HistoryError, HistoryUnavailable
from memory.history import History
from memory.messages import Conversation, Message, PictureRef, Summary, Turn
from memory.recall import Reference, refer

if TYPE_CHECKING:
    from memory.embedded import EmbeddedRedis
    from memory.redis_history import RedisHistory

__all__ = [
    "Conversation",
    "ConversationNotFound",
    "EmbeddedRedis",
    "History",
    "HistoryDamaged",
    "HistoryError",
    "HistoryUnavailable",
    "Message",
    "PictureRef",
    "RedisHistory",
    "Reference",
    "Summary",
    "Turn",
    "refer",
]


def __getattr__(name: str) -> Any:
    if name == "RedisHistory":
        from memory.redis_history import RedisHistory

        return RedisHistory
    if name == "EmbeddedRedis":
        from memory.embedded import EmbeddedRedis

        return EmbeddedRedis
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
