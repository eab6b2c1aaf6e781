"""The service, really listening on a loopback port, and clients that talk to it over HTTP."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from langchain_core.language_models import BaseChatModel

from bot import Settings
from bot.service.app import create_app
from bot.service.keys import KeyStore
from bot.service.shared_redis import SharedRedis

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
            config = uvicorn.Config(
                app,
                log_config=None,
                lifespan="on",
                timeout_graceful_shutdown=max(1, round(settings.serve.grace_seconds)),
            )
            server = uvicorn.Server(config)
            running = asyncio.create_task(server.serve([bound]))
            while not server.started:
                await asyncio.sleep(0.01)
                if running.done():
                    running.result()
                    raise RuntimeError("the service did not start")
            if writer is not None:
                bots = app.inner.state.bots
                bots.engines = replace(bots.engines, model=writer, model_name="scripted")
            async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
                yield Served(url, client, settings, server)
            server.should_exit = True
            await running

    return served


@pytest.fixture
def refused() -> Callable[[httpx.Response, int], dict[str, Any]]:
    """Check that an answer is a problem document of a status, and return it."""

    def check(answer: httpx.Response, status: int) -> dict[str, Any]:
        assert answer.status_code == status, (answer.status_code, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        told: dict[str, Any] = answer.json()
        assert told["status"] == status
        assert answer.headers["x-request-id"] in told["instance"]
        return told

    return check


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
