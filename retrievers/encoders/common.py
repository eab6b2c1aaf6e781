"""What every encoder does the same way: refuse what it cannot take, keep text clean, make units.

Knows nothing of any model.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrievers.errors import EncoderError
from retrievers.evidence import Vectors


def clean(text: str, most: int) -> str:
    """Return the first ``most`` characters of ``text`` without lone surrogates.

    Tokenizers refuse what is not valid UTF-8; such characters become ``?``.
    """
    text = text[:most]
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


def unit(rows: NDArray[Any], name: str) -> Vectors:
    """Return ``rows`` (n, d) as float32 with L2 norm 1; a row of zeros becomes the first axis.

    Raises ``EncoderError`` when a number is not finite: damaged weights do not reach an index.
    """
    found = np.ascontiguousarray(rows, dtype=np.float32)
    if not np.isfinite(found).all():
        raise EncoderError(
            f"{name} gave numbers that are not finite; its weights are damaged, fetch them again"
        )
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    nothing = norms[:, 0] == 0
    if nothing.any():
        found = found.copy()
        found[nothing] = 0.0
        found[nothing, 0] = 1.0
        norms[nothing] = 1.0
    result: Vectors = found / norms
    return result


def no_text(name: str) -> EncoderError:
    """Return the error of an encoder that takes pictures only."""
    return EncoderError(
        f"{name} encodes pictures, not text; use wordllama or a sentence model for text"
    )


def no_pictures(name: str) -> EncoderError:
    """Return the error of an encoder that takes text only."""
    return EncoderError(
        f"{name} encodes text, not pictures; use descriptor, a ResNet/ViT or a CLIP for pictures"
    )
