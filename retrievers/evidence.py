"""What is asked and what is found: pure values.

Nothing here knows how a thing was found (SQLite, FAISS), nor what it will be used for (a prompt,
a web page). Every position on a picture is a fraction of the upright picture's width and height,
so that a picture may be shrunk without touching what points into it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Kind = Literal["passage", "picture"]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on an upright picture, in fractions of its size; the origin is top left."""

    left: float
    top: float
    right: float
    bottom: float

    def to_json(self) -> list[float]:
        """Return ``[left, top, right, bottom]``, rounded to a ten-thousandth."""
        return [round(v, 4) for v in (self.left, self.top, self.right, self.bottom)]

    @classmethod
    def from_json(cls, value: list[float]) -> "Box":
        """Read what :meth:`to_json` wrote."""
        return cls(*(float(v) for v in value))

    def union(self, other: "Box") -> "Box":
        """Return the smallest box that holds both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of writing that was read from a picture (OCR)."""

    text: str
    box: Box
    confidence: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"t": self.text, "b": self.box.to_json(), "c": round(self.confidence, 3)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Line":
        """Read what :meth:`to_json` wrote."""
        return cls(str(value["t"]), Box.from_json(value["b"]), float(value["c"]))


@dataclass(frozen=True, eq=False)
class Query:
    """A question as retrievers see it: words, pictures, and both as vectors.

    ``pictures`` are upright RGB pictures. ``picture_words`` is the writing read from them.
    ``context`` holds words that say what the question is about, and count less than its own.
    ``vectors`` holds, by space, float32 arrays with one row an item:

    - ``"text"``  (1, d): the words, in the text encoder's space
    - ``"look"``  (n, d): the n pictures, in the picture encoder's space
    - ``"look_text"`` (1, d): the words, in the picture encoder's space (cross-modal encoders only)
    """

    text: str = ""
    pictures: tuple[Image.Image, ...] = ()
    picture_words: str = ""
    context: str = ""
    vectors: Mapping[str, Vectors] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage or a picture that may answer the question, with the scores that brought it here.

    ``id`` is ``"passage:12"`` or ``"picture:7"`` and is never used again in a library
    (``"shown:3"`` is the third picture of a conversation). ``text`` is the passage's text, or the
    picture's own words (the prose beside it finds it, too, but is quoted from its passage).
    ``media`` is the SHA-256 of the picture's file; ``box`` is where a figure stands on its page.
    ``scores`` holds each retriever's own score by its name (``"bm25"``, ``"look"``), ``score`` the
    fused one; a higher score is better, always.
    """

    id: str
    kind: Kind
    source: str
    text: str
    page: int | None = None
    heading: str = ""
    form: str = "prose"
    caption: str = ""
    media: str | None = None
    size: tuple[int, int] | None = None
    box: Box | None = None
    lines: tuple[Line, ...] = ()
    score: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
