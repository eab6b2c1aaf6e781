"""What changes or copies what was said: removing turns, and making a conversation of others' turns.

A copy is one MULTI on the conversation's slot, a removal one script (``memory/cutting.py``); holds
of pictures lie elsewhere, and are noted before and let go after it, so that a crash leaves an
orphan at most. A removal notes its time (``cut``): a turn that held its pictures before that, and
is stored after it, holds them again (``memory/writes.py``), since letting go may have hit its hold,
too. Knows nothing of models.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import exceptions as rx

from memory import assembly, cutting
from memory.errors import (
    ConversationExists,
    ConversationNotFound,
    HistoryError,
    HistoryUnavailable,
    TurnNotFound,
)
from memory.history import Pixels
from memory.lifetimes import old_captions
from memory.messages import PictureRef, Turn
from memory.pictures import TRIES, make_way, server_time
from memory.records import encode_name, index_key
from memory.store import PARTS, Store

LONG = 60.0  #: seconds that a copy or a removal may take

Pick = Callable[[Sequence[Turn | None]], set[int]]  #: turns -> places (from 0) of those to remove


def turn_not_found(conversation: str, turn: str) -> TurnNotFound:
    """Return the error of an id that is none of a conversation's turns."""
    return TurnNotFound(
        f"conversation {conversation!r} has no turn {turn!r}; "
        f"`bifocal conversations show --json` names them"
    )


async def delete_turn(store: Store, conversation: str, turn: str) -> None:
    """See ``History.delete_turn``."""

    def pick(turns: Sequence[Turn | None]) -> set[int]:
        return {place for place, found in enumerate(turns) if found and found.id == turn}

    async def work(client: Any) -> int:
        return await remove(store, client, conversation, pick)

    if not await store.write(work, limit=LONG):
        raise turn_not_found(conversation, turn)


async def trim(store: Store, client: Any, conversation: str) -> None:
    """Remove turns and captions that have passed their lifetime, but for the last turn."""
    since = store.since(store.lifetimes.turns)

    def pick(turns: Sequence[Turn | None]) -> set[int]:
        old = [place for place, turn in enumerate(turns[:-1]) if turn and turn.at < since]
        return set(range(max(old) + 1)) if old else set()

    first = await client.lindex(store.key(conversation, "turns"), 0)
    turn = assembly.read_turn(first) if first else None
    if turn is None or turn.at < since:
        await remove(store, client, conversation, pick)
    if store.lifetimes.captions is not None:
        key = store.key(conversation, "captions")
        captions = await client.hgetall(key)
        if old := old_captions(captions, store.since(store.lifetimes.captions)):
            await client.hdel(key, *old)


async def remove(store: Store, client: Any, conversation: str, pick: Pick) -> int:
    """Remove the turns that ``pick`` names, with the pictures that no other turn names, within
    the caller's piece of work; return how many went."""
    keys = {part: store.key(conversation, part) for part in PARTS}
    for attempt in range(TRIES):
        await make_way(attempt)
        now = await server_time(client)
        found = await cutting.read(client, keys)
        turns = [assembly.read_turn(record) for record in found.records]
        places = pick(turns)
        if not places:
            return 0
        numbers = _only_in(turns, places) & set(assembly.numbered(found.pictures))
        title = b"" if found.named else _next_title(turns, places)
        if not await cutting.remove(client, keys, found, places, numbers, now, title):
            continue
        await let_go(store, client, conversation, found.pictures, numbers, now)
        if len(places) == len(turns):
            await unlist(store, client, conversation)
        return len(places)
    raise rx.WatchError("turns")


def _next_title(turns: Sequence[Turn | None], places: set[int]) -> bytes:
    """Return the title that the first of the turns that stay gives; nothing when the first of all
    stays."""
    first = next((t for p, t in enumerate(turns) if p not in places and t), None)
    if 0 not in places or first is None:
        return b""
    return assembly.title(first, ()).encode(errors="replace")


def _only_in(turns: Sequence[Turn | None], places: set[int]) -> set[int]:
    """Return the numbers of the pictures that only the turns at ``places`` name.

    A turn that stays and cannot be read may name any: none is returned then.
    """
    named: tuple[set[int], set[int]] = (set(), set())  # by those that stay, by those that go
    for place, turn in enumerate(turns):
        if turn is not None:
            named[place in places].update(turn.question.pictures, turn.answer.pictures)
        elif place not in places:
            return set()
    return named[1] - named[0]


async def let_go(
    store: Store,
    client: Any,
    conversation: str,
    refs: Mapping[bytes, bytes],
    numbers: set[int],
    now: float,
) -> None:
    """Let go of the pictures of ``numbers`` that no other number of the conversation has."""
    if b"life" not in refs:
        return
    holder = f"{encode_name(conversation)}/{refs[b'life'].decode()}"
    left = {name: record for name, record in refs.items() if name not in _names(numbers)}
    gone = {name: record for name, record in refs.items() if name in _names(numbers)}
    for sha in assembly.hashes(gone) - assembly.hashes(left):
        await store.pictures.release(client, sha, holder, before=now)


def _names(numbers: set[int]) -> set[bytes]:
    return {str(number).encode() for number in numbers}


async def unlist(store: Store, client: Any, conversation: str) -> None:
    """Take a conversation off the list; it comes back if it was begun anew in the meantime."""
    index, name = index_key(store.tenant), encode_name(conversation)
    at = await client.zscore(index, name)
    await client.zrem(index, name)
    if await client.exists(store.key(conversation, "turns")):
        await client.zadd(index, {name: at or await server_time(client)})


@dataclass(frozen=True, slots=True)
class Copy:
    """Turns and pictures (as they are stored) that become a conversation of their own.

    ``pixels`` gives a picture's bytes by its SHA-256, or ``None`` where they are stored already or
    are gone. ``tell`` is called with how many pictures are done. ``dropped`` are the numbers that
    are not given again.
    """

    store: Store
    name: str
    records: Sequence[bytes]
    pictures: Mapping[int, bytes]
    pixels: Pixels
    tell: Callable[[int], None] = lambda _: None
    captions: Mapping[bytes, bytes] = field(default_factory=dict)
    dropped: Sequence[int] = ()

    async def run(self) -> None:
        """Store it, whole or not at all; ``ConversationExists`` when the name is taken."""
        life = uuid.uuid4().hex
        holder = f"{encode_name(self.name)}/{life}"
        refs = [r for r in map(assembly.read_picture, self.pictures.values()) if r is not None]
        wanted = {ref.sha256: ref for ref in refs}
        held: list[str] = []
        try:
            await self.store.write(self._check)
            for done, (sha, ref) in enumerate(wanted.items(), 1):
                if await self._hold(holder, ref):
                    held.append(sha)
                self.tell(done)
            await self.store.write(lambda client: self._store(client, life), limit=LONG)
        except HistoryUnavailable:
            raise  # it may have been stored: what is held in vain is swept
        except HistoryError:
            for sha in held:
                await self.store.write(self._releaser(sha, holder))
            raise

    async def _check(self, client: Any) -> None:
        if await client.exists(self.store.key(self.name, "turns")):
            raise ConversationExists(
                f"there is a conversation {self.name!r} already: give another name"
            )

    async def _hold(self, holder: str, ref: PictureRef) -> bool:
        data = await self.pixels(ref.sha256)

        async def work(client: Any) -> bool:
            now = await server_time(client)
            return await self.store.pictures.share(client, holder, ref, data, now)

        return await self.store.write(work)

    def _releaser(self, sha: str, holder: str) -> Callable[[Any], Awaitable[bool]]:
        return lambda client: self.store.pictures.release(client, sha, holder)

    async def _store(self, client: Any, life: str) -> None:
        turns, meta, pictures = (
            self.store.key(self.name, p) for p in ("turns", "meta", "pictures")
        )
        readable = [turn for turn in map(assembly.read_turn, self.records) if turn is not None]
        at = max((turn.at for turn in readable), default=0.0)
        await self._list(client, at)
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(turns, pictures)
            await self._check(pipe)
            pipe.multi()
            pipe.delete(pictures)
            for start in range(0, len(self.records), 500):
                pipe.rpush(turns, *self.records[start : start + 500])
            pipe.delete(self.store.key(self.name, "captions"))
            for number, record in self.pictures.items():
                if (ref := assembly.read_picture(record)) is not None:
                    self.store.queue_pictures(pipe, self.name, [ref], at)
                else:
                    pipe.hset(pictures, str(number), record)
            if self.captions:
                pipe.hset(self.store.key(self.name, "captions"), mapping=self.captions)
            if self.pictures or self.dropped:
                last = max([*self.pictures, *self.dropped])
                pipe.hset(pictures, mapping={"last": last, "life": life})
            if self.dropped:
                pipe.hset(pictures, "dropped", ",".join(map(str, self.dropped)))
                pipe.hset(meta, "dropped", 1)
            title = assembly.title(readable[0], ()) if readable else ""
            pipe.hset(
                meta,
                mapping={"turns": len(self.records), "title": title.encode(errors="replace")},
            )
            self.store.queue_lifetimes(pipe, self.name)
            await pipe.execute()
        await self._list(client, at)

    async def _list(self, client: Any, at: float) -> None:
        pipe = client.pipeline(transaction=False)
        self.store.queue_listing(pipe, self.name, at)
        await pipe.execute()


async def fork(store: Store, conversation: str, name: str, turn: str | None) -> int:
    """See ``History.fork``."""
    records, refs, captions = await store.read(lambda client: _all(store, client, conversation))
    if not records:
        raise ConversationNotFound(
            f"there is no conversation {conversation!r}; `bifocal conversations list` names them"
        )
    turns = [assembly.read_turn(record) for record in records]
    count = len(turns)
    if turn is not None:
        count = 1 + next((p for p, t in enumerate(turns) if t and t.id == turn), -1)
        if not count:
            raise turn_not_found(conversation, turn)
    later = _only_in(turns, set(range(count, len(turns))))
    pictures = {n: record for n, record in assembly.numbered(refs).items() if n not in later}

    async def stored(_: str) -> None:
        return None

    kept = {n: caption for n, caption in captions.items() if n in _names(set(pictures))}
    dropped = assembly.dropped(refs)
    await Copy(store, name, records[:count], pictures, stored, captions=kept, dropped=dropped).run()
    return count


async def _all(
    store: Store, client: Any, conversation: str
) -> tuple[list[bytes], dict[bytes, bytes], dict[bytes, bytes]]:
    pipe = client.pipeline(transaction=True)
    pipe.lrange(store.key(conversation, "turns"), 0, -1)
    pipe.hgetall(store.key(conversation, "pictures"))
    pipe.hgetall(store.key(conversation, "captions"))
    records, refs, captions = await pipe.execute()
    return records, refs, captions
