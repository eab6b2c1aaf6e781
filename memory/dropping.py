"""Takes one picture out of a conversation: its reference, its caption and its pixels.

The summaries of older turns go with it, since they may tell what it showed; they are made anew.
Its number is noted as dropped in the same transaction, so that it never returns and what still
speaks of it can say why it is gone. The pictures that stay get another holder (a new *life* of the
conversation, see ``memory/pictures.py``): a turn with the very same picture that is just being
stored finds that the life it held it for is over, and holds it again. A crash leaves an orphan at
most, which is swept. Knows nothing of turns.
"""

import uuid
from typing import Any

from redis.exceptions import WatchError

from memory import assembly, summaries
from memory.pictures import TRIES, server_time
from memory.records import encode_name
from memory.store import Store


async def drop(store: Store, client: Any, conversation: str, number: int) -> bool:
    """Drop a picture; return ``False`` when there is none of that number.

    Where another picture's record is damaged the pixels stay until the conversation is forgotten:
    they may be that one's.
    """
    key, meta, captions = (store.key(conversation, p) for p in ("pictures", "meta", "captions"))
    name, pictures, life = encode_name(conversation), store.pictures, uuid.uuid4().hex
    for _ in range(TRIES):
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(key)
            fields: dict[bytes, bytes] = await pipe.hgetall(key)
            records = assembly.numbered(fields)
            if records.pop(number, None) is None:
                return False
            refs = [assembly.read_picture(record) for record in records.values()]
            kept = {ref.sha256 for ref in refs if ref is not None}
            known = None not in refs and b"life" in fields
            if known:
                await pictures.keep(client, kept, f"{name}/{life}", await server_time(client))
            dropped = sorted({*assembly.dropped(fields), number})
            pipe.multi()
            pipe.hdel(key, str(number))
            pipe.hdel(captions, str(number))
            pipe.hset(key, "dropped", ",".join(map(str, dropped)))
            pipe.hset(meta, "dropped", 1)
            pipe.hdel(meta, summaries.FIELD)
            if known:
                pipe.hset(key, "life", life)
            try:
                await pipe.execute()
            except WatchError:
                continue
        if known:
            for sha in assembly.hashes(fields):
                await pictures.release(client, sha, f"{name}/{fields[b'life'].decode()}")
        return True
    raise WatchError("pictures")
