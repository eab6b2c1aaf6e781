"""What FAISS needs around it: one thread for single queries, a measured recall, a lock.

Knows nothing of libraries or of files.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrievers.evidence import Vectors

RECALL = 0.98
"""Recall@10 against exact search that an IVF index must keep on its sample."""


def choose_probes(
    index: Any, rows: Vectors, sample: NDArray[np.int64], lists: int
) -> tuple[int, float]:
    """Return the fewest probes (a power of two) that keep ``RECALL``, and the recall they give.

    Neighbours of stored vectors are looked for, themselves excepted: 10 by exact search against
    10 by the index. Random vectors would say nothing of real ones.
    """
    import faiss

    exact = faiss.IndexFlat(rows.shape[1], index.metric_type)
    exact.add(rows)
    _, truth = exact.search(rows[sample], 11)
    probes, recall = 1, 0.0
    while recall < RECALL and probes < lists:
        probes = min(2 * probes, lists)
        index.nprobe = probes
        _, found = index.search(rows[sample], 11)
        hits = [
            len(set(t[t != i][:10]) & set(f[f != i][:10])) / min(10, max(1, len(t) - 1))
            for t, f, i in zip(truth, found, sample, strict=True)
        ]
        recall = float(np.mean(hits))
    return probes, recall


def as_it_is(index: Any) -> Any:
    """Return an index read from bytes as what it is, so that its own settings can be reached."""
    import faiss

    return faiss.downcast_index(index)


@contextmanager
def one_thread() -> Iterator[None]:
    """Search with one OpenMP thread: for single queries more of them only wait for each other."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class ReadWriteLock:
    """Many readers or one writer; a waiting writer goes before new readers."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._waiting = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        with self._condition:
            self._condition.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                self._condition.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._condition:
            self._waiting += 1
            self._condition.wait_for(lambda: not self._writing and not self._readers)
            self._waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._condition:
                self._writing = False
                self._condition.notify_all()
