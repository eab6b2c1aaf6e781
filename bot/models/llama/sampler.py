"""Draws the next token by llama.cpp's own chain of samplers, within a grammar if there is one.

Calls native code, from one thread at a time. Knows nothing of texts or requests.
"""

import os
from typing import Any

from bot.errors import ModelError
from bot.models.llama.values import Sampling


class Sampler:
    """Draws tokens as a :class:`Sampling` says."""

    def __init__(self, low: Any, context: Any, vocab: Any, sampling: Sampling) -> None:
        self._low, self._context = low, context
        chain = low.llama_sampler_chain_init(low.llama_sampler_chain_default_params())
        self._chain = chain
        if grammar := _grammar(sampling):
            link = low.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
            if not link:
                self.close()
                raise ModelError(
                    "llama: the grammar cannot be read; it must be GBNF with a rule named root"
                )
            low.llama_sampler_chain_add(chain, link)
        for link in self._links(sampling):
            low.llama_sampler_chain_add(chain, link)

    def _links(self, sampling: Sampling) -> list[Any]:
        low = self._low
        if sampling.temperature <= 0:
            return [low.llama_sampler_init_greedy()]
        seed = int.from_bytes(os.urandom(4)) if sampling.seed is None else sampling.seed
        return [
            low.llama_sampler_init_top_k(sampling.top_k),
            low.llama_sampler_init_top_p(sampling.top_p, 1),
            low.llama_sampler_init_min_p(sampling.min_p, 1),
            low.llama_sampler_init_temp(sampling.temperature),
            low.llama_sampler_init_dist(seed % 0xFFFFFFFF),
        ]

    def draw(self, index: int) -> int:
        """Return the next token after a wanted index of the last batch."""
        return int(self._low.llama_sampler_sample(self._chain, self._context, index))

    def close(self) -> None:
        """Free it; safe to call twice."""
        chain, self._chain = self._chain, None
        if chain is not None:
            self._low.llama_sampler_free(chain)


def _grammar(sampling: Sampling) -> str:
    if sampling.grammar is not None and sampling.json_schema is not None:
        raise ModelError("llama: a grammar and a JSON schema at once; give one of them")
    if sampling.json_schema is None:
        return sampling.grammar or ""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        return str(json_schema_to_gbnf(sampling.json_schema))
    except Exception as error:  # the converter raises whatever a schema makes it stumble over
        raise ModelError(f"llama: the JSON schema cannot be used: {str(error)[:200]}") from error
