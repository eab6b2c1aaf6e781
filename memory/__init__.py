"""Conversations that mix pictures and words, kept in Redis; usable without the rest of Bifocal.

``RedisHistory``, ``EmbeddedRedis`` and ``refer`` are imported at first use, so that
``import memory`` costs a few milliseconds and loads no Redis client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from memory.errors import ConversationNotFound, HistoryDamaged, HistoryError, HistoryUnavailable
from memory.history import History
from memory.messages import Conversation, Message, PictureRef, Recap, Summary, Turn

if TYPE_CHECKING:
    from memory.embedded import EmbeddedRedis
    from memory.recall import Reference, refer
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
    "Recap",
    "RedisHistory",
    "Reference",
    "Summary",
    "Turn",
    "refer",
]


_LATER = {
    "EmbeddedRedis": "memory.embedded",
    "RedisHistory": "memory.redis_history",
    "Reference": "memory.recall",
    "refer": "memory.recall",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
