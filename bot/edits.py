"""What changes a conversation besides asking: deleting and editing turns, answering again, copies.

:class:`AsyncEdits` and :class:`Edits` are the halves of the two bots that do so. Knows nothing of
how turns are stored.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bot.errors import TurnError
from bot.events import Answer, Done, Event
from memory.errors import ConversationNotFound

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

    from bot.remote.client import AsyncRemoteChatBot
    from bot.taking import Chain
    from bot.turn_state import Parts
    from memory.archive import Carried

Callbacks = Sequence["BaseCallbackHandler"]
T = TypeVar("T")


class AsyncEdits:
    """The half of :class:`bot.AsyncChatBot` that changes what was said."""

    parts: "Parts"
    _chain: "Chain"

    async def stream_again(
        self,
        conversation: str,
        turn: str | None = None,
        text: str | None = None,
        *,
        callbacks: Callbacks = (),
    ) -> AsyncGenerator[Event, None]:
        """Answer a turn again (the last one unless named by its id), and yield the events.

        ``text`` replaces its question; its pictures stay. The model is given what was said before
        that turn, and the new answer takes the old one's place, under the same id, whole or not at
        all. Later turns stay as they are. Raises what ``stream`` does, ``ConversationNotFound``
        and ``TurnNotFound``.
        """
        from bot.taking import take_turn
        from bot.turn_state import TurnState

        if turn is None:
            turn = await self._last_turn(conversation)
        self._check_text(text or "")
        state = TurnState(uuid.uuid4().hex, conversation, (text or "").strip())
        events = take_turn(
            self.parts, self._chain, state, callbacks=callbacks, again=turn, keep=text is None
        )
        async with aclosing(events):
            async for event in events:
                yield event

    async def _last_turn(self, conversation: str) -> str:
        found = await self.parts.history.load(conversation, last=1)
        if not found.turns:
            raise ConversationNotFound(
                f"conversation {conversation!r} has no turns; "
                "`bifocal conversations list` names those there are"
            )
        return found.turns[-1].id

    def _check_text(self, text: str) -> None:
        most = self.parts.settings.question_chars
        if len(text) > most:
            raise TurnError(
                "load",
                f"a question of {len(text):,} characters, the most is {most:,}"
                " (setting question_chars)",
            )

    async def regenerate(
        self, conversation: str, turn: str | None = None, *, callbacks: Callbacks = ()
    ) -> Answer:
        """Answer a turn again, and return the new answer. See :meth:`stream_again`."""
        return await answer_in(self.stream_again(conversation, turn, callbacks=callbacks))

    async def edit(
        self,
        conversation: str,
        turn: str,
        text: str,
        *,
        answer: bool = True,
        callbacks: Callbacks = (),
    ) -> Answer | None:
        """Replace the words of a turn's question, and answer it again (see :meth:`stream_again`).

        With ``answer=False`` the turn is removed instead: what was asked was taken back.
        """
        if not answer:
            await self.delete_turn(conversation, turn)
            return None
        return await answer_in(self.stream_again(conversation, turn, text, callbacks=callbacks))

    async def delete_turn(self, conversation: str, turn: str) -> None:
        """Remove a turn by its id, the pictures that only it names, and what a local model keeps.

        ``TurnNotFound`` when there is none.
        """
        await self.parts.history.delete_turn(conversation, turn)
        await self._forget_kept()

    async def _forget_kept(self) -> None:
        from bot.build import engine_cache
        from bot.forgetting import forget_kept

        await asyncio.to_thread(forget_kept, self.parts, engine_cache())

    async def fork(
        self, conversation: str, name: str | None = None, *, turn: str | None = None
    ) -> str:
        """Copy a conversation up to and with a turn (all of it unless named by its id); return the
        copy's name. Raises ``ConversationNotFound``, ``ConversationExists``, ``TurnNotFound``."""
        name = name or f"c-{uuid.uuid4().hex[:12]}"
        await self.parts.history.fork(conversation, name, turn=turn)
        return name

    async def export_conversation(self, conversation: str, file: str | Path) -> "Carried":
        """Write a conversation, with its pictures, to one file that is not there yet.

        Raises ``ConversationNotFound`` and ``ArchiveRefused``. What is not in the file is in
        ``notices`` of what is returned.
        """
        from memory.archive import export_conversation

        return await export_conversation(self.parts.history, conversation, Path(file))

    async def import_conversation(self, file: str | Path, name: str | None = None) -> "Carried":
        """Take in what :meth:`export_conversation` wrote, under its own name or another.

        Raises ``ArchiveRefused`` and ``ConversationExists``; nothing is stored then.
        """
        from memory.archive import import_conversation

        return await import_conversation(self.parts.history, Path(file), name)


async def answer_in(events: AsyncGenerator[Event, None]) -> Answer:
    """Return the answer with which a turn's events end."""
    answer: Answer | None = None
    async with aclosing(events):
        async for event in events:  # to the end: callbacks hear of it
            if isinstance(event, Done):
                answer = event.answer
    if answer is None:
        raise TurnError("save", "the turn ended without an answer")
    return answer


class Edits:
    """The half of :class:`bot.ChatBot` that changes what was said. See :class:`AsyncEdits`."""

    _bot: "AsyncEdits | AsyncRemoteChatBot"
    _run: Callable[..., Any]
    _pull: Callable[[AsyncGenerator[Event, None]], Iterator[Event]]

    def stream_again(
        self,
        conversation: str,
        turn: str | None = None,
        text: str | None = None,
        *,
        callbacks: Callbacks = (),
    ) -> Iterator[Event]:
        """Answer a turn again, and yield the events. See :meth:`AsyncEdits.stream_again`."""
        yield from self._pull(self._bot.stream_again(conversation, turn, text, callbacks=callbacks))

    def regenerate(
        self, conversation: str, turn: str | None = None, *, callbacks: Callbacks = ()
    ) -> Answer:
        """Answer a turn again. See :meth:`AsyncEdits.stream_again`."""
        return self._wait(lambda: self._bot.regenerate(conversation, turn, callbacks=callbacks))

    def edit(
        self,
        conversation: str,
        turn: str,
        text: str,
        *,
        answer: bool = True,
        callbacks: Callbacks = (),
    ) -> Answer | None:
        """Replace a turn's question and answer it again. See :meth:`AsyncEdits.edit`."""
        return self._wait(
            lambda: self._bot.edit(conversation, turn, text, answer=answer, callbacks=callbacks)
        )

    def delete_turn(self, conversation: str, turn: str) -> None:
        """Remove a turn by its id; ``TurnNotFound`` when there is none."""
        self._wait(lambda: self._bot.delete_turn(conversation, turn))

    def fork(self, conversation: str, name: str | None = None, *, turn: str | None = None) -> str:
        """Copy a conversation up to a turn; return its name. See :meth:`AsyncEdits.fork`."""
        return self._wait(lambda: self._bot.fork(conversation, name, turn=turn))

    def export_conversation(self, conversation: str, file: str | Path) -> "Carried":
        """Write a conversation to one file. See :meth:`AsyncEdits.export_conversation`."""
        return self._wait(lambda: self._bot.export_conversation(conversation, file))

    def import_conversation(self, file: str | Path, name: str | None = None) -> "Carried":
        """Take in an exported conversation. See :meth:`AsyncEdits.import_conversation`."""
        return self._wait(lambda: self._bot.import_conversation(file, name))

    def _wait(self, work: Callable[[], Awaitable[T]]) -> T:
        found: T = self._run(work)
        return found
