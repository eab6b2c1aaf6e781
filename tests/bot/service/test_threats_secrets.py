"""No secret in a log, a metric, a trace, an error or the repr of a setting: row 28."""

import asyncio
import base64
import io
import json
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL import Image

from bot import Settings
from bot.service.access.keys import KeyStore
from bot.service.observability.traces import Traces
from bot.service.stores.shared_redis import SharedRedis
from memory.redis_server import find_server


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """A starter of a redis-server on a free loopback port, which it returns."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        command = [str(find_server()[0]), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        running.append(
            subprocess.Popen([*command, *options], cwd=tmp_path, stdout=subprocess.DEVNULL)
        )
        for _ in range(3000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return port
            time.sleep(0.01)
        raise RuntimeError("redis-server does not answer")

    yield start
    for process in running:
        process.kill()
        process.wait()


def picture(comment: str) -> bytes:
    """Return a picture that holds a text where no reader looks."""
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(out, "JPEG", comment=comment.encode())
    return out.getvalue()


async def use_everything(client: httpx.AsyncClient, token: str, said: str) -> list[httpx.Response]:
    """Ask in every way, rightly and wrongly; return the answers that are errors."""
    good, data = {"Authorization": f"Bearer {token}"}, picture(said)
    bad = {"Authorization": f"Bearer {token}x", "Cookie": token, "X-Api-Key": token}
    broken = b"\xff\xd8" + said.encode() * 30
    ask = {"text": said, "conversation": f"c-{said}", "sender": said}
    encoded = base64.b64encode(data).decode()
    made = [
        client.post("/v1/turns", json=ask, headers=good),
        client.post("/v1/turns", json={**ask, "stream": True, "resumable": True}, headers=good),
        client.post("/v1/turns", json={**ask, "pictures": [{"data": encoded}]}, headers=good),
        client.post("/v1/turns", data={"text": said}, files={"pictures": data}, headers=good),
        client.post("/v1/turns", json=ask, headers=bad),
        client.post("/v1/turns", json=ask, headers={**good, "Idempotency-Key": token}),
        client.post("/v1/turns", json={**ask, said: said}, headers=good),
        client.post("/v1/turns", json={**ask, "library": said}, headers=good),
        client.post("/v1/turns", json={**ask, "stream": said}, headers=good),
        client.post("/v1/turns", json={**ask, "text": said * 10_000}, headers=good),
        client.post("/v1/turns", content=said.encode(), headers={**good, **_JSON}),
        client.post("/v1/turns", json={"pictures": [{"data": said}]}, headers=good),
        client.post("/v1/turns", json={"pictures": [{"upload": said}]}, headers=good),
        client.post("/v1/pictures", content=data, headers={**good, "Content-Type": "image/jpeg"}),
        client.post("/v1/pictures", content=broken, headers={**good, "Content-Type": "image/jpeg"}),
        client.post("/v1/pictures", files={"file": (said, broken)}, headers=good),
        client.get(f"/v1/pictures/{said}", headers=good),
        client.get(f"/{said}?key={token}", headers=good),
        client.get("/openapi.json", headers={"Host": said}),
        client.get("/livez", headers={"Origin": f"https://{said}"}),
    ]
    answers = [await one for one in made]
    assert {answer.status_code for answer in answers} >= {200, 201, 400, 401, 403, 404, 421, 422}
    return [answer for answer in answers if not answer.is_success]


_JSON = {"Content-Type": "application/json"}


def found(told: str, hidden: dict[str, str]) -> list[str]:
    """Return which of the hidden things stand somewhere, by name."""
    return [name for name, value in hidden.items() if value.lower() in told.lower()]


@pytest.mark.parametrize("broken", [False, True])
async def test_no_secret_and_no_content_gets_into_log_metrics_or_errors(
    run_service: Any, start_redis: Any, dribble: Any, broken: bool
) -> None:
    """At DEBUG, over a Redis with a password and a model with a key; and with that model gone."""
    hidden = {name: f"{name}{secrets.token_hex(12)}" for name in ("redis", "model", "said")}
    port = start_redis("--requirepass", hidden["redis"])
    address = f"redis://:{hidden['redis']}@127.0.0.1:{port}/0"
    settings = Settings.load(redis_url=address, model_key=hidden["model"])
    async with await SharedRedis.of(settings) as redis:
        _, token = await KeyStore(redis).add("anna", tenant="anna", read=["default"], write=[])
    hidden["key"] = token.rpartition("_")[2]
    async with run_service(
        BIFOCAL_REDIS_URL=address,
        BIFOCAL_MODEL="openai:x",
        BIFOCAL_MODEL_URL="http://127.0.0.1:9/v1" if broken else dribble.url,
        BIFOCAL_MODEL_KEY=hidden["model"],
        BIFOCAL_SERVE_KEYS="on",
        BIFOCAL_SERVE_HOSTS="127.0.0.1",
        BIFOCAL_SERVE_LOG_LEVEL="debug",
        BIFOCAL_ANSWER_SECONDS="1",
    ) as running:
        refused = await use_everything(running.client, token, hidden["said"])
        key = {"Authorization": f"Bearer {token}"}
        metrics = (await running.client.get("/metrics", headers=key)).text
        await running.stop()
        log = running.log.read_text()
    assert broken or dribble.keys == {f"Bearer {hidden['model']}"}
    assert log.count('"event": "request"') >= 20
    assert found(log, hidden) == []
    assert found(metrics, hidden) == []
    own = {name: value for name, value in hidden.items() if name != "said"}  # it may be named
    for answer in refused:
        assert found(answer.text + repr(answer.headers), own) == []
    for told in (repr(settings), str(settings), repr(settings.serve), settings.model_dump_json()):
        assert found(told, hidden) == []


async def test_no_content_gets_into_spans(serve: Any) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    said = f"said{secrets.token_hex(12)}"
    async with serve(serve={"keys": "on", "hosts": ["127.0.0.1"]}) as served:
        token = (await served.key("anna"))["Authorization"].removeprefix("Bearer ")
        served.server.config.app.inner.state.seen._traces = Traces(provider)
        await use_everything(served.client, token, said)
    told = json.dumps([span.to_json() for span in exporter.get_finished_spans()])
    assert "bifocal.evidence" in told
    assert found(told, {"said": said, "key": token.rpartition("_")[2]}) == []
    provider.shutdown()


async def test_what_a_library_says_of_its_failure_is_not_told_to_clients(
    serve: Any, demo_library: Path
) -> None:
    """The index is taken away under a running service."""
    async with serve() as served:
        (demo_library / "library.sqlite").write_bytes(b"\0" * 4096)
        answers = await asyncio.gather(
            *(served.client.post("/v1/turns", json={"text": f"How tall? {n}"}) for n in range(4))
        )
        for answer in answers:
            assert str(demo_library) not in answer.text
            assert "sqlite" not in answer.text.lower()
