"""How a turn is stored: whole or not at all, once, and only by whoever holds the conversation.

A turn is one MULTI on the conversation's own slot. What lies elsewhere is written around it, so
that a crash at any point leaves something superfluous and never something missing:

1. the tenant's list of conversations gains the name (an entry without turns is not shown);
2. pictures: their holder, then their bytes (an orphan is swept);
3. MULTI: the turn, the new pictures' references, the counters, the title; with a claim also the
   end of its lease, with an idempotency key its record. WATCH guards what was read before: that no
   later token was given (``memory/lease.py``), the key's record, the next picture's number;
4. the list again, if this was the first turn: a ``forget`` at the same moment may have removed
   the entry of step 1. ``forget`` looks for turns after it removed an entry, and puts it back.

Knows nothing of reading conversations, nor of models and channels.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import exceptions as rx

from memory import assembly, summaries
from memory.claims import Claim, Once
from memory.edits import turn_not_found
from memory.errors import HistoryDamaged, HistoryError, TurnOvertaken
from memory.history import Follow
from memory.messages import PictureRef, Turn
from memory.pictures import TRIES, highest, make_way, server_time
from memory.reads import find_turn
from memory.records import encode_name, index_key, pack
from memory.store import Store


@dataclass(frozen=True, slots=True)
class Saving:
    """A turn on its way into the store: what ``History.save`` was given."""

    store: Store
    conversation: str
    turn: Turn
    pictures: Sequence[PictureRef] = ()
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    follow: Follow | None = None
    claim: Claim | None = None
    once: Once | None = None
    before: Turn | None = None  #: the last turn, whose place it takes

    def check(self) -> None:
        """Refuse, before anything is written, what is not JSON and bytes not of their hash."""
        try:
            pack(self.turn.to_json())
        except (TypeError, ValueError) as error:
            raise HistoryError(
                f"turn {self.turn.id!r} is not JSON, it was not stored: {error}"
            ) from error
        for picture in self.pictures:
            data = self.blobs.get(picture.sha256)
            if data is not None and (
                len(data) != picture.bytes or hashlib.sha256(data).hexdigest() != picture.sha256
            ):
                raise HistoryDamaged(
                    f"the bytes given for picture {picture.number} are not those of its SHA-256 "
                    f"{picture.sha256[:12]}…: nothing was stored"
                )

    async def run(self, client: Any) -> tuple[Turn, int]:
        """Store it; return what was stored, or what was before under the same key, and how many
        turns there are if this is a new one, else 0."""
        if self._again is None:
            await self._list(client)  # 1.
        stored, count = await self._store(client, encode_name(self.conversation))
        if stored is None:
            raise turn_not_found(self.conversation, self._again.id if self._again else "")
        if count == 1 and self._again is None:
            await self._list(client)  # 4.
        return stored, 0 if self._again else count

    async def complete(self, client: Any) -> Turn | None:
        """Store it in the place of ``before``; ``None`` when that is not the last turn any more,
        or not as it was."""
        name = encode_name(self.conversation)
        stored, _ = await self._store(client, name)
        if stored is not None:
            await client.zadd(index_key(self.store.tenant), {name: stored.at}, xx=True)
        return stored

    async def _list(self, client: Any) -> None:
        pipe = client.pipeline(transaction=False)
        self.store.queue_listing(pipe, self.conversation, self.turn.at)
        await pipe.execute()

    @property
    def _again(self) -> Turn | None:
        return self.claim.again if self.claim else None

    def _key(self, part: str) -> str:
        return self.store.key(self.conversation, part)

    async def _store(self, client: Any, name: str) -> tuple[Turn | None, int]:
        """Return what was stored, and how many turns there are; ``None`` when the turn is gone
        whose place it was to take."""
        stored: Turn | None = None
        life, known, abandoned = "", await self._begin(client), list[str]()
        now = await server_time(client) if self.once else 0.0
        until = now + self.store.remember
        for attempt in range(TRIES):
            await make_way(attempt)
            if self.pictures and not life:  # 2.
                life = known.decode() if known else uuid.uuid4().hex
                now = await server_time(client)
                await self.store.pictures.hold(
                    client, f"{name}/{life}", self.pictures, self.blobs, now
                )
            async with client.pipeline(transaction=True) as pipe:
                before = await self._guard(pipe, now)
                if before is not None:
                    return before, 0
                last, found = None, known
                if self.pictures:
                    last, found = await pipe.hmget(self._key("pictures"), "last", "life")
                    if await self._was_cut(pipe, now):  # the hold may be gone: hold again
                        life = ""
                        continue
                if found != known:  # begun, or forgotten, since: another holder
                    abandoned.append(life)
                    known, life = found, ""
                    continue
                place = await self._place(pipe)
                if place is None:
                    abandoned += [life] if life and known is None else []
                    count = 0
                    break
                first = 1 + await highest(pipe, self._key("pictures"), last)
                stored, refs = assembly.renumber(self.turn, self.pictures, first, self.follow)
                title = await self._title(pipe, stored, refs, place)
                pipe.multi()  # 3.
                self._queue(pipe, stored, refs, life, until, place, title)
                try:
                    count = (await pipe.execute())[0]
                except rx.WatchError:
                    stored = None
                    continue
            if self.claim:
                self.claim.saved = True
            break
        else:
            raise rx.WatchError("turn")
        await self._let_go(client, [f"{name}/{life}" for life in abandoned])
        return stored, count

    async def _let_go(self, client: Any, holders: Sequence[str]) -> None:
        for sha in {picture.sha256 for picture in self.pictures} if holders else ():
            for holder in holders:
                await self.store.pictures.release(client, sha, holder)

    async def _begin(self, client: Any) -> bytes | None:
        """Return the holder of pictures, if there are some to hold and the claim still counts."""
        if not self.pictures:
            return None
        pipe = client.pipeline(transaction=False)
        pipe.hget(self._key("pictures"), "life")
        pipe.hget(self._key("meta"), "fence")
        life, fence = await pipe.execute()
        self._check_token(fence)
        found: bytes | None = life
        return found

    async def _guard(self, pipe: Any, now: float) -> Turn | None:
        """Watch what the transaction rests on; return the turn that the key was before, if that is
        still there. ``now`` is the server's clock (s)."""
        watched = [self._key("pictures")] if self.pictures else []
        if self.claim or self.before:
            watched.append(self._key("meta"))
        if self._again or self.before:
            watched.append(self._key("turns"))
        if self.once and not self.claim:
            watched.append(self._key("keys"))
        if not watched:
            return None
        await pipe.watch(*watched)
        if self.claim:
            self._check_token(await pipe.hget(self._key("meta"), "fence"))
        if self.once and not self.claim:
            record = await pipe.hget(self._key("keys"), self.once.key)
            done = self.once.done(record, now)
            if done is not None:
                return (await find_turn(pipe, self._key("turns"), done))[1]
        return None

    def _check_token(self, fence: bytes | None) -> None:
        if self.claim and (fence is None or fence.decode() != self.claim.token):
            raise TurnOvertaken(
                f"conversation {self.conversation!r} went on without this turn, which stood still "
                "for too long or was forgotten: nothing of it was stored, ask again"
            )

    async def _was_cut(self, pipe: Any, held: float) -> bool:
        """Return whether turns were removed since the pictures were held (server's clock, s)."""
        cut = await pipe.hget(self._key("meta"), "cut")
        try:
            return cut is not None and float(cut) >= held
        except ValueError:
            return False  # damaged

    async def _place(self, pipe: Any) -> int | None:
        """Return the place of the turn that is replaced, -1 for a new one, ``None`` when it is not
        there."""
        turns = self._key("turns")
        if self.before is not None:
            record = await pipe.lindex(turns, -1)
            if record is None or assembly.read_turn(record) != self.before:
                return None
            return int(await pipe.llen(turns)) - 1
        if self._again is None:
            return -1
        place, _ = await find_turn(pipe, turns, self._again.id)
        return place if place >= 0 else None

    async def _title(
        self, pipe: Any, turn: Turn, refs: Sequence[PictureRef], place: int
    ) -> bytes | None:
        """Return the title that comes with the turn, ``None`` when the one that is there stays."""
        if place > 0:
            return None
        if place == 0:
            title, named = await pipe.hmget(self._key("meta"), "title", "named")
            if named or (title and self.before):
                return None
        pictures = [*(self.claim.own if self.claim else ()), *refs]
        return assembly.title(turn, pictures).encode(errors="replace")

    def _queue(
        self,
        pipe: Any,
        turn: Turn,
        refs: Sequence[PictureRef],
        life: str,
        until: float,
        place: int,
        title: bytes | None,
    ) -> None:
        """Queue the transaction. The first reply of a new turn is the number of turns."""
        turns, meta, pictures = (self._key(part) for part in ("turns", "meta", "pictures"))
        if place < 0:
            pipe.rpush(turns, pack(turn.to_json()))
            pipe.hincrby(meta, "turns", 1)
            pipe.hsetnx(meta, "title", title)
        else:
            pipe.lset(turns, place, pack(turn.to_json()))
            pipe.hdel(meta, summaries.FIELD)  # they may tell what the turn said before
            if title is not None:
                pipe.hset(meta, "title", title)
        self.store.queue_pictures(pipe, self.conversation, refs, turn.at)
        if refs:
            pipe.hset(pictures, mapping={"last": refs[-1].number, "life": life})
        if self.once:
            pipe.hset(self._key("keys"), self.once.key, self.once.record(until, turn.id))
            pipe.expire(self._key("keys"), int(self.store.remember) + 1)
        if self.claim:
            pipe.delete(self._key("lease"))
        self.store.queue_lifetimes(pipe, self.conversation)
