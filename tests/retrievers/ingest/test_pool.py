"""Parsing processes are bounded, replaced when they are lost, and leave nothing behind."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from retrievers.document import Document
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.pool import Job, Outcome, Pool

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits and signals are POSIX's")
PLAIN = ParseOptions(ocr=False)


def _notes(folder: Path, count: int) -> list[Job]:
    jobs = []
    for number in range(count):
        path = folder / f"note{number}.md"
        path.write_text(f"# Note {number}\n\nThe word is w{number}.\n")
        jobs.append(Job(number, path))
    return jobs


def _read(outcome: Outcome) -> Document:
    assert outcome.folder is not None
    value = json.loads((outcome.folder / "document.json").read_text("ascii"))
    return Document.from_json(value)


def _endless(folder: Path, key: int) -> Job:
    """A file that never ends: a named pipe that nobody writes to."""
    path = folder / "endless.md"
    os.mkfifo(path)
    return Job(key, path)


def test_every_job_has_one_outcome_and_its_files_are_gone_afterwards(tmp_path: Path) -> None:
    jobs = _notes(tmp_path, 7)
    seen: dict[int, str] = {}
    with Pool(2, PLAIN) as pool:
        folders = []
        for outcome in pool.run(jobs):
            seen[outcome.job.key] = _read(outcome).passages[0].text
            folders.append(outcome.folder)
    assert seen == {n: f"The word is w{n}." for n in range(7)}
    assert not any(folder is not None and folder.exists() for folder in folders)


def test_a_refused_file_is_an_outcome_and_costs_no_process(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"%PDF-1.4 broken")
    with Pool(1, PLAIN) as pool:
        outcomes = {o.job.key: o for o in pool.run([Job(9, bad), *_notes(tmp_path, 2)])}
        assert pool.deaths == 0
    assert outcomes[9].reason == "bad.pdf: a malformed PDF file"
    assert outcomes[0].folder is not None


def test_a_file_that_takes_too_long_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    jobs = [_endless(tmp_path, 99), *_notes(tmp_path, 3)]
    with Pool(1, ParseOptions(ocr=False, seconds=1.0)) as pool:
        outcomes = {o.job.key: o for o in pool.run(jobs)}
        assert pool.deaths == 1
    assert outcomes[99].died
    assert "was given up" in outcomes[99].reason
    assert all(outcomes[n].folder is not None for n in range(3))


@pytest.mark.parametrize(
    ("number", "passing"),
    [(signal.SIGSEGV, False), (signal.SIGKILL, False), (signal.SIGTERM, True)],
)
def test_a_crash_is_an_outcome_and_the_process_is_replaced(
    tmp_path: Path, number: signal.Signals, passing: bool
) -> None:
    jobs = [_endless(tmp_path, 99), *_notes(tmp_path, 2)]
    with Pool(1, PLAIN) as pool:

        def kill() -> None:
            # opening the pipe for writing returns once the child has opened it for reading
            with (tmp_path / "endless.md").open("wb"):
                process = pool._children[0].process
                assert process is not None
                os.kill(process.pid, number)

        thread = threading.Thread(target=kill)
        thread.start()
        outcomes = {o.job.key: o for o in pool.run(jobs)}
        thread.join()
    assert outcomes[99].reason == f"endless.md: the process that read it crashed ({number.name})"
    assert outcomes[99].passing is passing
    assert all(outcomes[n].folder is not None for n in range(2))


def test_a_file_that_needs_too_much_memory_is_refused_with_the_limit(
    tmp_path: Path, photo: Callable[..., Image.Image]
) -> None:
    big = tmp_path / "big.png"
    Image.new("RGB", (7900, 7900), "red").save(big, compress_level=1)
    small = tmp_path / "small.png"
    photo().save(small)
    options = ParseOptions(ocr=False, memory_bytes=700 * 1024 * 1024)
    with Pool(1, options) as pool:
        outcomes = {o.job.key: o for o in pool.run([Job(0, big), Job(1, small)])}
    assert outcomes[0].folder is None
    assert outcomes[0].reason.startswith("big.png: ")
    assert outcomes[1].folder is not None


def test_leaving_early_ends_all_processes(tmp_path: Path) -> None:
    with Pool(2, PLAIN) as pool:
        run = pool.run([*_notes(tmp_path, 4), _endless(tmp_path, 99)])
        next(run)
        processes = [c.process for c in pool._children if c.process is not None]
        run.close()  # type: ignore[attr-defined]
        assert all(process.poll() is not None for process in processes)
