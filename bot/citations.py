"""Marks in an answer, ``[1]``, are traced to the evidence they name.

A mark without evidence is reported, never invented into one. What a citation quotes is the line of
the evidence that shares the most words with the statement before the mark; where a writer said
itself what it quotes (``spans``), that is taken. Knows nothing of models or channels.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.events import Citation
from retrievers.evidence import Box, Evidence, Line

#: A mark in an answer, ``[1]``
MARK = re.compile(r"\[(\d{1,3})\]")
_WORD = re.compile(r"\w+", re.UNICODE)
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
#: A line of writing counts as quoted when it holds this part of the statement's words, or more
_LEAST_OVERLAP = 0.34


def find_marks(text: str) -> list[tuple[int, str]]:
    """Return ``(number, statement)`` for each mark: the words between it and what came before."""
    marks: list[tuple[int, str]] = []
    start, statement = 0, ""
    for match in MARK.finditer(text):
        between = text[start : match.start()].strip(" \t\n.,;:")
        statement = _SENTENCE.split(between)[-1] if between else statement
        marks.append((int(match.group(1)), statement))
        start = match.end()
    return marks


def cite(
    text: str,
    evidence: Sequence[Evidence],
    spans: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
) -> tuple[list[Citation], list[int]]:
    """Return the answer's citations, one a mark and statement, and the marks that name nothing.

    ``spans`` holds, by mark, what the writer says it quotes: ``{"text": …, "lines": [indexes]}``.
    """
    citations: list[Citation] = []
    unknown: list[int] = []
    for number, statement in find_marks(text):
        if not 1 <= number <= len(evidence):
            if number not in unknown:
                unknown.append(number)
            continue
        given = (spans or {}).get(number, ())
        for citation in _citations(number, evidence[number - 1], statement, given):
            if citation not in citations:
                citations.append(citation)
    return citations, unknown


def _citations(
    number: int, item: Evidence, statement: str, spans: Sequence[Mapping[str, Any]]
) -> Iterator[Citation]:
    if not spans:
        quote, lines = _best_quote(item, statement)
        yield _citation(number, item, quote, lines)
    for span in spans:
        lines = [item.lines[i] for i in span.get("lines", ()) if 0 <= i < len(item.lines)]
        yield _citation(number, item, str(span.get("text", "")), lines)


def _citation(number: int, item: Evidence, quote: str, lines: Sequence[Line]) -> Citation:
    box: Box | None = None
    for line in lines:
        box = line.box if box is None else box.union(line.box)
    shown = item.id.partition(":")
    return Citation(
        mark=number,
        kind=item.kind,
        evidence_id=item.id,
        source=item.source,
        page=item.page,
        quote=quote[:500],
        box=box,
        media=item.media,
        picture=int(shown[2]) if shown[0] == "shown" else None,
    )


def _best_quote(item: Evidence, statement: str) -> tuple[str, list[Line]]:
    """Return what of ``item`` the statement rests on, and the lines of writing that hold it."""
    wanted = _words(statement)
    if item.lines:
        scored = [(_overlap(wanted, _words(line.text)), line) for line in item.lines]
        best = max(scored, key=lambda pair: pair[0])
        if best[0] > 0:
            lines = [line for score, line in scored if score >= max(_LEAST_OVERLAP, best[0])]
            lines = lines[:3] or [best[1]]
            return " ".join(line.text for line in lines), lines
    if item.kind == "picture":
        return item.caption[:300], []
    sentences = [s for s in _SENTENCE.split(item.text) if s.strip()]
    if not sentences:
        return "", []
    return max(sentences, key=lambda s: _overlap(wanted, _words(s))).strip(), []


def _words(text: str) -> frozenset[str]:
    return frozenset(w.casefold() for w in _WORD.findall(text) if len(w) > 1 or w.isdigit())


def _overlap(wanted: frozenset[str], have: frozenset[str]) -> float:
    """Return the part of the wanted words that are there, less a little for each other word."""
    common = len(wanted & have)
    return common / len(wanted) - 0.001 * len(have - wanted) if common else 0.0
