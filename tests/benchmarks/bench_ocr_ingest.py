"""How much faster two parsing processes read pictures than one: OCR ingestion, end to end.

    python tests/benchmarks/bench_ocr_ingest.py [--pictures 32] [--rounds 3] [--receipts FOLDER]

Pictures are scanned receipts where a folder of them is given or lies beside the checkout, else
drawn ones. Each round ingests all of them into a new library, with one worker and then with two;
the fastest round counts, because other work on the machine only ever slows a round down. The
start of the processes and of the models is part of the time.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from retrievers.encoders import Encoder
from retrievers.encoders.registry import load_encoder
from retrievers.ingest.pipeline import Ingestor
from retrievers.library import Library

RECEIPTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "sroie" / "img"
MARK = 1.7


def main() -> int:
    """Return 0 when two workers reach the mark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--receipts", type=Path, default=RECEIPTS)
    given = parser.parse_args()
    encoders = load_encoder("wordllama"), load_encoder("descriptor")
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        paths = _pictures(given.receipts, given.pictures, Path(folder))
        for turn in range(given.rounds):
            for workers in (1, 2) if turn % 2 == 0 else (2, 1):
                rates[workers].append(_rate(paths, workers, encoders))
    print(f"{len(paths)} pictures, {given.rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'workers':>8}{'pictures/s':>14}{'each round':>40}")
    for workers, found in rates.items():
        each = "  ".join(f"{rate:.2f}" for rate in found)
        print(f"{workers:>8}{max(found):>14.2f}{each:>40}")
    print(f"two busy loops got {_machine():.2f} times one's work done on this machine just now")
    ratio = max(rates[2]) / max(rates[1])
    print(f"two workers read {ratio:.2f} times as many as one (mark: {MARK})")
    return 0 if ratio >= MARK else 1


def _machine() -> float:
    """Return what two processes of plain arithmetic get done, in units of one: 2 when idle."""
    command = [sys.executable, "-S", "-c", "x = 0\nfor i in range(20_000_000): x += i * i"]

    def seconds(count: int) -> float:
        began = time.perf_counter()
        for process in [subprocess.Popen(command) for _ in range(count)]:
            process.wait()
        return time.perf_counter() - began

    return 2 * min(seconds(1) for _ in range(3)) / min(seconds(2) for _ in range(3))


def _rate(paths: list[Path], workers: int, encoders: tuple[Encoder, Encoder]) -> float:
    with tempfile.TemporaryDirectory() as folder, Library.open(folder, create=True) as library:
        began = time.perf_counter()
        report = Ingestor(library, *encoders, workers=workers).run(list(paths))
        took = time.perf_counter() - began
        if report.indexed != len(paths):
            raise SystemExit(f"only {report.indexed} of {len(paths)} pictures were read")
        return len(paths) / took


def _pictures(receipts: Path, count: int, folder: Path) -> list[Path]:
    found = sorted(receipts.glob("*.jpg"))[:count] if receipts.is_dir() else []
    return found or [_draw(folder / f"receipt{number:03}.png", number) for number in range(count)]


def _draw(path: Path, seed: int) -> Path:
    """Draw a receipt of about 40 lines."""
    chance = random.Random(seed)
    image = Image.new("RGB", (720, 1600), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(26)
    for line in range(40):
        name = " ".join(chance.choice(("TEA", "RICE", "FISH", "SOAP", "OIL")) for _ in range(3))
        pen.text((40, 30 + 38 * line), name, fill="black", font=font)
        pen.text((560, 30 + 38 * line), f"{chance.uniform(1, 90):.2f}", fill="black", font=font)
    image.save(path)
    return path


if __name__ == "__main__":
    raise SystemExit(main())
