"""What it costs to search past turns: seconds, commands and bytes, with the embedded Redis.

    python tests/benchmarks/bench_search.py [--conversations 1000] [--turns 20] [--german]

Fills a private Redis with turns that are as large as a real answer's (a question of 12 words, an
answer of 60, a ledger of eight pieces of evidence), and prints a table: a word that only the oldest
turn holds, one that no turn holds, and one that all hold. With ``--german`` every answer has
umlauts, which are folded in two ways. The reference is reading the same turns and nothing else.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from memory.messages import Message, Turn
from memory.records import conversation_key, index_key, pack
from memory.redis_history import RedisHistory

ENTRY = {"kind": "text", "source": "/home/anna/papers/report.pdf", "page": 3, "caption": "x" * 40}
SCORES = {"score": 0.51, "scores": {"words": 0.8123, "vectors": 0.4412}, "cited": True}
SPENT = ("seconds", "commands", "megabytes")


def turn(drawn: random.Random, vocabulary: list[str], extra: str) -> Turn:
    """Return a turn of random words; ``extra`` is in the question."""
    question = " ".join([*drawn.choices(vocabulary, k=12), extra, "everywhere"])
    answer = " ".join(drawn.choices(vocabulary, k=60)) + " [1]"
    evidence = [{**ENTRY, **SCORES, "id": f"p:{n}"} for n in range(8)]
    citation = {"mark": 1, "source": ENTRY["source"], "page": 3, "quote": answer[:200]}
    ledger = {"evidence": evidence, "notices": [], "model": "extractive", "query": question}
    return Turn("0" * 32, Message(question), Message(answer), 1e9, (citation,), ledger)


async def fill(history: RedisHistory, args: argparse.Namespace) -> None:
    """Write the turns; the oldest one holds the word "xylophone"."""
    drawn = random.Random(5)
    letters = "abcdefghijklmnoprstuvw" + ("äöü" if args.german else "")
    vocabulary = ["".join(drawn.choices(letters, k=drawn.randint(3, 9))) for _ in range(5000)]
    client = history._link.client
    for number in range(args.conversations):
        first = "xylophone" if number == 0 else "harbour"
        said = [turn(drawn, vocabulary, "harbour" if n else first) for n in range(args.turns)]
        pipe = client.pipeline(transaction=False)
        key = conversation_key(history.tenant, f"c{number}", "turns")
        pipe.rpush(key, *(pack(t.to_json()) for t in said))
        pipe.zadd(index_key(history.tenant), {f"c{number}": number})
        await pipe.execute()


async def counters(history: RedisHistory) -> tuple[float, int, int]:
    """Return the clock (s), and the server's commands and bytes sent so far."""
    stats: dict[str, Any] = await history._link.client.info("stats")
    now = time.perf_counter()
    return now, stats["total_commands_processed"], stats["total_net_output_bytes"]


async def measured(history: RedisHistory, work: Awaitable[Any]) -> tuple[Any, list[float]]:
    """Return what ``work`` returned, and its seconds, commands and megabytes."""
    before = await counters(history)
    got = await work
    after = await counters(history)
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return got, [spent[0], spent[1], spent[2] / 1e6]


async def read_all(history: RedisHistory, conversations: int) -> int:
    """Read every turn and do nothing with it."""
    total = 0
    for start in range(0, conversations, 25):
        pipe = history._link.client.pipeline(transaction=False)
        for number in range(start, min(start + 25, conversations)):
            pipe.lrange(conversation_key(history.tenant, f"c{number}", "turns"), 0, -1)
        total += sum(len(records) for records in await pipe.execute())
    return total


async def run(args: argparse.Namespace) -> None:
    """Fill a Redis, search it, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        async with await RedisHistory.open(folder=Path(folder), timeout=60) as history:
            await fill(history, args)
            print(f"{args.conversations:,} conversations x {args.turns} turns")
            print(f"{'':34}{'found':>7}{'turns':>9}" + "".join(f"{name:>11}" for name in SPENT))
            for what, words in (
                ("in the oldest turn only", "xylophone"),
                ("in no turn", "zeppelin"),
                ("in every turn, the last 20", "everywhere"),
            ):
                result, spent = await measured(history, history.search(words, seconds=600))
                figures = "".join(f"{value:>11,.2f}" for value in spent)
                print(f"{what:34}{len(result.found):>7}{result.turns:>9,}{figures}")
            count, spent = await measured(history, read_all(history, args.conversations))
            figures = "".join(f"{value:>11,.2f}" for value in spent)
            print(f"{'reference: reading alone':34}{'':>7}{count:>9,}{figures}")


def main() -> None:
    """Read options and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--conversations", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--german", action="store_true", help="umlauts in every answer")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
