"""Bifocal: talk about documents and pictures, with every answer cited."""

from bot.chatbot import AsyncChatBot, ChatBot
from bot.errors import (
    KNOWN_ERRORS,
    BifocalError,
    ModelError,
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
from bot.settings import Settings

__all__ = [
    "KNOWN_ERRORS",
    "Answer",
    "AsyncChatBot",
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
    "Settings",
    "SettingsError",
    "Token",
    "TurnError",
]
