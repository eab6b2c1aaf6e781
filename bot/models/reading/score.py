"""How well each unit answers a question.

A unit's score is the part of the question's rarity that its words cover, where a word counts in
full in the unit and less in its neighbourhood (prose names its subject once and then says "it"),
raised when the unit holds the kind of thing that is asked for. Knows nothing of length limits.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.models.reading.amounts import DATE, MONEY, NUMBER, PRICE
from bot.models.reading.question import Question, Wants
from bot.models.reading.units import Unit
from bot.models.reading.words import content_stems
from retrievers.evidence import Evidence

#: What a question word is worth that is not in the unit but in the sentence before it, in the one
#: after it, in its heading or caption, or elsewhere in its passage
BEFORE, AFTER, HEADING, ELSEWHERE = 0.5, 0.25, 0.5, 0.25
#: What a word is worth that only shares its beginning with a question word ("invade", "invasion")
ALIKE = 0.5
BEGINNING = 5  #: letters
#: What the retriever's own score is worth: the best item gets this, others their part of it
RETRIEVED = 0.1
#: Added when the unit holds the kind of thing asked for: about one word of a question of six
FITS = 0.15

_REASON = re.compile(
    r"\b(?:because|due to|since|as a result|caused?|reason|therefore|in order to|so that|thanks to"
    r"|led to|to (?:avoid|prevent|protect|allow|ensure|make|get|keep|reduce)"
    r"|weil|wegen|aufgrund|um zu|damit)\b",
    re.IGNORECASE,
)
_DEFINES = re.compile(
    r"\b(?:is|are|was|were|means|refers to|known as|stands for|defined as|ist|sind|war|bedeutet"
    r"|bezeichnet)\b",
    re.IGNORECASE,
)
_PATTERNS: Mapping[Wants, tuple[re.Pattern[str], ...]] = {
    Wants.TIME: (DATE,),
    Wants.NUMBER: (NUMBER,),
    Wants.MONEY: (MONEY, PRICE),
    Wants.REASON: (_REASON,),
    Wants.DEFINITION: (_DEFINES,),
}


@dataclass(frozen=True, slots=True)
class Scored:
    """A unit with its score; ``own`` is the part of the question's rarity in the unit itself."""

    unit: Unit
    score: float
    own: float
    covered: float
    fits: bool


def candidates(wants: Wants, unit: Unit, asked: frozenset[str]) -> list[tuple[int, int]]:
    """Return where in the unit's text things of the kind asked for stand, as (start, end).

    A thing that the question itself names does not answer it.
    """
    if wants in (Wants.PERSON, Wants.PLACE):
        return [
            (token.start, token.end)
            for i, token in enumerate(unit.tokens)
            if token.text[0].isupper()
            and not token.stop
            and token.stem not in asked
            and (i or len(token.text) > 3)
        ]
    found = []
    for pattern in _PATTERNS.get(wants, ()):
        for match in pattern.finditer(unit.text):
            stems = content_stems(match.group())
            if wants in (Wants.REASON, Wants.DEFINITION) or not stems or not stems <= asked:
                found.append(match.span())
    return found


def rank(question: Question, units: Sequence[Unit], evidence: Sequence[Evidence]) -> list[Scored]:
    """Return every unit with its score, best first; the order of ``units`` breaks ties. What has
    none of the question's words comes last."""
    total = question.mass or 1.0
    best = max((item.score for item in evidence), default=0.0) or 1.0
    by_item: dict[int, list[Unit]] = {}
    for unit in units:
        by_item.setdefault(unit.number, []).append(unit)
    found = []
    for number, own_units in by_item.items():
        item = evidence[number - 1]
        heading = content_stems(f"{item.heading} {item.caption}")
        everywhere = frozenset().union(*(u.stems for u in own_units))
        for i, unit in enumerate(own_units):
            before = own_units[i - 1].stems if i else frozenset()
            after = own_units[i + 1].stems if i + 1 < len(own_units) else frozenset()
            around = ((before, BEFORE), (after, AFTER), (heading, HEADING), (everywhere, ELSEWHERE))
            found.append(_score(question, unit, around, total, RETRIEVED * item.score / best))
    found.sort(key=lambda s: (s.own <= 0, -s.score))
    return found


def _score(
    question: Question,
    unit: Unit,
    around: Sequence[tuple[frozenset[str], float]],
    total: float,
    prior: float,
) -> Scored:
    own = covered = 0.0
    beginnings = {stem[:BEGINNING] for stem in unit.stems}
    for stem, weight in question.weights.items():
        here = 1.0 if stem in unit.stems else 0.0
        if (
            not here
            and len(stem) >= BEGINNING
            and stem.isalpha()
            and stem[:BEGINNING] in beginnings
        ):
            here = ALIKE
        near = max((worth for stems, worth in around if stem in stems), default=0.0)
        own += weight * here
        covered += weight * max(here, near)
    fits = bool(candidates(question.wants, unit, frozenset(question.weights)))
    score = covered / total + (FITS if fits else 0.0) + prior
    return Scored(unit, score, own / total, covered / total, fits)
