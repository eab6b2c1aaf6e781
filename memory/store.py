"""What every part of a history works with: a tenant's keys, the way to its Redis, its settings.

Knows nothing of turns.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from memory.claims import DAY, LEASE
from memory.client import Link
from memory.lifetimes import FOREVER, Lifetimes, write_caption
from memory.messages import PictureRef
from memory.pictures import PictureStore
from memory.records import conversation_key, encode_name, index_key, pack

#: What a conversation has on its slot; ``lease`` and ``keys`` are ``memory/lease.py``'s, and
#: ``feedback`` is what a service keeps of its answers, so that it goes whenever they go
PARTS = ("turns", "pictures", "captions", "meta", "keys", "feedback")


@dataclass(frozen=True, slots=True)
class Store:
    """One tenant's place in one Redis. ``lease`` and ``remember`` are seconds: how long a turn's
    claim holds without being renewed, and how long an idempotency key is known."""

    tenant: str
    link: Link
    pictures: PictureStore
    lease: float = LEASE
    remember: float = DAY
    lifetimes: Lifetimes = FOREVER

    def key(self, conversation: str, part: str) -> str:
        """Return the key of a conversation's part."""
        return conversation_key(self.tenant, conversation, part)

    def queue_pictures(
        self, pipe: Any, conversation: str, pictures: Iterable[PictureRef], at: float
    ) -> None:
        """Queue the references of pictures; ``at`` is when they were sent (s). A caption that has
        a lifetime is stored apart."""
        key, captions = self.key(conversation, "pictures"), self.key(conversation, "captions")
        for picture in pictures:
            if self.lifetimes.captions is not None and picture.caption:
                pipe.hset(captions, str(picture.number), write_caption(picture.caption, at))
                picture = replace(picture, caption="")
            pipe.hset(key, str(picture.number), pack(picture.to_json()))

    def queue_lifetimes(self, pipe: Any, conversation: str) -> None:
        """Queue the end of all that a conversation has, one lifetime from now, or no end."""
        turns, captions = self.lifetimes.turns, self.lifetimes.captions
        for part in ("meta", "turns", "pictures"):
            if turns is None:
                pipe.persist(self.key(conversation, part))
            else:
                pipe.pexpire(self.key(conversation, part), int(turns * 1000))
        ends = [lifetime for lifetime in (turns, captions) if lifetime is not None]
        if ends:
            pipe.pexpire(self.key(conversation, "captions"), int(min(ends) * 1000))

    def queue_listing(self, pipe: Any, conversation: str, at: float) -> None:
        """Queue an entry of the tenant's list, and the end of those that have passed their
        lifetime."""
        index = index_key(self.tenant)
        pipe.zadd(index, {encode_name(conversation): at})
        if self.lifetimes.turns is not None:
            pipe.zremrangebyscore(index, "-inf", f"({time.time() - self.lifetimes.turns}")

    def since(self, lifetime: float | None) -> float:
        """Return the time (s) before which what has ``lifetime`` is past it."""
        return float("-inf") if lifetime is None else time.time() - lifetime
