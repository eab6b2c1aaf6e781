"""What commands and buttons ask for besides questions. Knows nothing of Discord's API."""

import discord

from bot.channels.backend import Libraries
from bot.channels.final import why_lines
from bot.channels.working import Turns
from memory.errors import ConversationNotFound, FeedbackFull, TurnNotFound
from memory.feedback import Rating

GONE = "This answer is no longer there."


class Desk:
    """Gives account of answers that were given."""

    def __init__(self, libraries: Libraries, turns: Turns) -> None:
        self._libraries, self._turns = libraries, turns

    async def why(self, conversation: str, turn: str | None, places: tuple[str, ...]) -> str:
        """Return what an answer rests on, the last one unless it is named."""
        backend = await self._libraries.of(*places)
        try:
            answer = await backend.stored_answer(conversation, turn)
        except ConversationNotFound:
            return "You were not answered here yet."
        except TurnNotFound:
            return GONE
        return "\n".join(map(discord.utils.escape_markdown, why_lines(answer)))

    async def forget(self, conversation: str, places: tuple[str, ...]) -> str:
        """Forget a conversation, and return what is said then."""
        backend = await self._libraries.of(*places)
        try:
            await backend.forget(conversation)
        except ConversationNotFound:  # of a command that failed before, the messages may be left
            await self._turns.forget(conversation)
            return "There is nothing to forget here."
        await self._turns.forget(conversation)
        return "This conversation is forgotten, with its pictures. The messages here stay."

    async def rate(
        self, conversation: str, turn: str, person: int, rating: Rating, places: tuple[str, ...]
    ) -> str:
        """Keep what somebody says of an answer, and return what is said then."""
        backend = await self._libraries.of(*places)
        try:
            await backend.give_feedback(conversation, turn, rating, sender=f"discord:{person}")
        except TurnNotFound:
            return GONE
        except FeedbackFull:
            return "This conversation has had too much feedback already."
        return "Thank you."

    def library(self, places: tuple[str, ...]) -> str:
        """Return the name of the library that answers somewhere."""
        return self._libraries.name(*places)
