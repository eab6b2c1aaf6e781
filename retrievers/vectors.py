"""FAISS over the vectors of a library: build, search, verify, replace.

Knows nothing of words, pictures or encoders. SQLite is the truth and a FAISS file a cache of it:
a lost, stale or damaged one is made anew. An index holds one space and one kind of item, with item
numbers as ids; up to ``EXACT_UP_TO`` vectors it is exact, above it is IVF with as many probes as
keep the recall that is measured on a sample.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retrievers.errors import LibraryError
from retrievers.evidence import Kind, Vectors
from retrievers.library import Library
from retrievers.vectors_faiss import ReadWriteLock, as_it_is, choose_probes, one_thread
from retrievers.vectors_file import Manifest, Refused, load, save

Distance = Literal["cosine", "euclidean"]
EXACT_UP_TO = 50_000
_AT_ONCE = 1000  # rows that FAISS copies in one thread, so that it can tell of one that is missing
_SAMPLE = 256
"""Vectors of the index that are asked for when its recall is measured."""


@dataclass(slots=True)
class _State:
    """An index in memory and what it was made from."""

    index: Any
    version: int
    generation: int
    encoder: str
    dimension: int
    shape: str = "exact"
    probes: int = 0
    recall: float = 1.0
    trained_on: int = 0
    unsaved: int = 0
    origin: str = "built"


class VectorIndex:
    """Nearest vectors of one space and kind; safe in threads.

    ``distance`` is ``"cosine"`` (the score is the cosine) or ``"euclidean"`` (the score is
    ``1 / (1 + distance)``); higher is better with both. Vectors are L2-normalised for cosine.
    Each search first looks whether the library has changed, by any process, and follows it: what
    is new is added, what is gone is removed, and never served.
    """

    def __init__(
        self,
        library: Library,
        space: str,
        kind: Kind,
        *,
        distance: Distance = "cosine",
        exact_up_to: int = EXACT_UP_TO,
    ) -> None:
        if distance not in ("cosine", "euclidean"):
            raise LibraryError(f"{distance!r}: no such distance; there are cosine and euclidean")
        self.library = library
        self.space = space
        self.kind: Kind = kind
        self.distance: Distance = distance
        self._exact_up_to = exact_up_to
        self._state: _State | None = None
        self._origin = "built"
        self._lock = ReadWriteLock()

    @property
    def path(self) -> Path:
        """The manifest's path; the index lies beside it, named by its hash."""
        return self.library.folder / f"{self.space}-{self.kind}-{self.distance}.json"

    def search(self, queries: Vectors, k: int) -> list[list[tuple[int, float]]]:
        """Return, for each row of ``queries`` ``(n, d)``, up to ``k`` (item number, score).

        Raises ``LibraryError`` when ``d`` is not the space's dimension.
        """
        self.refresh()
        with self._lock.reading():
            state = self._state
            if state is None or not state.index.ntotal or k < 1 or not len(queries):
                return [[] for _ in queries]
            rows = self._rows(queries, state.dimension)
            with one_thread():
                found, ids = state.index.search(rows, min(k, state.index.ntotal))
        scores = self._scores(found)
        return [
            [(int(i), float(s)) for i, s in zip(row, line, strict=True) if i >= 0]
            for row, line in zip(ids, scores, strict=True)
        ]

    def scores(self, query: Vectors, ids: Sequence[int]) -> dict[int, float]:
        """Return the exact score of ``query`` ``(d,)`` for each of the items that has a vector."""
        if not len(ids):
            return {}
        numbers, rows = self._vectors(ids)
        if not len(numbers):
            return {}
        one = self._rows(query.reshape(1, -1), rows.shape[1])[0]
        if self.distance == "cosine":
            values = rows @ one
        else:
            values = 1 / (1 + np.sqrt(np.square(rows - one).sum(axis=1)))
        return dict(zip(numbers.tolist(), values.tolist(), strict=True))

    def _vectors(self, ids: Sequence[int]) -> tuple[NDArray[np.int64], Vectors]:
        """Return those of the items that have a vector, ascending, and their rows as ``_rows``
        makes them."""
        numbers = np.unique(np.array(ids, dtype=np.int64))
        with self._lock.reading():
            state = self._state
            if state is not None and state.shape == "exact" and len(numbers) <= _AT_ONCE:
                with suppress(RuntimeError):  # one of them has no vector there
                    return numbers, state.index.reconstruct_batch(numbers)
        numbers, rows = self.library.vectors(self.space, self.kind, ids)
        return numbers, self._rows(rows, rows.shape[1])

    def refresh(self, *, save: bool = False) -> None:
        """Follow the library; read the cache file first, when there is one that can be trusted.

        The file is written when much has changed since, or with ``save`` when anything has.
        """
        state = self._state
        if state is not None and state.version == self.library.version and not save:
            return
        with self._lock.writing():
            if self._state is None:
                self._state = self._loaded()
            self._follow()
            state = self._state
            assert state is not None
            enough = max(256, state.index.ntotal // 20)
            if state.unsaved and (save or state.unsaved >= enough):
                self._save(state)

    def describe(self) -> dict[str, Any]:
        """Return what ``bifocal status`` shows of this index: JSON values."""
        self.refresh()
        with self._lock.reading():
            state = self._state
            assert state is not None
            return {
                "space": self.space,
                "kind": self.kind,
                "distance": self.distance,
                "encoder": state.encoder,
                "dimension": state.dimension,
                "count": int(state.index.ntotal),
                "index": state.shape,
                "probes": state.probes,
                "recall": round(state.recall, 4),
                "origin": state.origin,
            }

    def _follow(self) -> None:
        """Bring the state to what the library holds; called with the lock held for writing."""
        library, state = self.library, self._state
        while True:
            version = library.version
            generation, encoder, dimension = library.generation(self.space)
            if state is not None and state.version == version:
                return
            if state is None or state.generation != generation:
                numbers, rows = library.vectors(self.space, self.kind)
                if library.generation(self.space)[0] != generation:
                    continue  # re-encoded between the two readings
                state = self._built(numbers, rows, dimension)
                state.encoder, state.generation = encoder, generation
                state.origin, self._origin = self._origin, "built"
            elif not self._updated(state, generation):
                state = None
                continue
            state.version = version
            self._state = state
            return

    def _updated(self, state: _State, generation: int) -> bool:
        """Add and remove what changed; False when the index must be built anew."""
        import faiss

        wanted = self.library.vector_ids(self.space, self.kind)
        held = faiss.vector_to_array(state.index.id_map)
        new, gone = np.setdiff1d(wanted, held), np.setdiff1d(held, wanted)
        if not len(new) and not len(gone):
            return self.library.generation(self.space)[0] == generation
        grown = len(wanted) > self._exact_up_to
        if (state.shape == "exact") == grown or (grown and len(wanted) > 4 * state.trained_on):
            return False
        if len(new) > max(1000, len(held)) or len(gone) > max(1000, len(held) // 2):
            return False
        numbers, rows = self.library.vectors(self.space, self.kind, new.tolist())
        if self.library.generation(self.space)[0] != generation:
            return False
        if len(gone):
            state.index.remove_ids(faiss.IDSelectorBatch(gone.astype(np.int64)))
        if len(numbers):
            state.index.add_with_ids(self._rows(rows, state.dimension), numbers)
        state.unsaved += len(new) + len(gone)
        return True

    def _built(self, numbers: NDArray[np.int64], rows: Vectors, dimension: int) -> _State:
        import faiss

        rows = self._rows(rows, dimension) if len(rows) else rows.reshape(0, dimension)
        metric = faiss.METRIC_INNER_PRODUCT if self.distance == "cosine" else faiss.METRIC_L2
        flat: Any = faiss.IndexFlat(max(dimension, 1), metric)
        state = _State(flat, -1, -1, "", dimension, unsaved=max(len(rows), 256))
        if len(rows) > self._exact_up_to:
            lists = 2 ** round(math.log2(4 * math.sqrt(len(rows))))
            inner = faiss.IndexIVFFlat(flat, dimension, lists, metric)
            chosen = np.random.default_rng(0).permutation(len(rows))
            inner.cp.min_points_per_centroid = 1  # do not warn of what was chosen
            inner.train(rows[chosen[: 64 * lists]])
            inner.add(rows)
            state.probes, state.recall = choose_probes(inner, rows, chosen[:_SAMPLE], lists)
            inner.nprobe = state.probes
            inner.reset()
            state.shape, state.trained_on = f"IVF{lists}", len(rows)
            flat = inner
        state.index = faiss.IndexIDMap2(flat)
        if len(rows):
            state.index.add_with_ids(rows, numbers)
        return state

    def _rows(self, rows: Vectors, dimension: int) -> Vectors:
        """Return float32 rows, L2-normalised for cosine."""
        if rows.ndim != 2 or rows.shape[1] != dimension:
            raise LibraryError(
                f"space {self.space!r}: a vector of shape {rows.shape[1:]} where the library's"
                f" have {dimension} dimensions; use its encoder, or `bifocal reencode`"
            )
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        if self.distance == "cosine":
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return rows

    def _scores(self, found: NDArray[np.float32]) -> NDArray[np.float64]:
        values = found.astype(np.float64)
        if self.distance == "cosine":
            return values
        return np.asarray(1 / (1 + np.sqrt(np.maximum(values, 0))))

    def _manifest(self, state: _State) -> Manifest:
        return Manifest(
            library=self.library.identity,
            generation=state.generation,
            version=state.version,
            encoder=state.encoder,
            dimension=state.dimension,
            count=int(state.index.ntotal),
            distance=self.distance,
            shape=state.shape,
            probes=state.probes,
            recall=state.recall,
            trained_on=state.trained_on,
        )

    def _save(self, state: _State) -> None:
        """Write the cache; a folder that cannot be written only costs the next start its time."""
        try:
            save(self.path, state.index, self._manifest(state))
        except OSError as error:
            state.origin = f"not saved: {error.strerror or error}"
        else:
            state.unsaved = 0

    def _loaded(self) -> _State | None:
        """Return the state that the cache file holds; None when it is refused."""
        generation, encoder, dimension = self.library.generation(self.space)
        try:
            index, manifest = load(self.path, self.distance)
            made_from = (manifest.library, manifest.generation, manifest.dimension)
            if made_from != (self.library.identity, generation, dimension):
                raise Refused("made from another library, or from another encoder's vectors")
        except Refused as refused:
            self._origin = f"rebuilt: {refused}" if self.path.exists() else "built"
            return None
        if manifest.shape != "exact":
            as_it_is(index.index).nprobe = manifest.probes
        return _State(
            index,
            -1,
            generation,
            encoder,
            dimension,
            manifest.shape,
            manifest.probes,
            manifest.recall,
            manifest.trained_on,
            origin="loaded",
        )
