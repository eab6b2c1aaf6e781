"""What can be seen of the service from outside: metrics, traces and the log, of turns and requests.

Knows nothing of how any of them is written.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from bot.events import Answer, Done, Event
from bot.service.http.problems import problem_of
from bot.service.http.requests import Who
from bot.service.observability import logs
from bot.service.observability.metrics import CONTENT_TYPE, Metrics
from bot.service.observability.traces import Traces

router = APIRouter(tags=["health"])
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Seen:
    """The eyes of one process of a service."""

    def __init__(self, *, content: bool = False, traces: Traces | None = None) -> None:
        self.metrics = Metrics()
        self._traces, self._content = traces, content

    def turn(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """Pass a turn's events on, and count, trace and log the turn."""
        if self._traces is not None:
            events = self._traces.traced(events)
        return self._logged(self.metrics.counted(events))

    def close(self) -> None:
        """Send the spans that are left; takes seconds at most: work for a thread."""
        if self._traces is not None:
            self._traces.close()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count and log a request; ``route`` is its pattern, empty where none fits."""
        method = method if method in METHODS else "other"  # anybody may invent one
        self.metrics.requests.labels(method, route or "none", str(status)).inc()
        self.metrics.seconds.labels(route or "none").observe(seconds)
        quiet = route in ("/livez", "/readyz", "/metrics")
        logs.tell(
            "request",
            level="debug" if quiet else "info",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
        )

    def failed(self, error: Exception) -> None:
        """Log what a request failed with, if neither who asked is to blame, nor the load."""
        problem = problem_of(error)
        if problem.status >= 500 and problem.kind not in ("overloaded", "stopping"):
            logs.tell("failed", level="error", error=error)

    async def _logged(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        began = time.perf_counter()
        try:
            async with aclosing(events) as flow:
                async for event in flow:
                    if isinstance(event, Done):
                        self._tell(event.answer, time.perf_counter() - began)
                    yield event
        except Exception as error:
            self.failed(error)
            raise

    def _tell(self, answer: Answer, seconds: float) -> None:
        content: dict[str, Any] = {}
        if self._content:
            content = {"question": answer.question, "answer": answer.text}
        logs.tell(
            "turn",
            ms=round(seconds * 1000, 1),
            model=answer.model,
            found=answer.found,
            evidence=len(answer.evidence),
            citations=len(answer.citations),
            notices=len(answer.notices),
            tokens=dict(answer.usage),
            **content,
        )


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, access: Who) -> Response:
    """Tell Prometheus what was counted; with keys on it needs one."""
    seen: Seen = request.app.state.seen
    return Response(seen.metrics.text(), headers={"Content-Type": CONTENT_TYPE})
