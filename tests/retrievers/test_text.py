"""The text retriever finds passages by their words and by their vectors, and fuses both."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

from retrievers.document import Document, Passage
from retrievers.encoders import Encoder
from retrievers.encoders.registry import load_encoder
from retrievers.errors import LibraryError, RetrievalError
from retrievers.evidence import Evidence, Query
from retrievers.fusion import FUSIONS, weighted_average
from retrievers.library import Library, Source, encoded_text
from retrievers.text import TextRetriever

TEXTS = [
    "The engine of the car would not start in the cold.",
    "Bread rises when yeast makes gas from sugar.",
    "A violin has four strings and is played with a bow.",
    "The parliament passed the budget after a long debate.",
    "Whales breathe air and feed their young with milk.",
    "Invoice 4711 is due on the third of March.",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("wordllama")


@pytest.fixture
def library(tmp_path: Path, encoder: Encoder) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as opened:
        opened.claim("text", encoder)
        passages = tuple(Passage(text, n, "Things") for n, text in enumerate(TEXTS, start=1))
        rows = encoder.encode_texts([encoded_text("Things", text) for text in TEXTS])
        source = Source("/things.md", "", 0, 0, "markdown")
        opened.replace(source, Document("All", passages), {}, {"text": rows})
        yield opened


@pytest.fixture
def retriever(library: Library, encoder: Encoder) -> TextRetriever:
    return TextRetriever(library, text_encoder=encoder)


def test_a_passage_is_found_by_its_words(retriever: TextRetriever) -> None:
    best = retriever.invoke(Query(text="When is invoice 4711 due?"))[0]
    assert best.text == TEXTS[5]
    assert best.scores.keys() == {"bm25"}
    assert best.score == 1.0


def test_a_passage_that_shares_no_word_is_found_by_its_vector(retriever: TextRetriever) -> None:
    question = "music instruments orchestra"
    assert retriever.invoke(Query(text=question)) == []
    best = retriever.invoke(retriever.query(question))[0]
    assert best.text == TEXTS[2]
    assert best.scores.keys() == {"dense"}


def test_what_only_the_words_found_gets_its_exact_dense_score_too(
    library: Library, encoder: Encoder
) -> None:
    retriever = TextRetriever(library, text_encoder=encoder, candidates=1)
    query = retriever.query("automobile motor vehicle, invoice 4711")
    found = {e.text: e for e in retriever.invoke(query)}
    assert set(found) == {TEXTS[5], TEXTS[0]}  # one by each run
    rows = encoder.encode_texts([encoded_text("Things", TEXTS[5])])
    cosine = float((rows @ query.vectors["text"].T)[0, 0])
    assert found[TEXTS[5]].scores["dense"] == pytest.approx(cosine, abs=1e-5)
    assert "bm25" not in found[TEXTS[0]].scores


def test_the_score_is_the_fusion_of_the_runs_under_the_encoders_weight(
    retriever: TextRetriever, encoder: Encoder
) -> None:
    found = retriever.invoke(retriever.query("violin strings and milk"))
    runs: dict[str, dict[str, float]] = {"bm25": {}, "dense": {}}
    for e in found:
        for name, score in e.scores.items():
            runs[name][e.id] = score
    weight = encoder.dense_weight
    expected = weighted_average(runs, {"bm25": 1 - weight, "dense": weight})
    assert {e.id: e.score for e in found} == pytest.approx(expected)
    assert [e.score for e in found] == sorted((e.score for e in found), reverse=True)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_every_fusion_and_distance_finds_what_both_runs_prefer(
    library: Library, encoder: Encoder, fusion: str, distance: Any
) -> None:
    retriever = TextRetriever(library, text_encoder=encoder, fusion=fusion, distance=distance)
    assert retriever.invoke(retriever.query("How do whales breathe?"))[0].text == TEXTS[4]


def test_the_writing_in_the_querys_picture_finds_passages_but_counts_less(
    retriever: TextRetriever,
) -> None:
    found = retriever.invoke(Query(text="bread and yeast", picture_words="INVOICE 4711 March"))
    assert [e.text for e in found] == [TEXTS[1], TEXTS[5]]
    assert found[1].scores.keys() == {"bm25_picture"}


def test_weights_of_single_runs_can_be_set(library: Library, encoder: Encoder) -> None:
    only = TextRetriever(library, text_encoder=encoder, weights={"dense": 0.0})
    query = only.query("violin")
    assert [e.text for e in only.invoke(query) if e.score > 0] == [TEXTS[2]]


def test_an_unknown_fusion_is_refused_before_any_query(library: Library) -> None:
    with pytest.raises(RetrievalError, match="no such fusion"):
        TextRetriever(library, fusion="sum")


def test_a_vector_of_another_encoder_is_refused(retriever: TextRetriever) -> None:
    query = Query(text="x", vectors={"text": np.ones((1, 3), np.float32)})
    with pytest.raises(LibraryError, match="bifocal reencode"):
        retriever.invoke(query)


def test_an_empty_query_finds_nothing(retriever: TextRetriever) -> None:
    assert retriever.invoke(Query()) == []
    assert retriever.invoke(retriever.query("  ")) == []


def test_what_was_forgotten_is_not_found(retriever: TextRetriever, library: Library) -> None:
    query = retriever.query("violin")
    assert retriever.invoke(query)
    library.forget("things.md")
    assert retriever.invoke(query) == []


async def test_ainvoke_finds_the_same_and_leaves_the_loop_free(retriever: TextRetriever) -> None:
    query = retriever.query("violin")
    threads: set[str] = set()

    def note(input: Query) -> Query:
        threads.add(threading.current_thread().name)
        return input

    chain = RunnableLambda(note) | retriever
    both = await asyncio.gather(chain.ainvoke(query), retriever.ainvoke(query))
    assert both[0] == both[1] == retriever.invoke(query)
    assert threading.main_thread().name not in threads


def test_callbacks_see_a_retrieval(retriever: TextRetriever) -> None:
    class Seen(BaseCallbackHandler):
        ended: list[list[Evidence]]

        def __init__(self) -> None:
            self.ended = []

        def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
            self.ended.append(outputs)

    seen = Seen()
    found = retriever.invoke(retriever.query("violin"), config={"callbacks": [seen]})
    assert seen.ended == [found]


def test_it_serves_other_langchain_programs_as_a_retriever(retriever: TextRetriever) -> None:
    plain = retriever.as_retriever(k=2)
    assert isinstance(plain, BaseRetriever)
    found = plain.invoke("How do whales breathe?")
    assert len(found) == 2
    assert isinstance(found[0], LangChainDocument)
    assert found[0].page_content == TEXTS[4]
    assert found[0].id == "passage:5"
    assert found[0].metadata["source"] == "/things.md"
    assert found[0].metadata["page"] == 5
    assert found[0].metadata["scores"].keys() == {"bm25", "dense"}
