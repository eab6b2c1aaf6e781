"""Reads an answer to a question out of evidence, and says when none is there.

Five steps: analyse the question, cut the evidence into units, rank them, decide whether the best
one answers, quote what fits. Knows nothing of LangChain or of how evidence was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log

from bot.models.reading.judge import answers
from bot.models.reading.plain import bare, plain
from bot.models.reading.question import Question, analyse
from bot.models.reading.score import Scored, rank
from bot.models.reading.select import SCRAP, select
from bot.models.reading.shorten import Stretch, shorten
from bot.models.reading.units import Unit, cut
from bot.models.reading.wording import wording
from bot.models.reading.words import Rarity, stem
from retrievers.evidence import Evidence

#: A word that no text holds: its rarity is the largest there is
NOWHERE = "qzxwvkjq"


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of evidence ``number`` (from 1), as the source has them; ``lines`` are indexes into
    its lines of writing. ``text`` is what the answer shows of it: plain, perhaps shortened."""

    number: int
    text: str
    source_text: str
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer in pieces: the writer's own words and quotations. ``found`` is false when the
    evidence holds no answer; what is quoted then is only the closest."""

    found: bool
    pieces: tuple[str | Quote, ...]

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """The quotations, in order."""
        return tuple(p for p in self.pieces if isinstance(p, Quote))


def read(
    text: str,
    evidence: Sequence[Evidence],
    rarity: Rarity | None,
    limit: int,
    before: str = "",
) -> Reading:
    """Return the answer to ``text`` out of ``evidence``, in at most ``limit`` quoted characters.

    ``rarity`` gives the rarity (idf) of words; without it, it is counted over the evidence.
    ``before`` is the question before this one, which says what the conversation is about.
    """
    if not evidence:
        return Reading(False, (wording(text).no_sources,))
    units = cut(evidence)
    rarity = rarity or _rarity_over(units)
    question = analyse(text, rarity)
    ranked = rank(question, units, evidence)
    subject = analyse(before, rarity).weights if before else {}
    nowhere = rarity([NOWHERE])[NOWHERE]
    if not answers(question, ranked, units, evidence, subject, nowhere):
        return _closest(question, ranked, limit)
    return Reading(True, tuple(quote(s) for s in select(question, ranked, limit)))


def _rarity_over(units: Sequence[Unit]) -> Rarity:
    """Return BM25's idf over ``units``: ln(1 + (N - n + 0.5) / (n + 0.5))."""
    count = len(units)

    def rarity(words: Iterable[str]) -> Mapping[str, float]:
        found = {}
        for word in words:
            n = sum(stem(word) in unit.stems for unit in units)
            found[word] = log(1 + (count - n + 0.5) / (n + 0.5))
        return found

    return rarity


def _closest(question: Question, ranked: Sequence[Scored], limit: int) -> Reading:
    """Return that nothing was found, and the nearest there is, if it shares any word."""
    words = wording(question.text)
    room = limit - len(words.nothing) - len(words.closest)
    if not ranked or ranked[0].own <= 0 or room < SCRAP:
        return Reading(False, (words.nothing,))
    before, _, after = words.closest.partition("{quote}")
    nearest = quote(shorten(ranked[0].unit, question, room))
    own = (f"{words.nothing} {before}".strip(), nearest, after)
    return Reading(False, tuple(p for p in own if p))


def quote(stretch: Stretch) -> Quote:
    """Return a stretch of a unit as a quotation."""
    unit = stretch.unit
    source_text = bare(unit.text[stretch.start : stretch.end])
    return Quote(unit.number, plain(stretch.text), source_text, unit.lines)
