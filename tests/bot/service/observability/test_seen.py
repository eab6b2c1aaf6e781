"""What is seen of the service: counters, lines of the log, spans of traces."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import ChatResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from bot.errors import ModelError, SettingsError
from bot.service.observability import logs
from bot.service.observability.traces import STEPS, Traces

TALL = "How tall is the lighthouse?"


class BrokenChat(BaseChatModel):
    """Says nothing."""

    reads_evidence: bool = False
    context_tokens: int = 8192

    @property
    def _llm_type(self) -> str:
        return "broken"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise ModelError("words of the model")


def counted(text: str) -> dict[str, float]:
    """Return what Prometheus reads, by name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
def spans() -> Iterator[tuple[Traces, InMemorySpanExporter]]:
    """Traces whose spans are kept in memory, and where they are."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(provider)
    yield traces, exporter
    traces.close()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the log says from now on; its set-up is undone afterwards."""
    names = ("", "bifocal", "uvicorn", "uvicorn.error")
    before = {
        name: (logging.getLogger(name).handlers, logging.getLogger(name).level) for name in names
    }
    logs.set_up("debug")
    out = io.StringIO()
    handler = logging.getLogger("bifocal").handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(out)
    yield out
    for name, (handlers, level) in before.items():
        logging.getLogger(name).handlers = handlers
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def lines(out: io.StringIO, event: str) -> list[dict[str, Any]]:
    """Return the lines of an event, each of which is a JSON object."""
    return [v for line in out.getvalue().splitlines() if (v := json.loads(line))["event"] == event]


async def test_turns_stages_tokens_and_requests_are_counted(serve: Any) -> None:
    async with serve() as served:
        for text in (TALL, "xyzzy plugh?"):
            await served.client.post("/v1/turns", json={"text": text})
        await served.client.get("/nowhere/at/all")
        await served.client.get(f"/v1/pictures/{'0' * 64}")
        seen = counted((await served.client.get("/metrics")).text)
    assert seen['bifocal_turns_total{outcome="answered"}'] == 1
    assert seen['bifocal_turns_total{outcome="not_found"}'] == 1
    assert seen["bifocal_first_token_seconds_count"] == 2
    for stage in STEPS:
        assert seen[f'bifocal_stage_seconds_count{{stage="{stage}"}}'] == 2
    assert seen['bifocal_tokens_total{direction="input"}'] > 0
    assert seen["bifocal_evidence_total"] > 0
    turns = 'bifocal_requests_total{method="POST",route="/v1/turns",status="200"}'
    assert seen[turns] == 2
    assert seen['bifocal_requests_total{method="GET",route="none",status="404"}'] == 1
    picture = 'bifocal_requests_total{method="GET",route="/v1/pictures/{id}",status="404"}'
    assert seen[picture] == 1
    assert seen["bifocal_turns_running"] == seen["bifocal_turns_waiting"] == 0


async def test_a_turn_that_fails_is_counted_by_why_and_where(serve: Any) -> None:
    async with serve(writer=BrokenChat()) as served:
        answer = await served.client.post("/v1/turns", json={"text": TALL})
        assert answer.status_code == 502
        seen = counted((await served.client.get("/metrics")).text)
    assert seen['bifocal_turns_total{outcome="model-failed:generate"}'] == 1


async def test_two_processes_add_up_what_they_counted(run_service: Any) -> None:
    """Whichever of them is asked, and what is under way in neither of them is none."""
    many = 12
    async with run_service("--workers", "2") as running:
        asking = [running.client.post("/v1/turns", json={"text": TALL}) for _ in range(many)]
        answers = await asyncio.gather(*asking)
        assert all(answer.is_success for answer in answers)
        for _ in range(4):
            seen = counted((await running.client.get("/metrics")).text)
            assert seen['bifocal_turns_total{outcome="answered"}'] == many
            assert seen["bifocal_turns_running"] == 0


async def test_a_turn_is_a_span_and_each_of_its_steps_one_inside(
    serve: Any, spans: tuple[Traces, InMemorySpanExporter]
) -> None:
    traces, exporter = spans
    async with serve() as served:
        served.server.config.app.inner.state.seen._traces = traces
        headers = {"X-Request-Id": "r-1"}
        await served.client.post("/v1/turns", json={"text": TALL}, headers=headers)
    found = {span.name: span for span in exporter.get_finished_spans()}
    assert set(found) == {"turn", *STEPS}
    turn = found["turn"]
    assert turn.parent is None
    assert turn.attributes is not None
    assert turn.attributes["bifocal.request"] == "r-1"
    assert turn.attributes["bifocal.citations"] == 1
    at = turn.start_time
    for step in STEPS:
        span = found[step]
        assert span.parent is not None
        assert span.parent.span_id == turn.context.span_id
        assert span.start_time == at
        assert span.end_time is not None
        at = span.end_time


async def test_the_span_of_a_turn_that_fails_says_in_which_step_but_not_the_words(
    serve: Any, spans: tuple[Traces, InMemorySpanExporter]
) -> None:
    traces, exporter = spans
    async with serve(writer=BrokenChat()) as served:
        served.server.config.app.inner.state.seen._traces = traces
        await served.client.post("/v1/turns", json={"text": TALL})
    (turn,) = exporter.get_finished_spans()
    assert turn.status.status_code is StatusCode.ERROR
    assert turn.attributes is not None
    assert turn.attributes["bifocal.stage"] == "generate"
    assert "words of" not in turn.to_json()


def test_traces_are_made_only_where_the_environment_says_where_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Traces.from_environment() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    traces = Traces.from_environment()
    assert traces is not None
    traces.close()


async def test_the_log_has_a_line_for_a_request_and_one_for_its_turn_under_one_id(
    serve: Any, log: io.StringIO
) -> None:
    async with serve() as served:
        answer = await served.client.post("/v1/turns", json={"text": TALL})
        await served.client.get("/livez")
    (turn,) = lines(log, "turn")
    posted, alive = lines(log, "request")
    assert turn["request"] == posted["request"] == answer.headers["x-request-id"]
    assert (posted["method"], posted["route"], posted["status"]) == ("POST", "/v1/turns", 200)
    assert alive["level"] == "debug"
    assert turn["found"] is True
    assert TALL not in log.getvalue()
    assert "34 metres" not in log.getvalue()


async def test_the_log_holds_content_only_where_the_setting_says_so(
    serve: Any, log: io.StringIO
) -> None:
    async with serve(serve={"log_content": True}) as served:
        await served.client.post("/v1/turns", json={"text": TALL})
    (turn,) = lines(log, "turn")
    assert turn["question"] == TALL
    assert "34 metres" in turn["answer"]


def test_an_error_that_nobody_prepared_for_is_told_without_its_words(log: io.StringIO) -> None:
    """Ours, and one that another library logs, whatever its logger is called."""
    try:
        raise ValueError("sekrit words")
    except ValueError as error:
        logs.tell("failed", level="error", error=error)
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
        logging.getLogger("asyncio").error("sekrit words", exc_info=error)
    logs.tell("failed", level="error", error=SettingsError("setting model: no such model"))
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    assert "sekrit" not in log.getvalue()
    assert [line["error"] for line in told] == ["ValueError"] * 3 + ["SettingsError"]
    assert all(re.search(r"test_seen\.py:\d+", line["at"][-1]) for line in told[:3])
    assert told[3]["why"] == "setting model: no such model"
