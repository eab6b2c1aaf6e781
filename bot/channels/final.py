"""A whole answer as channels show it: safe text in parts, footnotes, the pictures that it cites.

Knows nothing of any channel: each formats these values in its own way.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.channels.backend import Backend
from bot.channels.harmless import harmless, one_line
from bot.channels.splitting import split
from bot.errors import KNOWN_ERRORS
from bot.events import Answer, Citation, LedgerEntry
from bot.show import where, with_box
from retrievers.evidence import Box
from retrievers.imaging import encode, read_picture, shrink

PICTURES = 4  #: shown with one answer
SIDE = 1600  #: longer side of a picture that is shown, in pixels
QUOTE, PLACE, NOTICE = 200, 120, 300  #: characters


@dataclass(frozen=True, slots=True)
class Footnote:
    """What a mark rests on; harmless text, one line each."""

    mark: int
    place: str
    quote: str = ""

    def __str__(self) -> str:
        return f"[{self.mark}] {self.place}" + (f": “{self.quote}”" if self.quote else "")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A cited picture as PNG or JPEG, with the boxes of its citations drawn on it."""

    marks: tuple[int, ...]
    name: str
    alt: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Final:
    """An answer to be shown. ``parts`` is its harmless text, split; ``text`` the same in one."""

    answer: Answer
    text: str
    parts: Sequence[str]
    footnotes: Sequence[Footnote] = ()
    pictures: Sequence[Drawn] = ()
    notices: Sequence[str] = ()


async def final_of(
    backend: Backend, answer: Answer, limit: int, notices: Sequence[str] = ()
) -> Final:
    """Return what a channel shows of an answer, with its pictures fetched and drawn.

    ``limit`` is how long a message may be; ``notices`` come before the answer's own.
    """
    told = [*notices, *answer.notices]
    drawn: list[Drawn] = []
    pictures = _pictures(answer.citations)
    for citations in pictures[:PICTURES]:
        try:
            data = await backend.cited_picture(answer, citations[0])
            drawn.append(await asyncio.to_thread(_draw, data, citations))
        except KNOWN_ERRORS:
            told.append(f"the picture of [{citations[0].mark}] is no longer there")
    if len(pictures) > PICTURES:
        told.append(f"only {PICTURES} of {len(pictures)} cited pictures are shown")
    text = harmless(answer.text).strip() or "(no words)"
    return Final(
        answer=answer,
        text=text,
        parts=split(text, limit),
        footnotes=footnotes(answer.citations),
        pictures=drawn,
        notices=[one_line(line, NOTICE) for line in told],
    )


def footnotes(citations: Sequence[Citation]) -> list[Footnote]:
    """Return a footnote for each mark, in order."""
    found: dict[int, Footnote] = {}
    for citation in sorted(citations, key=lambda c: c.mark):
        if citation.mark not in found:
            place, quote = one_line(where(citation), PLACE), one_line(citation.quote, QUOTE)
            found[citation.mark] = Footnote(citation.mark, place, quote)
    return list(found.values())


def why_lines(answer: Answer, most: int = 20) -> list[str]:
    """Return what an answer rests on, for whoever asks why: what was searched for, and a line for
    each piece of evidence: how well it fitted by which retriever, and what became of it."""
    lines = [one_line(f"Searched for: {answer.searched}", NOTICE)] if answer.searched else []
    lines += [_evidence_line(entry) for entry in answer.evidence[:most]]
    if len(answer.evidence) > most:
        lines.append(f"and {len(answer.evidence) - most} more")
    return lines if answer.evidence else [*lines, "Nothing was found for it."]


def _evidence_line(entry: LedgerEntry) -> str:
    item = entry.evidence
    page = f", page {item.page}" if item.page is not None else ""
    name = one_line(item.source.replace("\\", "/").rsplit("/", 1)[-1], PLACE)
    fate = "cited" if entry.cited else "read" if entry.in_prompt else "found"
    pixels = ", the picture was shown to the model" if entry.pixels_shown else ""
    scores = ", ".join(f"{run} {score:.2f}" for run, score in item.scores.items())
    return f"[{entry.number}] {name}{page} - {fate}{pixels} ({scores or f'{item.score:.2f}'})"


def _pictures(citations: Sequence[Citation]) -> list[list[Citation]]:
    """Return the citations of each picture that is worth showing. One that somebody just sent is
    so only with a box."""
    found: dict[tuple[object, object], list[Citation]] = {}
    for citation in citations:
        if citation.media is not None or citation.picture is not None:
            found.setdefault((citation.picture, citation.media), []).append(citation)
    return [group for group in found.values() if _shown(group)]


def _shown(citations: Sequence[Citation]) -> bool:
    return citations[0].picture is None or any(c.box for c in citations)


def _draw(data: bytes, citations: Sequence[Citation]) -> Drawn:
    """Return a cited picture. Work for a thread."""
    image = shrink(read_picture(data).image, SIDE)
    boxes: dict[Box, None] = {c.box: None for c in citations if c.box}
    for box in boxes:
        image = with_box(image, box)
    marks = tuple(dict.fromkeys(c.mark for c in citations))
    small = image.width * image.height <= 512 * 512
    kind = "png" if small else "jpeg"
    name = "-".join(str(mark) for mark in marks[:5])
    return Drawn(
        marks=marks,
        name=f"cited-{name}.{'png' if small else 'jpg'}",
        alt=one_line(f"[{marks[0]}] {where(citations[0])} {citations[0].quote}", QUOTE),
        data=encode(image, f"image/{kind}"),
    )
