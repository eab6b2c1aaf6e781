"""Conversations that mix pictures and words, kept in Redis; usable without the rest of Bifocal.

``RedisHistory``, ``EmbeddedRedis``, ``ChatHistories`` (LangChain's) and ``refer`` are imported at
first use, so that ``import memory`` costs a few milliseconds and loads no Redis client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from memory.claims import Claim, Once
from memory.errors import (
    ArchiveRefused,
    ConversationBusy,
    ConversationExists,
    ConversationNotFound,
    FeedbackFull,
    HistoryDamaged,
    HistoryError,
    HistoryUnavailable,
    KeyReused,
    PictureGone,
    PictureNotFound,
    TurnInFlight,
    TurnNotFound,
    TurnOvertaken,
)
from memory.feedback import Said
from memory.found import Found, SearchResult
from memory.history import History
from memory.lifetimes import Lifetimes
from memory.messages import Conversation, Message, PictureRef, Recap, Summary, Turn

if TYPE_CHECKING:
    from memory.embedded import EmbeddedRedis
    from memory.langchain_history import ChatHistories, RedisChatMessageHistory
    from memory.recall import Reference, refer
    from memory.redis_history import RedisHistory

__all__ = [
    "ArchiveRefused",
    "ChatHistories",
    "Claim",
    "Conversation",
    "ConversationBusy",
    "ConversationExists",
    "ConversationNotFound",
    "EmbeddedRedis",
    "FeedbackFull",
    "Found",
    "History",
    "HistoryDamaged",
    "HistoryError",
    "HistoryUnavailable",
    "KeyReused",
    "Lifetimes",
    "Message",
    "Once",
    "PictureGone",
    "PictureNotFound",
    "PictureRef",
    "Recap",
    "RedisChatMessageHistory",
    "RedisHistory",
    "Reference",
    "Said",
    "SearchResult",
    "Summary",
    "Turn",
    "TurnInFlight",
    "TurnNotFound",
    "TurnOvertaken",
    "refer",
]


_LATER = {
    "ChatHistories": "memory.langchain_history",
    "EmbeddedRedis": "memory.embedded",
    "RedisChatMessageHistory": "memory.langchain_history",
    "RedisHistory": "memory.redis_history",
    "Reference": "memory.recall",
    "refer": "memory.recall",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
