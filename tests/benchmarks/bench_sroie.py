"""Are receipts found by what is written on them, and their totals read? SROIE.

Run ``python tests/benchmarks/bench_sroie.py [--data ../shared/data] [--fresh]``. The receipts are
ingested as a user's pictures are (OCR, look, words); the library is kept in the temporary folder,
where unchanged files cost nothing the next time; ``--fresh`` reads all of them again. Two receipts
with the same company and date are both right for that question; receipts whose record lacks the
company, the date or the total are left out of what needs it.
"""

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench_xquad import DATA, LIMIT, Shelf, print_table

from bot.models.reading.amounts import PRICE, number
from retrievers.encoders.descriptor import DescriptorEncoder
from retrievers.encoders.wordllama import WordLlamaEncoder
from retrievers.ingest.pipeline import Ingestor
from retrievers.library import Library

Key = Mapping[str, str]


def has_total(text: str, total: str) -> bool:
    """Say whether one of the amounts in ``text`` is ``total``, whatever their signs."""
    wanted = number(total)
    return any(number(m.group()) == wanted for m in PRICE.finditer(text))


def find_rank(shelf: Shelf, question: str, right: set[str]) -> int:
    """Return the rank, from 1, of the first right receipt; 1000 when there is none."""
    found = [Path(e.source).name for e in shelf.find(question)]
    return next((i for i, name in enumerate(found, 1) if name in right), 1000)


def main() -> None:
    """Ask for every receipt and its total, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--fresh", action="store_true", help="read all receipts again")
    parser.add_argument("--misses", action="store_true", help="print what was missed")
    args = parser.parse_args()
    folder = args.data / "sroie"
    records = (folder / "receipts.jsonl").read_text("utf-8")
    cache = hashlib.sha256(f"{folder.resolve()}{records}".encode()).hexdigest()[:16]
    kept = Path(tempfile.gettempdir()) / f"bifocal-bench-sroie-{cache}"
    if args.fresh:
        shutil.rmtree(kept, ignore_errors=True)
    receipts: list[tuple[str, Key]] = [
        (Path(r["image"]).name, r["key"]) for r in map(json.loads, records.splitlines())
    ]
    text, look = WordLlamaEncoder.open(), DescriptorEncoder()
    with Library.open(kept, create=True) as library:
        started = time.perf_counter()
        report = Ingestor(library, text, look).run([folder / "img"])
        print(f"ingested {report.indexed} receipts in {time.perf_counter() - started:.0f} s")
        measure(Shelf(library, text, look), receipts, args.misses)


def measure(shelf: Shelf, receipts: list[tuple[str, Key]], show: bool) -> None:
    """Ask the questions and print the table."""
    ranks: list[int] = []
    hits = asked = in_evidence = longest = 0
    for _, key in receipts:
        company, date = key.get("company", ""), key.get("date", "")
        if not company or not date:
            continue
        same = {n for n, k in receipts if (k.get("company"), k.get("date")) == (company, date)}
        ranks.append(find_rank(shelf, f"receipt from {company} on {date}", same))
        if show and ranks[-1] > 1:
            print(f"- rank {ranks[-1]}: {company} on {date}, {same}")
        totals = {k["total"] for n, k in receipts if n in same and k.get("total")}
        if not totals:
            continue
        answer = shelf.ask(f"What is the total of the receipt from {company} on {date}?")
        asked += 1
        longest = max(longest, len(answer.text))
        hit = any(has_total(answer.text, total) for total in totals)
        hits += hit
        read = [e.text for e in answer.evidence if Path(e.source).name in same]
        in_evidence += any(has_total(words, total) for words in read for total in totals)
        if show and not hit:
            print(f"- {totals} of {same}: {answer.text}")
    count = len(ranks)
    print_table(
        f"SROIE: {len(receipts)} receipts, {count} named by company and date",
        [
            ("recall@1", f"{sum(r <= 1 for r in ranks) / count:.1%}", ">= 85 %"),
            ("recall@5", f"{sum(r <= 5 for r in ranks) / count:.1%}", ">= 97 %"),
            (f"total in the answer, of {asked}", f"{hits / asked:.1%}", ">= 70 %"),
            (
                "reference: total anywhere in the right receipt's words",
                f"{in_evidence / asked:.1%}",
                "",
            ),
            ("longest answer, characters", f"{longest}", f"<= {LIMIT}"),
        ],
    )


if __name__ == "__main__":
    main()
