"""One run of ingestion: its files, its counts, and the events that tell of them.

Knows which files are new or have changed; knows nothing of parsing or of encoders.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from retrievers.document import Document
from retrievers.errors import LibraryError
from retrievers.ingest.pool import Job
from retrievers.ingest.walk import Found, FoundFile
from retrievers.library import Library, Source

State = Literal["start", "progress", "indexed", "unchanged", "skipped", "removed", "end"]


@dataclass(frozen=True, slots=True)
class IngestEvent:
    """One step of a run, with the counts so far; enough to draw a bar with rates and time left.

    ``file`` is the source's name; ``step`` of ``steps`` is how far a long file is. ``seconds`` is
    since the start, ``bytes_done`` of ``bytes_total`` weighs files by size.
    """

    state: State
    file: str = ""
    reason: str = ""
    done: int = 0
    total: int = 0
    pages: int = 0
    pictures: int = 0
    passages: int = 0
    step: int = 0
    steps: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """The time that the rest will take at the pace so far; ``None`` before there is one."""
        if not self.bytes_done or not self.done:
            return None
        by_size = self.bytes_total / self.bytes_done
        by_count = self.total / self.done
        return max(0.0, self.seconds * ((by_size + by_count) / 2 - 1))


@dataclass(slots=True)
class Report:
    """What a run did. ``skipped`` holds names and reasons; ``notices`` what was left out of files.

    ``stopped`` is true when it ended early because it was asked to.
    """

    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    pages: int = 0
    pictures: int = 0
    passages: int = 0
    seconds: float = 0.0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notices: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False
    deaths: int = 0


class Run:
    """One run's files, counts and events."""

    def __init__(
        self, library: Library, found: Found, on_event: Callable[[IngestEvent], None]
    ) -> None:
        self.library = library
        self.found = found
        self.files = found.files
        self.on_event = on_event
        self.report = Report(skipped=list(found.skipped))
        self.hashes: dict[int, str] = {}
        self.done = 0
        self.bytes_done = 0
        self.bytes_total = sum(file.size for file in found.files)
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self.began

    def tell(
        self, state: State, file: str = "", reason: str = "", step: int = 0, steps: int = 0
    ) -> None:
        """Send an event with the counts as they are."""
        self.on_event(
            IngestEvent(
                state=state,
                file=file,
                reason=reason,
                done=self.done,
                total=len(self.files),
                pages=self.report.pages,
                pictures=self.report.pictures,
                passages=self.report.passages,
                step=step,
                steps=steps,
                bytes_done=self.bytes_done,
                bytes_total=self.bytes_total,
                seconds=self.seconds,
            )
        )

    def progress(self, job: Job, step: int, steps: int) -> None:
        """Pass on how far a long file is."""
        self.tell("progress", self.files[job.key].name, step=step, steps=steps)

    def pending(self, retry: bool) -> Iterator[tuple[Job, FoundFile]]:
        """Yield jobs for the files that are new or have changed; count the others."""
        for key, file in enumerate(self.files):
            known = self.library.source(file.name)
            same = known is not None and (known.size, known.mtime_ns) == (file.size, file.mtime_ns)
            again = retry and known is not None and known.state == "skipped"
            if known is not None and same and not again:
                self._keep(file, known)
                continue
            try:
                self.hashes[key] = _digest(file)
            except OSError as error:
                self.skip(file, None, f"cannot be read ({error.strerror or error})")
                continue
            if known is not None and known.sha256 == self.hashes[key] and not again:
                if not same:
                    self.library.touch(file.name, size=file.size, mtime_ns=file.mtime_ns)
                self._keep(file, known)
                continue
            yield Job(key, file.path, file.told), file

    def source(self, key: int) -> Source:
        """Return the record of a file, with the size and time it had when it was hashed."""
        file = self.files[key]
        return Source(
            name=file.name,
            sha256=self.hashes[key],
            size=file.size,
            mtime_ns=file.mtime_ns,
            kind=file.kind,
            indexed_at=time.time(),
        )

    def indexed(self, file: FoundFile, document: Document) -> None:
        """Count a file that was stored."""
        self.report.indexed += 1
        self.report.pages += document.pages
        self.report.pictures += len(document.pictures)
        self.report.passages += len(document.passages)
        self.report.notices.extend((file.name, notice) for notice in document.notices)
        self._count(file)
        self.tell("indexed", file.name, "; ".join(document.notices))

    def skip(self, file: FoundFile, source: Source | None, reason: str) -> None:
        """Record a file that gave nothing; it is not tried again until it changes.

        The reason is kept without the file's name, which stands beside it everywhere. Without
        ``source`` it is a passing one, and the next run tries the file again.
        """
        reason = " ".join(reason.split())[:500].removeprefix(f"{file.path.name}: ")
        if source is not None:
            self.library.skip(source, reason)
        self.report.skipped.append((file.name, reason))
        self._count(file)
        self.tell("skipped", file.name, reason)

    def _keep(self, file: FoundFile, known: Source) -> None:
        self._count(file)
        if known.state == "skipped":
            self.report.skipped.append((file.name, known.reason))
            self.tell("skipped", file.name, known.reason)
        else:
            self.report.unchanged += 1
            self.tell("unchanged", file.name)

    def _count(self, file: FoundFile) -> None:
        self.done += 1
        self.bytes_done += file.size

    def drop_notes(self) -> None:
        """Forget texts that are now their picture's sidecars."""
        for name in sorted(self.found.notes):
            if self.library.source(name) is not None:
                self._forget(name)

    def prune(self) -> None:
        """Forget the sources under the walked folders whose files are gone."""
        for source in self.library.sources():
            path = Path(source.name)
            under = any(path.is_relative_to(folder) for folder in self.found.folders)
            if under and not path.exists():
                self._forget(source.name)

    def _forget(self, name: str) -> None:
        try:
            self.library.forget(name)
        except LibraryError:  # another process was faster
            return
        self.report.removed += 1
        self.tell("removed", name)


def _digest(file: FoundFile) -> str:
    """Return the SHA-256 of a file, its sidecars, and what documents say of it."""
    with file.path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256")
    if file.notes or file.told:
        for note in file.notes:
            digest.update(b"\x00" + note.name.encode() + b"\x00" + note.read_bytes())
        digest.update(json.dumps(file.told, sort_keys=True).encode())
    return digest.hexdigest()
