"""What the text and the picture retriever share: runs, their completion, their LangChain forms.

Knows nothing of what the runs are named after. A run is scores by evidence id.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import ConfigDict

from retrievers.encoders import Encoder
from retrievers.errors import RetrievalError
from retrievers.evidence import Evidence, Kind, Query, Vectors
from retrievers.fusion import DEFAULT, FUSIONS, default_weights, fuse, ranked
from retrievers.library import Library, item_number
from retrievers.vectors import VectorIndex

Run = dict[str, float]

CONTEXT_SHARE = 4  #: the run over a query's context brings a quarter of the candidates


class EvidenceRetriever(Runnable[Query, list[Evidence]]):
    """A LangChain Runnable from :class:`Query` to evidence of one kind, best first.

    ``candidates`` is how many each run brings into the fusion. All of them are returned unless
    ``k`` says how many, each with its ``scores`` by run, so that a later fusion with other
    evidence can compare them. ``invoke`` blocks; ``ainvoke`` does its work in a thread. Raises
    ``LibraryError`` when the library cannot be read, or a vector is not of its space.
    """

    kind: Kind

    def __init__(
        self,
        library: Library,
        *,
        text_encoder: Encoder | None = None,
        picture_encoder: Encoder | None = None,
        candidates: int = 100,
        k: int | None = None,
        fusion: str = DEFAULT,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if fusion not in FUSIONS:
            raise RetrievalError(f"{fusion!r}: no such fusion; there are {', '.join(FUSIONS)}")
        self.library = library
        self.text_encoder = text_encoder
        self.picture_encoder = picture_encoder
        self.candidates = candidates
        self.k = k
        self.fusion = fusion
        self.weights = dict(weights or {})

    @abstractmethod
    def runs(self, query: Query) -> dict[str, Run]:
        """Return what each run found, by its name; runs the query has nothing for are left out."""

    def invoke(
        self, input: Query, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Evidence]:
        """Return evidence for a query, best first."""
        return self._call_with_config(self._retrieve, input, config, run_type="retriever")

    def _retrieve(self, query: Query) -> list[Evidence]:
        runs = self.runs(query)
        weights = default_weights(self.text_encoder, self.picture_encoder, query)
        fused = fuse(self.fusion, runs, {**weights, **self.weights})
        ids = ranked(fused)[: self.k]
        scores: dict[str, dict[str, float]] = {id: {} for id in ids}
        for name, run in runs.items():
            for id in scores.keys() & run.keys():
                scores[id][name] = run[id]
        return list(self.library.evidence(ids, fused, scores).values())

    def as_retriever(self, *, k: int = 4) -> BaseRetriever:
        """Return a LangChain retriever from a ``str`` to ``k`` Documents with metadata.

        It encodes the words with the encoders that this retriever was given.
        """
        return TextOnlyRetriever(retriever=self, k=k)

    def query(self, text: str) -> Query:
        """Return words as a query, encoded by the encoders that this retriever was given."""
        vectors: dict[str, Vectors] = {}
        if self.text_encoder is not None and text.strip():
            vectors["text"] = self.text_encoder.encode_texts([text], query=True)
        look = self.picture_encoder
        if look is not None and "text" in look.modalities and text.strip():
            vectors["look_text"] = look.encode_texts([text], query=True)
        return Query(text=text, vectors=vectors)

    def _words(self, text: str, share: int = 1) -> Run:
        """Return BM25 scores of ``candidates``, or of that part of them."""
        k = -(-self.candidates // share)
        return dict(self.library.search_words(text, kind=self.kind, k=k))

    def _nearest(self, index: VectorIndex, rows: Vectors) -> Run:
        """Return the nearest to any of ``rows`` ``(n, d)``: the best of its n scores for each."""
        run: Run = {}
        for found in index.search(rows, self.candidates):
            for number, score in found:
                id = f"{self.kind}:{number}"
                run[id] = max(score, run.get(id, -np.inf))
        return run

    def _complete(
        self, runs: Mapping[str, Run], dense: Mapping[str, tuple[VectorIndex, Vectors]]
    ) -> None:
        """Give each dense run the exact scores of what only other runs have found.

        So that a fusion compares like with like: a missing score would count as the lowest.
        """
        candidates = {id for run in runs.values() for id in run}
        for name, (index, rows) in dense.items():
            if name not in runs:
                continue
            run = runs[name]
            missing = [n for id in candidates - run.keys() if (n := item_number(id)) is not None]
            for row in rows:
                for number, score in index.scores(row, missing).items():
                    id = f"{self.kind}:{number}"
                    run[id] = max(score, run.get(id, -np.inf))


class TextOnlyRetriever(BaseRetriever):
    """Any of our retrievers for other LangChain programs: words in, Documents out."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: EvidenceRetriever
    k: int = 4

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        found = self.retriever.invoke(
            self.retriever.query(query), config={"callbacks": run_manager.get_child()}
        )
        return [as_document(evidence) for evidence in found[: self.k]]


def as_document(evidence: Evidence) -> Document:
    """Return evidence as a LangChain Document: its text, and what else is known as metadata."""
    metadata: dict[str, Any] = {
        "kind": evidence.kind,
        "source": evidence.source,
        "page": evidence.page,
        "heading": evidence.heading,
        "form": evidence.form,
        "score": evidence.score,
        "scores": dict(evidence.scores),
    }
    if evidence.kind == "picture":
        metadata |= {
            "caption": evidence.caption,
            "media": evidence.media,
            "size": evidence.size,
            "box": evidence.box.to_json() if evidence.box else None,
        }
    return Document(id=evidence.id, page_content=evidence.text, metadata=metadata)
