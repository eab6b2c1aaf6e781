"""What Prometheus reads at ``/metrics``: turns, their stages, the queue, tokens and notices.

Several processes of a service add up, by the client library's own way (files that they share).
Labels hold names of ours only (stages, outcomes, routes), never of tenants, conversations or
libraries. Knows nothing of how a turn is made.
"""

import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from bot.errors import TurnError
from bot.events import Done, Event, EvidenceFound, Notice, Token
from bot.service.flow.admission import Admission
from bot.service.http.problems import problem_of

CONTENT_TYPE = CONTENT_TYPE_LATEST
FOLDER = "PROMETHEUS_MULTIPROC_DIR"  #: the variable that names the folder of several processes
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


_Labels = tuple[str, ...]


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter(
            "requests", "Requests by route and status", ("method", "route", "status")
        )
        self.seconds = self._histogram("request_seconds", "Until the answer is out", ("route",))
        self.turns = self._counter("turns", "Turns by how they ended", ("outcome",))
        self.first_token = self._histogram("first_token_seconds", "Until a turn's first words")
        self.stages = self._histogram("stage_seconds", "What the steps of a turn took", ("stage",))
        self.tokens = self._counter("tokens", "Tokens that models read and wrote", ("direction",))
        self.cached = self._counter("cached_tokens", "Tokens of prompts that were known before")
        self.notices = self._counter("notices", "What turns left out, shrank or did not understand")
        self.evidence = self._counter("evidence", "Pieces of evidence that turns found")
        self._running = self._gauge("turns_running", "Turns under way")
        self._waiting = self._gauge("turns_waiting", "Turns that wait")

    def _counter(self, name: str, told: str, labels: _Labels = ()) -> Counter:
        return Counter(name, told, labels, namespace="bifocal", registry=self._registry)

    def _gauge(self, name: str, told: str) -> Gauge:
        return Gauge(
            name,
            told,
            namespace="bifocal",
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def _histogram(self, name: str, told: str, labels: _Labels = ()) -> Histogram:
        return Histogram(
            name, told, labels, namespace="bifocal", registry=self._registry, buckets=_SECONDS
        )

    def queue(self, admission: Admission) -> None:
        """Note how long the queue is."""
        self._running.set(admission.running)
        self._waiting.set(admission.waiting)

    def text(self) -> bytes:
        """Return all counters, of all processes, as Prometheus reads them."""
        if not os.environ.get(FOLDER):
            return generate_latest(self._registry)
        self._bury()
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _bury(self) -> None:
        """Count no more what is under way in processes that are no longer there."""
        for path in Path(os.environ[FOLDER]).glob("gauge_live*_*.db"):
            pid = path.stem.rpartition("_")[2]
            if pid.isdigit() and not Path("/proc", pid).exists() and Path("/proc/self").exists():
                mark_process_dead(int(pid))  # type: ignore[no-untyped-call]

    async def counted(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """Pass a turn's events on, and count what they tell."""
        began, first, outcome = time.perf_counter(), True, "left"
        try:
            async with aclosing(events) as flow:
                async for event in flow:
                    if isinstance(event, Token) and first:
                        first = False
                        self.first_token.observe(time.perf_counter() - began)
                    outcome = self._count(event) or outcome
                    yield event
        except Exception as error:
            outcome = problem_of(error).kind
            if isinstance(error, TurnError):
                outcome = f"{outcome}:{error.stage}"
            raise
        finally:
            self.turns.labels(outcome).inc()

    def _count(self, event: Event) -> str:
        """Count an event; return how the turn ended, if it did."""
        if isinstance(event, Notice):
            self.notices.inc()
        elif isinstance(event, EvidenceFound):
            self.evidence.inc(len(event.evidence))
        elif isinstance(event, Done):
            for stage, spent in event.answer.timings.items():
                self.stages.labels(stage).observe(spent / 1000)
            for direction, count in event.answer.usage.items():
                counter = self.cached if direction == "cached" else self.tokens.labels(direction)
                counter.inc(count)
            return "answered" if event.answer.found else "not_found"
        return ""
