"""What the encoders share."""

import numpy as np
import pytest

from retrievers.encoders.common import clean, unit
from retrievers.errors import EncoderError


def test_a_row_of_zeros_becomes_a_unit_vector_and_the_others_keep_their_direction() -> None:
    given = np.array([[0.0, 0.0], [3.0, 4.0]])
    found = unit(given, "x")
    np.testing.assert_allclose(found, [[1.0, 0.0], [0.6, 0.8]], rtol=1e-6)
    assert found.dtype == np.float32
    assert given.tolist() == [[0.0, 0.0], [3.0, 4.0]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_by_name(value: float) -> None:
    with pytest.raises(EncoderError, match="x gave numbers that are not finite"):
        unit(np.array([[value, 1.0]]), "x")


def test_text_is_cut_and_made_valid_and_otherwise_left_alone() -> None:
    assert clean("Füße 🙂", 100) == "Füße 🙂"
    assert clean("abcdef", 3) == "abc"
    assert clean("a\ud800b", 10) == "a?b"
