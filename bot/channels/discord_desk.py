"""What commands and buttons ask for besides questions. Knows nothing of Discord's API."""

import time
from typing import Literal

import discord

from bot.channels.backend import Libraries
from bot.channels.final import evidence_lines, footnotes, stored_answer
from bot.channels.working import Turns
from bot.service.stores.feedback import Feedback, Full, Said
from memory.errors import ConversationNotFound


class Desk:
    """Gives account of answers that were given."""

    def __init__(self, libraries: Libraries, turns: Turns, feedback: Feedback, tenant: str) -> None:
        self._libraries, self._turns = libraries, turns
        self._feedback, self._tenant = feedback, tenant

    async def why(self, conversation: str, turn: str | None, places: tuple[str, ...]) -> str:
        """Return what an answer rests on."""
        backend = await self._libraries.of(*places)
        if turn is None:
            found = await backend.conversation(conversation)
            if not found.turns:
                return "You were not answered here yet."
            turn = found.turns[-1].id
        answer = await stored_answer(backend, conversation, turn)
        # a served bot keeps its ledger for itself
        lines = evidence_lines(answer) or [str(note) for note in footnotes(answer.citations)]
        return "\n".join(discord.utils.escape_markdown(line) for line in lines) or (
            "Nothing was found for it."
        )

    async def forget(self, conversation: str, places: tuple[str, ...]) -> str:
        """Forget a conversation, and return what is said then."""
        backend = await self._libraries.of(*places)
        try:
            await backend.forget(conversation)
        except ConversationNotFound:
            return "There is nothing to forget here."
        await self._turns.forget(conversation)
        return "This conversation is forgotten, with its pictures. The messages here stay."

    async def rate(
        self, conversation: str, turn: str, person: int, rating: Literal["up", "down"]
    ) -> str:
        """Keep what somebody says of an answer, and return what is said then."""
        said = Said(conversation, turn, rating, sender=f"discord:{person}", at=time.time())
        try:
            await self._feedback.save(self._tenant, said)
        except Full:
            return "This conversation has had too much feedback already."
        return "Thank you."

    def library(self, places: tuple[str, ...]) -> str:
        """Return the name of the library that answers somewhere."""
        return self._libraries.name(*places)
