"""Full-text search over a library's items, and how rare words are there.

Knows nothing of documents, pictures or vectors: only of the FTS5 table and the items' kinds.
"""

import math
from collections.abc import Iterable
from pathlib import Path

from retrievers.evidence import Kind
from retrievers.library_connections import Connections
from retrievers.words import MAX_TERMS, match_any, terms

TITLE_WEIGHT, HEADING_WEIGHT, TEXT_WEIGHT = 2.0, 1.0, 1.0
"""What a word counts by where it stands. On SciFact (809 training claims) BM25 reaches nDCG@10
0.688 without titles, 0.700 with titles at 1, 0.705 at 2, 0.708 at 3. On MMLongBench a right page is
among the first five for 52 of 83 questions without titles and file names, for 55 with them at 2."""

_BM25 = f"'bm25({TITLE_WEIGHT}, {HEADING_WEIGHT}, {TEXT_WEIGHT})'"
_OF_KIND = {
    "passage": "+rowid NOT IN (SELECT item FROM pictures)",
    "picture": "+rowid IN (SELECT item FROM pictures)",
}
# The small table of pictures tells the kinds apart: joining items costs half as much again. The
# plus keeps FTS5 from looking up each picture by itself.

_READ_TERMS = 512  # distinct terms of a query among which the rarest are looked for


class WordSearch(Connections):
    """The part of a library that searches words; see :class:`retrievers.library.Library`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._document_counts: dict[str, int] = {}
        self._counted_at = -1

    @property
    def version(self) -> int:
        """Grows with every write of any process."""
        return int(self._rows("SELECT value FROM meta WHERE key = 'version'")[0][0])

    def search_words(self, text: str, *, kind: Kind, k: int) -> list[tuple[str, float]]:
        """Return up to ``k`` ids with their BM25 scores, best first; higher is better.

        Any text is a safe query. At most 64 distinct terms count: of a longer query the rarest.
        BM25 is FTS5's (k1 = 1.2, b = 0.75); its idf is that of passages and pictures together.
        """
        wanted = self._query_terms(text)
        if not wanted or k < 1 or (kind == "picture" and not self._has_pictures()):
            return []
        rows = self._rows(
            f"SELECT rowid, -rank FROM words WHERE words MATCH ? AND rank MATCH {_BM25}"
            f" AND {_OF_KIND[kind]} ORDER BY rank LIMIT ?",
            match_any(wanted),
            k,
        )
        return [(f"{kind}:{number}", float(score)) for number, score in rows]

    def _has_pictures(self) -> bool:
        return bool(self._rows("SELECT EXISTS (SELECT 1 FROM pictures)")[0][0])

    def _query_terms(self, text: str) -> list[str]:
        wanted = terms(text)
        if len(wanted) <= MAX_TERMS:
            return wanted
        counts, _ = self._counts_of(wanted[:_READ_TERMS])
        known = [t for t in counts if counts[t]]
        return sorted(known, key=lambda t: counts[t])[:MAX_TERMS]

    def rarity(self, words: Iterable[str]) -> dict[str, float]:
        """Return each word's BM25 idf here, that of its stem; absent words get the largest.

        idf = ln((N - n + 0.5) / (n + 0.5)), at least 1e-6, as FTS5 computes it: N items, n of
        them with the word. Of a word that the index splits, the rarest part counts.
        """
        parts = {word: terms(word) for word in words}
        counts, total = self._counts_of({t for found in parts.values() for t in found})
        return {
            word: max((_idf(counts[t], total) for t in found), default=_idf(0, total))
            for word, found in parts.items()
        }

    def _counts_of(self, wanted: Iterable[str]) -> tuple[dict[str, int], int]:
        """Return in how many items each term stands, and how many items there are."""
        version = self.version
        with self._idle_lock:
            if version != self._counted_at:
                self._document_counts, self._counted_at = {}, version
            known = self._document_counts
        with self._connection() as connection:
            if "" not in known:
                known[""] = connection.execute("SELECT count(*) FROM items").fetchone()[0]
            for term in wanted:
                if term not in known:
                    known[term] = connection.execute(
                        "SELECT count(*) FROM words WHERE words MATCH ?", (match_any([term]),)
                    ).fetchone()[0]
        return {term: known[term] for term in wanted}, known[""]


def _idf(count: int, total: int) -> float:
    return max(math.log((total - count + 0.5) / (count + 0.5)), 1e-6)
