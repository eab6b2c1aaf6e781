"""Does the extractive writer say so when the library holds no answer? MTRAG's last turns.

Run ``python tests/benchmarks/bench_mtrag.py [--data ../shared/data]``. The library is every passage
of every conversation. A turn is asked with its history, on the product's own way: condensed,
retrieved, fused, written. ``--trade-off`` prints what other thresholds would give, by half: the
collections are put into two halves, so that one can see whether a threshold carries over.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from bench_xquad import DATA, open_shelf, print_table

from bot.condense import stand_alone
from bot.models.reading import judge
from memory.messages import Message, Turn

HALVES = ({"ibmcloud", "fiqa"}, {"clapnq", "govt"})


def history_of(turn: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the (question, answer) pairs before the last question."""
    said = [m["text"] for m in turn["input"][:-1]]
    return list(zip(said[::2], said[1::2], strict=True))


def as_turns(history: list[tuple[str, str]]) -> list[Turn]:
    """Return pairs as the turns that a conversation would hold."""
    return [Turn(str(i), Message(q), Message(a), 0.0) for i, (q, a) in enumerate(history)]


def main() -> None:
    """Ask every last turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--trade-off", action="store_true")
    args = parser.parse_args()
    lines = (args.data / "mtrag" / "conversations.jsonl").read_text("utf-8").splitlines()
    turns = [json.loads(line) for line in lines]
    passages = {c["document_id"]: c["text"] for t in turns for c in t["contexts"]}
    thresholds = [judge.SURE]
    if args.trade_off:
        thresholds = [judge.SURE + step / 20 for step in range(-8, 9)]
    results: dict[float, Counter[tuple[str, str, bool]]] = {t: Counter() for t in thresholds}
    right = answerable = 0
    with open_shelf(passages) as shelf:
        for turn in turns:
            history = history_of(turn)
            question = turn["input"][-1]["text"]
            asked = stand_alone(question, as_turns(history), shelf.library.rarity)
            gold = {c["document_id"] for c in turn["contexts"]}
            label = turn["answerability"][0]
            for threshold in thresholds:
                judge.SURE = threshold
                answer = shelf.ask(question, history, asked.text, asked.context)
                half = "first" if turn["Collection"] in HALVES[0] else "second"
                results[threshold][label, half, answer.found] += 1
            if label == "ANSWERABLE":
                answerable += 1
                right += bool(gold & {e.source for e in answer.evidence})
    count = results[thresholds[0]]

    def share(label: str, found: bool, half: str | None = None, of: Any = count) -> str:
        kept = {k: n for k, n in of.items() if k[0] == label and half in (None, k[1])}
        total = sum(kept.values())
        hits = sum(n for k, n in kept.items() if k[2] is found)
        return f"{hits / total:.1%} of {total}" if total else "none"

    if args.trade_off:
        print("threshold   answerable answered: all, halves   unanswerable refused: all, halves")
        for threshold, of in results.items():
            cells = [share("ANSWERABLE", True, h, of) for h in (None, "first", "second")]
            cells += [share("UNANSWERABLE", False, h, of) for h in (None, "first", "second")]
            print(f"{threshold:9.2f}   " + "  ".join(f"{cell:>13}" for cell in cells))
        return
    print_table(
        f"MTRAG: {len(turns)} last turns over {len(passages)} passages",
        [
            ("unanswerable: says that it found nothing", share("UNANSWERABLE", False), ">= 60 %"),
            ("answerable: answers", share("ANSWERABLE", True), ">= 85 %"),
            ("partial: answers", share("PARTIAL", True), ""),
            ("underspecified: answers", share("UNDERSPECIFIED", True), ""),
            ("a right passage is in the evidence", f"{right / answerable:.1%}", ""),
            ("reference: always answering", "0 % / 100 %", ""),
        ],
    )


if __name__ == "__main__":
    main()
