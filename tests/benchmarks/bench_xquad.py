"""Does the extractive writer's answer hold the gold answer? XQuAD, all paragraphs in one library.

Run ``python tests/benchmarks/bench_xquad.py [--data ../shared/data] [--language en]``. Every
paragraph is a passage; every question is asked of all of them, on the product's own way: library,
text retriever, fusion, writer. An answer counts when it holds a gold answer, both without case,
punctuation and articles; it has 200 characters at most without its marks. The reference, from the
same run, is the best sentence by BM25. Also a module that the other answer benchmarks use.
"""

import argparse
import json
import re
import sqlite3
import string
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from bot.models.extractive import ExtractiveChat
from bot.models.reading.units import sentences
from retrievers.document import Document, Passage
from retrievers.encoders import Encoder
from retrievers.encoders.descriptor import DescriptorEncoder
from retrievers.encoders.wordllama import WordLlamaEncoder
from retrievers.evidence import Evidence, Query
from retrievers.fusion import default_weights, merge
from retrievers.library import Library, Source
from retrievers.picture import PictureRetriever
from retrievers.text import TextRetriever
from retrievers.words import match_any, terms

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
EVIDENCE = 8  #: the settings' default
LIMIT = 200
_MARK = re.compile(r" ?\[\d+\]")
_NO_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " "))


@dataclass
class Asked:
    """An answer: its text without marks, whether it says that it found one, and its evidence."""

    text: str
    found: bool
    evidence: list[Evidence]
    milliseconds: float


class Shelf:
    """A library with the product's retrievers, default fusion and extractive writer."""

    def __init__(self, library: Library, text: Encoder, look: Encoder) -> None:
        self.library, self.text, self.look = library, text, look
        self.retrievers = [
            TextRetriever(library, text_encoder=text, picture_encoder=look),
            PictureRetriever(library, text_encoder=text, picture_encoder=look),
        ]
        self.writer = ExtractiveChat(max_chars=LIMIT)

    def find(self, text: str, k: int = EVIDENCE, context: str = "") -> list[Evidence]:
        """Return the ``k`` best pieces of evidence, as a turn gets them."""
        vectors = {"text": self.text.encode_texts([text], query=True)}
        query = Query(text=text, context=context, vectors=vectors)
        weights = default_weights(self.text, self.look, query)
        return merge([r.invoke(query) for r in self.retrievers], weights=weights, k=k)

    def ask(
        self,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        query: str = "",
        context: str = "",
    ) -> Asked:
        """Return the writer's answer. ``history`` holds earlier (question, answer) pairs;
        ``query`` is what is searched for, the question when empty, with ``context`` beside it.
        """
        evidence = self.find(query or question, context=context)
        messages: list[BaseMessage] = []
        for before, answer in history:
            messages += [HumanMessage(before), AIMessage(answer)]
        started = time.perf_counter()
        reply = self.writer.invoke(
            [*messages, HumanMessage(question)],
            question=query or question,
            evidence=evidence,
            rarity=self.library.rarity,
        )
        spent = (time.perf_counter() - started) * 1000
        text = _MARK.sub("", str(reply.text)).strip()
        return Asked(text, bool(reply.response_metadata["found"]), evidence, spent)


@contextmanager
def open_shelf(passages: Mapping[str, str] | None = None) -> Iterator[Shelf]:
    """Yield a new library in a temporary folder that holds ``passages``, by their names."""
    text, look = WordLlamaEncoder.open(), DescriptorEncoder()
    with (
        tempfile.TemporaryDirectory() as folder,
        Library.open(Path(folder) / "library", create=True) as library,
    ):
        library.claim("text", text)
        library.claim("look", look)
        for name, words in (passages or {}).items():
            source = Source(name=name, sha256="0" * 64, size=len(words), mtime_ns=0, kind="text")
            document = Document(passages=(Passage(words),))
            library.replace(source, document, {}, {"text": text.encode_texts([words])})
        yield Shelf(library, text, look)


def normalise(text: str) -> str:
    """Return ``text`` as SQuAD compares answers: no case, punctuation or articles."""
    words = text.lower().translate(_NO_PUNCTUATION).split()
    return " ".join(w for w in words if w not in ("a", "an", "the"))


def holds(text: str, gold: Iterable[str]) -> bool:
    """Say whether any of the ``gold`` answers stands in ``text``."""
    return any(normalise(g) in normalise(text) for g in gold)


def print_table(title: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """Print rows of (what, value, target)."""
    print(f"\n{title}")
    for what, value, target in rows:
        print(f"  {what:58} {value:>14}   {target}")


class BestSentence:
    """The reference: FTS5's BM25 over single sentences, the best one whole."""

    def __init__(self, passages: Iterable[str]) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.execute("CREATE VIRTUAL TABLE s USING fts5(t, tokenize='porter unicode61')")
        rows = [(s,) for passage in passages for s in sentences(passage)]
        self.database.executemany("INSERT INTO s VALUES (?)", rows)

    def __call__(self, question: str) -> str:
        """Return the sentence that BM25 ranks first, or nothing."""
        sql = "SELECT t FROM s WHERE s MATCH ? ORDER BY bm25(s) LIMIT 1"
        found = self.database.execute(sql, [match_any(terms(question))]).fetchone()
        return str(found[0]) if found else ""


def main() -> None:
    """Ask every question and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--language", choices=("en", "de"), default="en")
    parser.add_argument("--misses", type=int, default=0, help="print this many misses")
    args = parser.parse_args()
    data = json.loads((args.data / "xquad" / f"xquad.{args.language}.json").read_text("utf-8"))
    paragraphs = [p for article in data["data"] for p in article["paragraphs"]]
    names = {f"paragraph-{i}": p["context"] for i, p in enumerate(paragraphs)}
    best_sentence = BestSentence(names.values())
    hits = reference = short_reference = found = right = longest = 0
    asked: list[float] = []
    misses = []
    with open_shelf(names) as shelf:
        for i, paragraph in enumerate(paragraphs):
            for qa in paragraph["qas"]:
                gold = [a["text"] for a in qa["answers"]]
                answer = shelf.ask(qa["question"])
                sentence = best_sentence(qa["question"])
                hit = holds(answer.text, gold)
                hits += hit
                found += answer.found
                longest = max(longest, len(answer.text))
                right += f"paragraph-{i}" in {e.source for e in answer.evidence}
                reference += holds(sentence, gold)
                short_reference += holds(sentence[:LIMIT], gold)
                asked.append(answer.milliseconds)
                if not hit:
                    misses.append((qa["question"], gold, answer.text))
    count = len(asked)
    print_table(
        f"XQuAD {args.language}: {count} questions over {len(paragraphs)} paragraphs",
        [
            ("gold in the answer", f"{hits / count:.1%}", ">= 78 % (English)"),
            (
                "reference: gold in BM25's best sentence, of any length",
                f"{reference / count:.1%}",
                "",
            ),
            (f"reference, cut at {LIMIT} characters", f"{short_reference / count:.1%}", ""),
            ("longest answer, characters", f"{longest}", f"<= {LIMIT}"),
            ("says that it found an answer", f"{found / count:.1%}", ""),
            (f"right paragraph among {EVIDENCE} pieces of evidence", f"{right / count:.1%}", ""),
            ("writing an answer, median ms", f"{sorted(asked)[count // 2]:.1f}", "<= 5"),
        ],
    )
    for question, gold, text in misses[: args.misses]:
        print(f"- {question} {gold}\n    {text}")


if __name__ == "__main__":
    main()
