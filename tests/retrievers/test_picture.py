"""The picture retriever finds pictures by their words, by their look, and by words for a look."""

import io
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrievers.document import Document, Picture
from retrievers.encoders import Encoder, Modality
from retrievers.encoders.registry import load_encoder
from retrievers.evidence import Box, Evidence, Line, Query, Vectors
from retrievers.fusion import default_weights, merge
from retrievers.library import Library, Source
from retrievers.picture import PictureRetriever
from retrievers.text import TextRetriever

COLOURS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255)}


class ColourEncoder:
    """A cross-modal encoder that knows three colours: their shares in a picture, or as words."""

    name, dimension, dense_weight = "colours", 3, 0.5
    modalities: frozenset[Modality] = frozenset(("text", "picture"))

    def encode_texts(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        return self._rows([[0.05 + text.count(colour) for colour in COLOURS] for text in texts])

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> Vectors:
        return self._rows([list(np.asarray(p).mean(axis=(0, 1)) + 5) for p in pictures])

    def _rows(self, values: list[list[float]]) -> Vectors:
        rows = np.array(values)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


SHOWN = {
    "a kite over the beach": "red",
    "the harbour at night": "blue",
    "": "green",
    "a receipt": "blue",
}


def square(colour: str, side: int = 16) -> Image.Image:
    return Image.new("RGB", (side, side), COLOURS[colour])


def fill(library: Library, words: Encoder, look: Encoder) -> None:
    library.claim("text", words)
    library.claim("look", look)
    pictures, blobs, images = [], {}, []
    for n, (caption, colour) in enumerate(SHOWN.items()):
        out = io.BytesIO()
        images.append(square(colour, 16 + n))
        images[-1].save(out, "PNG")
        name = sha256(out.getvalue()).hexdigest()
        blobs[name] = out.getvalue()
        lines = (Line("TOTAL 12.50 ACME", Box(0, 0, 1, 1)),) if caption == "a receipt" else ()
        said = {"caption": caption} if caption else {}
        pictures.append(Picture(name, "image/png", 16 + n, 16 + n, words=said, lines=lines))
    rows = np.zeros((len(pictures), words.dimension), dtype=np.float32)
    worded = [n for n, picture in enumerate(pictures) if picture.text]
    rows[worded] = words.encode_texts([pictures[n].text for n in worded])
    vectors = {"text": rows, "look": look.encode_pictures(images)}
    source = Source("/album.html", "", 0, 0, "html")
    library.replace(source, Document("", pictures=tuple(pictures)), blobs, vectors)


@pytest.fixture(scope="module")
def words() -> Encoder:
    return load_encoder("wordllama")


@pytest.fixture
def library(tmp_path: Path, words: Encoder) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as opened:
        fill(opened, words, ColourEncoder())
        yield opened


@pytest.fixture
def retriever(library: Library, words: Encoder) -> PictureRetriever:
    return PictureRetriever(library, text_encoder=words, picture_encoder=ColourEncoder())


def looks(*colours: str) -> Query:
    pictures = tuple(square(colour) for colour in colours)
    return Query(pictures=pictures, vectors={"look": ColourEncoder().encode_pictures(pictures)})


def captions(found: list[Evidence]) -> list[str]:
    return [e.caption for e in found]


def test_a_picture_is_found_by_its_caption_and_by_the_writing_in_it(
    retriever: PictureRetriever,
) -> None:
    assert captions(retriever.invoke(Query(text="kites"))) == ["a kite over the beach"]
    (receipt,) = retriever.invoke(Query(text="What did ACME charge in total?"))
    assert receipt.lines[0].text == "TOTAL 12.50 ACME"
    assert receipt.scores.keys() == {"words"}


def test_a_picture_is_found_by_the_meaning_of_its_words(retriever: PictureRetriever) -> None:
    query = retriever.query("ships and docks in the evening")
    best = max(retriever.invoke(query), key=lambda e: e.scores.get("words_dense", -1.0))
    assert best.caption == "the harbour at night"


def test_a_picture_without_any_word_is_found_by_its_look(retriever: PictureRetriever) -> None:
    best = retriever.invoke(looks("green"))[0]
    assert (best.caption, set(best.scores)) == ("", {"look"})
    assert best.scores["look"] == pytest.approx(1.0, abs=1e-3)


def test_of_several_pictures_in_a_query_the_nearest_counts(retriever: PictureRetriever) -> None:
    found = {e.id: e for e in retriever.invoke(looks("green", "red"))}
    scores = [found[f"picture:{n}"].scores["look"] for n in (1, 3)]
    assert scores == pytest.approx([1.0, 1.0], abs=1e-3)


def test_words_find_a_look_where_the_encoder_is_cross_modal(retriever: PictureRetriever) -> None:
    best = retriever.invoke(retriever.query("something green"))[0]
    assert best.caption == ""
    assert "look_text" in best.scores


def test_words_and_picture_together_find_what_neither_finds_alone(
    retriever: PictureRetriever,
) -> None:
    blue = looks("blue")
    query = Query(text="ACME", pictures=blue.pictures, vectors=blue.vectors)
    best = retriever.invoke(query)[0]
    assert best.caption == "a receipt"
    assert best.scores.keys() == {"words", "look"}


def test_the_writing_in_the_querys_picture_finds_pictures(retriever: PictureRetriever) -> None:
    (found,) = retriever.invoke(Query(picture_words="ACME store TOTAL"))
    assert (found.caption, set(found.scores)) == ("a receipt", {"words_picture"})


def test_each_dense_score_is_completed_for_what_other_runs_found(
    library: Library, words: Encoder
) -> None:
    retriever = PictureRetriever(
        library, text_encoder=words, picture_encoder=ColourEncoder(), candidates=1
    )
    red = looks("red")
    query = Query(text="ACME", pictures=red.pictures, vectors=red.vectors)
    found = {e.caption: e for e in retriever.invoke(query)}
    assert set(found) == {"a kite over the beach", "a receipt"}
    assert all("look" in e.scores for e in found.values())
    assert found["a receipt"].scores["look"] < 0.1


def test_merged_with_passages_a_picture_can_come_first_and_keeps_its_box_and_media(
    library: Library, retriever: PictureRetriever, words: Encoder
) -> None:
    passages = TextRetriever(library, text_encoder=words)
    query = retriever.query("harbour at night")
    merged = merge(
        [passages.invoke(query), retriever.invoke(query)],
        method="weighted_average",
        weights=default_weights(words, ColourEncoder(), query),
        k=3,
    )
    assert merged[0].caption == "the harbour at night"
    assert merged[0].media is not None
    assert library.media(merged[0].media).startswith(b"\x89PNG")


def test_the_embedded_descriptor_finds_the_picture_that_looks_alike(
    tmp_path: Path, words: Encoder
) -> None:
    descriptor = load_encoder("descriptor")
    with Library.open(tmp_path / "embedded", create=True) as library:
        fill(library, words, descriptor)
        retriever = PictureRetriever(library, text_encoder=words, picture_encoder=descriptor)
        shown = (square("red", 40),)
        vectors = {"look": descriptor.encode_pictures(shown)}
        best = retriever.invoke(Query(pictures=shown, vectors=vectors))[0]
        assert best.caption == "a kite over the beach"
        assert "look_text" not in retriever.query("red").vectors


def test_as_a_langchain_retriever_it_gives_the_pictures_words_and_hash(
    retriever: PictureRetriever,
) -> None:
    (found, *_) = retriever.as_retriever(k=1).invoke("ACME receipt total")
    assert found.page_content == "a receipt\nTOTAL 12.50 ACME"
    assert found.metadata["kind"] == "picture"
    assert len(found.metadata["media"]) == 64
