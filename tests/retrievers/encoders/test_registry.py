"""Encoders by name."""

import pytest

from retrievers.encoders.registry import load_encoder
from retrievers.errors import EncoderError


@pytest.mark.parametrize("name", ["wordllama", "descriptor"])
def test_an_embedded_encoder_is_loaded_by_its_name(name: str) -> None:
    assert load_encoder(name).name.startswith(name)


def test_an_embedded_encoder_is_loaded_by_the_name_an_index_keeps() -> None:
    for name in ("wordllama", "descriptor"):
        kept = load_encoder(name).name
        assert load_encoder(kept).name == kept


@pytest.mark.parametrize(
    ("given", "guess"),
    [
        ("wordlama", "'wordllama'"),
        ("Descriptor", "'descriptor'"),
        ("transformer:a/b", "'transformers:a/b'"),
        ("BAAI/bge-small-en", "'transformers:BAAI/bge-small-en'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_that_there_are(
    given: str, guess: str
) -> None:
    with pytest.raises(EncoderError) as caught:
        load_encoder(given)
    line = str(caught.value)
    assert repr(given) in line
    assert f"did you mean {guess}?" in line
    assert "wordllama, descriptor, transformers:MODEL" in line
    assert "\n" not in line


@pytest.mark.parametrize("given", ["", "transformers:", "zzz"])
def test_a_name_like_no_other_gets_no_guess(given: str) -> None:
    with pytest.raises(EncoderError, match="there are wordllama") as caught:
        load_encoder(given)
    assert "zzz?" not in str(caught.value)
