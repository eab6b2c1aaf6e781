"""OpenTelemetry traces: a span for each turn, and in it one for each step.

An extra (``pip install 'bifocal[otel]'``): spans are made when its packages are there and
``OTEL_EXPORTER_OTLP_ENDPOINT`` says where they go. A step's span is made when the turn is over, of
the time that the step itself took; steps run into one another while an answer streams. No content
is in any span. Knows nothing of how a turn is made.
"""

import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from bot.errors import SettingsError, TurnError
from bot.events import Answer, Done, Event
from bot.service.http.requests import REQUEST

ENDPOINT = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
STEPS = ("load", "encode", "retrieve", "fuse", "compose", "generate", "cite", "save")

Traced = Callable[[AsyncGenerator[Event, None]], AsyncGenerator[Event, None]]


class Traces:
    """Makes spans of turns with a tracer; end it with :meth:`close`."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("bifocal")

    @classmethod
    def from_environment(cls) -> "Traces | None":
        """Return what sends spans to where the environment says; None when it says nothing.

        Raises ``SettingsError`` when it does and the packages are missing.
        """
        if not any(os.environ.get(name) for name in ENDPOINT):
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise SettingsError(
                f"{ENDPOINT[0]} is set, and traces need a package: pip install 'bifocal[otel]'"
            ) from error
        name = os.environ.get("OTEL_SERVICE_NAME") or "bifocal"
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def close(self) -> None:
        """Send what is left; takes seconds at most."""
        self._provider.shutdown()

    async def traced(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """Pass a turn's events on, and make its spans when it is over."""
        began = time.time_ns()
        span = self._tracer.start_span("turn", start_time=began)
        if id := REQUEST.get():
            span.set_attribute("bifocal.request", id)
        try:
            async with aclosing(events) as flow:
                async for event in flow:
                    if isinstance(event, Done):
                        self._steps(span, began, event.answer)
                    yield event
        except Exception as error:
            self._failed(span, error)
            raise
        finally:
            span.end()

    def _steps(self, turn: Any, began: int, answer: Answer) -> None:
        from opentelemetry.trace import set_span_in_context

        turn.set_attribute("bifocal.model", answer.model)
        turn.set_attribute("bifocal.found", answer.found)
        turn.set_attribute("bifocal.evidence", len(answer.evidence))
        turn.set_attribute("bifocal.citations", len(answer.citations))
        turn.set_attribute("bifocal.notices", len(answer.notices))
        for name, count in answer.usage.items():
            turn.set_attribute(f"bifocal.tokens.{name}", count)
        inside, at = set_span_in_context(turn), began
        for step in STEPS:
            if (spent := answer.timings.get(step)) is None:
                continue
            span = self._tracer.start_span(step, context=inside, start_time=at)
            at += int(spent * 1e6)
            span.end(end_time=at)

    def _failed(self, span: Any, error: Exception) -> None:
        from opentelemetry.trace import Status, StatusCode

        span.set_status(Status(StatusCode.ERROR, type(error).__name__))  # not its words
        if isinstance(error, TurnError):
            span.set_attribute("bifocal.stage", error.stage)
