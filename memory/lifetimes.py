"""How long things are kept: pixels, captions and turns, each with a lifetime of its own.

A lifetime counts from when the thing was said or sent, and nothing lengthens it but sending it
again: it is a promise to delete. What has passed it is never shown, and goes with the next turn of
its conversation, or (by Redis' own expiry) at the latest one lifetime after the last turn. Settings
count for what is stored from then on. Pure values; knows nothing of Redis.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from memory.messages import PictureRef

TRIM_EVERY = 8  #: turns after which a conversation is looked through, at the least


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds, or ``None`` for ever. A handle (number, name, size, hash) lives with its turn."""

    pictures: float | None = None
    captions: float | None = None
    turns: float | None = None

    @property
    def pixels(self) -> float | None:
        """How long a picture's bytes are kept: never longer than the turn that it came with."""
        return min((t for t in (self.pictures, self.turns) if t is not None), default=None)

    def trims(self, count: int) -> bool:
        """Return whether a conversation of ``count`` turns, a new one among them, is to be looked
        through for what is past its lifetime: every few turns, and fewer in a long one."""
        ends = self.turns is not None or self.captions is not None
        return ends and count > 0 and count % max(TRIM_EVERY, count // 16) == 0


FOREVER = Lifetimes()


def write_caption(caption: str, at: float) -> str:
    """Return the stored form of a caption that has a lifetime; ``at`` is when it was said (s)."""
    return f"{at:.3f} {caption}"


def with_captions(
    pictures: tuple[PictureRef, ...], captions: Mapping[bytes, bytes], since: float
) -> tuple[PictureRef, ...]:
    """Return the pictures with the captions that were stored apart and are not from before
    ``since`` (s)."""
    found = {}
    for number, stored in captions.items():
        at, _, caption = stored.decode(errors="replace").partition(" ")
        if number.isdigit() and _seconds(at) >= since:
            found[int(number)] = caption
    return tuple(
        replace(p, caption=found.get(p.number, "")) if not p.caption else p for p in pictures
    )


def old_captions(captions: Mapping[bytes, bytes], since: float) -> list[bytes]:
    """Return the numbers of captions from before ``since`` (s)."""
    return [n for n, stored in captions.items() if _seconds(stored.split(b" ")[0]) < since]


def _seconds(text: str | bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # damaged: past every lifetime
