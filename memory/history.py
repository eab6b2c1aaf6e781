"""The seam behind which conversations are kept; the turn knows nothing else of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from memory.claims import Claim, Once
from memory.feedback import Said
from memory.found import SearchResult
from memory.messages import Conversation, PictureRef, Recap, Summary, Turn

if TYPE_CHECKING:
    from memory.langchain_history import RedisChatMessageHistory

Follow = Callable[[Turn, Mapping[int, int]], Turn]
Pixels = Callable[[str], Awaitable[bytes | None]]  #: SHA-256 -> a picture's bytes, if there are any


class History(Protocol):
    """Keeps conversations of one tenant. Every method may raise ``HistoryUnavailable``."""

    async def load(self, conversation: str, *, last: int | None = None) -> Conversation:
        """Return the last ``last`` turns (all when ``None``) and every picture's reference.

        A record that cannot be read is left out and named in ``Conversation.notices``. A
        conversation that does not exist is returned empty (``total == 0``).
        """
        ...

    async def save(
        self,
        conversation: str,
        turn: Turn,
        pictures: tuple[PictureRef, ...] = (),
        blobs: Mapping[str, bytes] | None = None,
        follow: Follow | None = None,
        *,
        claim: Claim | None = None,
        idempotency_key: str | None = None,
    ) -> Turn:
        """Store a turn, its new pictures and their bytes (by SHA-256), whole or not at all.

        ``pictures`` are the new ones, numbered on from what ``load`` returned. Had another turn
        taken those numbers meanwhile they are given anew: ``follow`` is then called with the turn
        and the new numbers by the old ones, for what only the caller understands (citations and
        ledger), and the turn that is returned is the one that was stored.

        With a ``claim`` the turn is stored only if nobody else took the conversation over, else
        ``TurnOvertaken`` is raised; the claim ends with it. Without one it is stored at once, also
        beside a turn that is under way. The same ``idempotency_key`` with the same question stores
        nothing more, and returns the turn that it was; with another question it is ``KeyReused``.
        """
        ...

    def claim(
        self,
        conversation: str,
        turn: str,
        *,
        last: int | None = None,
        wait: float = 0.0,
        once: Once | None = None,
        again: str | None = None,
    ) -> AbstractAsyncContextManager[Claim]:
        """Take the next turn of a conversation, under the id ``turn``, and load its last turns.

        One turn at a time: while another is under way this one waits for ``wait`` seconds at most,
        and then raises ``ConversationBusy``. Works across processes; a claim whose process died
        or stands still ends by itself.

        ``once`` is an idempotency key and its question. While that question is being answered
        ``TurnInFlight`` is raised, after it the claim is the turn that it was (``answered``), and
        with another question ``KeyReused`` is raised.

        ``again`` is the id of a turn that is answered again: the conversation is then what was
        said before it, and what is saved under the claim takes its place. ``TurnNotFound`` when
        there is none.
        """
        ...

    async def delete_turn(self, conversation: str, turn: str) -> None:
        """Remove a turn by its id, what was said of it, and its pictures unless another turn names
        them.

        Numbers of pictures stay what they are. Raises ``TurnNotFound`` when there is none.
        """
        ...

    async def turn(self, conversation: str, id: str) -> Turn:
        """Return a turn by its id; ``TurnNotFound`` when there is none."""
        ...

    async def give_feedback(self, said: Said) -> None:
        """Keep what somebody says of an answer, in place of what they said of it before.

        Raises ``TurnNotFound``, or ``FeedbackFull`` when no more is kept of the conversation.
        """
        ...

    async def fork(self, conversation: str, name: str, *, turn: str | None = None) -> int:
        """Copy a conversation, up to and with a turn (by its id; all of it unless given), under
        another name; return how many turns were copied.

        The copy holds its pictures itself: forgetting the one harms nothing of the other. Raises
        ``ConversationNotFound``, ``TurnNotFound``, or ``ConversationExists`` for a taken name.
        """
        ...

    async def complete(
        self,
        conversation: str,
        before: Turn,
        turn: Turn,
        pictures: tuple[PictureRef, ...] = (),
        blobs: Mapping[str, bytes] | None = None,
        follow: Follow | None = None,
        *,
        claim: Claim | None = None,
    ) -> Turn | None:
        """Store ``turn`` in the place of ``before``, whole or not at all.

        ``None`` when ``before`` is not the last turn any more, or not as it was: nothing is stored
        then. The rest, a ``claim`` too, is as in :meth:`save`.
        """
        ...

    async def picture(self, conversation: str, number: int) -> bytes:
        """Return a picture's bytes; ``HistoryDamaged`` when they are gone, ``KeyError`` never."""
        ...

    async def save_caption(self, conversation: str, picture: PictureRef) -> bool:
        """Store the caption of a picture that has none; ``False`` when it has one, is gone, or is
        another picture by now."""
        ...

    async def drop(self, conversation: str, number: int) -> None:
        """Take a picture out of a conversation: reference, caption, and bytes nobody else holds.

        Its number never returns; what was said stays. ``PictureNotFound`` when there is none.
        """
        ...

    async def recaps(self, conversation: str) -> tuple[Recap, ...]:
        """Return the summaries of a conversation's first turns, those of fewer turns first.

        Raises ``HistoryDamaged`` when they cannot be read.
        """
        ...

    async def save_recaps(
        self,
        conversation: str,
        recaps: Sequence[Recap],
        before: Sequence[Recap],
        start: int,
        covered: Sequence[Turn],
        dropped: Sequence[int] = (),
    ) -> bool:
        """Store ``recaps`` in place of ``before``; see :func:`memory.summaries.write`."""
        ...

    async def conversations(self, offset: int = 0, limit: int | None = None) -> list[Summary]:
        """Return the tenant's conversations, the last written first.

        ``offset`` conversations are passed over, and at most ``limit`` are returned (all when
        ``None``). A page may be a line short where a crash left a name without turns.
        """
        ...

    async def conversation_count(self) -> int:
        """Return how many conversations there are to page through."""
        ...

    async def rename(self, conversation: str, title: str) -> None:
        """Give a conversation another title: one line of 80 characters at most.

        Raises ``HistoryError`` for another title, ``ConversationNotFound`` without turns.
        """
        ...

    async def search(self, words: str, limit: int = 20, seconds: float = 5.0) -> SearchResult:
        """Return the last ``limit`` turns in which every word stands, in question or answer.

        Case and accents do not count, "quoted words" stand together, and words are found inside
        words. After about ``seconds`` the search ends, and says that it is partial.
        """
        ...

    def as_langchain(self, conversation: str, **options: Any) -> "RedisChatMessageHistory":
        """Return a conversation as LangChain's ``BaseChatMessageHistory``; it need not exist."""
        ...

    async def forget(self, conversation: str) -> None:
        """Remove a conversation and the pictures that no other holds.

        Raises ``ConversationNotFound`` when there is none of that name.
        """
        ...

    async def create(
        self,
        conversation: str,
        turns: Sequence[Turn],
        pictures: Sequence[PictureRef],
        pixels: Pixels,
        tell: Callable[[int], None] = lambda done: None,
        dropped: Sequence[int] = (),
    ) -> None:
        """Store a whole conversation as it is, with its numbers and ids, or nothing of it.

        ``pixels`` gives the bytes of a picture, ``None`` where they are stored already or are
        gone; ``tell`` is called with how many pictures are done; ``dropped`` are the numbers of
        pictures that were taken out. ``ConversationExists`` when the name is taken.
        """
        ...

    async def aclose(self) -> None:
        """Give back connections, and stop a Redis that was started for this process alone."""
        ...
