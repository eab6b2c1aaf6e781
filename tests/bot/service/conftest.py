"""The service, really listening on a loopback port, and clients that talk to it over HTTP."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from bot import Settings
from bot.service.access.keys import KeyStore
from bot.service.app import create_app
from bot.service.http.openai_errors import PATHS
from bot.service.processes.run import configured
from bot.service.stores.shared_redis import SharedRedis

WAIT = 240  #: seconds until a process that does not start is given up
Serve = Callable[..., "AbstractAsyncContextManager[Served]"]


@dataclass
class Served:
    """A running service: its address, a client without a key, and its settings."""

    url: str
    client: httpx.AsyncClient
    settings: Settings
    server: uvicorn.Server

    async def key(self, name: str, **of: Any) -> dict[str, str]:
        """Make a key and return the header that carries it."""
        given = {"tenant": name, "read": ["default"], "write": [], **of}
        async with await SharedRedis.of(self.settings) as redis:
            _, token = await KeyStore(redis).add(name, **given)
        return {"Authorization": f"Bearer {token}"}


class SlowChat(BaseChatModel):
    """Says one word after another, each when it is let."""

    reads_evidence: bool = False
    context_tokens: int = 8192
    words: int = 8
    let: Any = None  #: asyncio.Semaphore
    ended: int = 0  #: answers that are no longer under way

    @property
    def _llm_type(self) -> str:
        return "slow"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        try:
            for number in range(self.words):
                await self.let.acquire()
                yield ChatGenerationChunk(message=AIMessageChunk(content=f"w{number} "))
        finally:
            self.ended += 1


@pytest.fixture
def slow() -> SlowChat:
    """A model that says a word whenever ``slow.let.release()`` is called."""
    return SlowChat(let=asyncio.Semaphore(0))


async def _serving(server: uvicorn.Server, bound: socket.socket) -> None:
    try:
        await server.serve([bound])
    except SystemExit as error:  # it would end the tests
        raise RuntimeError("the service ended itself; its log says why") from error


@pytest.fixture
def serve(demo_library: Path, tmp_path: Path) -> Serve:
    """Serve the demo's library: ``async with serve(model=…, serve={…}) as served``. ``writer`` is
    any LangChain chat model, in place of the one that the settings name."""

    @asynccontextmanager
    async def served(writer: BaseChatModel | None = None, **changes: Any) -> AsyncIterator[Served]:
        given = {"model": "extractive", "library": demo_library, **changes}
        given["serve"] = {"libraries": tmp_path / "libraries", **given.get("serve", {})}
        settings = Settings.load(**given)
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            app = create_app(settings)
            server = uvicorn.Server(configured(app, settings.serve))
            running = asyncio.create_task(_serving(server, bound))
            while not server.started:
                await asyncio.sleep(0.01)
                if running.done():
                    running.result()
                    raise RuntimeError("the service did not start; its log says why")
            if writer is not None:
                bots = app.inner.state.bots
                bots.engines = replace(bots.engines, model=writer, model_name="scripted")
            try:
                async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
                    yield Served(url, client, settings, server)
            finally:
                server.should_exit = True
                await running

    return served


@pytest.fixture
def refused() -> Callable[[httpx.Response, int], dict[str, Any]]:
    """Check that an answer is a problem document of a status, and return it."""

    def check(answer: httpx.Response, status: int) -> dict[str, Any]:
        if answer.request.url.path.startswith(PATHS):  # in OpenAI's form
            assert answer.status_code == (400 if status == 422 else status), answer.text
            error: dict[str, Any] = answer.json()
            assert error["error"]["message"]
            return error
        assert answer.status_code == status, (answer.status_code, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        told: dict[str, Any] = answer.json()
        assert told["status"] == status
        assert answer.headers["x-request-id"] in told["instance"]
        return told

    return check


@dataclass
class Running:
    """A ``bifocal serve`` of its own: its address, a client, its process, and where its log is."""

    url: str
    client: httpx.AsyncClient
    process: asyncio.subprocess.Process
    log: Path

    async def stop(self) -> float:
        """Send SIGTERM and wait for the end; return the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(120):
            await self.process.wait()
        return time.monotonic() - began


@pytest.fixture
def run_service(demo_library: Path, tmp_path: Path) -> Callable[..., Any]:
    """Run ``bifocal serve`` over the demo's library: ``async with run_service("--workers", "2",
    BIFOCAL_…="…") as running``."""

    @asynccontextmanager
    async def run(*options: str, **environment: str) -> AsyncIterator[Running]:
        log = tmp_path / f"log-{time.monotonic_ns()}"
        command = [sys.executable, "-m", "bot", "serve", "--port", "0", "-l", str(demo_library)]
        given = {"BIFOCAL_MODEL": "extractive"}
        given["BIFOCAL_SERVE_LIBRARIES"] = str(tmp_path / "libraries")
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command, *options, stderr=out, env={**os.environ, **given, **environment}
            )
        try:
            async with asyncio.timeout(WAIT):
                while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
                    assert process.returncode is None, log.read_text()
                    await asyncio.sleep(0.02)
            async with httpx.AsyncClient(
                base_url=found[0], timeout=WAIT, trust_env=False
            ) as client:
                async with asyncio.timeout(WAIT):
                    while not await _ready(client):  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.02)
                yield Running(found[0], client, process, log)
        finally:
            if process.returncode is None:
                process.terminate()
                async with asyncio.timeout(120):
                    await process.wait()

    return run


async def _ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).is_success
    except httpx.TransportError:
        return False


@dataclass
class Dribble:
    """A model's server that says one word after another for as long as it is read; for questions
    with "briefly" in them only three."""

    url: str = ""
    begun: int = 0
    ended: int = 0  #: answers that are no longer written
    keys: set[str] = field(default_factory=set)  #: what came as ``Authorization``

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Answer ``/v1/chat/completions``, streaming; see ASGI."""
        assert scope["type"] == "http"
        self.keys |= {
            value.decode() for name, value in scope["headers"] if name == b"authorization"
        }
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        asked = json.loads(body)["messages"][-1]["content"]
        words = 3 if "briefly" in json.dumps(asked) else 10**6
        self.begun += 1
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        leaving = asyncio.ensure_future(receive())
        try:
            for number in range(words):
                told = {"role": "assistant", "content": f"w{number} "}
                await self._say(send, {"index": 0, "delta": told, "finish_reason": None})
                await asyncio.wait({leaving}, timeout=0.02)
                if leaving.done():
                    return
            await self._say(send, {"index": 0, "delta": {}, "finish_reason": "stop"})
            done = b"data: [DONE]\n\n"
            await send({"type": "http.response.body", "body": done, "more_body": False})
        finally:
            leaving.cancel()
            self.ended += 1

    async def _say(self, send: Callable[[Any], Awaitable[None]], choice: dict[str, Any]) -> None:
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "x"}
        data = f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode()
        await send({"type": "http.response.body", "body": data, "more_body": True})


@pytest.fixture
async def dribble() -> AsyncIterator[Dribble]:
    """A model's server that answers slowly, on a free loopback port."""
    state = Dribble()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        state.url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        config = uvicorn.Config(
            state,
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve([bound]))
        while not server.started:  # noqa: ASYNC110 - it knows no event
            await asyncio.sleep(0.01)
        yield state
        server.should_exit = True
        await running


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    """A real Chromium without a window, which reaches nothing but this machine."""
    pytest.importorskip("nicegui", reason="the web page needs the extra web")
    api = pytest.importorskip("playwright.async_api", reason="the browser is driven by playwright")
    known = ("chromium", "chromium-browser", "google-chrome")
    there = next(filter(None, map(shutil.which, known)), None)
    if there is None:
        pytest.skip("there is no chromium on the PATH")
    async with api.async_playwright() as playwright:
        opened = await playwright.chromium.launch(
            executable_path=there,
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
            ],
        )  # fmt: skip
        yield opened
        await opened.close()
