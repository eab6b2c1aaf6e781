"""What the engine's benchmark is made of: the model pair, pictures, conversations, figures.

Knows nothing of who answers. Text has an exact number of tokens: see ``make_large_gguf.words``.
"""

import io
import math
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

sys.path.append(str(Path(__file__).resolve().parents[1] / "pocket"))

from make_gguf import make_projector, make_text_model
from make_large_gguf import make_pair, words

__all__ = [
    "Row",
    "Said",
    "make_pair",
    "make_tiny",
    "median",
    "picture",
    "question",
    "start",
    "steady",
    "words",
]

QUESTION = 24  # tokens of a question
SYSTEM = 16


@dataclass(frozen=True, slots=True)
class Said:
    """One line of a conversation; ``picture`` is a PNG shown before the words, or None."""

    role: str
    text: str
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``passed`` None: there was nothing to compare with."""

    measure: str
    measured: str
    required: str
    passed: bool | None


def make_tiny(folder: Path) -> Path:
    """Write the tiny pair of ``tests/pocket/make_gguf.py``; return its text model."""
    folder.mkdir(parents=True, exist_ok=True)
    make_projector(folder / "mmproj-tiny.gguf")
    return make_text_model(folder / "tiny.gguf")


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> bytes:
    """Return a PNG of random shapes, another one for each seed."""
    draw = random.Random(seed)
    image = Image.new("RGB", size, (draw.randrange(256), draw.randrange(256), 128))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = draw.randrange(size[0]), draw.randrange(size[1])
        colour = (draw.randrange(256), draw.randrange(256), draw.randrange(256))
        pen.ellipse((x, y, x + draw.randrange(4, 90), y + draw.randrange(4, 90)), fill=colour)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def start() -> list[Said]:
    """Return the beginning that all conversations share."""
    return [Said("system", words(SYSTEM, 0))]


def question(seed: int, *, pictured: bool = False, tokens: int = QUESTION) -> Said:
    """Return a user's line of exactly ``tokens`` tokens, with a picture of its own if wanted."""
    return Said("user", words(tokens, seed), picture(seed) if pictured else None)


def median(values: Sequence[float]) -> float:
    """Return the median; of nothing, not a number."""
    return statistics.median(values) if values else float("nan")


def steady(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
