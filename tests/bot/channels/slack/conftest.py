"""Slack on loopback, and Bifocal as a member of it: real clients, a real bot, a real Redis."""

import asyncio
import io
import logging
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from live import check_unfurled
from PIL import Image
from slack_double import SlackDouble
from stepping import SteppingChat

from bot import AsyncChatBot, Settings
from bot.channels.slack import SlackChannel
from bot.channels.working import Worker
from bot.service.stores.shared_redis import SharedRedis
from memory.redis_server import find_server
from retrievers.errors import LibraryNotFound

Join = Callable[..., AbstractAsyncContextManager[Any]]


@dataclass
class Joined:
    """Bifocal in Slack: its channel, which libraries were opened, and which are not there."""

    channel: SlackChannel
    worker: Worker
    opened: list[str]
    missing: set[str]


@pytest.fixture
async def slack(caplog: pytest.LogCaptureFixture) -> AsyncIterator[SlackDouble]:
    """A running Slack. When a test ends, nothing that was sent may have led to a preview (threat
    18), and no token may be in a log (threat 28)."""
    caplog.set_level(logging.DEBUG)
    async with SlackDouble() as running:
        yield running
    check_unfurled(running)
    for secret in (running.bot_token, running.app_token, running.secret):
        assert secret not in caplog.text


@pytest.fixture
def stepping() -> type[SteppingChat]:
    """The class of a model that is led by the test."""
    return SteppingChat


@pytest.fixture
def member(slack: SlackDouble, demo_library: Path) -> Callable[..., Settings]:
    """Settings with which Bifocal is a member of that Slack."""

    def made(redis_url: str | None = None, **of: Any) -> Settings:
        given = {
            "bot_token": slack.bot_token,
            "app_token": slack.app_token,
            "signing_secret": slack.secret,
            "api_url": slack.api_url,
            "file_hosts": ["127.0.0.1"],
            "every": 0.2,
            **of,
        }
        return Settings.load(
            library=demo_library, model="extractive", slack=given, redis_url=redis_url
        )

    return made


@pytest.fixture
def join(slack: SlackDouble, member: Callable[..., Settings], open_bot: Any) -> Join:
    """Join Slack: ``async with join(model, every=…) as channel``; settings by name."""

    @asynccontextmanager
    async def joined(model: BaseChatModel | None = None, **of: Any) -> AsyncIterator[Joined]:
        settings = member(**of)
        named: dict[str, Any] = {} if model else {"model_name": "extractive"}
        if url := of.get("redis_url"):
            named["redis_url"] = url
        async with open_bot(model, condense_seconds=0, **named) as opened:
            asked: list[str] = []
            missing: set[str] = set()

            async def opening(library: str) -> AsyncChatBot:
                if library in missing:
                    raise LibraryNotFound(f"there is no library {library!r}")
                asked.append(library)
                bot: AsyncChatBot = opened
                return bot

            async with (
                await SharedRedis.of(settings) as redis,
                SlackChannel.open(settings, opening, redis) as channel,
            ):
                running = asyncio.create_task(channel.run())
                await slack.until(lambda: slack.sockets or running.done())
                try:
                    yield Joined(channel, channel.worker, asked, missing)
                    await channel.worker.idle()
                finally:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)

    return joined


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Return a starter of one redis-server, again and again on the same port: ``.port``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        command = [str(find_server()[0]), "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        running.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL))
        for _ in range(3000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return running[-1]
            time.sleep(0.01)
        raise RuntimeError("the redis-server did not start")

    start.port = port  # type: ignore[attr-defined]
    yield start
    for server in running:
        server.kill()
        server.wait()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Return the PNG of a picture of one colour."""

    def made(colour: str = "red", size: tuple[int, int] = (64, 48)) -> bytes:
        held = io.BytesIO()
        Image.new("RGB", size, colour).save(held, "PNG")
        return held.getvalue()

    return made
