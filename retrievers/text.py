"""Finds passages: BM25 over their words and nearest vectors, fused into one ranking.

Knows nothing of pictures' looks, of prompts, or of conversations. Its runs:

- ``bm25``          the query's words
- ``bm25_picture``  the writing in the query's pictures, which counts less
- ``bm25_context``  words that say what the query is about, which count less
- ``dense``         the query's vector in the text encoder's space
"""

from typing import Any

from retrievers.evidence import Kind, Query
from retrievers.library import Library
from retrievers.runs import CONTEXT_SHARE, EvidenceRetriever, Run
from retrievers.vectors import Distance, VectorIndex


class TextRetriever(EvidenceRetriever):
    """Passages for a query; see :class:`retrievers.runs.EvidenceRetriever`."""

    kind: Kind = "passage"

    def __init__(self, library: Library, *, distance: Distance = "cosine", **options: Any) -> None:
        super().__init__(library, **options)
        self.index = VectorIndex(library, "text", "passage", distance=distance)

    def runs(self, query: Query) -> dict[str, Run]:
        """Return what each run found, by its name."""
        runs: dict[str, Run] = {}
        if query.text:
            runs["bm25"] = self._words(query.text)
        if query.picture_words:
            runs["bm25_picture"] = self._words(query.picture_words)
        if query.context:
            runs["bm25_context"] = self._words(query.context, CONTEXT_SHARE)
        if "text" in query.vectors:
            rows = query.vectors["text"]
            runs["dense"] = self._nearest(self.index, rows)
            self._complete(runs, {"dense": (self.index, rows)})
        return runs
