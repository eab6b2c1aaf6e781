"""What a channel needs of a bot, and which bot answers where.

:class:`bot.AsyncChatBot` fits :class:`Backend`, and so does any other object with these methods,
such as a client of a served Bifocal. Knows nothing of any channel.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from bot.events import Answer, Citation, Event
from bot.sent import SentPicture
from bot.settings import Settings
from memory.feedback import Rating
from memory.messages import Conversation
from retrievers.imaging import PictureLike

DEFAULT = "default"  #: the library of the setting ``library``


class Backend(Protocol):
    """A bot over one library. Its methods raise ``bot.errors.KNOWN_ERRORS``."""

    def stream(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike | SentPicture] = (),
        conversation: str | None = None,
        sender: str = "",
        idempotency_key: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Ask, and yield the turn's events. See :meth:`bot.AsyncChatBot.stream`."""

    def stream_again(
        self, conversation: str, turn: str | None = None, text: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer a turn again, with other words. See :meth:`bot.AsyncChatBot.stream_again`."""

    async def delete_turn(self, conversation: str, turn: str) -> None:
        """Remove a turn; ``TurnNotFound`` when there is none."""

    async def forget(self, conversation: str) -> None:
        """Remove a conversation; ``ConversationNotFound`` when there is none."""

    async def conversation(self, name: str) -> Conversation:
        """Return a whole conversation; empty when there is none of that name."""
        raise NotImplementedError

    async def cited_picture(self, answer: Answer, citation: Citation) -> bytes:
        """Return the encoded bytes of the picture that a citation points at."""
        raise NotImplementedError

    async def stored_answer(self, conversation: str, turn: str | None = None) -> Answer:
        """Return an answer as it was given, with its evidence; the last one unless ``turn`` names
        it. ``TurnNotFound`` or ``ConversationNotFound`` when there is none."""
        raise NotImplementedError

    async def give_feedback(
        self, conversation: str, turn: str, rating: Rating, *, comment: str = "", sender: str = ""
    ) -> None:
        """Keep what somebody says of an answer; ``TurnNotFound`` or ``FeedbackFull``."""


#: Gives the bot over a library by name; ``retrievers.errors.LibraryError`` when there is none
OpenLibrary = Callable[[str], Awaitable[Backend]]


class Libraries:
    """Which library answers where. ``by_place`` names libraries by place, such as ``T1`` for a
    workspace and ``T1/C2`` for a channel in it."""

    def __init__(self, opening: OpenLibrary, by_place: Mapping[str, str]) -> None:
        self._opening, self._by_place = opening, by_place

    def name(self, *places: str) -> str:
        """Return the name of the library of the first place that has one, else ``default``; give
        the narrowest place first."""
        return next((self._by_place[p] for p in places if p in self._by_place), DEFAULT)

    async def of(self, *places: str) -> Backend:
        """Return the bot of :meth:`name`; ``LibraryError`` when its library is not there."""
        return await self._opening(self.name(*places))


@asynccontextmanager
async def open_here(settings: Settings) -> AsyncIterator[OpenLibrary]:
    """Load everything that bots need in this process, for the libraries of the settings.

    Raises one of ``bot.errors.KNOWN_ERRORS``, in one line.
    """
    from bot.service.served.bots import Bots

    async with Bots.open(settings) as bots:

        async def opened(library: str) -> Backend:
            return await bots.bot(settings.tenant, library)

        yield opened
