"""Redis' memory under lifetimes: turns for a while, and whether its plateau stays where it began.

    python tests/benchmarks/soak_memory.py [--turns 20000] [--rate 40] [--ttl 20]

Writes turns at a steady rate on an embedded Redis: half to conversations that never end, half to
ones that end after ten turns; every fourth with a picture of 20 kB of its own, and its caption.
Turns live ``--ttl`` seconds, captions two thirds and pixels half of that. Prints the memory that
Redis uses by lifetime, and its mean in the last three to that in the third to fifth, where the
plateau begins. A machine that cannot keep the rate measures that, and not the lifetimes: the rate
is printed, too.
"""

import argparse
import asyncio
import hashlib
import random
import statistics
import sys
import tempfile
import time
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
    """What was measured: bytes that Redis used, one mean for each lifetime that passed; keys and
    listed conversations at the end; conversations begun; those left once all had time to go; and
    turns a second."""

    used: list[float]
    keys: int
    listed: int
    begun: int
    left: int
    rate: float

    @property
    def growth(self) -> float:
        """Memory in the last three lifetimes, to that in the three where the plateau begins."""
        return statistics.mean(self.used[-3:]) / statistics.mean(self.used[2:5])


async def soak(folder: Path, turns: int, rate: float, ttl: float) -> Soaked:
    """Write ``turns`` turns at ``rate`` a second, with lifetimes of ``ttl`` seconds and less."""
    lifetimes = Lifetimes(pictures=ttl / 2, captions=ttl / 1.5, turns=ttl)
    samples: list[tuple[float, float]] = []
    async with await RedisHistory.open(folder=folder, timeout=30, lifetimes=lifetimes) as history:
        client: Any = history._link.client
        began = slot = time.monotonic()
        for number in range(turns):
            slot = max(slot + 1 / rate, time.monotonic())  # what is late is not caught up with
            await asyncio.sleep(slot - time.monotonic())
            await _turn(history, number)
            if number % 20 == 0:
                used = (await client.info("memory"))["used_memory"]
                samples.append((time.monotonic() - began, used))
        rate = turns / (time.monotonic() - began)
        keys, listed = await client.dbsize(), len(await history.conversations())
        await asyncio.sleep(1.2 * ttl)
        await history.save("last", Turn("last", Message("q"), Message("a"), time.time()))
        index = await client.zcard("bifocal:t:{default}:conversations")
    spans = max(3, int(samples[-1][0] / ttl))
    used_by = [[u for at, u in samples if int(at / ttl) == span] for span in range(spans)]
    begun = ENDLESS + (turns // 2) // SHORT
    return Soaked([statistics.mean(u) for u in used_by if u], keys, listed, begun, index, rate)


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
    parser.add_argument("--rate", type=float, default=40)
    parser.add_argument("--ttl", type=float, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = asyncio.run(soak(Path(folder), args.turns, args.rate, args.ttl))
    print("MB used, by lifetime:", " ".join(f"{used / 1e6:.1f}" for used in done.used))
    print(f"the last to the first of the plateau: {done.growth:.3f}  (0.9 to 1.1)")
    print(f"{done.rate:.1f} turns a second")
    print(f"{done.begun} conversations begun, {done.listed} listed at the end, {done.keys} keys;")
    print(f"{done.left} listed after all had time to go")
    return 0 if 0.9 <= done.growth <= 1.1 else 1


if __name__ == "__main__":
    sys.exit(main())
