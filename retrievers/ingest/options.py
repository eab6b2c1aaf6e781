"""How files are parsed: one frozen value that travels to the child processes as JSON.

Knows nothing of what uses it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ParseOptions:
    """Limits and choices of parsing.

    ``passage_chars`` is the size that passages aim at, ``passage_most`` the size that they only
    pass where a single sentence does. ``ocr`` turns the reading of writing in pictures on or off;
    ``ocr_confidence`` is the least mean probability of a line that is kept. ``page_dpi`` is the
    resolution of rendered pages. A page with fewer than ``little_text`` characters is read by OCR.
    ``seconds``, ``seconds_a_page``, ``memory_bytes`` and ``output_bytes`` bound the child process
    that parses one file.
    """

    passage_chars: int = 700
    passage_most: int = 1000
    ocr: bool = True
    ocr_confidence: float = 0.6
    page_dpi: int = 150
    little_text: int = 200
    max_file_bytes: int = 512 * 1024 * 1024
    max_pages: int = 2000
    max_pictures: int = 2000
    max_rows: int = 50_000
    max_chars: int = 20_000_000
    seconds: float = 120.0
    seconds_a_page: float = 10.0
    memory_bytes: int = 4 * 1024**3
    output_bytes: int = 2 * 1024**3

    def to_json(self) -> dict[str, Any]:
        """Return the form that :meth:`from_json` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ParseOptions":
        """Read what :meth:`to_json` wrote."""
        return cls(**value)
