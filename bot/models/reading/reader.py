"""Reads an answer to a question out of evidence, and says when none is there.

Five steps: analyse the question, cut the evidence into units, rank them, decide whether the best
one answers, quote what fits. Knows nothing of LangChain or of how evidence was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import log

from bot.models.reading.answer import Reading, quote
from bot.models.reading.compare import compare, limits, within
from bot.models.reading.judge import answers
from bot.models.reading.pictures import field_value, is_shown, taken, what_is_this
from bot.models.reading.question import Question, analyse
from bot.models.reading.score import Scored, rank
from bot.models.reading.select import SCRAP, select
from bot.models.reading.shorten import shorten
from bot.models.reading.units import Unit, cut
from bot.models.reading.wording import wording
from bot.models.reading.words import Rarity, stem
from retrievers.evidence import Evidence

#: A word that no text holds: its rarity is the largest there is
NOWHERE = "qzxwvkjq"
#: What is asked by showing a picture without a word
SHOWN = "What is this?"
#: What all words of a picture's description are worth together, next to those of the question
ABOUT = 0.5


def read(
    text: str,
    evidence: Sequence[Evidence],
    rarity: Rarity | None,
    limit: int,
    before: str = "",
    about: str = "",
) -> Reading:
    """Return the answer to ``text`` out of ``evidence``, in at most ``limit`` quoted characters.

    ``rarity`` gives the rarity (idf) of words; without it, it is counted over the evidence.
    ``before`` is the question before this one, which says what the conversation is about.
    ``about`` says what a picture that came with the question shows: its words rank, but need not
    be in what is quoted.
    """
    if not evidence:
        return Reading(False, (wording(text).no_sources,))
    if not text.strip() and any(is_shown(item) for item in evidence):
        text = SHOWN
    units = cut(evidence)
    rarity = rarity or _rarity_over(units)
    question = analyse(text, rarity)
    nowhere = rarity([NOWHERE])[NOWHERE]
    special = what_is_this(question, evidence, units, limit)
    special = special or compare(question, evidence, units, limit)
    if limits(question):
        units = within(question, units)
    else:
        special = special or taken(question, evidence, units, limit)
        special = special or field_value(question, evidence, units, limit, nowhere)
    if special:
        return special
    asked = question.among(u.stems for u in units)
    shown = _shown(about, asked, rarity)
    ranked = rank(replace(asked, weights={**shown, **asked.weights}), units, evidence)
    subject = {**(analyse(before, rarity).weights if before else {}), **shown}
    if not answers(question, ranked, units, evidence, subject, nowhere):
        return _closest(asked, ranked, limit)
    return Reading(True, tuple(quote(s) for s in select(asked, ranked, limit)))


def _shown(about: str, question: Question, rarity: Rarity) -> dict[str, float]:
    """Return the weights of a picture's words, scaled to their share of the question's mass."""
    weights = analyse(about, rarity).weights if about else {}
    scale = ABOUT * question.mass / (sum(weights.values()) or 1.0)
    return {stem: scale * weight for stem, weight in weights.items()}


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
