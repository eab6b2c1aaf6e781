"""Keeps the bytes of pictures: once per tenant, by content hash, for as long as anyone holds them.

Knows nothing of turns. A *holder* is one life of one conversation (``CONVERSATION/LIFE``): a
conversation that was forgotten and begun anew under the same name is another holder, so the old
one's leaving cannot take a picture from the new one.

The order of writes makes a crash leave an orphan at most, never a turn without its picture:

1. the holder is noted, then the bytes are written, then (by the caller) the turn;
2. bytes go only when no holder is left, checked and done in one step.

What a crash left over, :meth:`PictureStore.sweep` removes: holds that no conversation backs and
that are older than an hour, so not those of a turn that is just being written. Who calls it is in
``memory/sweeping.py``.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from memory import removal
from memory.client import Link
from memory.errors import HistoryDamaged, PictureGone
from memory.messages import PictureRef
from memory.records import picture_key, picture_pattern

GRACE = 3600.0  #: seconds for which a hold needs no conversation behind it
TRIES = 16  #: attempts at a transaction that others keep interrupting

Backed = Callable[[str, str], Awaitable[bool]]  #: (holder, sha256) -> does a conversation hold it?


class PictureStore:
    """The pictures of one tenant on one Redis, kept for ``lifetime`` seconds, or for ever."""

    def __init__(self, link: Link, tenant: str, lifetime: float | None = None) -> None:
        self._link = link
        self._tenant = tenant
        self._lifetime = None if lifetime is None else int(lifetime * 1000)  # ms

    def _key(self, sha256: str, part: str) -> str:
        return picture_key(self._tenant, sha256, part)

    async def hold(
        self,
        client: Any,
        holder: str,
        pictures: Sequence[PictureRef],
        blobs: Mapping[str, bytes],
        now: float,
    ) -> None:
        """Note ``holder`` for each picture and store the bytes that are not there yet.

        ``now`` is the server's time (s). ``HistoryDamaged`` when a picture's bytes are neither in
        ``blobs`` nor stored. Runs within the caller's piece of work on ``client``.
        """
        wanted = {picture.sha256: picture for picture in pictures}
        pipe = client.pipeline(transaction=False)
        for sha in wanted:
            pipe.zadd(self._key(sha, "holders"), {holder: now})
            for part in ("holders", "bytes"):
                if self._lifetime is None:
                    pipe.persist(self._key(sha, part))
                else:
                    pipe.pexpire(self._key(sha, part), self._lifetime)
            pipe.strlen(self._key(sha, "bytes"))
        sizes: list[int] = (await pipe.execute())[3::4]
        missing = [
            sha for sha, size in zip(wanted, sizes, strict=True) if size != wanted[sha].bytes
        ]
        absent = [wanted[sha] for sha in missing if sha not in blobs]
        if absent:
            raise HistoryDamaged(
                f"picture {absent[0].number} ({absent[0].name or absent[0].sha256[:12]}) came "
                "without its bytes and none are stored: send it again"
            )
        if missing:
            pipe = client.pipeline(transaction=False)
            for sha in missing:
                pipe.set(self._key(sha, "bytes"), blobs[sha], px=self._lifetime)
            await pipe.execute()

    async def share(
        self, client: Any, holder: str, picture: PictureRef, data: bytes | None, now: float
    ) -> bool:
        """Note another holder of a picture, and store ``data`` if it is not there yet.

        Return whether it is held: one whose bytes are gone stays as it is, a caption.
        """
        if data is not None:
            await self.hold(client, holder, [picture], {picture.sha256: data}, now)
            return True
        pipe = client.pipeline(transaction=False)
        pipe.zadd(self._key(picture.sha256, "holders"), {holder: now})
        pipe.exists(self._key(picture.sha256, "bytes"))
        if not (await pipe.execute())[1]:
            await self.release(client, picture.sha256, holder)
            return False
        return True

    async def read(self, picture: PictureRef) -> bytes:
        """Return a picture's bytes; ``PictureGone`` when they are not kept any longer,
        ``HistoryDamaged`` when they are not what they were."""

        async def get(client: Any) -> bytes | None:
            found: bytes | None = await client.get(self._key(picture.sha256, "bytes"))
            return found

        data = await self._link.read(get)
        named = f"picture {picture.number}{f' ({picture.name})' if picture.name else ''}"
        if data is None:
            if self._lifetime is not None:
                raise PictureGone(f"the pixels of {named} are not kept any longer: send it again")
            raise PictureGone(f"the bytes of {named} are gone: send it again")
        if hashlib.sha256(data).hexdigest() != picture.sha256:
            raise HistoryDamaged(f"the stored bytes of {named} are damaged: send it again")
        return data

    async def release(
        self, client: Any, sha256: str, holder: str, before: float | None = None
    ) -> bool:
        """Drop a hold (one noted before ``before``, server time, if given), and the bytes with the
        last one. Return whether the bytes went."""
        keys = self._key(sha256, "holders"), self._key(sha256, "bytes")
        return await removal.release(client, *keys, holder, before)

    async def sweep(self, backed: Backed, grace: float = GRACE) -> int:
        """Remove what crashes left over, and return how many pictures' bytes went.

        ``backed`` says whether a holder's conversation refers to a picture.
        """
        removed = 0
        now = await self._link.read(server_time)
        async for sha in self._hashes():
            holders = await self._link.read(_before(self._key(sha, "holders"), now - grace))
            stale = [holder for holder in holders if not await backed(holder, sha)]
            if holders and not stale:
                continue
            # with nobody to remove, "" finds bytes without any holder
            for holder in stale or [""]:
                removed += await self._link.write(self._releaser(sha, holder, now - grace))
        return removed

    def _releaser(
        self, sha256: str, holder: str, before: float
    ) -> Callable[[Redis], Awaitable[bool]]:
        return lambda client: self.release(client, sha256, holder, before)

    async def _hashes(self) -> AsyncIterator[str]:
        cursor, seen = -1, set[str]()
        while cursor != 0:
            cursor, keys = await self._link.read(
                _scan(max(cursor, 0), picture_pattern(self._tenant))
            )
            for key in keys:
                sha = key.decode().rpartition("}:")[0].rpartition(":")[2]
                if sha not in seen:
                    seen.add(sha)
                    yield sha


async def make_way(attempt: int) -> None:
    """Wait before another attempt at a transaction: not at all at first, 50 ms at most."""
    if attempt:
        await asyncio.sleep(random.random() * min(0.05, 0.001 * 2**attempt))


async def server_time(client: Any) -> float:
    """Return the server's clock (s since 1970): hosts' clocks differ, and holds are compared."""
    seconds, micros = await client.time()
    return float(seconds) + float(micros) / 1e6


async def highest(pipe: Any, key: str, last: bytes | None) -> int:
    """Return the highest number given to a picture, from the records if its count is damaged."""
    if last is None or last.isdigit():
        return int(last or 0)
    return max((int(field) for field in await pipe.hkeys(key) if field.isdigit()), default=0)


def _scan(cursor: int, pattern: str) -> Callable[[Redis], Awaitable[tuple[int, list[bytes]]]]:
    async def work(client: Any) -> tuple[int, list[bytes]]:
        found: Any = await client.scan(cursor, match=pattern, count=500)
        return int(found[0]), list(found[1])

    return work


def _before(key: str, until: float) -> Callable[[Redis], Awaitable[list[str]]]:
    async def work(client: Any) -> list[str]:
        found = await client.zrangebyscore(key, "-inf", f"({until}")
        return [holder.decode() for holder in found]

    return work
