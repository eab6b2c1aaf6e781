"""The arrays behind a llama_batch: what is read in one step.

Made once and filled anew for each step. Knows nothing of models; calls no native code.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Batch:
    """The arrays of a llama_batch, made once: ``size`` tokens or rows at most."""

    def __init__(self, low: Any, size: int) -> None:
        self._low = low
        self.tokens = np.zeros(size, dtype=np.int32)
        self._places = np.zeros(4 * size, dtype=np.int32)
        self._counts = np.ones(size, dtype=np.int32)
        self._sequences = np.zeros(size, dtype=np.int32)
        self._wanted = np.zeros(size, dtype=np.int8)
        each = self._sequences.ctypes.data + 4 * np.arange(size, dtype=np.uint64)
        self._pointers = each.astype(np.uint64)
        self._batch = low.llama_batch()
        for name, array in (
            ("pos", self._places),
            ("n_seq_id", self._counts),
            ("seq_id", self._pointers),
            ("logits", self._wanted),
        ):
            setattr(self._batch, name, self._pointer(name, array))
        self._token_pointer = self._pointer("token", self.tokens)

    def _pointer(self, name: str, array: NDArray[Any]) -> Any:
        kind = dict(self._low.llama_batch._fields_)[name]
        return ctypes.cast(array.ctypes.data, kind)

    def fill(
        self,
        count: int,
        places: NDArray[np.int32],
        sequences: Sequence[int],
        wanted: Sequence[int],
    ) -> None:
        """Set all but the tokens or rows themselves; ``places`` are 1 or 4 x count."""
        self._batch.n_tokens = count
        self._places[: places.size] = places.ravel()
        self._sequences[:count] = sequences
        self._wanted[:count] = 0
        self._wanted[list(wanted)] = 1

    def of_tokens(self) -> Any:
        """Return the native batch, of what stands in ``tokens``."""
        self._batch.token = self._token_pointer
        self._batch.embd = None
        return self._batch

    def of_rows(self, rows: NDArray[np.float32]) -> Any:
        """Return the native batch, of picture rows; keep ``rows`` alive until it is read."""
        self._batch.token = None
        self._batch.embd = self._pointer("embd", rows)
        return self._batch
