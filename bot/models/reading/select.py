"""Which units are quoted, and how much of each: what of the best units fits into the limit.

Knows nothing of how units were ranked or how the answer is worded.
"""

from collections.abc import Sequence
from math import exp

from bot.models.reading.question import Question
from bot.models.reading.score import Scored
from bot.models.reading.shorten import Stretch, shorten
from bot.models.reading.units import Unit

#: How much more of the question a unit must cover to be e times as likely to answer
SHARPNESS = 0.1
#: The least odds, next to the best unit's, at which another unit is quoted beside it
LEAST_ODDS = 0.05
#: ... and when both are rows of one table, where every row has the words of the columns
SAME_TABLE = 0.9
#: Units that are looked at, and characters below which a quotation is a scrap
CONSIDERED = 3
SCRAP = 40


def select(question: Question, ranked: Sequence[Scored], limit: int) -> list[Stretch]:
    """Return the stretches to quote, of at most ``limit`` characters together with the spaces
    between them, best first: one unit, or the pair that is more likely to hold the answer.
    """
    best = distinct(ranked, CONSIDERED)
    if not best:
        return []
    odds = [exp((s.score - best[0].score) / SHARPNESS) for s in best]
    first = shorten(best[0].unit, question, limit)
    options = [(odds[0] * first.value, [first])]
    for other, odd in zip(best[1:], odds[1:], strict=True):
        if odd < (SAME_TABLE if _one_table(other.unit, best[0].unit) else LEAST_ODDS):
            continue
        for room in {limit - len(first.text) - 1, limit // 2}:  # what is left over, or half
            if room < SCRAP:
                continue
            second = shorten(other.unit, question, room)
            left = shorten(best[0].unit, question, limit - len(second.text) - 1)
            options.append((odds[0] * left.value + odd * second.value, [left, second]))
    return max(options, key=lambda option: option[0])[1]


def distinct(ranked: Sequence[Scored], count: int) -> list[Scored]:
    """Return the first ``count`` of ``ranked`` that do not say the same words again."""
    found: list[Scored] = []
    for scored in ranked:
        if len(found) == count:
            break
        if not any(_same(scored.unit, other.unit) for other in found):
            found.append(scored)
    return found


def _one_table(a: Unit, b: Unit) -> bool:
    return a.form == b.form == "row" and a.number == b.number


def _same(a: Unit, b: Unit) -> bool:
    """Say whether nine of ten words of the shorter unit are in the other one."""
    fewer = min(len(a.stems), len(b.stems))
    return a.text == b.text or (fewer > 0 and len(a.stems & b.stems) >= 0.9 * fewer)
