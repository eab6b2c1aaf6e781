"""Takes one picture out of a conversation: its reference, its caption and its pixels.

The summaries of older turns go with it, since they may tell what it showed; they are made anew.
Its number is noted as dropped in the same step, so that it never returns and what still speaks of
it can say why it is gone. Its time is noted as that of a removal (``cut``, see
``memory/edits.py``): a turn with the very same picture that is just being stored holds it again. A
crash leaves an orphan at most, which is swept. Knows nothing of turns.
"""

from typing import Any

from memory import assembly, cutting
from memory.edits import let_go
from memory.errors import PictureNotFound, picture_dropped
from memory.pictures import server_time
from memory.store import PARTS, Store

LONG = 30.0  #: seconds that it may take: each picture takes a transaction of its own


async def drop(store: Store, conversation: str, number: int) -> None:
    """See ``History.drop``."""
    key = store.key(conversation, "pictures")

    async def work(client: Any) -> bool:
        return await _drop(store, client, conversation, number)

    async def fate(client: Any) -> bytes:
        found: bytes | None = await client.hget(key, "dropped")
        return found or b""

    if not await store.link.write(work, limit=LONG):
        if number in assembly.dropped({b"dropped": await store.link.read(fate)}):
            raise picture_dropped(conversation, number)
        raise PictureNotFound(f"conversation {conversation!r} has no picture {number}")


async def _drop(store: Store, client: Any, conversation: str, number: int) -> bool:
    """Drop a picture; return ``False`` when there is none of that number.

    Where another picture's record is damaged the pixels stay until the conversation is forgotten:
    they may be that one's.
    """
    keys = {part: store.key(conversation, part) for part in PARTS}
    now = await server_time(client)  # before: what is held from now on is none of the dropped
    fields = await cutting.drop(client, keys, number, now)
    if not fields:
        return False
    records = assembly.numbered(fields)
    del records[number]
    if all(map(assembly.read_picture, records.values())):
        await let_go(store, client, conversation, fields, {number}, now)
    return True
