"""Whether the evidence answers the question at all.

Four signs, each between 0 and 1, and their mean against one threshold. None was learnt: which signs
there are and the threshold were chosen on MTRAG's answerable and unanswerable turns so that both
halves of its collections agree (``tests/benchmarks/bench_mtrag.py --trade-off``). Signs that told
nothing there: a name that stands nowhere in the evidence, the kind of thing asked for being there.
Knows nothing of wording.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from bot.models.reading.question import Question
from bot.models.reading.score import Scored
from bot.models.reading.units import Unit
from retrievers.evidence import Evidence

#: The least mean of the signs at which an answer is given
SURE = 0.56
#: Rare words by which the best item must beat the weakest to count as standing out altogether
STANDS_OUT = 3.0
#: The cosine of question and passage at which they count as alike altogether. Embeddings of
#: unrelated texts are near 0.2, those of questions and their passages 0.4 and more.
ALIKE = 0.5
#: The place of the item that the best one is compared with, and the fewest that make a comparison
WEAKEST, FEWEST = 8, 5
#: BM25's usual constants
K1, B = 1.2, 0.75


def answers(
    question: Question,
    ranked: Sequence[Scored],
    units: Sequence[Unit],
    evidence: Sequence[Evidence],
    subject: Mapping[str, float],
    nowhere: float,
) -> bool:
    """Say whether the first of ``ranked`` answers ``question``.

    ``subject`` holds the rarity of the words that say what the conversation is about (the question
    before this one); ``nowhere`` is the rarity of a word that stands nowhere.
    """
    if not ranked or ranked[0].own <= 0:
        return False
    found = signs(question, ranked[0], units, evidence, subject, nowhere)
    return sum(found) / len(found) >= SURE


def signs(
    question: Question,
    best: Scored,
    units: Sequence[Unit],
    evidence: Sequence[Evidence],
    subject: Mapping[str, float],
    nowhere: float,
) -> list[float]:
    """Return the signs: how much of the question's rarity is in the best unit; by how much the best
    item stands out from the weakest, in rare words and in part; how alike the vectors are, where
    the retriever compared them.
    """
    found = [min(best.own, 1.0)]
    if len(evidence) >= FEWEST:
        weights = {**subject, **question.weights}
        matches = sorted(match(weights, units, len(evidence)), reverse=True)
        margin = matches[0] - matches[:WEAKEST][-1]
        found.append(min(margin / (nowhere or 1.0) / STANDS_OUT, 1.0))
        found.append(margin / matches[0] if matches[0] > 0 else 0.0)
    else:  # too few to stand out from: what the unit's surroundings hold must do
        found.append(min(best.covered, 1.0))
    cosines = [
        item.scores[name]
        for item in evidence
        for name in ("dense", "words_dense")
        if name in item.scores
    ]
    if cosines:
        found.append(min(max(max(cosines), 0.0) / ALIKE, 1.0))
    return found


def match(weights: Mapping[str, float], units: Sequence[Unit], count: int) -> list[float]:
    """Return the BM25 score of each of ``count`` items for the words in ``weights``."""
    words: list[Counter[str]] = [Counter() for _ in range(count)]
    lengths = [0] * count
    for unit in units:
        lengths[unit.number - 1] += sum(not t.stop for t in unit.tokens)
        words[unit.number - 1].update(t.stem for t in unit.tokens if t.stem in weights)
    mean = sum(lengths) / count or 1.0
    return [
        sum(
            weights[stem] * n * (K1 + 1) / (n + K1 * (1 - B + B * length / mean))
            for stem, n in counted.items()
        )
        for counted, length in zip(words, lengths, strict=True)
    ]
