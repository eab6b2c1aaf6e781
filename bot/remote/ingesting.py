"""Files on their way into a service's library: uploaded by the batch, each batch waited for.

Knows nothing of how files are read.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import anyio
import httpx

from bot.errors import KNOWN_ERRORS, ServiceError
from bot.remote.conversations import other_form
from bot.remote.events import sent_events
from bot.remote.problems import Meaning
from bot.remote.wire import Broken, Wire, segment
from retrievers.errors import LibraryError, SourceRefused
from retrievers.ingest.run import IngestEvent, Report, State
from retrievers.ingest.walk import find

FILES = 32  #: of a batch, at most
BYTES = 64 * 1024 * 1024  #: of a batch, unless one file has more
_MEANING = Meaning(absent=LibraryError, invalid=SourceRefused)
_DONE = ("indexed", "unchanged", "skipped")


async def ingest(
    wire: Wire,
    library: str,
    paths: Sequence[str | Path],
    tell: Callable[[IngestEvent], None],
) -> Report:
    """Upload files and folders, and wait until they are taken in; ``tell`` hears how far it is."""
    found = await anyio.to_thread.run_sync(find, paths)
    run = _Run(tell, Report(skipped=list(found.skipped)))
    files: dict[str, tuple[Path, int]] = {}
    for file in found.files:
        if file.path.name in files:
            told = "another file of this name was uploaded just now; rename one"
            run.report.skipped.append((str(file.path), told))
        else:
            files[file.path.name] = (file.path, file.path.stat().st_size)
    run.total = len(files)
    run.say("start")
    for batch in _batches(list(files.values())):
        await _upload(wire, library, batch, run)
        if run.report.stopped:
            break
    run.report.seconds = time.monotonic() - run.began
    run.say("end")
    return run.report


def _batches(files: list[tuple[Path, int]]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    size = 0
    for path, bytes in files:
        if batch and (len(batch) >= FILES or size + bytes > BYTES):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += bytes
    if batch:
        yield batch


@dataclass
class _Run:
    """What became of the files so far, and whom to tell."""

    tell: Callable[[IngestEvent], None]
    report: Report
    total: int = 0
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    before: dict[str, int] = field(default_factory=dict)  #: counts of the batches before
    seen: set[str] = field(default_factory=set)

    def say(self, state: State, file: str = "", reason: str = "", **of: int) -> None:
        """Tell of one step."""
        self.tell(
            IngestEvent(
                state,
                file,
                reason,
                done=self.done,
                total=self.total,
                pages=self.report.pages,
                pictures=self.report.pictures,
                passages=self.report.passages,
                seconds=time.monotonic() - self.began,
                **of,
            )
        )

    def begin(self) -> None:
        """Note that a batch begins: a job counts from nought."""
        report = self.report
        self.before = {
            "pages": report.pages, "pictures": report.pictures, "passages": report.passages
        }  # fmt: skip

    def take(self, job: Any, batch: Sequence[Path]) -> None:
        """Take in how far a job is; its files come in the order in which they were sent."""
        for name, count in self.before.items():
            setattr(self.report, name, count + int(job[name]))
        for path, one in zip(batch, job["files"], strict=True):
            state, reason = str(one["state"]), str(one["reason"])
            if state not in _DONE or str(path) in self.seen:
                continue
            self.seen.add(str(path))
            self.done += 1
            self.report.indexed += state == "indexed"
            self.report.unchanged += state == "unchanged"
            if state == "skipped":
                self.report.skipped.append((str(path), reason))
            assert state in get_args(State)
            self.say(state, str(path), reason)  # type: ignore[arg-type]
        if job["ended"] is None:
            self.say("progress", str(job["file"]), step=int(job["step"]), steps=int(job["steps"]))


async def _upload(wire: Wire, library: str, batch: list[Path], run: _Run) -> None:
    """Upload files, and wait for their job; whoever stops waiting stops it."""
    run.begin()
    with ExitStack() as stack:
        try:
            opened = [stack.enter_context(path.open("rb")) for path in batch]
        except OSError as error:
            raise SourceRefused(f"{error.filename}: {error.strerror or error}") from error

        def form() -> list[Any]:
            for file in opened:
                file.seek(0)
            named = zip(batch, opened, strict=True)
            return [
                ("files", (path.name, file, "application/octet-stream")) for path, file in named
            ]

        job = await wire.json(
            "POST", "/v1/sources", _MEANING, again=False, params={"library": library}, files=form
        )
    address = f"/v1/jobs/{segment(str(job['id']))}"
    try:
        job = await _followed(wire, address, batch, run)
    except BaseException:
        with anyio.CancelScope(shield=True), anyio.move_on_after(5), suppress(*KNOWN_ERRORS):
            await wire.data("DELETE", address, _MEANING)
        raise
    if job["state"] == "failed":
        raise ServiceError(f"the files were not taken in: {job['reason']}", kind="job-failed")
    run.report.stopped = job["state"] == "stopped"


async def _followed(wire: Wire, address: str, batch: list[Path], run: _Run) -> Any:
    """Follow a job to its end, and return it; a stream that breaks is followed anew."""
    broken = 0
    while True:
        try:
            async with wire.answer("GET", f"{address}/events", _MEANING) as response:
                async for _, kind, job in sent_events(response):
                    broken = 0
                    if kind == "error":
                        continue  # the service stops; another process may go on
                    try:
                        run.take(job, batch)
                    except (KeyError, TypeError, ValueError, AttributeError):
                        raise other_form() from None
                    if kind == "end":
                        return job
            trouble = Broken(EOFError())
        except httpx.TransportError as error:
            trouble = Broken(error)
        broken += 1
        if broken > 5:
            raise wire.unreachable(trouble)
        await anyio.sleep(0.2 * broken)
