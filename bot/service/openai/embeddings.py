"""Vectors of texts in OpenAI's form, by the encoders that the libraries are searched with.

Knows nothing of HTTP.
"""

import asyncio
import base64

from bot.compose import estimate_tokens
from bot.service.http.problems import invalid
from bot.service.openai.schema import (
    Embedding,
    EmbeddingRequest,
    EmbeddingResponse,
    EmbeddingUsage,
)
from bot.service.served.bots import Bots
from retrievers.encoders import Encoder
from retrievers.evidence import Vectors

AT_ONCE = 64  #: texts that are encoded between two looks at whether anybody still waits


def encoders(bots: Bots) -> dict[str, Encoder]:
    """Return the encoders that take words: ``text``, and ``look`` where it does."""
    engines = bots.engines
    named = {"text": engines.text, "look": engines.look}
    return {name: one for name, one in named.items() if "text" in one.modalities}


async def embedded(given: EmbeddingRequest, encoder: Encoder) -> EmbeddingResponse:
    """Return the vectors; the problem of a dimension that the encoder does not have."""
    if given.dimensions not in (None, encoder.dimension):
        raise invalid("dimensions", f"{given.dimensions}: this model has {encoder.dimension}; leave"
                      " it out")  # fmt: skip
    found: list[list[float] | str] = []
    for start in range(0, len(given.input), AT_ONCE):
        texts = given.input[start : start + AT_ONCE]
        vectors = await asyncio.to_thread(encoder.encode_texts, texts)
        found += _packed(vectors) if given.encoding_format == "base64" else vectors.tolist()
    tokens = sum(map(estimate_tokens, given.input))
    return EmbeddingResponse(
        data=[Embedding(index=n, embedding=one) for n, one in enumerate(found)],
        model=given.model,
        usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
    )


def _packed(vectors: Vectors) -> list[str]:
    """Return each row as base64 of little-endian 32-bit floats."""
    return [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in vectors]
