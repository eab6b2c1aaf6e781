"""Whose turn it is, and which question it is: pure values.

Knows nothing of Redis; how a claim is taken, kept and given back is in ``memory/lease.py``.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from memory.errors import KeyReused
from memory.messages import Conversation, PictureRef, Turn

LEASE = 15.0  #: seconds for which a claim holds without being renewed
DAY = 86400.0  #: seconds for which an idempotency key is remembered


@dataclass(slots=True)
class Claim:
    """The right to take the next turn of a conversation, and what was known as it was given.

    ``conversation`` was loaded under the lease: nobody else writes to it. ``answered`` is the turn
    that this question already was, under the same idempotency key; there is no lease then, and
    nothing to do. ``again`` is the turn that is answered again, ``own`` the pictures that came
    with it; ``conversation`` then ends before it. ``saved`` turns true with the
    turn's transaction.
    """

    id: str
    conversation: Conversation
    token: str = ""
    once: "Once | None" = None
    answered: Turn | None = None
    again: Turn | None = None
    own: tuple[PictureRef, ...] = ()
    saved: bool = False


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key as it is stored: its hash, and the fingerprint of its question."""

    key: str
    body: str

    @classmethod
    def of(cls, key: str, text: str, pictures: Sequence[str]) -> "Once":
        """Return the stored form of a key and of a question: its words, and the SHA-256 of its
        pictures in their order."""
        body = json.dumps([text, list(pictures)])
        return cls(_digest(key), _digest(body))

    def record(self, until: float, turn: str) -> str:
        """Return what is stored once ``turn`` was saved; ``until`` is the server's clock (s)."""
        return f"{until * 1000:.0f} {self.body} {turn} done"

    def done(self, record: bytes | None, now: float) -> str | None:
        """Return the turn that a record says this key was, or ``None``; raises ``KeyReused``."""
        parts = (record or b"").decode().split(" ")
        if len(parts) < 4 or parts[-1] != "done" or float(parts[0]) <= now * 1000:
            return None
        if parts[1] != self.body:
            raise reused()
        return " ".join(parts[2:-1])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def reused() -> KeyReused:
    """Return the error of a key that came with another question."""
    return KeyReused(
        "this idempotency key was used for another question or other pictures: give each question "
        "a key of its own"
    )
