"""Ingestion: from paths to a library that holds what is in them, each file once.

Knows nothing of file formats (``loaders``) or of how processes are kept (``pool``). Stages:

1. find the files, and pass over what is unchanged since the last run
2. parse the others in child processes
3. encode their passages, pictures and pictures' words
4. store each file in one transaction, or record why it was skipped

What was stored stays stored: after Ctrl-C or a kill, the next run goes on with the rest.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from retrievers.document import Document
from retrievers.encoders import Encoder
from retrievers.errors import LibraryError, PictureRefused
from retrievers.evidence import Vectors
from retrievers.imaging import read_picture
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.pool import Job, Outcome, Pool
from retrievers.ingest.walk import Found, FoundFile, find
from retrievers.library import Library, Source, encoded_text

BATCH = 64  # texts or pictures that are encoded at once

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


class Ingestor:
    """Brings files into a library, with the encoders that made it.

    ``workers`` is the number of parsing processes (by default one a core). One run at a time.
    """

    def __init__(
        self,
        library: Library,
        text_encoder: Encoder,
        picture_encoder: Encoder,
        *,
        workers: int | None = None,
        options: ParseOptions | None = None,
    ) -> None:
        self._library = library
        self._text = text_encoder
        self._look = picture_encoder
        self._workers = workers
        self._options = options or ParseOptions()
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask the present run to end after the file in hand; safe in signal handlers."""
        self._stop.set()

    def run(
        self,
        paths: Sequence[str | Path],
        *,
        prune: bool = False,
        retry: bool = False,
        on_event: Callable[[IngestEvent], None] | None = None,
    ) -> Report:
        """Ingest all files under ``paths`` and return what was done.

        Unchanged files (by size and time, else by content) cost nothing; files that were skipped
        are tried again when they have changed, or with ``retry``. ``prune`` drops the sources under
        the given folders whose files are gone. ``on_event`` is called from this thread, but for
        ``"progress"``, which comes from others.

        Raises ``SourceRefused`` for a path that does not exist, before any work;
        ``EncoderMismatch`` when the library was made with other encoders. ``KeyboardInterrupt``
        passes through: what
        was stored by then stays.
        """
        self._stop.clear()
        found = find(paths)
        self._library.claim("text", self._text)
        self._library.claim("look", self._look)
        run = _Run(self._library, found, on_event or (lambda event: None))
        run.tell("start")
        jobs = list(run.pending(retry))
        with Pool(self._workers, self._options) as pool:
            for outcome in pool.run((job for job, _ in jobs), run.progress):
                self._store(run, outcome)
                if self._stop.is_set():
                    run.report.stopped = True
                    break
            run.report.deaths = pool.deaths
        if not run.report.stopped:
            run.drop_notes()
            if prune:
                run.prune()
        run.report.seconds = run.seconds
        run.tell("end")
        return run.report

    def _store(self, run: "_Run", outcome: Outcome) -> None:
        """Encode one parsed file and store it, or record why there is nothing to store."""
        file = run.files[outcome.job.key]
        source = run.source(outcome.job.key)
        if outcome.folder is None:
            run.skip(file, None if outcome.passing else source, outcome.reason)
            return
        try:
            parsed = _Parsed.read(outcome.folder)
            vectors = {
                "text": self._encode_texts(parsed.document),
                "look": self._encode_looks(parsed),
            }
            self._library.replace(source, parsed.document, parsed, vectors)
        except (ValueError, KeyError, TypeError, OSError, PictureRefused) as error:
            run.skip(file, source, f"{file.path.name}: its parsed form is broken ({error})")
            return
        run.indexed(file, parsed.document)

    def _encode_texts(self, document: Document) -> Vectors:
        """Return ``(n_passages + n_pictures, d)`` float32; zeros for pictures without words."""
        texts = [encoded_text(p.heading, p.text) for p in document.passages]
        texts += [encoded_text("", p.text) for p in document.pictures]
        rows = np.zeros((len(texts), self._text.dimension), dtype=np.float32)
        worded = [at for at, text in enumerate(texts) if text.strip()]
        for batch in _batches(worded):
            rows[batch] = self._text.encode_texts([texts[at] for at in batch])
        return rows

    def _encode_looks(self, parsed: "_Parsed") -> Vectors:
        """Return ``(n_pictures, d)`` float32; a picture that comes back is encoded once."""
        pictures = parsed.document.pictures
        rows = np.zeros((len(pictures), self._look.dimension), dtype=np.float32)
        places: dict[str, list[int]] = {}
        for at, picture in enumerate(pictures):
            places.setdefault(picture.sha256, []).append(at)
        names = list(places)
        for batch in _batches(range(len(names))):
            looks = [read_picture(parsed.look(names[at])).image for at in batch]
            for at, row in zip(batch, self._look.encode_pictures(looks), strict=True):
                rows[places[names[at]]] = row
        return rows


class _Run:
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

        Without ``source`` the reason is a passing one, and the next run tries the file again.
        """
        reason = " ".join(reason.split())[:500]
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


class _Parsed(Mapping[str, bytes]):
    """A child's output folder: the document, and its pictures' bytes, read when they are asked for.

    The child is not trusted: names must be SHA-256 hex, and pictures must have the hash they claim.
    """

    def __init__(self, folder: Path, document: Document) -> None:
        self._folder = folder
        self.document = document
        self._names = list(dict.fromkeys(picture.sha256 for picture in document.pictures))

    @classmethod
    def read(cls, folder: Path) -> "_Parsed":
        """Read a child's output. Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
        value = json.loads((folder / "document.json").read_text("ascii"))
        parsed = cls(folder, Document.from_json(value))
        for name in parsed._names:
            if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
                raise ValueError("a picture's name is no SHA-256")
        return parsed

    def look(self, sha256: str) -> bytes:
        """Return the small copy of a picture."""
        return (self._folder / f"{sha256}.look").read_bytes()

    def __getitem__(self, sha256: str) -> bytes:
        if sha256 not in self._names:
            raise KeyError(sha256)
        data = (self._folder / sha256).read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("a picture's bytes do not have its SHA-256")
        return data

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _digest(file: FoundFile) -> str:
    """Return the SHA-256 of a file, its sidecars, and what documents say of it."""
    with file.path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256")
    if file.notes or file.told:
        for note in file.notes:
            digest.update(b"\x00" + note.name.encode() + b"\x00" + note.read_bytes())
        digest.update(json.dumps(file.told, sort_keys=True).encode())
    return digest.hexdigest()


def _batches(items: Sequence[int]) -> Iterator[list[int]]:
    for at in range(0, len(items), BATCH):
        yield list(items[at : at + BATCH])
