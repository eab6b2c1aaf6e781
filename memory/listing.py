"""The list of a tenant's conversations, and their titles.

Knows nothing of turns beyond the first one's time, which says whether its title is still kept.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis import exceptions as rx
from redis.asyncio import Redis

from memory import assembly
from memory.errors import conversation_not_found
from memory.messages import Summary
from memory.pictures import TRIES
from memory.records import decode_name, index_key
from memory.store import Store

PAGE = 500  #: conversations asked for at once


async def page(store: Store, offset: int, limit: int | None) -> list[Summary]:
    """See ``History.conversations``. Asks for :data:`PAGE` at a time."""
    last = -1 if limit is None else offset + limit - 1
    if offset < 0 or (limit is not None and limit < 1):
        return []

    async def names(client: Any) -> list[tuple[bytes, float]]:
        key = index_key(store.tenant)
        found: Any = await client.zrevrange(key, offset, last, withscores=True)
        return list(found)

    listed = await store.link.read(names)
    since = store.since(store.lifetimes.turns)
    found: list[Summary] = []
    for start in range(0, len(listed), PAGE):
        part = [(decode_name(name.decode()), at) for name, at in listed[start : start + PAGE]]
        facts = await store.link.read(_facts(store, [name for name, _ in part]))
        for (name, at), of_it in zip(part, facts, strict=True):
            if (line := _line(name, at, of_it, since)) is not None:
                found.append(line)
    return found


def _line(name: str, at: float, facts: tuple[Any, ...], since: float) -> Summary | None:
    """Return a conversation's line; ``None`` for a name that a crash left without turns."""
    turns, stored, pictures, first = facts
    if isinstance(turns, Exception):
        return Summary(name, "(damaged)", 0, 0, at)
    if not turns:
        return None
    shown = assembly.shown_title(stored, first, since)
    dropped = isinstance(stored, list) and stored[2]
    others = 3 if dropped else 2  # fields that are no pictures
    count = max(0, pictures - others) if isinstance(pictures, int) else 0
    return Summary(name, shown, turns, count, at)


def _facts(
    store: Store, names: Sequence[str]
) -> Callable[[Redis], Awaitable[list[tuple[Any, ...]]]]:
    ends = store.lifetimes.turns is not None

    async def work(client: Any) -> list[tuple[Any, ...]]:
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.llen(store.key(name, "turns"))
            pipe.hmget(store.key(name, "meta"), "title", "named", "dropped")
            pipe.hlen(store.key(name, "pictures"))
            if ends:
                pipe.lindex(store.key(name, "turns"), 0)
        flat = await pipe.execute(raise_on_error=False)
        size = 4 if ends else 3
        return [(*flat[i : i + size], None)[:4] for i in range(0, len(flat), size)]

    return work


async def title(store: Store, conversation: str) -> str:
    """See ``History.title``."""
    ((_, stored, _, first),) = await store.link.read(_facts(store, [conversation]))
    return assembly.shown_title(stored, first, store.since(store.lifetimes.turns))


async def count(store: Store) -> int:
    """See ``History.conversation_count``. One command."""

    async def work(client: Any) -> int:
        return int(await client.zcard(index_key(store.tenant)))

    return await store.link.read(work)


async def rename(store: Store, conversation: str, title: str) -> None:
    """See ``History.rename``."""
    words = assembly.given_title(title).encode(errors="replace")
    turns = store.key(conversation, "turns")

    async def work(client: Any) -> bool:
        for _ in range(TRIES):
            async with client.pipeline(transaction=True) as pipe:
                await pipe.watch(turns)
                if not await pipe.exists(turns):
                    return False
                pipe.multi()
                pipe.hset(store.key(conversation, "meta"), mapping={"title": words, "named": 1})
                with contextlib.suppress(rx.WatchError):
                    await pipe.execute()
                    return True
        raise rx.WatchError("turns")

    if not await store.link.write(work):
        raise conversation_not_found(conversation)
