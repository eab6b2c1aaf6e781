"""Is a page that holds the answer among the first five that are found? MMLongBench-Doc.

    python tests/benchmarks/bench_mmlongbench.py [--data FOLDER] [--text-encoder NAME]

Ingests the PDFs as ``bifocal ingest`` does, into one library, and looks for each answerable
question in all of them at once, as a turn does: text and picture retriever, merged. The first
five distinct pages of the evidence count. Printed by kind of evidence; a question with several
kinds counts in each. ``evidence_pages`` counts from 1. The first line is the reference: BM25 over
the plain text of whole pages.
"""

import argparse
import ast
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from retrievers.document import Document, Passage
from retrievers.encoders import Encoder
from retrievers.encoders.registry import load_encoder
from retrievers.evidence import Evidence
from retrievers.fusion import DEFAULT, FUSIONS, default_weights, merge
from retrievers.ingest.pipeline import Ingestor
from retrievers.library import Library, Source
from retrievers.picture import PictureRetriever
from retrievers.text import TextRetriever

DATA = Path(__file__).parents[2].parent / "shared" / "data"
Pages = list[tuple[str, int | None]]


@dataclass(frozen=True)
class Question:
    """A question, the pages that hold its answer, and the kinds of evidence on them."""

    text: str
    right: frozenset[tuple[str, int]]
    kinds: tuple[str, ...]


def main() -> int:
    """Run what the arguments say; 2 when the data is not there."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--data", type=Path, default=DATA, help="folder with mmlongbench/")
    arguments.add_argument("--text-encoder", default="wordllama")
    arguments.add_argument("--picture-encoder", default="descriptor")
    given = arguments.parse_args()
    folder = given.data / "mmlongbench"
    if not (folder / "samples.jsonl").is_file():
        print(f"{folder}/samples.jsonl is missing: give the data's folder with --data")
        return 2
    asked = questions(folder / "samples.jsonl")
    text, look = load_encoder(given.text_encoder), load_encoder(given.picture_encoder)
    with tempfile.TemporaryDirectory() as temporary:
        with Library.open(Path(temporary) / "pages", create=True) as pages:
            put_whole_pages(pages, folder / "documents")
            print(f"{len(asked)} answerable questions; a right page among the first five, by kind")
            kinds = sorted({kind for question in asked for kind in question.kinds})
            print(f"{'':34}{'all':>14}" + "".join(f"{kind:>14}" for kind in kinds))
            show("page text, BM25 alone", asked, kinds, lambda q: by_words(pages, q))
        with Library.open(Path(temporary) / "library", create=True) as library:
            report = Ingestor(library, text, look).run([folder / "documents"])
            compare(library, text, look, asked, kinds)
    print(f"{report.pages} pages ingested in {report.seconds:.0f} s; {text.name} + {look.name}")
    return 0


def questions(path: Path) -> list[Question]:
    """Return the answerable questions that name a page."""
    found = []
    for sample in map(json.loads, path.open()):
        pages = ast.literal_eval(sample["evidence_pages"])
        if not pages or sample["answer"] == "Not answerable":
            continue
        kinds = [
            kind.split(" ")[0].lower() for kind in ast.literal_eval(sample["evidence_sources"])
        ]
        right = frozenset((sample["doc_id"], int(page)) for page in pages)
        found.append(Question(sample["question"], right, tuple(kinds) or ("unnamed",)))
    return found


def put_whole_pages(library: Library, folder: Path) -> None:
    """Put each page's text, as the PDF gives it, into a library as one passage."""
    import pypdfium2

    for path in sorted(folder.glob("*.pdf")):
        pdf = pypdfium2.PdfDocument(path)
        texts = [page.get_textpage().get_text_range() for page in pdf]
        passages = tuple(Passage(text, page) for page, text in enumerate(texts, start=1))
        library.replace(Source(path.name, "", 0, 0, "pdf"), Document("", passages), {}, {})


def by_words(library: Library, question: str) -> Pages:
    """Return pages by BM25 alone."""
    ids = [id for id, _ in library.search_words(question, kind="passage", k=20)]
    return first_pages(list(library.evidence(ids).values()))


def compare(
    library: Library, text: Encoder, look: Encoder, asked: list[Question], kinds: list[str]
) -> None:
    """Print a line for each way of looking."""
    passages = TextRetriever(library, text_encoder=text, picture_encoder=look)
    pictures = PictureRetriever(library, text_encoder=text, picture_encoder=look)

    def found(question: str, method: str, **weights: float) -> Pages:
        query = passages.query(question)
        merged = merge(
            [passages.invoke(query), pictures.invoke(query)],
            method=method,
            weights={**default_weights(text, look, query), **weights},
            k=100,
        )
        return first_pages(merged)

    def only_passages(question: str) -> Pages:
        return first_pages(passages.invoke(passages.query(question)))

    show("passages and pictures, BM25 alone", asked, kinds, lambda q: found(q, DEFAULT, dense=0.0))
    show("passages and pictures, vectors", asked, kinds, lambda q: found(q, DEFAULT, bm25=0.0))
    show("passages without pictures", asked, kinds, only_passages)
    for method in FUSIONS:
        show(f"both, {method}", asked, kinds, partial(found, method=method))


def first_pages(evidence: list[Evidence], count: int = 5) -> Pages:
    """Return the first distinct pages."""
    pages = dict.fromkeys((Path(e.source).name, e.page) for e in evidence)
    return list(pages)[:count]


def show(name: str, asked: list[Question], kinds: list[str], find: Callable[[str], Pages]) -> None:
    """Print for how many questions a right page is found: of all, and of each kind."""
    hits = {question: bool(question.right & set(find(question.text))) for question in asked}
    cells = [f"{100 * sum(hits.values()) / len(asked):.1f} %"]
    for kind in kinds:
        of_kind = [hit for question, hit in hits.items() if kind in question.kinds]
        cells.append(f"{sum(of_kind)} of {len(of_kind)}")
    print(f"{name:34}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


if __name__ == "__main__":
    sys.exit(main())
