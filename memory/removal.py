"""Takes things away in one step each, also from a server that is full.

Knows nothing of what is taken. A full server refuses whatever stands in a MULTI, even a removal,
and then nothing could be forgotten to make room; a script that only removes it lets run.
"""

from typing import Any

#: KEYS: what goes, in one slot. ARGV[1]: which of them is the hash to be read before it goes.
#: Returns how many keys went, then the hash's fields and values.
TAKE = """
local fields = redis.pcall('HGETALL', KEYS[tonumber(ARGV[1])])
if fields.err then fields = {} end
return {redis.call('UNLINK', unpack(KEYS)), fields}
"""

#: KEYS: holders, bytes. ARGV: the holder, and the time from which on it stays ('' for never).
#: Returns 1 if that was the last holder and the bytes went.
RELEASE = """
local noted = redis.call('ZSCORE', KEYS[1], ARGV[1])
if noted and ARGV[2] ~= '' and tonumber(noted) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('ZCARD', KEYS[1]) > 0 then return 0 end
redis.call('UNLINK', KEYS[1], KEYS[2])
return 1
"""


async def take(client: Any, keys: list[str], hash_key: str) -> tuple[dict[bytes, bytes], int]:
    """Remove keys of one slot at once; return what was in the hash, and how many there were.

    The hash is one of the keys; it reads as empty when it is of another kind.
    """
    removed, flat = await client.eval(TAKE, len(keys), *keys, keys.index(hash_key) + 1)
    return dict(zip(flat[::2], flat[1::2], strict=True)), int(removed)


async def release(
    client: Any, holders_key: str, bytes_key: str, holder: str, before: float | None
) -> bool:
    """Drop a holder (one noted before ``before``, if given), and the bytes with the last one.

    Return whether the bytes went.
    """
    limit = "" if before is None else repr(before)
    return bool(await client.eval(RELEASE, 2, holders_key, bytes_key, holder, limit))
