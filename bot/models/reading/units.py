"""Evidence is cut into units, each of which can be quoted alone: sentences, table rows, and rows of
writing in a picture.

Knows nothing of questions.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from bot.models.reading.words import Token, tokens
from retrievers.evidence import Evidence, Line
from retrievers.ingest.ocr import rows as rows_of_lines

Form = Literal["sentence", "row", "writing", "caption"]

_ENDS = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]+\s*")
_BREAK = re.compile(r"\n\s*\n+|\n(?=\s*(?:[*•▪‣–-]\s|\d{1,2}[.)]\s|#|\|))|(?<=[:.!?])\n")
_BULLET = re.compile(r"^\s*(?:[*•▪‣#|–-]+|\d{1,2}[.)])\s+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|[a-z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|No|Nos|vs|etc|e\.g|i\.e|cf|al|ca|approx"
    r"|Inc|Ltd|Co|Corp|Sdn|Bhd|Fig|Figs|Eq|Vol|pp|p|U\.S|U\.K|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept"
    r"|Oct|Nov|Dec|Gen|Gov|Sen|Rep|Lt|Col|Capt|Rev|Hon|Mt|Ft|z\.B|bzw|usw|Nr|Str|Abs)\.$"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that can be quoted. ``number`` is its evidence (from 1), ``order`` its place there.

    ``lines`` are indexes into the evidence's lines of writing. ``text`` has single spaces.
    """

    number: int
    order: int
    text: str
    form: Form
    lines: tuple[int, ...] = ()
    tokens: tuple[Token, ...] = field(default=(), compare=False)
    stems: frozenset[str] = field(default=frozenset(), compare=False)


def cut(evidence: Sequence[Evidence]) -> list[Unit]:
    """Return every unit of ``evidence``, in order."""
    return [unit for number, item in enumerate(evidence, 1) for unit in _units(number, item)]


def _units(number: int, item: Evidence) -> Iterator[Unit]:
    order = 0
    for text, form, lines in _pieces(item):
        if text:
            found, stems = _read(text)
            yield Unit(number, order, text, form, lines, found, stems)
            order += 1


def _pieces(item: Evidence) -> Iterator[tuple[str, Form, tuple[int, ...]]]:
    if item.kind == "picture":
        written = {line.text.strip() for line in item.lines}
        for said in dict.fromkeys([item.caption, *item.text.split("\n")]):
            if said.strip() and said.strip() not in written:
                for sentence in sentences(said):
                    yield sentence, "caption", ()
        for row in rows(item.lines):
            yield " ".join(item.lines[i].text.strip() for i in row), "writing", row
    elif item.form == "table":
        for row_text in item.text.split("\n"):
            yield " ".join(row_text.split()), "row", ()
    else:
        for sentence in sentences(item.text):
            yield sentence, "sentence", ()


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[tuple[Token, ...], frozenset[str]]:
    found = tuple(tokens(text))
    return found, frozenset(t.stem for t in found if not t.stop)


@lru_cache(maxsize=1024)
def sentences(text: str) -> tuple[str, ...]:
    """Return the sentences of ``text``, with single spaces and without list marks."""
    found: list[str] = []
    for block in _BREAK.split(text):
        block = " ".join(_BULLET.sub("", block).split())
        start = 0
        for match in _ENDS.finditer(block):
            follows = block[match.end() : match.end() + 1]
            if follows.islower() or _ABBREVIATION.search(block[start : match.start() + 1]):
                continue
            found.append(block[start : match.end()].strip())
            start = match.end()
        found.append(block[start:].strip())
    return tuple(s for s in found if s)


def rows(lines: Sequence[Line]) -> list[tuple[int, ...]]:
    """Return the indexes of ``lines`` by row of the picture, top to bottom and left to right."""
    place = {id(line): index for index, line in enumerate(lines)}
    return [tuple(place[id(line)] for line in row) for row in rows_of_lines(list(lines))]
