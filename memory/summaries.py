"""What older turns come to in a few words, stored beside the turns that it stands for.

Knows nothing of who writes a summary. It is one field of the conversation's ``meta`` hash, so that
forgetting a conversation forgets it; whoever changes or removes a turn, or drops a picture,
removes the field (:data:`FIELD`) in the same transaction, and it is made anew from the turns.
"""

from collections.abc import Sequence
from typing import Any

from redis import exceptions as rx

from memory import assembly
from memory.errors import HistoryDamaged
from memory.messages import FORMAT, Recap, Turn
from memory.pictures import TRIES
from memory.records import pack, unpack

FIELD = "recaps"  #: field of a conversation's ``meta`` hash


def to_record(recaps: Sequence[Recap]) -> bytes:
    """Return the stored form."""
    return pack({"v": FORMAT, "recaps": [recap.to_json() for recap in recaps]})


def from_record(record: bytes) -> tuple[Recap, ...]:
    """Read what :func:`to_record` wrote; ``HistoryDamaged`` when it is something else."""
    try:
        value = unpack(record)
        if value["v"] != FORMAT:
            raise ValueError(f"format {value['v']}")
        return tuple(Recap.from_json(recap) for recap in value["recaps"])
    except (HistoryDamaged, ValueError, KeyError, TypeError) as error:
        raise HistoryDamaged(f"the summary of older turns cannot be read ({error})") from error


async def read(client: Any, meta: str) -> tuple[Recap, ...]:
    """Return the summaries in the hash ``meta``, those of fewer turns first; none when it has none.

    Raises ``HistoryDamaged`` for a record that is not what was written.
    """
    record = await client.hget(meta, FIELD)
    return () if record is None else from_record(record)


async def write(
    client: Any,
    keys: tuple[str, str, str],
    recaps: Sequence[Recap],
    before: Sequence[Recap],
    start: int,
    covered: Sequence[Turn],
    dropped: Sequence[int] = (),
) -> bool:
    """Store summaries in place of ``before``, if nothing they rest on has changed; say whether.

    ``keys`` are those of the turns, of ``meta`` and of the pictures. ``covered`` are the turns from
    ``start`` on (counted from 0) that were read for them, ``dropped`` the numbers of the pictures
    that were gone then: had a turn been changed or forgotten since, or another picture been
    dropped, what they said must not come back.
    """
    turns, meta, pictures = keys
    end = start + len(covered) - 1
    async with client.pipeline(transaction=True) as pipe:
        for _ in range(TRIES):
            await pipe.watch(turns, meta, pictures)
            found = await pipe.hget(meta, FIELD)
            records = await pipe.lrange(turns, start, end) if covered else []
            same = [assembly.read_turn(record) for record in records] == list(covered)
            gone = assembly.dropped({b"dropped": await pipe.hget(pictures, "dropped") or b""})
            same = same and gone == tuple(dropped)
            if not covered or not same or _readable(found) != tuple(before):
                return False
            pipe.multi()
            pipe.hset(meta, FIELD, to_record(recaps))
            try:
                await pipe.execute()
                return True
            except rx.WatchError:  # another turn came in between
                continue
    return False


def _readable(record: bytes | None) -> tuple[Recap, ...]:
    """Return what a record holds; nothing for one that is damaged, and may be written over."""
    try:
        return from_record(record) if record is not None else ()
    except HistoryDamaged:
        return ()
