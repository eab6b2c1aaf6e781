"""Removes turns, or one picture, of a conversation in one step, also on a server that is full.

A full server refuses whatever stands in a MULTI, even a removal. A script it lets run that begins
with a removal, and that may then note a few bytes. Where a MULTI would need a WATCH, what was read
is sealed: the seal is a hash of all that the removal rests on, and nothing is done when that has
changed. Knows nothing of what the records say, nor of who holds pixels.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from memory.summaries import FIELD

GONE = "-"  #: what stands in a turn's place for the moment of its removal

#: KEYS: turns, pictures, meta. Returns the turns, the pictures' fields and values, whether a person
#: gave the title, and the seal of these.
_READ = """
local turns = redis.call('LRANGE', KEYS[1], 0, -1)
local flat = redis.call('HGETALL', KEYS[2])
local named = redis.call('HEXISTS', KEYS[3], 'named')
local fields = {}
for i = 1, #flat, 2 do fields[#fields + 1] = flat[i] .. ' ' .. flat[i + 1] end
table.sort(fields)
local hashes = {named, #turns}
for _, list in ipairs({turns, fields}) do
  for _, value in ipairs(list) do hashes[#hashes + 1] = redis.sha1hex(value) end
end
local seal = redis.sha1hex(table.concat(hashes, ' '))
"""
READ = _READ + "return {turns, flat, named, seal}"

#: KEYS: turns, pictures, meta, captions. ARGV: the seal, the time, the title that is there then
#: ('' to leave it), how many turns go, the places of these, and the numbers of the pictures that
#: go. Returns whether it was done. What is removed first makes room for what is noted.
REMOVE = (
    _READ
    + f"""
if seal ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[3], '{FIELD}')
local count = tonumber(ARGV[4])
if count == #turns then
  redis.call('UNLINK', KEYS[1])
  redis.call('HDEL', KEYS[3], 'turns', 'title', 'named')
else
  for i = 5, 4 + count do redis.call('LSET', KEYS[1], ARGV[i], '{GONE}') end
  redis.call('LREM', KEYS[1], 0, '{GONE}')
  redis.call('HINCRBY', KEYS[3], 'turns', -count)
  if ARGV[3] ~= '' then redis.call('HSET', KEYS[3], 'title', ARGV[3]) end
end
for i = 5 + count, #ARGV do
  redis.call('HDEL', KEYS[2], ARGV[i])
  redis.call('HDEL', KEYS[4], ARGV[i])
end
if #ARGV >= 5 + count then redis.call('HSET', KEYS[3], 'cut', ARGV[2]) end
return 1
"""
)

#: KEYS: pictures, meta, captions. ARGV: a picture's number, the time. Returns the pictures' fields
#: and values as they were, nothing when there is none of that number.
DROP = f"""
local fields = redis.call('HGETALL', KEYS[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return {{}} end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[2], '{FIELD}')
local dropped = redis.call('HGET', KEYS[1], 'dropped')
redis.call('HSET', KEYS[1], 'dropped', (dropped and dropped .. ',' or '') .. ARGV[1])
redis.call('HSET', KEYS[2], 'dropped', 1, 'cut', ARGV[2])
return fields
"""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a removal rests on: the records of the turns, the hash of the pictures, whether a person
    gave the title."""

    records: list[bytes]
    pictures: Mapping[bytes, bytes]
    named: bool
    seal: bytes


async def read(client: Any, keys: Mapping[str, str]) -> Sealed:
    """Return what is stored; ``keys`` are the conversation's by part."""
    flat: Any
    records, flat, named, seal = await client.eval(
        READ, 3, keys["turns"], keys["pictures"], keys["meta"]
    )
    return Sealed(records, _pairs(flat), bool(named), seal)


async def remove(
    client: Any,
    keys: Mapping[str, str],
    found: Sealed,
    places: Collection[int],
    numbers: Collection[int],
    now: float,
    title: bytes = b"",
) -> bool:
    """Remove the turns at ``places`` (from 0) and the pictures of ``numbers``, unless anything has
    changed since it was read: then return ``False``. A ``title`` takes the place of the old one."""
    return bool(
        await client.eval(
            REMOVE,
            4,
            *(keys[part] for part in ("turns", "pictures", "meta", "captions")),
            found.seal,
            repr(now),
            title,
            len(places),
            *places,
            *numbers,
        )
    )


async def drop(client: Any, keys: Mapping[str, str], number: int, now: float) -> dict[bytes, bytes]:
    """Remove a picture and note that it was dropped; return the pictures' hash as it was, empty
    when there is none of that number."""
    flat = await client.eval(
        DROP, 3, keys["pictures"], keys["meta"], keys["captions"], number, repr(now)
    )
    return _pairs(flat)


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
