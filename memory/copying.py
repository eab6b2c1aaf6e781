"""Makes a conversation of turns that were: a fork of another one, or what a file holds.

It is stored in one MULTI on the conversation's slot; holds of its pictures lie elsewhere, and are
noted before it and let go if it fails, so that a crash leaves an orphan at most. Knows nothing of
models.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memory import assembly
from memory.edits import LONG, field_names, only_in, turn_not_found
from memory.errors import (
    ConversationExists,
    HistoryError,
    HistoryUnavailable,
    conversation_not_found,
)
from memory.history import Pixels
from memory.messages import PictureRef, Turn
from memory.pictures import server_time
from memory.records import encode_name, pack
from memory.store import Store


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
            await self.store.link.write(self._check)
            for done, (sha, ref) in enumerate(wanted.items(), 1):
                if await self._hold(holder, ref):
                    held.append(sha)
                self.tell(done)
            await self.store.link.write(lambda client: self._store(client, life), limit=LONG)
        except HistoryUnavailable:
            raise  # it may have been stored: what is held in vain is swept
        except HistoryError:
            for sha in held:
                await self.store.link.write(self._releaser(sha, holder))
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

        return await self.store.link.write(work)

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


async def create(
    store: Store,
    name: str,
    turns: Sequence[Turn],
    pictures: Sequence[PictureRef],
    pixels: Pixels,
    tell: Callable[[int], None],
    dropped: Sequence[int],
) -> None:
    """See ``History.create``."""
    records = [pack(turn.to_json()) for turn in turns]
    refs = {picture.number: pack(picture.to_json()) for picture in pictures}
    await Copy(store, name, records, refs, pixels, tell, dropped=dropped).run()


async def fork(store: Store, conversation: str, name: str, turn: str | None) -> int:
    """See ``History.fork``."""
    records, refs, captions = await store.link.read(
        lambda client: _all(store, client, conversation)
    )
    if not records:
        raise conversation_not_found(conversation)
    turns = [assembly.read_turn(record) for record in records]
    count = len(turns)
    if turn is not None:
        count = 1 + next((p for p, t in enumerate(turns) if t and t.id == turn), -1)
        if not count:
            raise turn_not_found(conversation, turn)
    later = only_in(turns, set(range(count, len(turns))))
    pictures = {n: record for n, record in assembly.numbered(refs).items() if n not in later}

    async def stored(_: str) -> None:
        return None

    kept = {n: caption for n, caption in captions.items() if n in field_names(set(pictures))}
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
