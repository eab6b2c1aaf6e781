"""Does a follow-up question find its passages? MTRAG's last turns, with their history.

Run ``python tests/benchmarks/bench_followup.py [--data ../shared/data] [--neighbours]``. The
library is every passage of every conversation. What is searched for is the last message alone, what
a rule makes of it, or all that was said; the product's own retrievers and fusion look. Only last
turns that have passages count. "Own history" are the turns before the question; "another's" are
those of a conversation of the same collection, drawn once: a change of topic, which should cost
nothing. ``--neighbours`` prints the rule's constants and their neighbours. The data has no
questions that people wrote anew.
"""

import argparse
import json
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_mtrag import as_turns, history_of
from bench_xquad import DATA, Shelf, open_shelf

import bot.condense
from bot.condense import condense, stand_alone
from memory.messages import Turn
from retrievers import fusion

PRODUCT = "words of earlier turns beside it (the product)"
Rule = Callable[[str, list[Turn]], tuple[str, str]]


@dataclass(frozen=True)
class Case:
    """A last question, the turns before it, another conversation's, and its passages."""

    question: str
    turns: list[Turn]
    others: list[Turn]
    gold: frozenset[str]


def read_cases(lines: Iterable[str]) -> tuple[list[Case], dict[str, str]]:
    """Return the questions that have passages, and all passages by name."""
    tasks = [json.loads(line) for line in lines]
    passages = {c["document_id"]: c["text"] for t in tasks for c in t["contexts"]}
    draw = random.Random(0)
    cases = []
    for task in (t for t in tasks if t["contexts"]):
        others = [
            t
            for t in tasks
            if t["Collection"] == task["Collection"]
            and t["conversation_id"] != task["conversation_id"]
            and len(t["input"]) > 1
        ]
        gold = frozenset(c["document_id"] for c in task["contexts"])
        turns, strange = (as_turns(history_of(t)) for t in (task, draw.choice(others)))
        cases.append(Case(task["input"][-1]["text"], turns, strange, gold))
    return cases, passages


def scores(found: list[str], gold: frozenset[str]) -> tuple[float, float]:
    """Return recall@5 (of the most that five can hold) and nDCG@10."""
    recall = len(gold & set(found[:5])) / min(5, len(gold))
    gain = sum(1 / math.log2(rank + 2) for rank, name in enumerate(found[:10]) if name in gold)
    best = sum(1 / math.log2(rank + 2) for rank in range(min(10, len(gold))))
    return recall, gain / best


def measure(shelf: Shelf, cases: list[Case], rule: Rule, *, others: bool) -> list[float]:
    """Return the means of recall@5 and nDCG@10 over the cases with a history of their own, or over
    all with another conversation's."""
    rows = []
    for case in cases:
        turns = case.others if others else case.turns
        if turns:
            text, context = rule(case.question, turns)
            found = [e.source for e in shelf.find(text, 10, context=context)]
            rows.append(scores(found, case.gold))
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def everything(turns: list[Turn], *, answers: bool) -> str:
    """Return all that was said, or all that was asked."""
    return " ".join(f"{t.question.text} {t.answer.text if answers else ''}" for t in turns)


def rules(shelf: Shelf) -> dict[str, Rule]:
    """Return the ways to make a search of a question and its history, by name."""

    def product(question: str, turns: list[Turn]) -> tuple[str, str]:
        made = stand_alone(question, turns, shelf.library.rarity)
        return made.text, made.context

    return {
        "the last message alone": lambda q, _: (q, ""),
        "the last question's words before a short one": lambda q, t: (condense(q, t), ""),
        PRODUCT: product,
        "reference: all questions": lambda q, t: (f"{everything(t, answers=False)} {q}", ""),
        "reference: the whole history": lambda q, t: (f"{everything(t, answers=True)} {q}", ""),
    }


def row(shelf: Shelf, cases: list[Case], name: str, rule: Rule) -> None:
    """Print one line: own history, and another's."""
    own, strange = (measure(shelf, cases, rule, others=o) for o in (False, True))
    print(f"  {name:48} {own[0]:10.3f} {own[1]:8.3f} {strange[0]:12.3f} {strange[1]:8.3f}")


def neighbours(shelf: Shelf, cases: list[Case]) -> None:
    """Print what other constants would give, one changed at a time."""
    rule = rules(shelf)[PRODUCT]
    tried: list[tuple[Any, str, tuple[float, ...]]] = [
        (fusion, "CONTEXT_WORDS", (0.125, 0.25, 0.5, 1.0)),
        (bot.condense, "STEP", (0.25, 0.5, 0.75)),
        (bot.condense, "WORDS", (4, 8, 16, 32)),
    ]
    for module, name, values in tried:
        usual = getattr(module, name)
        for value in values:
            setattr(module, name, value)
            row(shelf, cases, f"{name} = {value}{' (the product)' * (value == usual)}", rule)
        setattr(module, name, usual)


def main() -> None:
    """Search by every rule and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--neighbours", action="store_true")
    args = parser.parse_args()
    text = (args.data / "mtrag" / "conversations.jsonl").read_text("utf-8")
    cases, passages = read_cases(text.splitlines())
    count = sum(bool(case.turns) for case in cases)
    print(f"MTRAG: {len(cases)} last turns, {count} with a history; {len(passages)} passages")
    print(f"  {'':48} {'own history':>19} {'another’s':>21}")
    print(f"  {'searched for':48} {'recall@5':>10} {'nDCG@10':>8} {'recall@5':>12} {'nDCG@10':>8}")
    with open_shelf(passages) as shelf:
        if args.neighbours:
            neighbours(shelf, cases)
            return
        for name, rule in rules(shelf).items():
            row(shelf, cases, name, rule)
        first = [case.question for case in cases if not case.turns]
        same = all(rules(shelf)[PRODUCT](question, []) == (question, "") for question in first)
        print(f"  {len(first)} questions without a history are searched for as they are: {same}")


if __name__ == "__main__":
    main()
