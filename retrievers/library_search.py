"""Full-text search over a library's items, and how rare words are there.

Knows nothing of documents, pictures or vectors: only of the FTS5 table and the items' kinds.
"""

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from retrievers.evidence import Kind
from retrievers.library_connections import Connections
from retrievers.postings import Known, Postings, best
from retrievers.words import MAX_TERMS, match_any, terms

TITLE_WEIGHT, HEADING_WEIGHT, TEXT_WEIGHT = 2.0, 1.0, 1.0
"""What a word counts by where it stands. On SciFact (809 training claims) BM25 reaches nDCG@10
0.688 without titles, 0.700 with titles at 1, 0.705 at 2, 0.708 at 3. On MMLongBench a right page is
among the first five for 52 of 83 questions without titles and file names, for 55 with them at 2."""

_POSTINGS = (
    "SELECT rowid, -rank, rowid IN (SELECT item FROM pictures) FROM words"
    " WHERE words MATCH ? AND rank MATCH"
    f" 'bm25({TITLE_WEIGHT}, {HEADING_WEIGHT}, {TEXT_WEIGHT})'"
)
_POSTING = np.dtype([("item", np.int64), ("score", np.float64), ("picture", np.bool_)])
_COUNTS = (
    "SELECT value, (SELECT count(*) FROM words WHERE words MATCH '\"' || value || '\"')"
    " FROM json_each(?)"
)

_VERSION = "SELECT value FROM meta WHERE key = 'version'"
_READ_TERMS = 512  # distinct terms of a query among which the rarest are looked for


class WordSearch(Connections):
    """The part of a library that searches words; see :class:`retrievers.library.Library`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._known = Known(version=-1)

    @property
    def version(self) -> int:
        """Grows with every write of any process."""
        return int(self._rows(_VERSION)[0][0])

    def search_words(self, text: str, *, kind: Kind, k: int) -> list[tuple[str, float]]:
        """Return up to ``k`` ids with their BM25 scores, best first; higher is better.

        Any text is a safe query. At most 64 distinct terms count: of a longer query the rarest.
        BM25 is FTS5's (k1 = 1.2, b = 0.75); its idf is that of passages and pictures together.
        """
        wanted = terms(text)
        if not wanted or k < 1:
            return []
        with self._moment() as (connection, known):
            if kind == "picture" and not _has_pictures(connection, known):
                return []
            if len(wanted) > MAX_TERMS:
                wanted = _rarest(connection, known, wanted[:_READ_TERMS])
            with known.fetching(wanted):
                found = [_postings(connection, known, term)[kind] for term in wanted]
        return [(f"{kind}:{item}", score) for item, score in best(found, k)] if found else []

    def rarity(self, words: Iterable[str]) -> dict[str, float]:
        """Return each word's BM25 idf here, that of its stem; absent words get the largest.

        idf = ln((N - n + 0.5) / (n + 0.5)), at least 1e-6, as FTS5 computes it: N items, n of
        them with the word. Of a word that the index splits, the rarest part counts.
        """
        parts = {word: _terms_of(word) for word in words}
        with self._moment() as (connection, known):
            counts = _counts(connection, known, {t for found in parts.values() for t in found})
            total = _total(connection, known)
        return {
            word: max((_idf(counts[t], total) for t in found), default=_idf(0, total))
            for word, found in parts.items()
        }

    @contextmanager
    def _moment(self) -> Iterator[tuple[sqlite3.Connection, Known]]:
        """Lend a connection that sees the library of one moment, and what is known of that one."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                version = int(connection.execute(_VERSION).fetchone()[0])
                known = self._known
                if known.version != version:
                    self._known = known = Known(version)
                yield connection, known
            finally:
                connection.execute("COMMIT")


@lru_cache(maxsize=20_000)
def _terms_of(word: str) -> tuple[str, ...]:
    return tuple(terms(word))


def _has_pictures(connection: sqlite3.Connection, known: Known) -> bool:
    if known.pictures is None:
        row = connection.execute("SELECT EXISTS (SELECT 1 FROM pictures)").fetchone()
        known.pictures = bool(row[0])
    return known.pictures


def _total(connection: sqlite3.Connection, known: Known) -> int:
    if known.total is None:
        known.total = int(connection.execute("SELECT count(*) FROM items").fetchone()[0])
    return known.total


def _postings(connection: sqlite3.Connection, known: Known, term: str) -> dict[Kind, Postings]:
    """Return the items that hold a term, by kind."""
    found = known.get(term)
    if found is None:
        rows = np.fromiter(connection.execute(_POSTINGS, (match_any([term]),)), _POSTING)
        of_kind: dict[Kind, Any] = {"passage": ~rows["picture"], "picture": rows["picture"]}
        found = {k: Postings(rows["item"][of], rows["score"][of]) for k, of in of_kind.items()}
        known.keep(term, found)
    return found


def _counts(connection: sqlite3.Connection, known: Known, wanted: Iterable[str]) -> dict[str, int]:
    """Return in how many items each term stands."""
    counts = {term: known.counts.get(term) for term in wanted}
    if missing := [term for term, count in counts.items() if count is None]:
        new = dict(connection.execute(_COUNTS, (json.dumps(missing),)).fetchall())
        known.counts.update(new)
        counts.update(new)
    return {term: count or 0 for term, count in counts.items()}


def _rarest(connection: sqlite3.Connection, known: Known, wanted: Sequence[str]) -> list[str]:
    """Return the terms that the library has, the rarest first, and as many as count."""
    counts = _counts(connection, known, wanted)
    return sorted((t for t in counts if counts[t]), key=lambda t: counts[t])[:MAX_TERMS]


def _idf(count: int, total: int) -> float:
    return max(math.log((total - count + 0.5) / (count + 0.5)), 1e-6)
