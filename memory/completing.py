"""Puts a turn in the place of the conversation's last one, whole or not at all.

What a question that was stored alone needs when its answer comes. One MULTI, and only if the turn
is still the one that the caller saw: nobody's answer is written over. Knows nothing of what turns
say; connections are ``memory/client.py``'s.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import WatchError

from memory import assembly
from memory.history import Follow
from memory.messages import PictureRef, Turn
from memory.pictures import TRIES, PictureStore, highest, server_time
from memory.records import conversation_key, encode_name, index_key, pack


async def complete(
    client: Any,
    store: PictureStore,
    tenant: str,
    conversation: str,
    before: Turn,
    turn: Turn,
    pictures: Sequence[PictureRef],
    blobs: Mapping[str, bytes],
    follow: Follow | None,
) -> Turn | None:
    """Store ``turn`` for ``before`` and return it as it was stored; ``None`` when another is last.

    New pictures are held before, as for any turn; what a crash leaves of that is swept.
    """
    turns, key, meta = (conversation_key(tenant, conversation, part) for part in _PARTS)
    name = encode_name(conversation)
    known, life, unused = None, "", []  # lives that only this call held pictures under
    stored: Turn | None = None
    for _ in range(TRIES):
        if pictures and not life:
            known = await client.hget(key, "life")
            life = known.decode() if known else uuid.uuid4().hex
            now = await server_time(client)
            await store.hold(client, f"{name}/{life}", pictures, blobs, now)
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(turns, key)
            record = await pipe.lindex(turns, -1)
            if record is None or assembly.read_turn(record) != before:
                unused += [life] if life and known is None else []
                break
            count = await pipe.llen(turns)
            last, found = await pipe.hmget(key, "last", "life")
            if pictures and found != known:  # begun by another, or forgotten, since
                unused.append(life)
                life = ""
                continue
            first = 1 + await highest(pipe, key, last) if pictures else 1
            made, refs = assembly.renumber(turn, pictures, first, follow)
            pipe.multi()
            pipe.lset(turns, -1, pack(made.to_json()))
            for ref in refs:
                pipe.hset(key, str(ref.number), pack(ref.to_json()))
            if refs:
                pipe.hset(key, mapping={"last": refs[-1].number, "life": life})
            if count == 1 and not assembly.title(before, ()):
                pipe.hset(meta, "title", assembly.title(made, refs).encode(errors="replace"))
            try:
                await pipe.execute()
            except WatchError:
                continue
        await client.zadd(index_key(tenant), {name: made.at}, xx=True)
        stored = made
        break
    else:
        raise WatchError("turns")
    for sha in {picture.sha256 for picture in pictures} if unused else ():
        for stale in unused:
            await store.release(client, sha, f"{name}/{stale}")
    return stored


_PARTS = ("turns", "pictures", "meta")
