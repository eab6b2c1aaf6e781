"""Bifocal: talk about documents and pictures, with every answer cited.

The names below are imported when they are first used, so that ``bifocal --help`` is quick.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.chatbot import AsyncChatBot, ChatBot
    from bot.errors import (
        KNOWN_ERRORS,
        BifocalError,
        ModelError,
        ServiceError,
        SettingsError,
        TurnError,
    )
    from bot.events import (
        Answer,
        Citation,
        Cited,
        Done,
        Event,
        EvidenceFound,
        LedgerEntry,
        Notice,
        Token,
    )
    from bot.remote import AsyncRemoteChatBot, RemoteChatBot
    from bot.sent import SentPicture
    from bot.settings import Settings

__all__ = [
    "KNOWN_ERRORS",
    "Answer",
    "AsyncChatBot",
    "AsyncRemoteChatBot",
    "BifocalError",
    "ChatBot",
    "Citation",
    "Cited",
    "Done",
    "Event",
    "EvidenceFound",
    "LedgerEntry",
    "ModelError",
    "Notice",
    "RemoteChatBot",
    "SentPicture",
    "ServiceError",
    "Settings",
    "SettingsError",
    "Token",
    "TurnError",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    for module in ("errors", "settings", "events", "sent", "chatbot", "remote"):
        found = vars(import_module(f"{__name__}.{module}"))
        if name in found:
            return found[name]
    raise AttributeError(f"module {__name__!r} has lost {name!r}")  # a test goes through them all
