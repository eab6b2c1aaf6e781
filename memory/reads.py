"""How a conversation is read: what is asked of Redis, and what its replies mean.

Knows nothing of writing; what the records say is ``memory/assembly.py``'s.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from redis import exceptions as rx

from memory import assembly
from memory.client import explain
from memory.edits import turn_not_found
from memory.errors import HistoryDamaged, picture_dropped
from memory.lifetimes import with_captions
from memory.messages import Conversation, Turn
from memory.store import Store

CHUNK = 200  #: turns read at once while one is looked for


async def load(store: Store, conversation: str, last: int | None) -> Conversation:
    """See ``History.load``. One round trip; no picture's bytes are read."""

    async def work(client: Any) -> list[Any]:
        pipe = client.pipeline(transaction=False)
        queue_load(pipe, store, conversation, last)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies

    found, whole = loaded(store, conversation, await store.link.read(work))
    if not whole:  # forgotten between two of the replies, or truly missing: the second tells
        found, _ = loaded(store, conversation, await store.link.read(work))
    return found


def queue_load(pipe: Any, store: Store, conversation: str, last: int | None) -> None:
    """Queue what :func:`loaded` reads: the last ``last`` turns, and the pictures' references.

    Not for a MULTI: a server that is full refuses those, and reading must go on. What others
    write in between does no harm in this order: each reply can only know more than the ones
    before it.
    """
    turns = store.key(conversation, "turns")
    pipe.hget(store.key(conversation, "meta"), "turns")
    pipe.llen(turns)
    pipe.lrange(turns, *((1, 0) if last is not None and last < 1 else (-(last or 0), -1)))
    pipe.hgetall(store.key(conversation, "pictures"))
    pipe.hgetall(store.key(conversation, "captions"))


def loaded(store: Store, conversation: str, replies: Sequence[Any]) -> tuple[Conversation, bool]:
    """Return what is stored, and whether as many turns are there as were written.

    Raises the first error among the replies as one of this package's.
    """
    for value in replies:
        if isinstance(value, rx.ResponseError) and "WRONGTYPE" not in str(value):
            raise explain(_plain(value), store.link.name) from value
        if isinstance(value, Exception):
            raise HistoryDamaged(
                f"conversation {conversation!r} is not in the form Bifocal stores: another "
                "program wrote to its keys"
            ) from value
    written, total, records, refs, captions = replies
    total = max(int(total), len(records))
    count = int(written) if written and written.isdigit() else 0
    found = assembly.conversation(conversation, total, records, refs, count)
    lifetimes = store.lifetimes
    pictures = with_captions(found.pictures, captions, store.since(lifetimes.captions))
    found = assembly.younger(replace(found, pictures=pictures), store.since(lifetimes.turns))
    return found, count <= total


def _plain(error: rx.ResponseError) -> rx.ResponseError:
    """Return an error from within a script as the error of a command that it is."""
    if "OOM" in str(error):
        return rx.OutOfMemoryError(str(error))
    if "READONLY" in str(error):
        return rx.ReadOnlyError(str(error))
    return error


async def find_turn(client: Any, key: str, id: str) -> tuple[int, Turn | None]:
    """Return the place (from 0) and the turn of an id among the records of ``key``, the last ones
    first; ``(-1, None)`` when there is none."""
    end = int(await client.llen(key))
    while end > 0:
        start = max(0, end - CHUNK)
        records = await client.lrange(key, start, end - 1)
        for place in range(len(records) - 1, -1, -1):
            turn = assembly.read_turn(records[place])
            if turn is not None and turn.id == id:
                return start + place, turn
        end = start
    return -1, None


async def turn(store: Store, conversation: str, id: str) -> Turn:
    """Return a turn by its id; ``TurnNotFound`` when there is none, or it is past its lifetime."""
    key, since = store.key(conversation, "turns"), store.since(store.lifetimes.turns)
    _, found = await store.link.read(lambda client: find_turn(client, key, id))
    if found is None or found.at < since:
        raise turn_not_found(conversation, id)
    return found


async def picture(store: Store, conversation: str, number: int) -> bytes:
    """See ``History.picture``."""
    key = store.key(conversation, "pictures")

    async def work(client: Any) -> tuple[bytes | None, bytes | None]:
        record, dropped = await client.hmget(key, str(number), "dropped")
        return record, dropped

    record, dropped = await store.link.read(work)
    if record is None:
        if number in assembly.dropped({b"dropped": dropped or b""}):
            raise picture_dropped(conversation, number)
        raise HistoryDamaged(f"conversation {conversation!r} has no picture {number}")
    ref = assembly.read_picture(record)
    if ref is None:
        raise HistoryDamaged(
            f"the record of picture {number} of conversation {conversation!r} is damaged: "
            "send the picture again"
        )
    return await store.pictures.read(ref)
