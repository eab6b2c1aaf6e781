"""What a turn costs over HTTP, with 10,000 passages and the extractive writer, against its marks.

    python tests/benchmarks/bench_service.py [--data ../shared/data] [--soak 300] [--workers 1 2]

Starts real ``bifocal serve`` processes over a library of SciFact's abstracts (see bench_turn.py)
and asks its claims from a process of its own: one client, then sixteen, then one beside twenty
times what the service takes at once, and, with ``--soak``, sixteen for so many seconds while the
processes' memory is read. In the same run the same turns are asked of an ``AsyncChatBot`` in its
own process, since machines are noisy: the ratio, and that of the processor's time for a turn, say
what HTTP adds.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from bench_turn import DATA, build

from bot import ChatBot

MARKS = {
    "ready": "ready <= 3 s",
    "one": "p50 <= 30 ms",
    "many": ">= 60 turns/s, p99 <= 1 s",
    "soak": "0 errors, memory flat",
    "overload": "503 within 100 ms, then answers again",
}


@dataclass
class Load:
    """What clients saw: milliseconds of each answer, and how many answers were none."""

    spent: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        """Return the figures."""
        values = sorted(self.spent) or [0.0]
        p50, p99 = values[len(values) // 2], values[len(values) * 99 // 100]
        rate = len(self.spent) / max(self.seconds, 1e-9)
        return (
            f"{len(self.spent)} turns, {rate:.1f} turns/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms,"
            f" {len(self.errors)} errors"
        )


@contextmanager
def service(library: Path, *options: str) -> Iterator[tuple[str, float, subprocess.Popen[str]]]:
    """A running service: its address, the seconds until it was ready, and its process."""
    command = [sys.executable, "-m", "bot", "serve", "-l", str(library), "-m", "extractive"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BIFOCAL_SERVE_LOG_LEVEL": "warning"},
    )
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        url = next(m[0] for line in lines if (m := re.search(r"http://127\.0\.0\.1:\d+", line)))
        with httpx.Client(base_url=url, trust_env=False) as client:
            while True:
                try:
                    if client.get("/readyz").is_success:
                        break
                except httpx.TransportError:
                    time.sleep(0.01)
        yield url, time.perf_counter() - began, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def load(url: str, asked: list[str], clients: int, seconds: float) -> Load:
    """Ask turn after turn with so many clients; each goes on in a conversation of its own, which
    is begun anew after ten turns."""
    seen = Load()
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    began = time.perf_counter()

    async with httpx.AsyncClient(
        base_url=url, limits=limits, timeout=60, trust_env=False
    ) as client:

        async def ask_on(first: int) -> None:
            for turn, text in enumerate(itertools.islice(itertools.cycle(asked), first, None)):
                if time.perf_counter() > began + seconds:
                    return
                name = f"{os.getpid()}-{began:.3f}-{first}-{turn // 10}"
                await one(client, {"text": text, "conversation": name}, seen)

        await asyncio.gather(*(ask_on(n * len(asked) // clients) for n in range(clients)))
    seen.seconds = time.perf_counter() - began
    return seen


async def one(client: httpx.AsyncClient, body: dict[str, str], seen: Load) -> None:
    """Ask one turn, and note what came of it."""
    began = time.perf_counter()
    try:
        answer = await client.post("/v1/turns", json=body)
    except httpx.TransportError as error:
        seen.errors.append(type(error).__name__)
        return
    spent = (time.perf_counter() - began) * 1000
    if answer.is_success:
        seen.spent.append(spent)
    elif answer.status_code in (429, 503) and "retry-after" in answer.headers:
        seen.refused.append(spent)
    else:
        seen.errors.append(str(answer.status_code))


def flooding(url: str, asked: list[str], many: int) -> subprocess.Popen[bytes]:
    """Start a process that has so many turns under way all the time, whatever comes of them."""
    command = [sys.executable, __file__, "--flood", url, str(many), *asked[:50]]
    return subprocess.Popen(command)


async def flood(url: str, asked: list[str], many: int) -> None:
    """Ask with so many clients at the same moment, again and again; one that is told to come again
    does so after a second. Does not end by itself."""
    limits = httpx.Limits(max_connections=many, max_keepalive_connections=many)

    async with httpx.AsyncClient(
        base_url=url, limits=limits, timeout=120, trust_env=False
    ) as client:

        async def ask_on(first: int) -> None:
            while True:
                answer = await client.post("/v1/turns", json={"text": asked[first % len(asked)]})
                if not answer.is_success:
                    await asyncio.sleep(1)

        await asyncio.gather(*(ask_on(n) for n in range(many)))


async def queue(client: httpx.AsyncClient) -> float:
    """Return how many turns wait."""
    told = (await client.get("/metrics")).text
    found = re.search(r"^bifocal_turns_waiting (\S+)", told, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def overloaded(url: str, asked: list[str], many: int, seconds: float) -> None:
    """Print what one more client sees beside twenty times the load, what the queue was at most, and
    how long it takes until the service answers again.

    The flood comes from another process: in its own the time until a 503 would be the client's.
    """
    seen, waiting = Load(), [0.0]
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
        flooded = flooding(url, asked, many)
        try:
            while flooded.poll() is None and await queue(client) < 50:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            end = time.perf_counter() + seconds / 2
            while time.perf_counter() < end:
                await one(client, {"text": asked[len(seen.spent) % len(asked)]}, seen)
                waiting.append(await queue(client))
                await asyncio.sleep(0.05)
        finally:
            flooded.terminate()
            flooded.wait(120)
        began = time.perf_counter()
        after = await client.post("/v1/turns", json={"text": asked[0]})
        again = time.perf_counter() - began
    refused = sorted(seen.refused) or [0.0]
    print(
        f"  {many} clients and one: it was answered {len(seen.spent)} times and told to come again"
        f" {len(seen.refused)} times, after {refused[len(refused) // 2]:.0f} ms (p99"
        f" {refused[len(refused) * 99 // 100]:.0f}); {max(waiting):.0f} waited at most; afterwards"
        f" {after.status_code} in {again * 1000:.0f} ms  ({MARKS['overload']})"
    )


async def embedded(library: Path, asked: list[str], clients: int, seconds: float) -> Load:
    """Ask the same of a bot in this process."""
    seen = Load()
    async with ChatBot.aopen(library, model="extractive") as bot:
        await bot.ask("warm up")
        began = time.perf_counter()

        async def ask_on(first: int) -> None:
            for turn, text in enumerate(itertools.islice(itertools.cycle(asked), first, None)):
                if time.perf_counter() > began + seconds:
                    return
                start = time.perf_counter()
                await bot.ask(text, conversation=f"e{clients}-{first}-{turn // 10}")
                seen.spent.append((time.perf_counter() - start) * 1000)

        await asyncio.gather(*(ask_on(n * len(asked) // clients) for n in range(clients)))
        seen.seconds = time.perf_counter() - began
    return seen


def family(process: int) -> Iterator[tuple[Path, list[str]]]:
    """Yield the folder in /proc and the numbers of a process and of its children but for Redis."""
    for found in Path("/proc").glob("[0-9]*"):
        try:
            fields = (found / "stat").read_text().rpartition(")")[2].split()
            name = (found / "comm").read_text()
        except OSError:
            continue
        if process in (int(found.name), int(fields[1])) and "redis" not in name:
            yield found, fields


def memory(process: int) -> float:
    """Return the megabytes that a process and its children hold."""
    pages = (int((found / "statm").read_text().split()[1]) for found, _ in family(process))
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor(process: int) -> float:
    """Return the seconds of processor that a process and its children have spent."""
    ticks = (int(fields[11]) + int(fields[12]) for _, fields in family(process))
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


async def soak(url: str, asked: list[str], process: int, seconds: float) -> None:
    """Print what sixteen clients see for so long, and the memory at every tenth of it."""
    seen, held = Load(), []
    for _ in range(10):
        part = await load(url, asked, 16, seconds / 10)
        seen.spent += part.spent
        seen.errors += part.errors
        seen.seconds += part.seconds
        held.append(memory(process))
    told = " ".join(f"{value:.0f}" for value in held)
    print(f"  soak {seconds:.0f} s: {seen.line()}; MB at each tenth: {told}  ({MARKS['soak']})")


def main() -> None:
    """Build, serve, ask, print."""
    if sys.argv[1:2] == ["--flood"]:
        url, many, *texts = sys.argv[2:]
        asyncio.run(flood(url, texts, int(many)))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--soak", type=float, default=0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    if not (args.data / "scifact").is_dir():
        sys.exit(f"{args.data}: no scifact/ there; name the folder with --data")
    lines = (args.data / "scifact" / "queries.jsonl").read_text("utf-8").splitlines()
    asked = [json.loads(line)["text"] for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        print(f"{build(args.data, library, args.passages)} passages")
        for clients in (1, 16):
            spent = time.process_time()
            seen = asyncio.run(embedded(library, asked, clients, args.seconds))
            spent = (time.process_time() - spent) / max(1, len(seen.spent))
            print(
                f"in process, {clients:2} at once: {seen.line()}, {spent * 1000:.1f} ms of"
                " processor a turn, with opening"
            )
        starts = []
        for _ in range(5):
            with service(library) as (_, seconds, _):
                starts.append(seconds)
        print(f"bifocal serve: ready in {statistics.median(starts):.2f} s  ({MARKS['ready']})")
        for workers in args.workers:
            print(f"{workers} processes:")
            with service(library, "--workers", str(workers)) as (url, _, process):
                asyncio.run(load(url, asked, 4, 2))  # warm up
                for clients, mark in ((1, "one"), (16, "many")):
                    spent = processor(process.pid)
                    seen = asyncio.run(load(url, asked, clients, args.seconds))
                    spent = (processor(process.pid) - spent) / max(1, len(seen.spent))
                    print(
                        f"  {clients:2} clients: {seen.line()}, {spent * 1000:.1f} ms of processor"
                        f" a turn  ({MARKS[mark]})"
                    )
                asyncio.run(overloaded(url, asked, 20 * 16 * workers, max(8.0, args.seconds)))
                if args.soak:
                    asyncio.run(soak(url, asked, process.pid, args.soak))


if __name__ == "__main__":
    main()
