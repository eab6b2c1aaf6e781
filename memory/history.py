"""The seam behind which conversations are kept; the turn knows nothing else of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from memory.messages import Conversation, PictureRef, Recap, Summary, Turn

Follow = Callable[[Turn, Mapping[int, int]], Turn]


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
    ) -> Turn:
        """Store a turn, its new pictures and their bytes (by SHA-256), whole or not at all.

        ``pictures`` are the new ones, numbered on from what ``load`` returned. Had another turn
        taken those numbers meanwhile they are given anew: ``follow`` is then called with the turn
        and the new numbers by the old ones, for what only the caller understands (citations and
        ledger), and the turn that is returned is the one that was stored.
        """
        ...

    async def picture(self, conversation: str, number: int) -> bytes:
        """Return a picture's bytes; ``HistoryDamaged`` when they are gone, ``KeyError`` never."""
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
    ) -> bool:
        """Store ``recaps`` in place of ``before``; see :func:`memory.summaries.write`."""
        ...

    async def conversations(self) -> list[Summary]:
        """Return the tenant's conversations, the last written first."""
        ...

    async def forget(self, conversation: str) -> None:
        """Remove a conversation and the pictures that no other holds.

        Raises ``ConversationNotFound`` when there is none of that name.
        """
        ...

    async def aclose(self) -> None:
        """Give back connections, and stop a Redis that was started for this process alone."""
        ...
