"""What is known of a job: a value that follows the events of ingestion.

Knows nothing of Redis, nor of who works at it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.service.served.names import Names
from retrievers.ingest.pipeline import IngestEvent, Report

BESIDE = "taken as words about the picture of the same name"
REASON = 500  #: characters of a reason


@dataclass
class JobState:
    """A job. ``folder`` is its library's; ``why`` is set when it must end without being done."""

    id: str
    tenant: str
    library: str
    folder: Path
    paths: Sequence[Path]
    state: str = "queued"
    reason: str = ""
    why: str = ""
    created: float = field(default_factory=time.time)
    ended: float | None = None
    last: IngestEvent = field(default_factory=lambda: IngestEvent("start"))

    def __post_init__(self) -> None:
        self._names = Names(self.folder)
        self._files = {self._names.shown(str(path)): ["waiting", ""] for path in self.paths}

    def begin(self) -> None:
        """Note that it is being worked at."""
        self.state = "running"

    def note(self, event: IngestEvent) -> None:
        """Take in a step of its ingestion."""
        self.last = event
        if event.state in ("indexed", "unchanged", "skipped"):
            self._files[self._names.shown(event.file)] = [event.state, self.clean(event.reason)]

    def take(self, report: Report) -> None:
        """Take in what was done in all."""
        for name, reason in report.skipped:
            self._files[self._names.shown(name)] = ["skipped", self.clean(reason)]
        if not report.stopped:
            for name, (state, _) in self._files.items():
                if state == "waiting":
                    self._files[name] = ["indexed", BESIDE]

    def end(self, state: str, reason: str = "") -> None:
        """Note that it is over."""
        self.state, self.reason = state, reason
        self.ended = time.time()

    def clean(self, text: str) -> str:
        """Return words without this machine's folders."""
        return self._names.clean(text, map(str, self.paths))[:REASON]

    def to_json(self) -> dict[str, Any]:
        """Return what may be known of it."""
        last = self.last
        return {
            "id": self.id,
            "library": self.library,
            "state": self.state,
            "reason": self.reason,
            "files": [{"name": n, "state": s, "reason": r} for n, (s, r) in self._files.items()],
            "done": last.done,
            "total": last.total or len(self.paths),
            "pages": last.pages,
            "passages": last.passages,
            "pictures": last.pictures,
            "file": self._names.shown(last.file) if last.file else "",
            "step": last.step,
            "steps": last.steps,
            "created": self.created,
            "ended": self.ended,
        }
