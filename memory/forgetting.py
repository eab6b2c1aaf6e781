"""Forgets whole conversations, and sweeps the pictures that no conversation has.

Knows nothing of models. What goes in one step is ``memory/removal.py``'s, when a sweep is due
``memory/sweeping.py``'s.
"""

from typing import Any

from memory import assembly, edits, removal
from memory.errors import conversation_not_found
from memory.records import decode_name, encode_name
from memory.store import PARTS, Store

LONG = 30.0  #: seconds that it may take: each picture takes a step of its own


async def forget(store: Store, conversation: str) -> None:
    """See ``History.forget``."""

    async def work(client: Any) -> bool:
        return await _forget(store, client, conversation)

    if not await store.link.write(work, limit=LONG):
        raise conversation_not_found(conversation)


async def _forget(store: Store, client: Any, conversation: str) -> bool:
    keys = [store.key(conversation, part) for part in (*PARTS, "lease")]
    # 1. everything of the conversation's own, at once
    refs, removed = await removal.take(client, keys, keys[1])
    # 2. its holds; a crash before their end leaves orphans for the sweep
    if b"life" in refs:
        holder = f"{encode_name(conversation)}/{refs[b'life'].decode()}"
        for sha in assembly.hashes(refs):
            await store.pictures.release(client, sha, holder)
    # 3. its entry
    await edits.unlist(store, client, conversation)
    return removed > 0


async def sweep(store: Store, grace: float) -> int:
    """Remove pictures that no conversation has, and return how many went; those held for less than
    ``grace`` seconds stay."""

    async def backs(holder: str, sha256: str) -> bool:
        return await _backs(store, holder, sha256)

    return await store.pictures.sweep(backs, grace)


async def _backs(store: Store, holder: str, sha256: str) -> bool:
    """Tell whether a holder's conversation refers to a picture."""
    name, _, life = holder.rpartition("/")
    key = store.key(decode_name(name), "pictures")

    async def work(client: Any) -> dict[bytes, bytes]:
        refs: dict[bytes, bytes] = await client.hgetall(key)
        return refs

    refs = await store.link.read(work)
    if refs.get(b"life", b"").decode() != life:
        return False
    # a record that cannot be read may be the one: keep the picture
    readable = [assembly.read_picture(record) for record in assembly.numbered(refs).values()]
    return any(ref is None or ref.sha256 == sha256 for ref in readable)
