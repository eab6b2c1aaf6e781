"""BM25 of single words, kept in memory, and their sums: the best items of a query of many words.

BM25 is a sum over the words of a query, so a query's scores are those of its words added up, in
their order: to the last bit what FTS5 gives for all of them at once. The words that most items
have are the ones that are asked for most often, and the ones that cost most.
Knows nothing of SQLite, of text or of kinds of items.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrievers.evidence import Kind

KEPT = 2_000_000
"""Postings that are kept, those of the words last asked for: 16 bytes each."""

_FETCHING = 16  # queries whose words may be fetched at the same moment


@dataclass(frozen=True, slots=True)
class Postings:
    """The items of one kind that hold a word, ``(n,)`` and distinct, and their BM25 ``(n,)``."""

    items: NDArray[np.int64]
    scores: NDArray[np.float64]


ByKind = dict[Kind, Postings]


@dataclass(slots=True)
class Known:
    """What was read of one version of a library; safe in threads."""

    version: int
    total: int | None = None
    pictures: bool | None = None
    counts: dict[str, int] = field(default_factory=dict)
    _postings: OrderedDict[str, ByKind] = field(default_factory=OrderedDict)
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _fetching: list[threading.Lock] = field(
        default_factory=lambda: [threading.Lock() for _ in range(_FETCHING)]
    )

    def fetching(self, words: Sequence[str]) -> AbstractContextManager[bool]:
        """Hold this while the words of a query are fetched, so that two retrievers that ask for the
        same at the same moment fetch them once."""
        return self._fetching[hash(tuple(words)) % _FETCHING]

    def get(self, word: str) -> ByKind | None:
        """Return a word's postings by kind, if they are kept."""
        with self._lock:
            found = self._postings.get(word)
            if found is not None:
                self._postings.move_to_end(word)
            return found

    def keep(self, word: str, found: ByKind) -> None:
        """Keep a word's postings; those that were not asked for the longest go."""
        with self._lock:
            if word not in self._postings:
                self._postings[word] = found
                self._size += _size(found)
            while self._size > KEPT:
                _, gone = self._postings.popitem(last=False)
                self._size -= _size(gone)


def best(found: Sequence[Postings], k: int) -> list[tuple[int, float]]:
    """Return the ``k`` items with the largest sums and these, best first; of equals the older."""
    items, places = np.unique(np.concatenate([p.items for p in found]), return_inverse=True)
    sums = np.bincount(places, weights=np.concatenate([p.scores for p in found]))
    if len(sums) > k:
        least = np.partition(sums, len(sums) - k)[len(sums) - k]
        near = np.flatnonzero(sums >= least)
        items, sums = items[near], sums[near]
    order = np.argsort(-sums, kind="stable")[:k]
    return list(zip(items[order].tolist(), sums[order].tolist(), strict=True))


def _size(found: ByKind) -> int:
    return 1 + sum(len(p.items) for p in found.values())
