"""The encoder seam: what holds for every encoder, run against each real one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw

from retrievers.encoders import Encoder
from retrievers.errors import EncoderError
from retrievers.evidence import Vectors

TEXT = ("wordllama", "minilm")
PICTURE = ("descriptor", "resnet", "vit")
BOTH = ("clip", "siglip")

TEXTS = (
    "a red circle",
    "the tax is due in April",
    "Füße, naïve, 東京, 🙂",
    "x",
    "",
    *(f"number {i} of many, " + "word " * (i % 13) for i in range(67)),
)
ODD_TEXTS = (
    "",
    " \n\t ",
    "\x00\x01",
    "\ud800 half of a pair",
    "<|endoftext|> [SEP] </s> <|im_start|>",
    "🙂" * 5000,
    "a" * 1_000_000,
    "word " * 200_000,
)


def drawn(count: int, side: int = 48) -> list[Image.Image]:
    """Return ``count`` different pictures."""
    pictures = []
    for i in range(count):
        picture = Image.new("RGB", (side + i % 7, side), (i * 37 % 256, i * 91 % 256, i * 13 % 256))
        pen = ImageDraw.Draw(picture)
        pen.rectangle((i % 20, 5, i % 20 + 18, 5 + i % 30), fill=(255 - i * 3 % 256, 200, i % 256))
        pen.ellipse((15, 20, 40, 30 + i % 15), fill=(20, i * 7 % 256, 120))
        pictures.append(picture)
    return pictures


def odd_pictures() -> list[Image.Image]:
    """Return pictures that are allowed and unusual: tiny, long, other modes."""
    return [
        Image.new("RGB", (1, 1), "red"),
        Image.new("RGB", (1, 250), "blue"),
        Image.new("RGB", (3000, 60), "white"),
        Image.new("L", (40, 30), 90),
        Image.new("RGBA", (40, 30), (200, 10, 10, 128)),
        Image.new("P", (33, 20), 3),
        Image.new("1", (20, 20), 1),
    ]


def assert_units(rows: Vectors, count: int, dimension: int) -> None:
    """Assert ``(count, dimension)`` float32 rows of length 1."""
    assert rows.shape == (count, dimension)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


@pytest.fixture(params=TEXT + PICTURE + BOTH)
def encoder(request: pytest.FixtureRequest, opened: Callable[[str], Encoder]) -> Encoder:
    """Every implementation in turn."""
    return opened(request.param)


@pytest.fixture(params=TEXT + BOTH)
def texts_only(request: pytest.FixtureRequest, opened: Callable[[str], Encoder]) -> Encoder:
    """Every implementation that takes text."""
    return opened(request.param)


@pytest.fixture(params=PICTURE + BOTH)
def pictures_only(request: pytest.FixtureRequest, opened: Callable[[str], Encoder]) -> Encoder:
    """Every implementation that takes pictures."""
    return opened(request.param)


@pytest.mark.parametrize(
    ("names", "modalities"),
    [(TEXT, {"text"}), (PICTURE, {"picture"}), (BOTH, {"text", "picture"})],
)
def test_what_an_encoder_takes_is_asked_of_the_model(
    names: tuple[str, ...], modalities: set[str], opened: Callable[[str], Encoder]
) -> None:
    assert [opened(name).modalities for name in names] == [modalities] * len(names)


class TestEncoderContract:
    """What the library, the retrievers and the fusion rely on."""

    def test_it_is_an_encoder_and_says_what_it_is(self, encoder: Encoder) -> None:
        assert isinstance(encoder, Encoder)
        assert encoder.name
        assert "\n" not in encoder.name
        assert encoder.dimension > 0
        assert encoder.modalities
        assert encoder.modalities <= {"text", "picture"}
        assert 0.0 <= encoder.dense_weight <= 1.0

    def test_texts_become_float32_rows_of_length_one(self, texts_only: Encoder) -> None:
        for query in (False, True):
            rows = texts_only.encode_texts(TEXTS, query=query)
            assert_units(rows, len(TEXTS), texts_only.dimension)

    def test_pictures_become_float32_rows_of_length_one(self, pictures_only: Encoder) -> None:
        assert_units(pictures_only.encode_pictures(drawn(40)), 40, pictures_only.dimension)

    def test_nothing_in_gives_no_rows_of_the_right_width(self, encoder: Encoder) -> None:
        if "text" in encoder.modalities:
            assert_units(encoder.encode_texts([]), 0, encoder.dimension)
        if "picture" in encoder.modalities:
            assert_units(encoder.encode_pictures([]), 0, encoder.dimension)

    def test_a_text_gets_the_same_vector_alone_and_among_others(self, texts_only: Encoder) -> None:
        together = texts_only.encode_texts(TEXTS)
        for i in (0, 2, 4, 40, len(TEXTS) - 1):
            alone = texts_only.encode_texts([TEXTS[i]])
            np.testing.assert_allclose(together[i], alone[0], atol=2e-5)

    def test_a_picture_gets_the_same_vector_alone_and_among_others(
        self, pictures_only: Encoder
    ) -> None:
        pictures = drawn(40)
        together = pictures_only.encode_pictures(pictures)
        for i in (0, 1, 33, 39):
            alone = pictures_only.encode_pictures([pictures[i]])
            np.testing.assert_allclose(together[i], alone[0], atol=2e-5)

    def test_the_same_input_gives_the_same_vectors_again(self, encoder: Encoder) -> None:
        if "text" in encoder.modalities:
            first = encoder.encode_texts(TEXTS)
            np.testing.assert_array_equal(first, encoder.encode_texts(TEXTS))
        if "picture" in encoder.modalities:
            pictures = drawn(5)
            seen = encoder.encode_pictures(pictures)
            np.testing.assert_array_equal(seen, encoder.encode_pictures(pictures))

    def test_different_inputs_get_different_vectors(self, encoder: Encoder) -> None:
        rows = (
            encoder.encode_texts(TEXTS[:3])
            if "text" in encoder.modalities
            else encoder.encode_pictures(drawn(3))
        )
        assert len({row.tobytes() for row in rows}) == 3

    def test_what_it_cannot_take_is_refused_in_one_line_that_names_it(
        self, encoder: Encoder
    ) -> None:
        refused = []
        if "text" not in encoder.modalities:
            with pytest.raises(EncoderError) as caught:
                encoder.encode_texts(["a"])
            refused.append(str(caught.value))
        if "picture" not in encoder.modalities:
            with pytest.raises(EncoderError) as caught:
                encoder.encode_pictures(drawn(1))
            refused.append(str(caught.value))
        assert len(refused) == 2 - len(encoder.modalities)
        assert all(encoder.name in line and "\n" not in line for line in refused)

    def test_odd_and_very_long_texts_are_encoded(self, texts_only: Encoder) -> None:
        rows = texts_only.encode_texts(ODD_TEXTS)
        assert_units(rows, len(ODD_TEXTS), texts_only.dimension)

    def test_tiny_long_and_unusual_pictures_are_encoded(self, pictures_only: Encoder) -> None:
        pictures = odd_pictures()
        rows = pictures_only.encode_pictures(pictures)
        assert_units(rows, len(pictures), pictures_only.dimension)

    def test_pictures_are_left_as_they_were(self, pictures_only: Encoder) -> None:
        pictures = [*drawn(2), *odd_pictures()]
        before = [(p.mode, p.size, p.tobytes()) for p in pictures]
        pictures_only.encode_pictures(pictures)
        assert [(p.mode, p.size, p.tobytes()) for p in pictures] == before

    def test_threads_at_once_get_what_one_thread_gets(self, encoder: Encoder) -> None:
        def encode(i: int) -> Vectors:
            if "text" in encoder.modalities:
                return encoder.encode_texts(TEXTS[i : i + 9], query=i % 2 == 0)
            return encoder.encode_pictures(drawn(8)[i % 4 :])

        wanted = [encode(i) for i in range(12)]
        with ThreadPoolExecutor(6) as threads:
            found = list(threads.map(encode, range(12)))
        for mine, theirs in zip(wanted, found, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-5)
