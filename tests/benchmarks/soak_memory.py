"""Redis' memory under lifetimes: turns for a while, and whether its plateau stays where it began.

    python tests/benchmarks/soak_memory.py [--turns 20000] [--rate 60] [--ttl 10]

Writes turns at a steady rate on an embedded Redis: half to conversations that never end, half to
ones that end after ten turns; every fourth with a picture of 20 kB of its own, and its caption.
Turns live ``--ttl`` seconds, captions two thirds and pixels half of that. Prints, by lifetime that
passed, the memory that Redis uses and how many turns were alive; and what a living turn takes in
the last three lifetimes, to the three where the plateau begins. (A busy machine does not keep the
rate, so fewer turns are alive then; what one takes stays the same.)
"""

import argparse
import asyncio
import hashlib
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory.lifetimes import Lifetimes
from memory.messages import Message, PictureRef, Turn
from memory.redis_history import RedisHistory

ENDLESS = 20  #: conversations that never end
SHORT = 10  #: turns of the others


@dataclass(frozen=True)
class Soaked:
    """What was measured: by lifetime that passed, bytes that Redis used beyond those of an empty
    one, and turns alive; listed conversations at the end; conversations begun; those left once all
    had time to go; and turns a second."""

    used: list[float]
    alive: list[float]
    listed: int
    begun: int
    left: int
    rate: float

    @property
    def growth(self) -> float:
        """Bytes of a living turn in the last three lifetimes, to those in the third to fifth."""
        return self._bytes(slice(-3, None)) / self._bytes(slice(2, 5))

    def _bytes(self, spans: slice) -> float:
        return sum(self.used[spans]) / sum(self.alive[spans])


async def soak(folder: Path, turns: int, rate: float, ttl: float) -> Soaked:
    """Write ``turns`` turns at ``rate`` a second, with lifetimes of ``ttl`` seconds and less."""
    lifetimes = Lifetimes(pictures=ttl / 2, captions=ttl / 1.5, turns=ttl)
    samples: list[tuple[float, float, int]] = []  # second, bytes, turns alive
    written: deque[float] = deque()
    async with await RedisHistory.open(folder=folder, timeout=30, lifetimes=lifetimes) as history:
        client: Any = history._link.client
        empty = (await client.info("memory"))["used_memory"]
        began = slot = time.monotonic()
        for number in range(turns):
            slot = max(slot + 1 / rate, time.monotonic())  # what is late is not caught up with
            await asyncio.sleep(slot - time.monotonic())
            await _turn(history, number)
            now = time.monotonic()
            written.append(now)
            while written[0] < now - ttl:
                written.popleft()
            if number % 20 == 0:
                used = (await client.info("memory"))["used_memory"]
                samples.append((now - began, used - empty, len(written)))
        rate = turns / (time.monotonic() - began)
        listed = len(await history.conversations())
        await asyncio.sleep(1.2 * ttl)
        await history.save("last", Turn("last", Message("q"), Message("a"), time.time()))
        index = await client.zcard("bifocal:t:{default}:conversations")
    spans = [int(at / ttl) for at, _, _ in samples]
    used, alive = (
        [
            statistics.mean(s[column] for s, at in zip(samples, spans, strict=True) if at == span)
            for span in sorted(set(spans))
        ]
        for column in (1, 2)
    )
    begun = ENDLESS + (turns // 2) // SHORT
    return Soaked(used, alive, listed, begun, index, rate)


async def _turn(history: RedisHistory, number: int) -> None:
    name = f"endless {number % ENDLESS}" if number % 2 else f"short {number // 2 // SHORT}"
    words = " ".join(f"word{random.randrange(1000)}" for _ in range(60))
    pictures: tuple[PictureRef, ...] = ()
    blobs: dict[str, bytes] = {}
    if number % 4 == 0 or number % 4 == 3:
        data = random.randbytes(20_000)
        sha = hashlib.sha256(data).hexdigest()
        ref = PictureRef(10**6, sha, "image/png", 1, 1, len(data), caption=words[:100])
        pictures, blobs = (ref,), {sha: data}
    turn = Turn(
        f"{number}",
        Message(words, tuple(p.number for p in pictures)),
        Message(words),
        time.time(),
        ledger={"evidence": [{"id": words[:20]}] * 8},
    )
    await history.save(name, turn, pictures, blobs)


def main() -> int:
    """Run it, print, and return 1 when the plateau moved by more than a tenth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=60)
    parser.add_argument("--ttl", type=float, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = asyncio.run(soak(Path(folder), args.turns, args.rate, args.ttl))
    print("MB used, by lifetime:", " ".join(f"{used / 1e6:.1f}" for used in done.used))
    print("turns alive:", " ".join(f"{alive:.0f}" for alive in done.alive))
    print(f"a living turn, last to first of the plateau: {done.growth:.3f}  (0.9 to 1.1)")
    print(f"{done.rate:.1f} turns a second; {done.begun} conversations begun, {done.listed} listed")
    print(f"at the end, {done.left} (the last one) after all had time to go")
    return 0 if 0.9 <= done.growth <= 1.1 else 1


if __name__ == "__main__":
    sys.exit(main())
