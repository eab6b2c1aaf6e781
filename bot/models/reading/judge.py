"""Whether the best that was found answers the question at all.

Knows nothing of wording.
"""

from collections.abc import Sequence

from bot.models.reading.question import Question
from bot.models.reading.score import Scored
from retrievers.evidence import Evidence

#: The part of the question's rarity that the best unit and its surroundings must cover
COVERED = 0.4


def answers(question: Question, ranked: Sequence[Scored], evidence: Sequence[Evidence]) -> bool:
    """Say whether the first of ``ranked`` answers ``question``."""
    return ranked[0].own > 0 and ranked[0].covered >= COVERED
