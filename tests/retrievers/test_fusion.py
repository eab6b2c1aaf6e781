"""Fusion gives the numbers that its formulas give by hand."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from retrievers.encoders import Modality
from retrievers.errors import RetrievalError
from retrievers.evidence import Evidence, Query, Vectors
from retrievers.fusion import (
    FUSIONS,
    attention,
    concatenation,
    default_weights,
    fuse,
    merge,
    ranked,
    reciprocal_rank,
    weighted_average,
)

BM25 = {"a": 8.0, "b": 4.0, "c": 2.0}
DENSE = {"b": 0.9, "c": 0.5, "d": 0.3}
RUNS = {"bm25": BM25, "dense": DENSE}


class OfWeight:
    """An encoder as far as weights are concerned."""

    name, dimension = "of-weight", 2

    def __init__(self, dense_weight: float, *modalities: Modality) -> None:
        self.dense_weight = dense_weight
        self.modalities = frozenset(modalities)

    def encode_texts(self, texts: object, *, query: bool = False) -> Vectors:
        raise NotImplementedError

    def encode_pictures(self, pictures: object) -> Vectors:
        raise NotImplementedError


def evidence(id: str, **scores: float) -> Evidence:
    kind = "picture" if id.startswith("picture") else "passage"
    return Evidence(id, kind, "source", id, scores=scores)  # type: ignore[arg-type]


def test_reciprocal_rank_counts_ranks_from_1_with_k_60() -> None:
    fused = reciprocal_rank(RUNS, {"bm25": 0.5, "dense": 0.5})
    assert fused == pytest.approx(
        {"a": 0.5 / 61, "b": 0.5 / 62 + 0.5 / 61, "c": 0.5 / 63 + 0.5 / 62, "d": 0.5 / 63}
    )


def test_reciprocal_rank_ranks_equal_scores_by_id() -> None:
    fused = reciprocal_rank({"dense": {"z": 1.0, "a": 1.0}}, {"dense": 1.0})
    assert fused == pytest.approx({"a": 1 / 61, "z": 1 / 62})


def test_weighted_average_scales_bm25_from_0_and_cosines_from_their_smallest() -> None:
    fused = weighted_average(RUNS, {"bm25": 0.75, "dense": 0.25})
    # bm25: 8/8, 4/8, 2/8; dense: 1, (0.5-0.3)/0.6 = 1/3, 0
    assert fused == pytest.approx({"a": 0.75, "b": 0.375 + 0.25, "c": 0.1875 + 0.25 / 3, "d": 0.0})


def test_weighted_average_of_equal_scores_is_1_for_each() -> None:
    assert weighted_average({"dense": {"a": 0.4, "b": 0.4}}, {"dense": 2.0}) == {"a": 1, "b": 1}


def test_concatenation_is_the_dot_product_of_the_concatenated_vectors() -> None:
    rng = np.random.default_rng(3)
    query, looks = rng.normal(size=(2, 4)), rng.normal(size=(2, 5))
    texts = query[0] / np.linalg.norm(query[0]), query[1] / np.linalg.norm(query[1])
    sights = looks[0] / np.linalg.norm(looks[0]), looks[1] / np.linalg.norm(looks[1])
    long_query = np.concatenate([math.sqrt(0.7) * texts[0], math.sqrt(0.3) * sights[0]])
    long_other = np.concatenate([math.sqrt(0.7) * texts[1], math.sqrt(0.3) * sights[1]])
    runs = {"dense": {"x": float(texts[0] @ texts[1])}, "look": {"x": float(sights[0] @ sights[1])}}
    fused = concatenation(runs, {"dense": 7, "look": 3})
    assert fused["x"] == pytest.approx(float(long_query @ long_other))


def test_concatenation_takes_bm25_as_one_dimension_between_0_and_1() -> None:
    fused = concatenation(RUNS, {"bm25": 0.5, "dense": 0.5})
    assert fused == pytest.approx({"a": 0.5, "b": 0.25 + 0.45, "c": 0.125 + 0.25, "d": 0.15})


def test_attention_follows_the_run_whose_best_stands_out() -> None:
    # m = 1; flat: all equal, z = 0. sharp: mean 1/4, deviation sqrt(3)/4, z = (3/4)/(sqrt(3)/4)
    runs = {
        "dense": dict.fromkeys("abcd", 0.5),
        "look": {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0},
    }
    share = math.exp(math.sqrt(3)) / (1 + math.exp(math.sqrt(3)))
    fused = attention(runs, {"dense": 0.5, "look": 0.5}, m=1)
    assert fused == pytest.approx({"a": 1.0, "b": 1 - share, "c": 1 - share, "d": 1 - share})


def test_attention_falls_back_to_the_weights_where_runs_stand_out_alike() -> None:
    runs = {"dense": {"a": 0.9, "b": 0.1}, "look": {"b": 0.6, "c": 0.2}}
    fused = attention(runs, {"dense": 0.8, "look": 0.2}, m=1)
    assert fused == pytest.approx({"a": 0.8, "b": 0.2, "c": 0.0})


@pytest.mark.parametrize("name", FUSIONS)
def test_every_fusion_leaves_out_runs_without_weight_and_empty_runs(name: str) -> None:
    alone = fuse(name, {"dense": DENSE}, {"dense": 1.0})
    fused = fuse(name, {"dense": DENSE, "bm25": BM25, "look": {}}, {"dense": 0.2, "look": 0.8})
    assert fused == pytest.approx(alone)
    assert fuse(name, {}, {"dense": 1.0}) == {}


@pytest.mark.parametrize("name", FUSIONS)
def test_every_fusion_prefers_what_all_runs_prefer(name: str) -> None:
    runs = {"bm25": {"x": 9.0, "y": 3.0, "z": 1.0}, "dense": {"x": 0.8, "y": 0.4, "z": 0.2}}
    assert ranked(fuse(name, runs, {"bm25": 0.6, "dense": 0.4})) == ["x", "y", "z"]


def test_an_unknown_fusion_is_an_error_that_names_all() -> None:
    with pytest.raises(RetrievalError, match=r"'sum'.*reciprocal_rank, weighted_average, conc"):
        fuse("sum", RUNS, {})


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_a_weight_that_is_no_weight_is_refused(weight: float) -> None:
    with pytest.raises(RetrievalError, match="each must be 0 or more"):
        fuse("weighted_average", RUNS, {"bm25": weight})


def test_merge_compares_passages_and_pictures_words_on_one_scale() -> None:
    passages = [evidence("passage:1", bm25=10.0), evidence("passage:2", bm25=2.0)]
    pictures = [evidence("picture:3", words=5.0)]
    merged = merge([passages, pictures], method="weighted_average", weights={"bm25": 1}, k=9)
    assert [(e.id, e.score) for e in merged] == [
        ("passage:1", 1.0),
        ("picture:3", 0.5),
        ("passage:2", 0.2),
    ]


def test_merge_keeps_the_scores_and_at_most_k() -> None:
    lists = [[evidence("passage:1", bm25=1.0), evidence("passage:2", bm25=3.0)]]
    (best,) = merge(lists, method="reciprocal_rank", weights={"bm25": 1}, k=1)
    assert best.id == "passage:2"
    assert best.scores == {"bm25": 3.0}


def test_merge_joins_an_id_that_stands_in_two_lists() -> None:
    lists = [[evidence("picture:1", words=2.0)], [evidence("picture:1", look=0.5)]]
    (only,) = merge(lists, method="weighted_average", weights={"bm25": 1, "look": 1}, k=5)
    assert only.scores == {"words": 2.0, "look": 0.5}


WORDS, CROSS = OfWeight(0.3, "text"), OfWeight(0.4, "text", "picture")
DESCRIPTOR = OfWeight(0.5, "picture")
PICTURE = Image.new("RGB", (4, 4))


@pytest.mark.parametrize(
    ("look", "query", "wanted"),
    [
        (DESCRIPTOR, Query(text="x"), {"bm25": 0.7, "dense": 0.3}),
        (CROSS, Query(text="x"), {"bm25": 0.7, "dense": 0.3, "look_text": 0.4}),
        (DESCRIPTOR, Query(pictures=(PICTURE,)), {"look": 0.5}),
        (CROSS, Query(text="x", pictures=(PICTURE,)), {"bm25": 0.7, "look": 1, "look_text": 0.4}),
    ],
)
def test_the_descriptor_counts_for_picture_queries_only_and_less_than_a_cross_modal_encoder(
    look: OfWeight, query: Query, wanted: Mapping[str, float]
) -> None:
    weights = default_weights(WORDS, look, query)
    assert {name: weights[name] for name in wanted} == pytest.approx(wanted)
    assert ("look" in weights) == bool(query.pictures)
    assert ("look_text" in weights) == (look is CROSS and bool(query.text))
