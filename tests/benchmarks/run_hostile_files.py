"""Runs every hostile picture and document through ingestion and reports what became of them.

    python tests/benchmarks/run_hostile_files.py [FOLDER] [--workers N]

Each file must end with a state, and the parent must not die; the figures are printed as a table.
The set (malformed pictures and PDFs, decompression bombs) is read where it lies and never copied.
"""

import argparse
import collections
import resource
import shutil
import tempfile
import time
from pathlib import Path

from retrievers.encoders.registry import load_encoder
from retrievers.errors import PictureRefused
from retrievers.imaging import read_picture
from retrievers.ingest.kinds import kind_of_name
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.pipeline import IngestEvent, Ingestor
from retrievers.library import Library

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "data" / "hostile"


def main() -> int:
    """Return 0 when every file ended with a state."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--no-ocr", action="store_true")
    given = parser.parse_args()
    if not given.folder.is_dir():
        print(f"{given.folder}: no such folder; give the folder of hostile files")
        return 2
    paths = [p for p in (given.folder / n for n in ("images", "pdf", "generated")) if p.is_dir()]
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as named,
        Library.open(folder, create=True) as library,
    ):
        _with_extensions(paths or [given.folder], Path(named))
        failed = _ingest(library, [Path(named)], given)
    _in_process(paths or [given.folder])
    return failed


def _with_extensions(paths: list[Path], folder: Path) -> None:
    """Copy the files into a passing folder; those of a corpus without extensions get its format's.

    Without an extension a file is passed over, and its content would test nothing.
    """
    formats = ("png", "jpeg", "gif", "webp", "tiff", "bmp", "pdf")
    for path in sorted(p for root in paths for p in root.rglob("*") if p.is_file()):
        place = str(path.parent).lower()
        kind = next((f for f in formats if f in place), "png")
        suffix = path.suffix if kind_of_name(path) else f".{kind}"
        number = len(list(folder.iterdir()))
        shutil.copyfile(path, folder / f"{number:05}-{path.stem.lstrip('.')[:60]}{suffix}")


def _ingest(library: Library, paths: list[Path], given: argparse.Namespace) -> int:
    times: list[tuple[float, str]] = []
    last = time.monotonic()

    def watch(event: IngestEvent) -> None:
        nonlocal last
        if event.state in ("indexed", "skipped") and event.file:
            times.append((time.monotonic() - last, event.file))
            last = time.monotonic()

    ingestor = Ingestor(
        library,
        load_encoder("wordllama"),
        load_encoder("descriptor"),
        workers=given.workers,
        options=ParseOptions(ocr=not given.no_ocr),
    )
    began = time.monotonic()
    report = ingestor.run(list(paths), on_event=watch)
    took = time.monotonic() - began
    states = {source.name: source.state for source in library.sources()}
    reasons = collections.Counter(
        reason.split(": ", 1)[-1].split("(")[0][:70] for _, reason in report.skipped
    )
    named = {name for name, _ in report.skipped}
    lost = [s for s in states if states[s] == "skipped" and s not in named]
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'files':28}{len(states) + len(named - set(states)):>10}")
    print(f"{'indexed':28}{report.indexed:>10}")
    print(f"{'skipped, with a reason':28}{len(report.skipped):>10}")
    print(f"{'without a state':28}{len(lost):>10}")
    print(f"{'child processes lost':28}{report.deaths:>10}")
    print(f"{'parent, most memory':28}{own:>7.0f} MB")
    print(f"{'child, most memory':28}{child:>7.0f} MB")
    print(f"{'time':28}{took:>8.0f} s")
    for seconds, name in sorted(times, reverse=True)[:5]:
        print(f"  {seconds:6.1f} s  {Path(name).name}")
    for reason, count in reasons.most_common(25):
        print(f"  {count:6}  {reason}")
    for name, reason in report.skipped:
        if "process that read" in reason or "took longer" in reason or "memory" in reason:
            print(f"  lost: {name}: {reason}")
    return 1 if lost else 0


def _in_process(paths: list[Path]) -> None:
    """Read every picture in this process, as channels do with what users attach."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    read = refused = 0
    slowest = (0.0, "")
    for path in sorted(p for root in paths for p in root.rglob("*") if p.is_file()):
        began = time.monotonic()
        try:
            read_picture(path)
            read += 1
        except PictureRefused:
            refused += 1
        slowest = max(slowest, (time.monotonic() - began, path.name))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("read_picture, in this process")
    print(f"{'read / refused':28}{read:>6} / {refused}")
    print(f"{'memory above':28}{after - before:>7.0f} MB")
    print(f"{'slowest':28}{slowest[0]:>7.2f} s  {slowest[1]}")


if __name__ == "__main__":
    raise SystemExit(main())
