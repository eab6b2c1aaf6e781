"""The C library's own decode loop at batch 1: what an engine around it is compared with.

Reads a prompt, then draws the likeliest token and decodes it, again and again: nothing else.
"""

import os
import time
from pathlib import Path
from typing import Any

from engine_contestants import Sizes, silence


class DecodeLoop:
    """A model and a context of one sequence, loaded through the binding's C functions."""

    def __init__(self, text: Path, sizes: Sizes) -> None:
        import llama_cpp.llama_cpp as low

        self._low: Any = low
        silence()
        low.llama_backend_init()
        params = low.llama_model_default_params()
        params.n_gpu_layers = -1 if low.llama_supports_gpu_offload() else 0
        params.use_extra_bufts = sizes.repack
        self._model = low.llama_model_load_from_file(os.fsencode(text), params)
        context = low.llama_context_default_params()
        context.n_ctx, context.n_seq_max, context.no_perf = sizes.context, 1, True
        context.n_batch = context.n_ubatch = sizes.batch
        context.flash_attn_type = 0  # off: on a CPU the faster one at batch 1
        context.n_threads = context.n_threads_batch = sizes.threads
        self._context = low.llama_init_from_model(self._model, context)
        if not self._context:
            raise RuntimeError(f"{text}: llama.cpp cannot load it")
        self._sampler = low.llama_sampler_init_greedy()

    def rate(self, prompt: str, count: int) -> float:
        """Return tokens a second over ``count`` tokens after the first."""
        low, context = self._low, self._context
        data = prompt.encode()
        room = len(data) + 8
        tokens = (low.llama_token * room)()
        vocabulary = low.llama_model_get_vocab(self._model)
        found = low.llama_tokenize(vocabulary, data, len(data), tokens, room, False, False)
        low.llama_memory_clear(low.llama_get_memory(context), True)
        self._decode(tokens, found)
        drawn = (low.llama_token * 1)(low.llama_sampler_sample(self._sampler, context, -1))
        began = time.perf_counter()
        for _ in range(count):
            self._decode(drawn, 1)
            drawn[0] = low.llama_sampler_sample(self._sampler, context, -1)
        return count / (time.perf_counter() - began)

    def _decode(self, tokens: Any, count: int) -> None:
        if code := self._low.llama_decode(
            self._context, self._low.llama_batch_get_one(tokens, count)
        ):
            raise RuntimeError(f"llama_decode: {code}")

    def close(self) -> None:
        """Free the model."""
        self._low.llama_sampler_free(self._sampler)
        self._low.llama_free(self._context)
        self._low.llama_model_free(self._model)
