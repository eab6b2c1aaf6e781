"""Finds pictures: by what they look like and by their words, fused into one ranking.

Knows nothing of passages, of prompts, or of conversations. A picture's words are its caption, its
metadata, the prose beside it and the writing in it. The runs:

- ``words``          BM25 of the query's words
- ``words_picture``  BM25 of the writing in the query's pictures, which counts less
- ``words_context``  BM25 of words that say what the query is about, which count less
- ``words_dense``    the query's vector in the text encoder's space
- ``look``           the query's pictures in the picture encoder's space; of several the nearest
- ``look_text``      the query's words in that space, where its encoder is cross-modal
"""

from typing import Any

from retrievers.evidence import Kind, Query, Vectors
from retrievers.library import Library
from retrievers.runs import CONTEXT_SHARE, EvidenceRetriever, Run
from retrievers.vectors import Distance, VectorIndex


class PictureRetriever(EvidenceRetriever):
    """Pictures for a query; see :class:`retrievers.runs.EvidenceRetriever`."""

    kind: Kind = "picture"

    def __init__(self, library: Library, *, distance: Distance = "cosine", **options: Any) -> None:
        super().__init__(library, **options)
        self.words_index = VectorIndex(library, "text", "picture", distance=distance)
        self.look_index = VectorIndex(library, "look", "picture", distance=distance)

    def runs(self, query: Query) -> dict[str, Run]:
        """Return what each run found, by its name."""
        runs: dict[str, Run] = {}
        if query.text:
            runs["words"] = self._words(query.text)
        if query.picture_words:
            runs["words_picture"] = self._words(query.picture_words)
        if query.context:
            runs["words_context"] = self._words(query.context, CONTEXT_SHARE)
        dense: dict[str, tuple[VectorIndex, Vectors]] = {}
        for name, space, index in (
            ("words_dense", "text", self.words_index),
            ("look", "look", self.look_index),
            ("look_text", "look_text", self.look_index),
        ):
            if space in query.vectors:
                dense[name] = (index, query.vectors[space])
                runs[name] = self._nearest(index, query.vectors[space])
        self._complete(runs, dense)
        return runs
