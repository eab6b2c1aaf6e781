"""How conversations are named and written in Redis: keys and records, as pure functions.

Knows nothing of connections. Tenants and conversation ids are percent-encoded, so that any text
(`*`, `{`, a colon, a lone surrogate) is one name and no pattern, and two names never meet::

    bifocal:c:{TENANT:CONVERSATION}:turns     list of records, oldest first
    bifocal:c:{TENANT:CONVERSATION}:pictures  hash: number -> record; last -> the highest number
                                              ever given; life -> what holds its pictures;
                                              dropped -> the numbers that were dropped
    bifocal:c:{TENANT:CONVERSATION}:captions  hash: number -> time (s) and caption, where captions
                                              have a lifetime
    bifocal:c:{TENANT:CONVERSATION}:meta      hash: title; named -> a person gave the title;
                                              turns -> how many were written;
                                              dropped -> 1 once a picture was;
                                              recaps -> record of the summaries of older turns;
                                              fence -> the last token that was given;
                                              cut -> when turns were last removed (s)
    bifocal:c:{TENANT:CONVERSATION}:lease     the turn that is under way; expires
    bifocal:c:{TENANT:CONVERSATION}:keys      hash: hash of an idempotency key -> its turn; expires
    bifocal:p:{TENANT:SHA256}:bytes           a picture's encoded bytes
    bifocal:p:{TENANT:SHA256}:holders         sorted set: CONVERSATION/LIFE by time of the hold (s)
    bifocal:t:{TENANT}:conversations          sorted set: CONVERSATION by time of the last turn (s)
    bifocal:t:{TENANT}:swept                  there while no process need sweep; expires

All keys of one conversation share a hash tag, hence one slot of a cluster, hence one MULTI. A
record is eight hex digits of CRC-32 and then the JSON form of ``memory/messages.py``: Redis' own
append-only file has no checksum, and a flipped bit must not be read as something that was said.
"""

import json
import zlib
from typing import Any
from urllib.parse import quote, unquote

from memory.errors import HistoryDamaged


def encode_name(name: str) -> str:
    """Return ``name`` in letters, digits, ``_.-~`` and ``%XX``; :func:`decode_name` undoes it."""
    return quote(name, safe="", errors="surrogatepass")


def decode_name(name: str) -> str:
    """Undo :func:`encode_name`."""
    return unquote(name, errors="surrogatepass")


def conversation_key(tenant: str, conversation: str, part: str) -> str:
    """Return a key of a conversation; ``part`` is ``turns``, ``pictures``, ``meta`` …"""
    return f"bifocal:c:{{{encode_name(tenant)}:{encode_name(conversation)}}}:{part}"


def picture_key(tenant: str, sha256: str, part: str) -> str:
    """Return a key of a stored picture; ``part`` is ``bytes`` or ``holders``."""
    return f"bifocal:p:{{{encode_name(tenant)}:{sha256}}}:{part}"


def picture_pattern(tenant: str) -> str:
    """Return the SCAN pattern of a tenant's pictures (an encoded name holds no glob character)."""
    return f"bifocal:p:{{{encode_name(tenant)}:*"


def index_key(tenant: str) -> str:
    """Return the key of a tenant's list of conversations."""
    return f"bifocal:t:{{{encode_name(tenant)}}}:conversations"


def sweep_key(tenant: str) -> str:
    """Return the key that is there while what a tenant's crashes left need not be swept."""
    return f"bifocal:t:{{{encode_name(tenant)}}}:swept"


def pack(value: dict[str, Any]) -> bytes:
    """Return the record of a JSON value; ``TypeError`` or ``ValueError`` when it is none."""
    try:
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate has an ASCII form only
        body = json.dumps(value, separators=(",", ":")).encode()
    return b"%08x" % zlib.crc32(body) + body


def checked(record: bytes) -> bool:
    """Tell whether a record is what was written."""
    return b"%08x" % zlib.crc32(record[8:]) == record[:8]


def unpack(record: bytes) -> dict[str, Any]:
    """Return the JSON value of a record; ``HistoryDamaged`` when it is not what was written."""
    if not checked(record):
        raise HistoryDamaged("a stored record does not match its checksum")
    value = json.loads(record[8:])
    if not isinstance(value, dict):
        raise HistoryDamaged("a stored record is not a JSON object")
    return value
