"""Removes turns of a conversation, with the pictures that only they name.

Each removal is one script (``memory/cutting.py``); holds of pictures lie elsewhere, and are let go
after it, so that a crash leaves an orphan at most. A removal notes its time (``cut``): a turn that
held its pictures before that, and is stored after it, holds them again (``memory/writes.py``),
since letting go may have hit its hold, too. Knows nothing of models.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis import exceptions as rx

from memory import assembly, cutting
from memory.errors import TurnNotFound
from memory.lifetimes import old_captions
from memory.messages import Turn
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

    if not await store.link.write(work, limit=LONG):
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
        numbers = only_in(turns, places) & set(assembly.numbered(found.pictures))
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


def only_in(turns: Sequence[Turn | None], places: set[int]) -> set[int]:
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
    left = {name: record for name, record in refs.items() if name not in field_names(numbers)}
    gone = {name: record for name, record in refs.items() if name in field_names(numbers)}
    for sha in assembly.hashes(gone) - assembly.hashes(left):
        await store.pictures.release(client, sha, holder, before=now)


def field_names(numbers: set[int]) -> set[bytes]:
    """Return the fields of pictures' numbers."""
    return {str(number).encode() for number in numbers}


async def unlist(store: Store, client: Any, conversation: str) -> None:
    """Take a conversation off the list; it comes back if it was begun anew in the meantime."""
    index, name = index_key(store.tenant), encode_name(conversation)
    at = await client.zscore(index, name)
    await client.zrem(index, name)
    if await client.exists(store.key(conversation, "turns")):
        await client.zadd(index, {name: at or await server_time(client)})
