"""``ChatBot``: every part is built once from the settings, and turns are run with them.

:class:`AsyncChatBot` does the work; :class:`ChatBot` is the same for ordinary code, a thin portal
to an event loop in a thread of its own. Knows nothing of channels.
"""

import asyncio
import sys
import traceback
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Sequence,
)
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bot.errors import BifocalError, TurnError
from bot.events import Answer, Citation, Done, Event
from bot.settings import Settings
from memory.found import SearchResult
from memory.messages import Conversation, Summary
from retrievers.errors import PictureRefused
from retrievers.imaging import DecodedPicture, PictureLike, read_picture

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from langchain_core.callbacks import BaseCallbackHandler

    from bot.turn_state import Parts
    from retrievers.ingest.pipeline import IngestEvent, Report

Callbacks = Sequence["BaseCallbackHandler"]
T = TypeVar("T")


class AsyncChatBot:
    """Answers questions about a library, and remembers conversations.

    Get one from :meth:`ChatBot.aopen`. One bot may run many turns at once.
    """

    def __init__(self, parts: "Parts") -> None:
        from bot.turn import Steps

        self.parts = parts
        self._chain = Steps(parts).chain()

    async def stream(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike] = (),
        conversation: str | None = None,
        sender: str = "",
        callbacks: Callbacks = (),
    ) -> AsyncGenerator[Event, None]:
        """Ask, and yield the turn's events as they come (their order: see :mod:`bot.events`).

        ``images`` are paths, encoded bytes or PIL images. Without ``conversation`` a new one is
        begun; its name is in the answer. ``sender`` is the name of the person who asks, kept with
        their pictures so that "the photo that Anna sent" finds them. LangChain ``callbacks`` see
        every step. Raises ``TurnError``, whose ``stage`` names the step that failed; nothing is
        saved then.
        """
        from bot.turn_state import SENDER, TurnState, one_line

        given = await self._take_in(text, images)
        state = TurnState(
            id=uuid.uuid4().hex,
            conversation_id=conversation or f"c-{uuid.uuid4().hex[:12]}",
            question=text.strip(),
            given=given,
            sender=one_line(sender, SENDER),
        )
        flow = self._chain.astream(state, config={"callbacks": list(callbacks), "run_name": "turn"})
        try:
            async for item in flow:
                if not isinstance(item, TurnState):
                    yield item
        except TurnError as error:
            await _let_go(error)
            raise

    async def ask(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike] = (),
        conversation: str | None = None,
        sender: str = "",
        callbacks: Callbacks = (),
    ) -> Answer:
        """Ask, and return the whole answer. Takes and raises what :meth:`stream` does."""
        events = self.stream(
            text, images=images, conversation=conversation, sender=sender, callbacks=callbacks
        )
        answer: Answer | None = None
        async for event in events:
            if isinstance(event, Done):
                answer = event.answer
        if answer is None:
            raise TurnError("save", "the turn ended without an answer")
        return answer

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
        """Remove a conversation; ``ConversationNotFound`` when there is none of that name."""
        await self.parts.history.forget(conversation)

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

    async def _take_in(
        self, text: str, images: Sequence[PictureLike]
    ) -> tuple[DecodedPicture, ...]:
        settings = self.parts.settings
        if not text.strip() and not images:
            raise TurnError("load", "nothing was asked: give a text, a picture, or both")
        if len(text) > settings.question_chars:
            raise TurnError(
                "load",
                f"a question of {len(text):,} characters, the most is {settings.question_chars:,}"
                " (setting question_chars)",
            )
        if len(images) > settings.pictures_per_turn:
            raise TurnError(
                "load",
                f"{len(images)} pictures in one turn, the most is {settings.pictures_per_turn}"
                " (setting pictures_per_turn)",
            )
        try:
            return tuple([await asyncio.to_thread(read_picture, image) for image in images])
        except PictureRefused as error:
            raise TurnError("load", str(error)) from error


class ChatBot:
    """Answers questions about a library, and remembers conversations.

    ``bot = ChatBot.open("library/")`` for ordinary code and notebooks;
    ``async with ChatBot.aopen("library/") as bot:`` gives an :class:`AsyncChatBot`.
    """

    def __init__(self, bot: AsyncChatBot, portal: "BlockingPortal", closing: ExitStack) -> None:
        self._bot = bot
        self._portal = portal
        self._closing = closing
        self._closed = False

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

    def close(self) -> None:
        """Give everything back; stops a Redis that was started for this bot alone."""
        self._closed = True
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run ``work`` in the bot's event loop; Ctrl-C here cancels it there."""
        if self._closed:
            raise BifocalError("this bot was closed; open another with ChatBot.open")
        running = self._portal.start_task_soon(work, *args)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    @property
    def parts(self) -> "Parts":
        """What the bot is made of: library, retrievers, history, model, settings."""
        return self._bot.parts

    def stream(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike] = (),
        conversation: str | None = None,
        sender: str = "",
        callbacks: Callbacks = (),
    ) -> Iterator[Event]:
        """Ask, and yield the turn's events as they come. See :meth:`AsyncChatBot.stream`."""
        events = _Events(
            self._bot.stream(
                text, images=images, conversation=conversation, sender=sender, callbacks=callbacks
            )
        )
        try:
            while (event := self._run(events.next)) is not None:
                yield event
        finally:
            self._run(events.close)

    def ask(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike] = (),
        conversation: str | None = None,
        sender: str = "",
        callbacks: Callbacks = (),
    ) -> Answer:
        """Ask, and return the whole answer. See :meth:`AsyncChatBot.stream`.

        In a notebook the answer shows itself, with the pictures that it rests on.
        """
        events = self.stream(
            text, images=images, conversation=conversation, sender=sender, callbacks=callbacks
        )
        answers = [event.answer for event in events if isinstance(event, Done)]
        if not answers:
            raise TurnError("save", "the turn ended without an answer")
        return answers[-1]

    def conversation(self, name: str) -> Conversation:
        """Return a whole conversation; empty when there is none of that name."""
        return self._run(self._bot.conversation, name)

    def conversations(self, offset: int = 0, limit: int | None = None) -> list[Summary]:
        """Return a line for each conversation, the last written first, or for a page of them."""
        return self._run(self._bot.conversations, offset, limit)

    def rename(self, conversation: str, title: str) -> None:
        """Give a conversation another title; ``ConversationNotFound`` when there is none."""
        self._run(self._bot.rename, conversation, title)

    def search(self, words: str, limit: int = 20) -> SearchResult:
        """Return the last turns of all conversations in which every word stands."""
        return self._run(self._bot.search, words, limit)

    def forget(self, conversation: str) -> None:
        """Remove a conversation; ``ConversationNotFound`` when there is none of that name."""
        self._run(self._bot.forget, conversation)

    def picture(self, conversation: str, number: int) -> bytes:
        """Return the encoded bytes of a conversation's picture."""
        return self._run(self._bot.picture, conversation, number)

    def drop(self, conversation: str, number: int) -> None:
        """Take a picture out of a conversation. See :meth:`AsyncChatBot.drop`."""
        self._run(self._bot.drop, conversation, number)

    def cited_picture(self, answer: Answer, citation: Citation) -> bytes:
        """Return the encoded bytes of the picture that a citation of ``answer`` points at."""
        return self._run(self._bot.cited_picture, answer, citation)

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


async def _let_go(error: BaseException) -> None:
    """Free the frames that an error holds.

    They keep the chain's suspended generators alive; the event loop would find those at its end
    and print a traceback for each.
    """
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
    for _ in range(5):  # each turn of the loop ends one more generator
        await asyncio.sleep(0)


class _Events:
    """A stream of events in the bot's event loop, pulled and ended from another thread."""

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._events = events
        self._pulling: asyncio.Task[Any] | None = None

    async def next(self) -> Event | None:
        """Return the next event, or ``None`` after the last one."""
        self._pulling = asyncio.current_task()
        try:
            return await anext(self._events, None)
        finally:
            self._pulling = None

    async def close(self) -> None:
        """End the stream; what is being waited for, after Ctrl-C, is cancelled."""
        if self._pulling is not None:
            self._pulling.cancel()
        while self._events.ag_running:  # type: ignore[attr-defined]  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.005)
        await self._events.aclose()
