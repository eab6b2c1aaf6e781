"""``ChatBot``: every part is built once from the settings, and turns are run with them.

:class:`AsyncChatBot` does the work; :class:`ChatBot` is the same for ordinary code (see
:mod:`bot.blocking`). Knows nothing of channels.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Sequence,
)
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bot.blocking import BlockingBot
from bot.edits import AsyncEdits, Callbacks, answer_in
from bot.errors import TurnError
from bot.events import Answer, Citation, Event
from bot.lines import NAME, SENDER, one_line
from bot.sent import SentPicture
from bot.settings import Settings
from memory.errors import HistoryError
from memory.feedback import Rating, Said
from memory.found import SearchResult
from memory.messages import Conversation, Summary
from retrievers.errors import PictureRefused
from retrievers.imaging import DecodedPicture, PictureLike, read_picture

if TYPE_CHECKING:
    from bot.turn_state import Parts
    from retrievers.ingest.pipeline import IngestEvent, Report


class AsyncChatBot(AsyncEdits):
    """Answers questions about a library, and remembers conversations.

    Get one from :meth:`ChatBot.aopen`. One bot may run many turns at once.
    """

    def __init__(self, parts: "Parts") -> None:
        from bot.turn import Steps

        self.parts = parts
        self._steps = Steps(parts)
        self._chain = self._steps.chain()

    def varied(self, **changes: Any) -> Self:
        """Return this bot with other ``parts``, for a turn of its own kind; both together search no
        more at once than one does."""
        from bot.turn import Steps

        bot = copy(self)
        bot.parts = replace(self.parts, **changes)
        bot._steps = Steps(bot.parts, self._steps.searching)
        bot._chain = bot._steps.chain()
        return bot

    async def stream(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike | SentPicture] = (),
        conversation: str | None = None,
        sender: str = "",
        idempotency_key: str | None = None,
        callbacks: Callbacks = (),
    ) -> AsyncGenerator[Event, None]:
        """Ask, and yield the turn's events as they come (their order: see :mod:`bot.events`).

        ``images`` are paths, encoded bytes, PIL images, or :class:`bot.SentPicture` where they come
        with words of their own. Without ``conversation`` a new one is
        begun; its name is in the answer. ``sender`` is the name of the person who asks, kept with
        their pictures so that "the photo that Anna sent" finds them. LangChain ``callbacks`` see
        every step. The same question with the same ``idempotency_key`` is one turn for a day: a
        repeat yields the events of the answer that was stored (its text as one token).

        Raises ``TurnError``, whose ``stage`` names the step that failed; nothing is saved then.
        Before the turn begins: ``ConversationBusy`` when another turn of the conversation does not
        end in time, ``TurnInFlight`` while this question is being answered under the same key,
        ``KeyReused`` when its key came with another question.
        """
        from bot.taking import name_by_key, take_turn
        from bot.turn_state import TurnState

        given, captions = await self._take_in(text, images)
        name = conversation or (name_by_key(idempotency_key) if idempotency_key else None)
        state = TurnState(
            id=uuid.uuid4().hex,
            conversation_id=name or f"c-{uuid.uuid4().hex[:12]}",
            question=text.strip(),
            given=given,
            captions=captions,
            sender=one_line(sender, SENDER),
        )
        events = take_turn(self.parts, self._chain, state, idempotency_key, callbacks)
        async with aclosing(events):
            async for event in events:
                yield event

    async def ask(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike | SentPicture] = (),
        conversation: str | None = None,
        sender: str = "",
        idempotency_key: str | None = None,
        callbacks: Callbacks = (),
    ) -> Answer:
        """Ask, and return the whole answer. Takes and raises what :meth:`stream` does."""
        return await answer_in(
            self.stream(
                text,
                images=images,
                conversation=conversation,
                sender=sender,
                idempotency_key=idempotency_key,
                callbacks=callbacks,
            )
        )

    async def conversation(self, name: str) -> Conversation:
        """Return a whole conversation; empty when there is none of that name."""
        return await self.parts.history.load(name)

    async def conversations(self, offset: int = 0, limit: int | None = None) -> list[Summary]:
        """Return a line for each conversation, the last written first, or for a page of them."""
        return await self.parts.history.conversations(offset, limit)

    async def rename(self, conversation: str, title: str) -> None:
        """Give a conversation another title; ``ConversationNotFound`` when there is none."""
        await self.parts.history.rename(conversation, title)

    async def search(self, words: str, limit: int = 20) -> SearchResult:
        """Return the last turns of all conversations in which every word stands."""
        return await self.parts.history.search(words, limit)

    async def forget(self, conversation: str) -> None:
        """Remove a conversation, and what a local model keeps of its tenant's conversations.

        ``ConversationNotFound`` when there is none of that name.
        """
        await self.parts.history.forget(conversation)
        await self._forget_kept()

    async def picture(self, conversation: str, number: int) -> bytes:
        """Return the encoded bytes of a conversation's picture."""
        return await self.parts.history.picture(conversation, number)

    async def drop(self, conversation: str, number: int) -> None:
        """Take a picture out of a conversation; ``PictureNotFound`` when there is none.

        What was said of it stays, its number never returns.
        """
        await self.parts.history.drop(conversation, number)

    async def cited_picture(self, answer: Answer, citation: Citation) -> bytes:
        """Return the encoded bytes of the picture that a citation of ``answer`` points at."""
        if citation.picture is not None:
            return await self.picture(answer.conversation, citation.picture)
        if citation.media is None:
            raise PictureRefused(f"citation [{citation.mark}] of {citation.source} has no picture")
        return await asyncio.to_thread(self.parts.library.media, citation.media)

    async def stored_answer(self, conversation: str, turn: str | None = None) -> Answer:
        """Return the answer of a stored turn (the last one unless named by its id) as it was given.

        It has its evidence, without texts, and no timings. Raises ``ConversationNotFound``,
        ``TurnNotFound``, and ``HistoryError`` for a turn that Bifocal did not write.
        """
        from bot.taking import as_it_was

        stored = await self.parts.history.turn(
            conversation, turn if turn is not None else await self._last_turn(conversation)
        )
        try:
            return await as_it_was(self.parts, conversation, stored)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise HistoryError(
                f"turn {stored.id!r} was not written by Bifocal, which cannot say what it rests on"
            ) from None

    async def give_feedback(
        self, conversation: str, turn: str, rating: Rating, *, comment: str = "", sender: str = ""
    ) -> None:
        """Keep what somebody says of an answer, for whoever runs the bot.

        What the same ``sender`` said of it before is replaced. Raises ``TurnNotFound``, and
        ``FeedbackFull`` when no more is kept of the conversation.
        """
        said = Said(conversation, turn, rating, comment, sender, time.time())
        await self.parts.history.give_feedback(said)

    async def _take_in(
        self, text: str, images: Sequence[PictureLike | SentPicture]
    ) -> tuple[tuple[DecodedPicture, ...], tuple[str, ...]]:
        """Return the pictures, checked and decoded, and what their senders say that they show."""
        settings = self.parts.settings
        if not text.strip() and not images:
            raise TurnError("load", "nothing was asked: give a text, a picture, or both")
        self._check_text(text)
        if len(images) > settings.pictures_per_turn:
            raise TurnError(
                "load",
                f"{len(images)} pictures in one turn, the most is {settings.pictures_per_turn}"
                " (setting pictures_per_turn)",
            )
        try:
            sent = [i if isinstance(i, SentPicture) else SentPicture(i) for i in images]
            read = [
                await asyncio.to_thread(read_picture, s.picture, name=one_line(s.name, NAME))
                for s in sent
            ]
            return tuple(read), tuple(s.alt for s in sent)
        except PictureRefused as error:
            raise TurnError("load", str(error)) from error


class ChatBot(BlockingBot):
    """Answers questions about a library, and remembers conversations.

    ``bot = ChatBot.open("library/")`` for ordinary code and notebooks;
    ``async with ChatBot.aopen("library/") as bot:`` gives an :class:`AsyncChatBot`. Closing it
    stops a Redis that was started for it alone.
    """

    _bot: AsyncChatBot

    @staticmethod
    @asynccontextmanager
    async def aopen(
        library: str | Path | None = None, *, settings: Settings | None = None, **changes: Any
    ) -> AsyncIterator[AsyncChatBot]:
        """Open a library for asynchronous use.

        ``changes`` are settings by name (``model="llama:…"``), and go before ``settings``, which
        are the person's own (environment and file) unless given. Raises one of
        ``bot.errors.KNOWN_ERRORS``, in one line.
        """
        from bot.build import build

        async with AsyncExitStack() as stack:
            yield AsyncChatBot(await build(_settings(library, settings, changes), stack))

    @classmethod
    def open(
        cls,
        library: str | Path | None = None,
        *,
        settings: Settings | None = None,
        **changes: Any,
    ) -> Self:
        """Open a library. Close the bot, or use it in a ``with`` statement.

        Takes and raises what :meth:`aopen` does; works inside a running event loop, too.
        """
        from anyio.from_thread import start_blocking_portal

        closing = ExitStack()
        try:
            portal = closing.enter_context(start_blocking_portal())
            opened = cls.aopen(library, settings=settings, **changes)
            bot = closing.enter_context(portal.wrap_async_context_manager(opened))
        except BaseException:
            closing.__exit__(*sys.exc_info())  # so that what was begun is cancelled, not waited for
            raise
        return cls(bot, portal, closing)

    @property
    def parts(self) -> "Parts":
        """What the bot is made of: library, retrievers, history, model, settings."""
        return self._bot.parts

    def ingest(
        self,
        *paths: str | Path,
        prune: bool = False,
        on_event: Callable[["IngestEvent"], None] | None = None,
    ) -> "Report":
        """Take files and folders into the library; the next question already finds them."""
        from retrievers.ingest.pipeline import Ingestor

        parts = self.parts
        ingestor = Ingestor(
            parts.library,
            parts.text_encoder,
            parts.picture_encoder,
            workers=parts.settings.ingest_workers,
        )
        return ingestor.run(paths, prune=prune, on_event=on_event)


def _settings(
    library: str | Path | None, settings: Settings | None, changes: dict[str, Any]
) -> Settings:
    given = dict(changes)
    if library is not None:
        given["library"] = library
    if settings is None:
        return Settings.usual(**given)
    return Settings.load(**{**settings.model_dump(), **given})
