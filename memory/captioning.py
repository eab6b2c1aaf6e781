"""Gives a picture of a conversation the caption that it came without.

Whole or not at all, and only while nothing has changed: the picture is there, is the same, and has
no caption yet. Knows nothing of who writes captions.
"""

from dataclasses import replace
from typing import Any

from redis.exceptions import WatchError

from memory import assembly
from memory.messages import PictureRef
from memory.pictures import TRIES, make_way
from memory.store import Store


async def save_caption(store: Store, client: Any, conversation: str, picture: PictureRef) -> bool:
    """Store the caption of ``picture``; ``False`` where it is gone, is another, or has one.

    A lifetime of captions counts from when the picture was sent; one that is over is not stored.
    """
    key, captions = store.key(conversation, "pictures"), store.key(conversation, "captions")
    if store.lifetimes.captions is not None and picture.at < store.since(store.lifetimes.captions):
        return False
    for attempt in range(TRIES):
        await make_way(attempt)
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(key, captions)
            record = await pipe.hget(key, str(picture.number))
            known = assembly.read_picture(record) if record is not None else None
            if known is None or known.sha256 != picture.sha256 or known.caption:
                return False
            if await pipe.hexists(captions, str(picture.number)):
                return False
            pipe.multi()
            stored = replace(known, caption=picture.caption)
            store.queue_pictures(pipe, conversation, [stored], picture.at)
            store.queue_lifetimes(pipe, conversation)
            try:
                await pipe.execute()
                return True
            except WatchError:
                continue
    return False
