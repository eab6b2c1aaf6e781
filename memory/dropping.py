"""Takes one picture out of a conversation: its reference, its caption and its pixels.

The summaries of older turns go with it, since they may tell what it showed; they are made anew.
Its number is noted as dropped in the same transaction, so that it never returns and what still
speaks of it can say why it is gone. Its time is noted as that of a removal (``cut``, see
``memory/edits.py``): a turn with the very same picture that is just being stored holds it again. A
crash leaves an orphan at most, which is swept. Knows nothing of turns.
"""

from typing import Any

from redis.exceptions import WatchError

from memory import assembly, summaries
from memory.edits import let_go
from memory.pictures import TRIES, make_way, server_time
from memory.store import Store


async def drop(store: Store, client: Any, conversation: str, number: int) -> bool:
    """Drop a picture; return ``False`` when there is none of that number.

    Where another picture's record is damaged the pixels stay until the conversation is forgotten:
    they may be that one's.
    """
    key, meta, captions = (store.key(conversation, p) for p in ("pictures", "meta", "captions"))
    for attempt in range(TRIES):
        await make_way(attempt)
        now = await server_time(client)
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(key)
            fields: dict[bytes, bytes] = await pipe.hgetall(key)
            records = assembly.numbered(fields)
            if records.pop(number, None) is None:
                return False
            dropped = sorted({*assembly.dropped(fields), number})
            pipe.multi()
            pipe.hdel(key, str(number))
            pipe.hdel(captions, str(number))
            pipe.hset(key, "dropped", ",".join(map(str, dropped)))
            pipe.hset(meta, mapping={"dropped": 1, "cut": repr(now)})
            pipe.hdel(meta, summaries.FIELD)
            try:
                await pipe.execute()
            except WatchError:
                continue
        if all(map(assembly.read_picture, records.values())):
            await let_go(store, client, conversation, fields, {number}, now)
        return True
    raise WatchError("pictures")
