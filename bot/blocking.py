"""The half of a bot for ordinary code: a thin portal to an event loop in a thread of its own.

Knows nothing of where the bot itself is: in this process, or behind a service.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bot.edits import Callbacks, Edits
from bot.errors import BifocalError, TurnError
from bot.events import Answer, Citation, Done, Event
from bot.portal import Events
from bot.sent import SentPicture
from memory.feedback import Rating
from memory.found import SearchResult
from memory.messages import Conversation, Summary
from retrievers.imaging import PictureLike

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from bot.chatbot import AsyncChatBot
    from bot.remote.client import AsyncRemoteChatBot

T = TypeVar("T")


class BlockingBot(Edits):
    """Answers questions and remembers conversations, for ordinary code and notebooks.

    What :class:`bot.ChatBot` and :class:`bot.RemoteChatBot` share.
    """

    _bot: "AsyncChatBot | AsyncRemoteChatBot"

    def __init__(
        self, bot: "AsyncChatBot | AsyncRemoteChatBot", portal: "BlockingPortal", closing: ExitStack
    ) -> None:
        self._bot = bot
        self._portal = portal
        self._closing = closing
        self._closed = False

    def close(self) -> None:
        """Give everything back."""
        self._closed = True
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run ``work`` in the bot's event loop; Ctrl-C here cancels it there."""
        if self._closed:
            raise BifocalError("this bot was closed; open another")
        running = self._portal.start_task_soon(work, *args)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def stream(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike | SentPicture] = (),
        conversation: str | None = None,
        sender: str = "",
        idempotency_key: str | None = None,
        callbacks: Callbacks = (),
    ) -> Iterator[Event]:
        """Ask, and yield the turn's events as they come. See :meth:`AsyncChatBot.stream`."""
        yield from self._pull(
            self._bot.stream(
                text,
                images=images,
                conversation=conversation,
                sender=sender,
                idempotency_key=idempotency_key,
                callbacks=callbacks,
            )
        )

    def _pull(self, flow: AsyncGenerator[Event, None]) -> Iterator[Event]:
        events = Events(flow)
        try:
            while (event := self._run(events.next)) is not None:
                yield event
        finally:
            self._run(events.close)

    def ask(
        self,
        text: str = "",
        *,
        images: Sequence[PictureLike | SentPicture] = (),
        conversation: str | None = None,
        sender: str = "",
        idempotency_key: str | None = None,
        callbacks: Callbacks = (),
    ) -> Answer:
        """Ask, and return the whole answer. See :meth:`AsyncChatBot.stream`.

        In a notebook the answer shows itself, with the pictures that it rests on.
        """
        events = self.stream(
            text,
            images=images,
            conversation=conversation,
            sender=sender,
            idempotency_key=idempotency_key,
            callbacks=callbacks,
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

    def stored_answer(self, conversation: str, turn: str | None = None) -> Answer:
        """Return the answer of a stored turn, the last one unless named by its id, with its
        evidence. See :meth:`AsyncChatBot.stored_answer`."""
        return self._run(self._bot.stored_answer, conversation, turn)

    def give_feedback(
        self, conversation: str, turn: str, rating: Rating, *, comment: str = "", sender: str = ""
    ) -> None:
        """Keep what somebody says of an answer. See :meth:`AsyncChatBot.give_feedback`."""
        self._run(
            lambda: self._bot.give_feedback(
                conversation, turn, rating, comment=comment, sender=sender
            )
        )

    def cited_picture(self, answer: Answer, citation: Citation) -> bytes:
        """Return the encoded bytes of the picture that a citation of ``answer`` points at."""
        return self._run(self._bot.cited_picture, answer, citation)
