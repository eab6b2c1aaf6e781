"""What a turn costs by itself, with 10,000 passages: everything but the encoder and the model.

    python tests/benchmarks/bench_turn.py [--data ../shared/data] [--passages 10000] [--turns 200]

Builds a library of SciFact's abstracts, sentence by sentence, asks its claims through a real
``ChatBot`` on an embedded Redis, and prints the median milliseconds by step, how many turns a
second an ``AsyncChatBot`` answers one by one and 16 at once, the time that ``ChatBot.open`` takes
in a fresh process, and that of ``bifocal --help``.
"""

import argparse
import asyncio
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bot import ChatBot, Settings
from bot.build import load_encoders
from retrievers.document import Document, Passage
from retrievers.library import Library, Source, encoded_text

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LEFT_OUT = ("encode", "generate", "total")


def passages(data: Path, count: int) -> Iterator[tuple[str, list[Passage]]]:
    """Yield abstracts as sources, a passage for each two sentences, until there are enough."""
    made = 0
    with (data / "scifact" / "corpus.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            value = json.loads(line)
            sentences = re.split(r"(?<=[.!?])\s+", value["text"])
            texts = [" ".join(sentences[i : i + 2]) for i in range(0, len(sentences), 2)]
            found = [Passage(t, heading=value["title"]) for t in texts if t.strip()]
            found = found[: count - made]
            made += len(found)
            yield f"{value['_id']}.txt", found
            if made >= count:
                return


def build(data: Path, folder: Path, count: int) -> int:
    """Put the passages into a library; return how many there are."""
    text, look = load_encoders(Settings(library=folder))
    with Library.open(folder, create=True) as library:
        library.claim("text", text)
        library.claim("look", look)
        for name, found in passages(data, count):
            rows = text.encode_texts([encoded_text(p.heading, p.text) for p in found])
            source = Source(name, name, 0, 0, "text")
            library.replace(source, Document(passages=tuple(found)), {}, {"text": rows})
        return library.counts().passages


def timed(*command: str, rounds: int = 5) -> float:
    """Return the median seconds of a command."""
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


async def throughput(library: Path, asked: list[str], seconds: float = 8) -> None:
    """Print turns a second of conversations that each ask one turn after another."""
    async with ChatBot.aopen(library, model="extractive") as bot:
        await bot.ask("warm up")
        for many in (1, 16):
            answered, began = 0, time.perf_counter()
            spent = time.process_time()

            async def ask_on(first: int, end: float = began + seconds) -> None:
                nonlocal answered
                for text in itertools.islice(itertools.cycle(asked), first, None):
                    if time.perf_counter() > end:
                        return
                    await bot.ask(text, conversation=f"{many}-{first}")  # noqa: B023
                    answered += 1

            await asyncio.gather(*(ask_on(n * len(asked) // many) for n in range(many)))
            wall, spent = time.perf_counter() - began, time.process_time() - spent
            print(
                f"{many:2} at once: {answered / wall:.1f} turns/s,"
                f" {1000 * spent / answered:.1f} ms of processor a turn"
            )


OPEN = (
    "import sys, time; began = time.perf_counter()\n"
    "from bot import ChatBot\n"
    "imported = time.perf_counter()\n"
    "bot = ChatBot.open(sys.argv[1], model='extractive')\n"
    "opened = time.perf_counter()\n"
    "print(opened - imported, opened - began)\n"
    "bot.close()\n"
)


def main() -> None:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=200)
    args = parser.parse_args()
    if not (args.data / "scifact").is_dir():
        sys.exit(f"{args.data}: no scifact/ there; name the folder with --data")
    queries = (args.data / "scifact" / "queries.jsonl").read_text("utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        count = build(args.data, library, args.passages)
        with ChatBot.open(library, model="extractive") as bot:
            bot.ask("warm up")
            asked = [json.loads(line)["text"] for line in queries[: args.turns]]
            timings = [bot.ask(text, conversation="c").timings for text in asked]
        own = [sum(v for k, v in t.items() if k not in LEFT_OUT) for t in timings]
        print(f"{len(timings)} turns in one conversation, {count} passages; milliseconds")
        print(f"{'step':10} {'p50':>8} {'p95':>8}")
        for step in timings[0]:
            values = sorted(t[step] for t in timings)
            print(
                f"{step:10} {values[len(values) // 2]:8.2f} {values[len(values) * 95 // 100]:8.2f}"
            )
        own.sort()
        middle, late = own[len(own) // 2], own[len(own) * 95 // 100]
        print(f"{'own cost':10} {middle:8.2f} {late:8.2f}  (p50 <= 15)")
        asyncio.run(throughput(library, [json.loads(line)["text"] for line in queries]))
        opened = [
            [
                float(v)
                for v in subprocess.run(
                    [sys.executable, "-c", OPEN, str(library)],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout.split()
            ]
            for _ in range(5)
        ]
        alone, whole = (statistics.median(column) for column in zip(*opened, strict=True))
        print(f"ChatBot.open {alone:.2f} s, with its imports {whole:.2f} s  (<= 1.5)")
        print(f"bifocal --help {timed(sys.executable, '-m', 'bot', '--help'):.2f} s  (<= 0.4)")
        print(f"python -c pass {timed(sys.executable, '-c', 'pass'):.2f} s")


if __name__ == "__main__":
    main()
