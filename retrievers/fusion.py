"""Several rankings made into one: pure functions, keyed by evidence id.

Knows nothing of FAISS, of SQLite, or of what an id stands for. A *run* is what one way of looking
found: scores by id, higher is better. Runs are named: ``bm25`` and ``dense`` (passages), ``words``
and ``words_dense`` (pictures' words), ``bm25_picture`` and ``words_picture`` (what is written in
the query's pictures), ``bm25_context`` and ``words_context`` (what the query is about), ``look``
and ``look_text`` (what pictures look like). A fusion takes runs by name and weights by name, and
returns one score by id. Weights are made to sum to 1 over the runs that found anything; a run
without a weight, or of weight 0, does not count.

The default, ``weighted_average``, is the one that measured best (``tests/benchmarks``).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from retrievers.encoders import Encoder
from retrievers.errors import RetrievalError
from retrievers.evidence import Evidence, Query

Runs = Mapping[str, Mapping[str, float]]
Weights = Mapping[str, float]
Fusion = Callable[[Runs, Weights], dict[str, float]]

RUNS = (
    *("bm25", "dense", "bm25_picture", "bm25_context"),
    *("words", "words_dense", "words_picture", "words_context", "look", "look_text"),
)
"""The name of every run that there can be."""

SAME_SCALE: Mapping[str, str] = MappingProxyType(
    {
        "words": "bm25",
        "words_dense": "dense",
        "words_picture": "bm25_picture",
        "words_context": "bm25_context",
    }
)
"""Runs over pictures whose scores compare with those of a run over passages."""

LEXICAL = frozenset(
    {"bm25", "words", "bm25_picture", "words_picture", "bm25_context", "words_context"}
)
"""Runs of BM25: without an upper bound, and 0 for what shares no word with the query."""

QUERY_PICTURE_WORDS = 0.25
"""What the writing in a query's picture counts beside the query's own words."""

CONTEXT_WORDS = 0.25
"""What the words that say what the query is about count beside its own: as the writing in a picture
does. What holds only the former stays behind what holds the latter, so that a change of topic in a
conversation costs nothing."""


def reciprocal_rank(runs: Runs, weights: Weights, k: int = 60) -> dict[str, float]:
    """Reciprocal rank fusion: ``score(e) = sum over runs r of w_r / (k + rank_r(e))``.

    Ranks begin at 1; what a run did not find gets nothing from it. Equal scores are ranked by id.
    Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual
    rank learning methods", SIGIR 2009, with their k = 60 (there without weights).
    """
    fused: dict[str, float] = {}
    for weight, run in _weighed(runs, weights):
        for rank, id in enumerate(sorted(run, key=lambda id: (-run[id], id)), start=1):
            fused[id] = fused.get(id, 0.0) + weight / (k + rank)
    return fused


def weighted_average(runs: Runs, weights: Weights) -> dict[str, float]:
    """Convex combination: ``score(e) = sum over runs r of w_r * (s_r(e) - lo_r) / (hi_r - lo_r)``.

    ``hi_r`` is the run's largest score. ``lo_r`` is its smallest, and 0 for runs of BM25, which is
    the smallest that BM25 can give. A missing score counts as ``lo_r``. A run whose scores are all
    the same gives 1 to each of them.
    Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 2023,
    section 4 (their TM2C2 takes the theoretical minimum for both; measured here, the observed one
    is better for cosines).
    """
    fused: dict[str, float] = {}
    for name, weight, run in _named(runs, weights):
        for id, value in _scaled(name, run).items():
            fused[id] = fused.get(id, 0.0) + weight * value
    return fused


def concatenation(runs: Runs, weights: Weights) -> dict[str, float]:
    """The dot product of concatenated vectors: ``score(e) = sum of w_r * x_r(e)``.

    Take query and evidence as one long vector each: for every space its L2-normalised vector times
    ``sqrt(w_r)``. The dot product of both is the weighted sum of the cosines ``x_r(e)``, so it is
    computed from them. BM25 has no vector: it is one dimension more, in which the query is 1 and
    the evidence its score over the run's largest, 0 to 1. Without a vector in a space, or with
    none of the words, an evidence is zero there.
    """
    fused: dict[str, float] = {}
    for name, weight, run in _named(runs, weights):
        top = (max(run.values()) or 1.0) if name in LEXICAL else 1.0
        for id, value in run.items():
            fused[id] = fused.get(id, 0.0) + weight * value / top
    return fused


def attention(runs: Runs, weights: Weights, m: int = 3) -> dict[str, float]:
    """Query-conditioned attention over the runs: ``score(e) = sum of a_r * v_r(e)``.

    ``a = softmax over r of (ln w_r + z_r)`` and ``z_r = q_r . key_r / scale_r``, where ``q_r`` is
    the query's vector in the run's space, ``key_r`` the mean vector of the run's best ``m`` less
    the mean vector of all that it found, and ``scale_r`` the standard deviation of the run's dot
    products. (Vaswani et al., "Attention Is All You Need", 2017, equation 1, divide by sqrt(d)
    because that is the standard deviation of a dot product of d independent components.) By
    linearity ``z_r = (mean of the best m scores - mean of all scores) / their deviation``: a run
    in which the best stand out from the rest is attended to more for this query. The weights are
    the prior: where all runs stand out alike, ``a_r = w_r``. The values ``v_r(e)`` are min-max
    scores as in :func:`weighted_average`; a missing one counts as 0.
    """
    named = _named(runs, weights)
    logits = [math.log(weight) + _contrast(list(run.values()), m) for _, weight, run in named]
    top = max(logits, default=0.0)
    exponents = [math.exp(logit - top) for logit in logits]
    total = sum(exponents)
    fused: dict[str, float] = {}
    for (name, _, run), exponent in zip(named, exponents, strict=True):
        for id, value in _scaled(name, run).items():
            fused[id] = fused.get(id, 0.0) + exponent / total * value
    return fused


FUSIONS: Mapping[str, Fusion] = MappingProxyType(
    {
        "reciprocal_rank": reciprocal_rank,
        "weighted_average": weighted_average,
        "concatenation": concatenation,
        "attention": attention,
    }
)
DEFAULT = "weighted_average"


def fuse(name: str, runs: Runs, weights: Weights) -> dict[str, float]:
    """Fuse with the fusion of that name; ``RetrievalError`` names those that there are."""
    if name not in FUSIONS:
        raise RetrievalError(f"{name!r}: no such fusion; there are {', '.join(FUSIONS)}")
    return FUSIONS[name](runs, weights)


def ranked(fused: Mapping[str, float]) -> list[str]:
    """Return ids, best first; equal scores in the order of their ids."""
    return sorted(fused, key=lambda id: (-fused[id], id))


def merge(
    lists: Sequence[Sequence[Evidence]],
    *,
    method: str = DEFAULT,
    weights: Mapping[str, float],
    k: int,
) -> list[Evidence]:
    """Make one ranked list of at most ``k`` out of what several retrievers found.

    The runs are read from each evidence's ``scores``; runs over pictures' words join those over
    passages that have the same scale, under the latter's weight. The new ``score`` is the fused
    one. An id that stands in several lists is one evidence with the scores of all. Evidence that
    no weighed run has scored is left out.
    """
    found: dict[str, Evidence] = {}
    scores: dict[str, dict[str, float]] = {}
    runs: dict[str, dict[str, float]] = {}
    for evidence in (e for listed in lists for e in listed):
        found[evidence.id] = evidence
        scores.setdefault(evidence.id, {}).update(evidence.scores)
        for name, score in evidence.scores.items():
            runs.setdefault(SAME_SCALE.get(name, name), {})[evidence.id] = score
    joint = {SAME_SCALE.get(name, name): weight for name, weight in weights.items()}
    joint |= {name: weight for name, weight in weights.items() if name not in SAME_SCALE}
    fused = fuse(method, runs, joint)
    return [replace(found[id], score=fused[id], scores=scores[id]) for id in ranked(fused)[:k]]


def default_weights(
    text_encoder: Encoder | None, picture_encoder: Encoder | None, query: Query
) -> dict[str, float]:
    """Return the weight of every run that this query can have, by name; they need not sum to 1.

    Words share 1 between BM25 and the text encoder's vectors, by its ``dense_weight``. What a
    query's picture looks like counts as much as all words when the picture encoder is
    cross-modal, and half of it otherwise (colour and layout say little of meaning). Words in the
    picture's space count by that encoder's ``dense_weight``, for cross-modal encoders only.
    """
    weights: dict[str, float] = {}
    dense = text_encoder.dense_weight if text_encoder else 0.0
    cross = picture_encoder is not None and "text" in picture_encoder.modalities
    if query.text:
        weights |= {"bm25": 1 - dense, "words": 1 - dense, "dense": dense, "words_dense": dense}
        if query.context:
            weights |= dict.fromkeys(("bm25_context", "words_context"), CONTEXT_WORDS * (1 - dense))
        if cross and picture_encoder is not None:
            weights["look_text"] = picture_encoder.dense_weight
    if query.pictures or "look" in query.vectors:
        weights["look"] = 1.0 if cross else 0.5
    if query.picture_words:
        weights |= {"bm25_picture": QUERY_PICTURE_WORDS, "words_picture": QUERY_PICTURE_WORDS}
    return weights


def _named(runs: Runs, weights: Weights) -> list[tuple[str, float, Mapping[str, float]]]:
    """Return name, weight and scores of the runs that count; their weights sum to 1."""
    if any(not math.isfinite(w) or w < 0 for w in weights.values()):
        raise RetrievalError(f"fusion weights {dict(weights)}: each must be 0 or more")
    counted = [(name, weights.get(name, 0.0), run) for name, run in runs.items() if run]
    total = sum(weight for _, weight, _ in counted)
    return [(name, weight / total, run) for name, weight, run in counted if weight > 0]


def _weighed(runs: Runs, weights: Weights) -> list[tuple[float, Mapping[str, float]]]:
    return [(weight, run) for _, weight, run in _named(runs, weights)]


def _scaled(name: str, run: Mapping[str, float]) -> dict[str, float]:
    high = max(run.values())
    low = 0.0 if name in LEXICAL else min(run.values())
    if high <= low:
        return dict.fromkeys(run, 1.0)
    return {id: (value - low) / (high - low) for id, value in run.items()}


def _contrast(scores: Sequence[float], m: int) -> float:
    """Return how many standard deviations the mean of the best ``m`` lies above that of all."""
    mean = sum(scores) / len(scores)
    deviation = math.sqrt(sum((s - mean) ** 2 for s in scores) / len(scores))
    best = sorted(scores, reverse=True)[:m]
    return (sum(best) / len(best) - mean) / deviation if deviation > 1e-12 else 0.0
