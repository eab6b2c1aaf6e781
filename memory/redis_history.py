"""Conversations in Redis: the ``History`` that Bifocal uses, on a server of its own or on yours.

Knows nothing of models, retrieval or channels. Keys and records are ``memory/records.py``'s, bytes
of pictures ``memory/pictures.py``'s, connections and errors ``memory/client.py``'s; how a turn is
stored is in ``memory/writes.py``, whose turn it is in ``memory/lease.py``, the list of
conversations in ``memory/listing.py``, and how they go in ``memory/forgetting.py``.

A caller that is cancelled, or that is told ``HistoryUnavailable`` while the answer was under way,
does not know whether its turn was stored; that it is stored whole or not at all always holds.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from memory import copying, dropping, edits, forgetting, listing, reads, summaries
from memory.captioning import save_caption
from memory.claims import DAY, LEASE, Claim, Once
from memory.client import Link
from memory.errors import (
    HistoryUnavailable,
    TurnNotFound,
)
from memory.feedback import Feedback, Said
from memory.found import SearchResult
from memory.history import Follow, Pixels
from memory.launching import Fsync
from memory.lease import Lease
from memory.lifetimes import FOREVER, Lifetimes
from memory.messages import Conversation, PictureRef, Recap, Summary, Turn
from memory.pictures import GRACE, PictureStore
from memory.search import search
from memory.store import Store
from memory.sweeping import AFTER, Sweeper
from memory.writes import Saving

if TYPE_CHECKING:
    from memory.langchain_history import RedisChatMessageHistory


class RedisHistory:
    """Keeps one tenant's conversations. Made by :meth:`open`; an asynchronous context manager.

    Belongs to the event loop that opened it. See ``memory.history.History`` for the methods.
    """

    def __init__(
        self,
        link: Link,
        tenant: str,
        lease: float = LEASE,
        remember: float = DAY,
        lifetimes: Lifetimes = FOREVER,
        sweep_after: float = AFTER,
    ) -> None:
        self.tenant = tenant
        self._link = link
        self._pictures = PictureStore(link, tenant, lifetimes.pixels)
        self._loop = asyncio.get_running_loop()
        self._store = Store(tenant, link, self._pictures, lease, remember, lifetimes)
        self._feedback = Feedback(link, lifetimes.turns)
        self._others: list[RedisHistory] = []  #: of other tenants, over the same connections
        self._sweeper = Sweeper(link, tenant, self.sweep, sweep_after)
        self._sweeper.start()

    @classmethod
    async def open(
        cls,
        url: str | None = None,
        *,
        folder: Path | None = None,
        tenant: str = "default",
        timeout: float = 2.0,  # noqa: ASYNC109 - kept as the deadline of every call
        fsync: Fsync = "everysec",
        connections: int = 16,
        lease: float = LEASE,
        remember: float = DAY,
        lifetimes: Lifetimes = FOREVER,
        sweep_after: float = AFTER,
    ) -> "RedisHistory":
        """Connect to ``url`` (see ``memory/connect.py``), or to a server kept in ``folder``.

        ``timeout`` is every call's deadline in seconds. ``fsync`` is the embedded server's: with
        ``everysec`` a power cut takes the last second, with ``always`` nothing that was
        acknowledged. ``lease`` and ``remember`` are seconds: how long a claim holds when its
        holder stands still, and how long an idempotency key is known. ``lifetimes``
        says how long turns, captions and pixels are kept. ``sweep_after`` is when what crashes left
        behind is first removed, seconds from now (``memory/sweeping.py``). Raises
        ``HistoryUnavailable`` when the server cannot be reached or refuses.
        """
        link = await Link.open(
            url, folder=folder, fsync=fsync, timeout=timeout, connections=connections
        )
        return cls(link, tenant, lease, remember, lifetimes, sweep_after)

    def for_tenant(self, tenant: str) -> "RedisHistory":
        """Return another tenant's conversations, over the same connections. It is not closed:
        closing this one ends both."""
        store = self._store
        other = RedisHistory(self._link, tenant, store.lease, store.remember, store.lifetimes)
        self._others.append(other)
        return other

    async def load(self, conversation: str, *, last: int | None = None) -> Conversation:
        """See ``History.load``. One round trip; no picture's bytes are read."""
        return await reads.load(self._store, conversation, last)

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
        """See ``History.save``."""
        once = claim.once if claim else None
        if idempotency_key is not None and claim is None:
            shas = [picture.sha256 for picture in pictures]
            once = Once.of(idempotency_key, turn.question.text, shas)
        given = dict(blobs or {})
        saving = Saving(self._store, conversation, turn, pictures, given, follow, claim, once)
        saving.check()
        stored, count = await self._link.write(saving.run)
        if self._store.lifetimes.trims(count):
            with contextlib.suppress(HistoryUnavailable):  # it was stored; the next one tries again
                await self._link.write(lambda client: edits.trim(self._store, client, conversation))
        return stored

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
        """See ``History.claim``. One round trip to take and load; saving gives it back."""
        return Lease(self._store, conversation, turn, last, wait, once, again).held()

    async def delete_turn(self, conversation: str, turn: str) -> None:
        """See ``History.delete_turn``."""
        await edits.delete_turn(self._store, conversation, turn)
        await self._feedback.forget(self.tenant, conversation, turn)

    async def fork(self, conversation: str, name: str, *, turn: str | None = None) -> int:
        """See ``History.fork``."""
        return await copying.fork(self._store, conversation, name, turn)

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
        """See ``History.complete``."""
        saving = Saving(
            self._store,
            conversation,
            turn,
            pictures,
            dict(blobs or {}),
            follow,
            claim,
            claim.once if claim else None,
            before,
        )
        saving.check()
        return await self._link.write(saving.complete)

    def as_langchain(self, conversation: str, **options: Any) -> "RedisChatMessageHistory":
        """Return a conversation as LangChain's ``BaseChatMessageHistory``; it need not exist.

        ``options`` are those of ``memory.langchain_history.RedisChatMessageHistory``.
        """
        from memory.langchain_history import RedisChatMessageHistory

        return RedisChatMessageHistory(self, conversation, self._loop, **options)

    async def create(
        self,
        conversation: str,
        turns: Sequence[Turn],
        pictures: Sequence[PictureRef],
        pixels: Pixels,
        tell: Callable[[int], None] = lambda done: None,
        dropped: Sequence[int] = (),
    ) -> None:
        """See ``History.create``."""
        await copying.create(self._store, conversation, turns, pictures, pixels, tell, dropped)

    async def picture(self, conversation: str, number: int) -> bytes:
        """See ``History.picture``."""
        return await reads.picture(self._store, conversation, number)

    async def save_caption(self, conversation: str, picture: PictureRef) -> bool:
        """See ``History.save_caption``."""
        return await self._link.write(
            lambda client: save_caption(self._store, client, conversation, picture)
        )

    async def drop(self, conversation: str, number: int) -> None:
        """See ``History.drop``."""
        await dropping.drop(self._store, conversation, number)

    async def recaps(self, conversation: str) -> tuple[Recap, ...]:
        """See ``History.recaps``."""
        return await self._link.read(
            lambda client: summaries.read(client, self._store.key(conversation, "meta"))
        )

    async def save_recaps(
        self,
        conversation: str,
        recaps: Sequence[Recap],
        before: Sequence[Recap],
        start: int,
        covered: Sequence[Turn],
        dropped: Sequence[int] = (),
    ) -> bool:
        """See ``History.save_recaps``."""
        turns, meta, pictures = (
            self._store.key(conversation, p) for p in ("turns", "meta", "pictures")
        )
        return await self._link.write(
            lambda client: summaries.write(
                client, (turns, meta, pictures), recaps, before, start, covered, dropped
            )
        )

    async def conversations(self, offset: int = 0, limit: int | None = None) -> list[Summary]:
        """See ``History.conversations``. Asks for 500 at a time."""
        return await listing.page(self._store, offset, limit)

    async def conversation_count(self) -> int:
        """See ``History.conversation_count``. One command."""
        return await listing.count(self._store)

    async def title(self, conversation: str) -> str:
        """Return a conversation's title; empty when there is none of that name."""
        return await listing.title(self._store, conversation)

    async def turn(self, conversation: str, id: str) -> Turn:
        """See ``History.turn``."""
        return await reads.turn(self._store, conversation, id)

    async def give_feedback(self, said: Said) -> None:
        """See ``History.give_feedback``."""
        await self.turn(said.conversation, said.turn)
        await self._feedback.save(self.tenant, said)
        try:
            await self.turn(said.conversation, said.turn)
        except TurnNotFound:  # it was deleted meanwhile
            await self._feedback.forget(self.tenant, said.conversation, said.turn)
            raise

    async def rename(self, conversation: str, title: str) -> None:
        """See ``History.rename``."""
        await listing.rename(self._store, conversation, title)

    async def search(self, words: str, limit: int = 20, seconds: float = 5.0) -> SearchResult:
        """See ``History.search`` and ``memory/search.py``."""
        since = self._store.since(self._store.lifetimes.turns)
        return await search(self._link.read, self.tenant, words, limit, seconds, since)

    async def forget(self, conversation: str) -> None:
        """See ``History.forget``."""
        await forgetting.forget(self._store, conversation)

    async def sweep(self, grace: float = GRACE) -> int:
        """Remove pictures that crashes left without a conversation; return how many went.

        Those held for less than ``grace`` seconds stay: their turn may be on its way.
        """
        return await forgetting.sweep(self._store, grace)

    async def aclose(self) -> None:
        """See ``History.aclose``."""
        for history in (self, *self._others):
            await history._sweeper.aclose()
        await self._link.aclose()

    async def __aenter__(self) -> "RedisHistory":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
