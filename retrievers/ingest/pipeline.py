"""Ingestion: from paths to a library that holds what is in them, each file once.

Knows nothing of file formats (``loaders``) or of how processes are kept (``pool``). Stages:

1. find the files, and pass over what is unchanged since the last run
2. parse the others in child processes
3. encode their passages, pictures and pictures' words
4. store each file in one transaction, or record why it was skipped

What was stored stays stored: after Ctrl-C or a kill, the next run goes on with the rest.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from retrievers.document import Document
from retrievers.encoders import Encoder
from retrievers.errors import PictureRefused
from retrievers.evidence import Vectors
from retrievers.imaging import read_picture
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.parsed import Parsed
from retrievers.ingest.pool import Outcome, Pool
from retrievers.ingest.run import IngestEvent, Report, Run
from retrievers.ingest.walk import find
from retrievers.library import Library, encoded_text

__all__ = ["IngestEvent", "Ingestor", "Report"]

BATCH = 64  # texts or pictures that are encoded at once


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
        run = Run(self._library, found, on_event or (lambda event: None))
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

    def _store(self, run: Run, outcome: Outcome) -> None:
        """Encode one parsed file and store it, or record why there is nothing to store."""
        file = run.files[outcome.job.key]
        source = run.source(outcome.job.key)
        if outcome.folder is None:
            run.skip(file, None if outcome.passing else source, outcome.reason)
            return
        try:
            parsed = Parsed.read(outcome.folder)
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

    def _encode_looks(self, parsed: Parsed) -> Vectors:
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


def _batches(items: Sequence[int]) -> Iterator[list[int]]:
    for at in range(0, len(items), BATCH):
        yield list(items[at : at + BATCH])
