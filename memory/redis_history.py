"""Conversations in Redis: the ``History`` that Bifocal uses, on a server of its own or on yours.

Knows nothing of models, retrieval or channels. Keys and records are ``memory/records.py``'s, bytes
of pictures ``memory/pictures.py``'s, connections and errors ``memory/client.py``'s.

A turn is one MULTI on the conversation's own slot. What lies elsewhere is written around it, so
that a crash at any point leaves something superfluous and never something missing:

1. the tenant's list of conversations gains the name (an entry without turns is not shown);
2. pictures: their holder, then their bytes (an orphan is swept);
3. MULTI: the turn, the new pictures' references, the counters, the title;
4. the list again, if this was the first turn: a ``forget`` at the same moment may have removed
   the entry of step 1. ``forget`` looks for turns after it removed an entry, and puts it back.

A caller that is cancelled, or that is told ``HistoryUnavailable`` while the answer was under way,
does not know whether its turn was stored; that it is stored whole or not at all always holds.
"""

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from redis import exceptions as rx
from redis.asyncio import Redis

from memory import assembly, removal, summaries
from memory.client import Link, explain
from memory.completing import complete
from memory.dropping import drop
from memory.embedded import EmbeddedRedis, Fsync
from memory.errors import (
    ConversationNotFound,
    HistoryDamaged,
    HistoryError,
    HistoryUnavailable,
    PictureNotFound,
)
from memory.found import SearchResult
from memory.history import Follow
from memory.messages import Conversation, PictureRef, Recap, Summary, Turn
from memory.pictures import GRACE, TRIES, PictureStore, highest, server_time
from memory.records import (
    conversation_key,
    decode_name,
    encode_name,
    index_key,
    pack,
)
from memory.search import search

if TYPE_CHECKING:
    from memory.langchain_history import RedisChatMessageHistory

T = TypeVar("T")

PAGE = 500  #: conversations asked for at once


class RedisHistory:
    """Keeps one tenant's conversations. Made by :meth:`open`; an asynchronous context manager.

    Belongs to the event loop that opened it. See ``memory.history.History`` for the methods.
    """

    def __init__(self, link: Link, tenant: str, embedded: EmbeddedRedis | None = None) -> None:
        self.tenant = tenant
        self._link = link
        self._embedded = embedded
        self._pictures = PictureStore(link, tenant)
        self._loop = asyncio.get_running_loop()

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
    ) -> "RedisHistory":
        """Connect to ``url`` (see ``memory/connect.py``), or to a server kept in ``folder``.

        ``timeout`` is every call's deadline in seconds. ``fsync`` is the embedded server's: with
        ``everysec`` a power cut takes the last second, with ``always`` nothing that was
        acknowledged. Raises ``HistoryUnavailable`` when the server cannot be reached or refuses.
        """
        embedded = None
        if url is None:
            if folder is None:
                raise HistoryUnavailable(
                    "conversations have no place: give a Redis address or a folder"
                )
            embedded = await EmbeddedRedis.aopen(folder, fsync=fsync)
        try:
            link = await Link.open(
                embedded.url if embedded else url or "",
                name=f"the Redis of {folder}" if embedded else "",
                timeout=timeout,
                connections=connections,
            )
        except BaseException:
            if embedded is not None:
                await embedded.aclose()
            raise
        return cls(link, tenant, embedded)

    def _key(self, conversation: str, part: str) -> str:
        return conversation_key(self.tenant, conversation, part)

    async def _read(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """Do ``work``, which only reads, once more if an embedded server had died before it."""
        try:
            return await self._write(work)
        except HistoryUnavailable as error:
            if self._embedded is None or not _is_gone(error):
                raise
        return await self._link.run(work)

    async def _write(self, work: Callable[[Redis], Awaitable[T]], limit: float | None = None) -> T:
        """Do ``work``. An embedded server that has died is started again for the next call."""
        try:
            return await self._link.run(work, limit)
        except HistoryUnavailable as error:
            if self._embedded is not None and _is_gone(error):
                await asyncio.to_thread(self._embedded.revive)
            raise

    async def load(self, conversation: str, *, last: int | None = None) -> Conversation:
        """See ``History.load``. One round trip; no picture's bytes are read."""
        loaded, whole = await self._load(conversation, last)
        if not whole:  # forgotten between two of the replies, or truly missing: the second tells
            loaded, _ = await self._load(conversation, last)
        return loaded

    async def _load(self, conversation: str, last: int | None) -> tuple[Conversation, bool]:
        """Return what is stored, and whether as many turns are there as were written."""
        turns = self._key(conversation, "turns")

        async def work(client: Any) -> list[Any]:
            # not a MULTI: a server that is full refuses those, and reading must go on. What
            # others write in between does no harm in this order: each reply can only know more
            # than the ones before it.
            pipe = client.pipeline(transaction=False)
            pipe.hget(self._key(conversation, "meta"), "turns")
            pipe.llen(turns)
            pipe.lrange(turns, *((1, 0) if last is not None and last < 1 else (-(last or 0), -1)))
            pipe.hgetall(self._key(conversation, "pictures"))
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            return replies

        found = await self._read(work)
        for value in found:
            if isinstance(value, rx.ResponseError) and "WRONGTYPE" not in str(value):
                raise explain(value, self._link.name) from value
            if isinstance(value, Exception):
                raise HistoryDamaged(
                    f"conversation {conversation!r} is not in the form Bifocal stores: another "
                    "program wrote to its keys"
                ) from value
        written, total, records, refs = found
        total = max(int(total), len(records))
        count = int(written) if written and written.isdigit() else 0
        return assembly.conversation(conversation, total, records, refs, count), count <= total

    async def save(
        self,
        conversation: str,
        turn: Turn,
        pictures: tuple[PictureRef, ...] = (),
        blobs: Mapping[str, bytes] | None = None,
        follow: Follow | None = None,
    ) -> Turn:
        """See ``History.save``."""
        given = dict(blobs or {})
        _check(pictures, given)
        try:
            record = pack(turn.to_json())
        except (TypeError, ValueError) as error:
            raise HistoryError(
                f"turn {turn.id!r} is not JSON, it was not stored: {error}"
            ) from error
        name, index = encode_name(conversation), index_key(self.tenant)

        async def work(client: Any) -> Turn:
            await client.zadd(index, {name: turn.at})  # 1.
            if pictures:
                stored, count = await self._save_with_pictures(
                    client, conversation, turn, pictures, given, follow
                )
            else:
                pipe = client.pipeline(transaction=True)
                self._queue(pipe, conversation, record, assembly.title(turn, ()))
                stored, count = turn, (await pipe.execute())[0]
            if count == 1:
                await client.zadd(index, {name: turn.at})  # 4.
            return stored

        return await self._write(work)

    async def _save_with_pictures(
        self,
        client: Any,
        conversation: str,
        turn: Turn,
        pictures: Sequence[PictureRef],
        blobs: Mapping[str, bytes],
        follow: Follow | None,
    ) -> tuple[Turn, int]:
        """Store a turn and its pictures; return what was stored and the number of turns."""
        key, name = self._key(conversation, "pictures"), encode_name(conversation)
        known = await client.hget(key, "life")
        life = ""
        abandoned: list[str] = []
        for _ in range(TRIES):
            if not life:  # 2.
                life = known.decode() if known else uuid.uuid4().hex
                now = await server_time(client)
                await self._pictures.hold(client, f"{name}/{life}", pictures, blobs, now)
            async with client.pipeline(transaction=True) as pipe:
                await pipe.watch(key)
                last, found = await pipe.hmget(key, "last", "life")
                if found != known:  # begun, or forgotten, since: another holder
                    abandoned.append(life)
                    known, life = found, ""
                    continue
                stored, refs = assembly.renumber(
                    turn, pictures, 1 + await highest(pipe, key, last), follow
                )
                pipe.multi()  # 3.
                self._queue(pipe, conversation, pack(stored.to_json()), assembly.title(turn, refs))
                for ref in refs:
                    pipe.hset(key, str(ref.number), pack(ref.to_json()))
                pipe.hset(key, mapping={"last": refs[-1].number, "life": life})
                try:
                    count = (await pipe.execute())[0]
                except rx.WatchError:
                    continue
            for sha in {ref.sha256 for ref in refs} if abandoned else ():
                for stale in abandoned:
                    await self._pictures.release(client, sha, f"{name}/{stale}")
            return stored, count
        raise rx.WatchError("pictures")

    async def complete(
        self,
        conversation: str,
        before: Turn,
        turn: Turn,
        pictures: tuple[PictureRef, ...] = (),
        blobs: Mapping[str, bytes] | None = None,
        follow: Follow | None = None,
    ) -> Turn | None:
        """See ``History.complete`` and ``memory/completing.py``."""
        given = dict(blobs or {})
        _check(pictures, given)

        async def work(client: Any) -> Turn | None:
            return await complete(
                client,
                self._pictures,
                self.tenant,
                conversation,
                before,
                turn,
                pictures,
                given,
                follow,
            )

        return await self._write(work)

    def as_langchain(self, conversation: str, **options: Any) -> "RedisChatMessageHistory":
        """Return a conversation as LangChain's ``BaseChatMessageHistory``; it need not exist.

        ``options`` are those of ``memory.langchain_history.RedisChatMessageHistory``.
        """
        from memory.langchain_history import RedisChatMessageHistory

        return RedisChatMessageHistory(self, conversation, self._loop, **options)

    def _queue(self, pipe: Any, conversation: str, record: bytes, title: str) -> None:
        """Queue a turn. The first reply is the number of turns."""
        meta = self._key(conversation, "meta")
        pipe.rpush(self._key(conversation, "turns"), record)
        pipe.hincrby(meta, "turns", 1)
        pipe.hsetnx(meta, "title", title.encode(errors="replace"))

    async def picture(self, conversation: str, number: int) -> bytes:
        """See ``History.picture``."""
        key = self._key(conversation, "pictures")

        async def work(client: Any) -> bytes | None:
            record: bytes | None = await client.hget(key, str(number))
            return record

        record = await self._read(work)
        if record is None:
            await self._refuse_dropped(conversation, number)
            raise HistoryDamaged(f"conversation {conversation!r} has no picture {number}")
        ref = assembly.read_picture(record)
        if ref is None:
            raise HistoryDamaged(
                f"the record of picture {number} of conversation {conversation!r} is damaged: "
                "send the picture again"
            )
        return await self._pictures.read(ref)

    async def drop(self, conversation: str, number: int) -> None:
        """See ``History.drop``."""
        key, meta = (self._key(conversation, part) for part in ("pictures", "meta"))
        name = encode_name(conversation)

        async def work(client: Any) -> bool:
            return await drop(client, self._pictures, key, meta, name, number)

        # each picture takes a transaction of its own
        if not await self._write(work, limit=30.0):
            await self._refuse_dropped(conversation, number)
            raise PictureNotFound(f"conversation {conversation!r} has no picture {number}")

    async def _refuse_dropped(self, conversation: str, number: int) -> None:
        """Raise ``PictureNotFound`` if the picture was dropped."""

        async def work(client: Any) -> bytes:
            found: bytes | None = await client.hget(self._key(conversation, "pictures"), "dropped")
            return found or b""

        if number in assembly.dropped({b"dropped": await self._read(work)}):
            raise PictureNotFound(f"picture {number} of conversation {conversation!r} was dropped")

    async def recaps(self, conversation: str) -> tuple[Recap, ...]:
        """See ``History.recaps``."""
        return await self._read(
            lambda client: summaries.read(client, self._key(conversation, "meta"))
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
        turns, meta, pictures = (self._key(conversation, p) for p in ("turns", "meta", "pictures"))
        return await self._write(
            lambda client: summaries.write(
                client, (turns, meta, pictures), recaps, before, start, covered, dropped
            )
        )

    async def conversations(self, offset: int = 0, limit: int | None = None) -> list[Summary]:
        """See ``History.conversations``. Asks for 500 at a time."""
        last = -1 if limit is None else offset + limit - 1
        if offset < 0 or (limit is not None and limit < 1):
            return []

        async def names(client: Any) -> list[tuple[bytes, float]]:
            key = index_key(self.tenant)
            found: Any = await client.zrevrange(key, offset, last, withscores=True)
            return list(found)

        listed = await self._read(names)
        summaries: list[Summary] = []
        for start in range(0, len(listed), PAGE):
            page = [(decode_name(name.decode()), at) for name, at in listed[start : start + PAGE]]
            facts = await self._read(self._facts([name for name, _ in page]))
            for (name, at), (turns, meta, pictures) in zip(page, facts, strict=True):
                if isinstance(turns, Exception):
                    summaries.append(Summary(name, "(damaged)", 0, 0, at))
                elif turns:
                    title, dropped = meta if isinstance(meta, list) else (None, None)
                    shown = title.decode(errors="replace") if isinstance(title, bytes) else ""
                    others = 3 if dropped else 2  # fields that are no pictures
                    count = max(0, pictures - others) if isinstance(pictures, int) else 0
                    summaries.append(Summary(name, shown, turns, count, at))
        return summaries

    def _facts(self, names: Sequence[str]) -> Callable[[Redis], Awaitable[list[tuple[Any, ...]]]]:
        async def work(client: Any) -> list[tuple[Any, ...]]:
            pipe = client.pipeline(transaction=False)
            for name in names:
                pipe.llen(self._key(name, "turns"))
                pipe.hmget(self._key(name, "meta"), "title", "dropped")
                pipe.hlen(self._key(name, "pictures"))
            flat = await pipe.execute(raise_on_error=False)
            return [tuple(flat[i : i + 3]) for i in range(0, len(flat), 3)]

        return work

    async def conversation_count(self) -> int:
        """See ``History.conversation_count``. One command."""

        async def count(client: Any) -> int:
            return int(await client.zcard(index_key(self.tenant)))

        return await self._read(count)

    async def rename(self, conversation: str, title: str) -> None:
        """See ``History.rename``."""
        words = assembly.given_title(title).encode(errors="replace")
        turns = self._key(conversation, "turns")

        async def work(client: Any) -> bool:
            for _ in range(TRIES):
                async with client.pipeline(transaction=True) as pipe:
                    await pipe.watch(turns)
                    if not await pipe.exists(turns):
                        return False
                    pipe.multi()
                    pipe.hset(self._key(conversation, "meta"), "title", words)
                    with contextlib.suppress(rx.WatchError):
                        await pipe.execute()
                        return True
            raise rx.WatchError("turns")

        if not await self._write(work):
            raise ConversationNotFound(_nowhere(conversation))

    async def search(self, words: str, limit: int = 20, seconds: float = 5.0) -> SearchResult:
        """See ``History.search`` and ``memory/search.py``."""
        return await search(self._read, self.tenant, words, limit, seconds)

    async def forget(self, conversation: str) -> None:
        """See ``History.forget``."""

        async def work(client: Any) -> bool:
            return await self._forget(client, conversation)

        # each picture takes a step of its own
        if not await self._write(work, limit=30.0):
            raise ConversationNotFound(_nowhere(conversation))

    async def _forget(self, client: Any, conversation: str) -> bool:
        keys = [self._key(conversation, part) for part in ("turns", "pictures", "meta")]
        # 1. everything of the conversation's own, at once
        refs, removed = await removal.take(client, keys, keys[1])
        # 2. its holds; a crash before their end leaves orphans for the sweep
        if b"life" in refs:
            holder = f"{encode_name(conversation)}/{refs[b'life'].decode()}"
            for sha in assembly.hashes(refs):
                await self._pictures.release(client, sha, holder)
        # 3. its entry, which comes back if it was begun anew in the meantime
        index, name = index_key(self.tenant), encode_name(conversation)
        at = await client.zscore(index, name)
        await client.zrem(index, name)
        if await client.exists(keys[0]):
            await client.zadd(index, {name: at or await server_time(client)})
        return removed > 0

    async def sweep(self, grace: float = GRACE) -> int:
        """Remove pictures that crashes left without a conversation; return how many went.

        Those held for less than ``grace`` seconds stay: their turn may be on its way.
        """
        return await self._pictures.sweep(self._backs, grace)

    async def _backs(self, holder: str, sha256: str) -> bool:
        name, _, life = holder.rpartition("/")
        key = self._key(decode_name(name), "pictures")

        async def work(client: Any) -> dict[bytes, bytes]:
            refs: dict[bytes, bytes] = await client.hgetall(key)
            return refs

        refs = await self._read(work)
        if refs.get(b"life", b"").decode() != life:
            return False
        # a record that cannot be read may be the one: keep the picture
        readable = [assembly.read_picture(record) for record in assembly.numbered(refs).values()]
        return any(ref is None or ref.sha256 == sha256 for ref in readable)

    async def aclose(self) -> None:
        """See ``History.aclose``."""
        await self._link.aclose()
        if self._embedded is not None:
            await self._embedded.aclose()

    async def __aenter__(self) -> "RedisHistory":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _nowhere(conversation: str) -> str:
    return f"there is no conversation {conversation!r}; `bifocal conversations list` names them"


def _is_gone(error: HistoryUnavailable) -> bool:
    cause = error.__cause__
    return isinstance(cause, rx.ConnectionError) and not isinstance(
        cause, rx.AuthenticationError | rx.BusyLoadingError | rx.MaxConnectionsError
    )


def _check(pictures: Sequence[PictureRef], blobs: Mapping[str, bytes]) -> None:
    """Refuse bytes that are not those their hash names, before anything is written."""
    for picture in pictures:
        data = blobs.get(picture.sha256)
        if data is not None and (
            len(data) != picture.bytes or hashlib.sha256(data).hexdigest() != picture.sha256
        ):
            raise HistoryDamaged(
                f"the bytes given for picture {picture.number} are not those of its SHA-256 "
                f"{picture.sha256[:12]}…: nothing was stored"
            )
