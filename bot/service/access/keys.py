"""API keys in Redis: made, listed, revoked and checked.

Knows nothing of HTTP. A key is ``bf_ID_SECRET``: 8 characters that name it, and 43 that are 32
random bytes. It is shown once; Redis holds the SHA-256 of it. A fast hash is right for that: there
are 2**256 secrets, and no hardware tries any part of them. A slow one (argon2) is for passwords,
which people choose from few; here it would cost every request what it costs an attacker.

One hash, ``bifocal:{keys}``, holds a record for each id; ``bifocal:{keys}:used`` the day on which
each was used last. What was found is remembered for ``MEMORY`` seconds from the moment of asking,
so a revoked key opens nothing after that, in any process.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import re
import secrets
import string
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis import exceptions as rx

from bot.errors import AccessError
from bot.service.access.limiting import read_rate
from bot.service.access.rights import Access
from bot.service.stores.shared_redis import SharedRedis
from memory.errors import HistoryUnavailable

KEYS = "bifocal:{keys}"
USED = f"{KEYS}:used"
MEMORY = 5.0  #: seconds for which an answer is remembered
MOST = 1024  #: answers of each kind that are remembered
NOTED = 3600.0  #: seconds between two notes that a key was used
TRIES = 20  #: attempts to add a key while others do

_ID = string.ascii_lowercase + string.digits
_TOKEN = re.compile(r"bf_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
_LENGTH = 55

log = logging.getLogger(__name__)


class Record(BaseModel):
    """A key as it is stored. Times are seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    v: Literal[1] = 1
    access: Access
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    created: float
    expires: float | None = None


#: What a token of an id that is not there is compared with: the same work, and never a match.
_NOBODY = Record(
    access=Access("00000000", "nobody", "nobody", frozenset(), frozenset()),
    sha256=64 * "0",
    created=0.0,
).model_dump_json()


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it is listed: never its secret. ``access`` is ``None`` for a damaged record."""

    key_id: str
    access: Access | None
    created: float = 0.0
    expires: float | None = None
    last_used: str | None = None  #: a day, as in 2026-11-26


class KeyStore:
    """The keys of a service. ``clock`` is monotonic, ``now`` the time of day; both in seconds.

    Every method raises ``HistoryUnavailable`` when Redis cannot be asked.
    """

    def __init__(
        self,
        redis: SharedRedis,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._now = now
        self._good: OrderedDict[str, tuple[float, Record]] = OrderedDict()  #: by SHA-256
        self._bad: OrderedDict[str, float] = OrderedDict()
        self._revoked: set[str] = set()  #: by this process; an answer may still be on its way
        self._damaged: set[str] = set()  #: told about
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def add(
        self,
        name: str,
        *,
        tenant: str = "default",
        read: Iterable[str] = (),
        write: Iterable[str] = (),
        rate: str = "",
        turns_per_day: int | None = None,
        expires: float | None = None,
    ) -> tuple[Access, str]:
        """Make a key and return what it opens, and the key itself, which is not kept.

        ``expires`` is a time of day (s). Raises ``AccessError`` for a name that is taken and for
        values that cannot be used.
        """
        if rate:
            read_rate(rate)
        wanted = Access("", name, tenant, frozenset(read), frozenset(write), rate, turns_per_day)

        async def work(client: Any) -> tuple[Access, str]:
            for _ in range(TRIES):
                async with client.pipeline(transaction=True) as pipe:
                    await pipe.watch(KEYS)
                    taken = _names(await pipe.hgetall(KEYS))
                    if name in taken:
                        raise AccessError(
                            f"key {name!r}: the name is taken; choose another, or revoke that one"
                        )
                    key_id = _new_id(taken)
                    access = replace(wanted, key_id=key_id)
                    token = f"bf_{key_id}_{secrets.token_urlsafe(32)}"
                    record = Record(
                        access=access, sha256=_hash(token), created=self._now(), expires=expires
                    )
                    pipe.multi()
                    pipe.hset(KEYS, key_id, record.model_dump_json())
                    with contextlib.suppress(rx.WatchError):
                        await pipe.execute()
                        return access, token
            raise rx.WatchError("keys")

        return await self._redis.write(work)

    async def list(self) -> list[KeyInfo]:
        """Return every key, the oldest first; damaged ones come last."""

        async def work(client: Any) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
            return await client.hgetall(KEYS), await client.hgetall(USED)

        records, used = await self._redis.read(work)
        found: list[KeyInfo] = []
        for field, raw in records.items():
            key_id = field.decode(errors="replace")
            record, day = _parse(key_id, raw), used.get(field, b"").decode(errors="replace")
            if record is None:
                found.append(KeyInfo(key_id, None))
            else:
                found.append(
                    KeyInfo(key_id, record.access, record.created, record.expires, day or None)
                )
        return sorted(found, key=lambda key: (key.access is None, key.created, key.key_id))

    async def revoke(self, id_or_name: str) -> KeyInfo:
        """Remove a key and return what it was; here it ends at once, elsewhere within ``MEMORY``.

        The key itself will do, too, and is not repeated in an error. Raises ``AccessError`` when
        there is none.
        """
        whole = _TOKEN.fullmatch(id_or_name)
        sought = whole[1] if whole else id_or_name

        async def work(client: Any) -> bool:
            async with client.pipeline(transaction=True) as pipe:
                pipe.hdel(KEYS, key.key_id)
                pipe.hdel(USED, key.key_id)
                removed, _ = await pipe.execute()
                return bool(removed)

        for key in await self.list():
            named = sought in (key.key_id, key.access.name if key.access else None)
            if named and await self._redis.write(work):
                self._revoked.add(key.key_id)
                return key
        shown = sought[:11] + "…" if sought.startswith("bf_") else sought[:64]
        raise AccessError(
            f"key {shown!r}: there is none of that name or id; see: bifocal keys list"
        )

    async def check(self, token: str) -> Access | None:
        """Return what a key opens; ``None`` for one that is malformed, unknown, revoked, expired
        or damaged, with the same work for all that are well formed."""
        found = _TOKEN.fullmatch(token) if len(token) == _LENGTH else None
        if found is None:
            return None
        return await self.check_hash(found[1], _hash(token))

    async def check_hash(self, key_id: str, digest: str) -> Access | None:
        """Return what the key of that id opens, as :meth:`check` does, given its SHA-256: for
        sessions, which do not keep the key itself."""
        asked = self._clock()
        if self._bad.get(digest, asked) > asked:
            return None
        until, record = self._good.get(digest, (asked, None))
        if record is None or until <= asked:
            record = await self._look_up(key_id, digest)
            self._remember(digest, record, asked + MEMORY)
        if record is None or record.access.key_id in self._revoked:
            return None
        if record.expires is not None and record.expires <= self._now():
            return None
        self._note(record.access.key_id)
        return record.access

    async def _look_up(self, key_id: str, digest: str) -> Record | None:
        async def work(client: Any) -> bytes | None:
            raw: bytes | None = await client.hget(KEYS, key_id)
            return raw

        raw = await self._redis.read(work)
        record = _parse(key_id, _NOBODY if raw is None else raw, known=raw is not None)
        same = hmac.compare_digest(digest, record.sha256 if record else 64 * "0")
        if raw is not None and record is None and key_id not in self._damaged:
            self._damaged.add(key_id)  # once: whoever knows the id could fill the log
            log.warning("the record of key %s is damaged: it opens nothing, revoke it", key_id)
        return record if raw is not None and same else None

    def _remember(self, digest: str, record: Record | None, until: float) -> None:
        """Keep an answer. The two kinds never displace each other: guesses evict no good key."""
        if record is None:
            self._good.pop(digest, None)
            _put(self._bad, digest, until)
        else:
            _put(self._good, digest, (until, record))

    def _note(self, key_id: str) -> None:
        """Note the day on which a key was used, now and then and beside the request."""
        moment = self._clock()
        if moment - self._noted.get(key_id, float("-inf")) < NOTED:
            return
        self._noted[key_id] = moment
        task = asyncio.create_task(self._write_day(key_id))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _write_day(self, key_id: str) -> None:
        day = datetime.fromtimestamp(self._now(), UTC).date().isoformat()

        async def work(client: Any) -> None:
            await client.hset(USED, key_id, day)

        try:
            await self._redis.write(work)
        except HistoryUnavailable as error:
            log.info("that key %s was used could not be noted: %s", key_id, error)
            self._noted.pop(key_id, None)

    async def aclose(self) -> None:
        """Wait for notes under way. The Redis is its opener's to close."""
        await asyncio.gather(*self._notes)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _parse(key_id: str, raw: bytes | str, known: bool = True) -> Record | None:
    """Return a record, or ``None`` if it is damaged or another key's."""
    try:
        record = Record.model_validate_json(raw)
        if record.access.rate:
            read_rate(record.access.rate)
    except (ValidationError, AccessError):
        return None
    return record if record.access.key_id == key_id or not known else None


def _names(records: dict[bytes, bytes]) -> set[str]:
    """Return every id and every name: none may be another key's, or revoking would be a guess."""
    names = {field.decode(errors="replace") for field in records}
    for field, raw in records.items():
        if record := _parse(field.decode(errors="replace"), raw):
            names.add(record.access.name)
    return names


def _new_id(taken: set[str]) -> str:
    while (key_id := "".join(secrets.choice(_ID) for _ in range(8))) in taken:
        pass
    return key_id


def _put(kept: "OrderedDict[str, Any]", digest: str, value: Any) -> None:
    kept[digest] = value
    kept.move_to_end(digest)
    while len(kept) > MOST:
        kept.popitem(last=False)
