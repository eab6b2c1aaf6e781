"""Channels as their users see them: a stage for each, with the same few things that people do."""

import asyncio
import base64
import json
import logging
import os
import re
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from discord_stage import DiscordStage
from discord_story import calm_discord
from hostile_orders import drawn, orders
from pydantic import SecretStr

from bot import Settings
from bot.build import ingestor
from bot.channels.webhook_message import signed
from memory.redis_history import RedisHistory
from retrievers.library import Library

ORDERS, PICTURES = (374, 84) if os.environ.get("BIFOCAL_FULL") else (30, 4)
SECRET = "a secret of the webhook for tests"


@dataclass
class Shown:
    """An answer as people see it: everything that is written, and the pictures."""

    of: str  #: the id of the message that it answers
    text: str
    pictures: list[bytes] = field(default_factory=list)


class Stage(Protocol):
    """A channel with people in it."""

    async def say(
        self,
        conversation: str,
        text: str,
        *,
        pictures: Sequence[bytes] = (),
        sender: str = "",
        times: int = 1,
    ) -> str:
        """Write a message, which is delivered so many times; return its id."""

    async def edit(self, conversation: str, message: str, text: str) -> None:
        """Change a message that was written."""

    async def delete(self, conversation: str, message: str) -> None:
        """Delete a message."""

    async def answers(self, count: int) -> list[Shown]:
        """Wait until so many answers were shown in all, and return all that were."""

    async def kill(self) -> None:
        """End the bot's process at once, without a word."""

    async def start(self, **environment: str) -> None:
        """Start the bot's process again."""

    async def remembered(self, conversation: str) -> list[str]:
        """Return the questions that memory keeps of a conversation."""
        raise NotImplementedError


OpenStage = Callable[..., AbstractAsyncContextManager[Any]]


class WebhookStage:
    """``bifocal serve`` with a webhook, and the program at its other end. See :class:`Stage`."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._library, self._folder = library, folder
        self.posted: list[dict[str, Any]] = []  #: what came to the callback, whole
        self._came = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self.url = self.callback = ""
        self.secret = SecretStr(SECRET)

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the callback: take one request, as HTTP/1.1."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            found = re.search(r"content-length: (\d+)", head)
            assert found
            body = await reader.readexactly(int(found[1]))
            at = re.search(r"x-bifocal-timestamp: (\d+)", head)
            assert at
            right = signed(SecretStr(SECRET), body, at[1])["X-Bifocal-Signature"]
            assert right in head
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            async with self._came:
                self.posted.append(json.loads(body))
                self._came.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def start(self, **environment: str) -> None:
        """Start ``bifocal serve``, and wait until it is ready."""
        log = self._folder / f"log-{uuid.uuid4().hex}"
        command = [sys.executable, "-m", "bot", "serve", "--port", "0", "-l", str(self._library)]
        given = {
            "BIFOCAL_MODEL": "extractive",
            "BIFOCAL_WEBHOOK_SECRET": SECRET,
            "BIFOCAL_WEBHOOK_CALLBACK": self.callback,
            "NO_PROXY": "127.0.0.1",
            **environment,
        }
        with log.open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                *command, stderr=out, env={**os.environ, **given}
            )
        async with asyncio.timeout(120):
            while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
                assert self._process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
            self.url = found[0]
            async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
                while True:
                    try:
                        if (await client.get("/readyz")).is_success:
                            return
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process that answers."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """Return everything that the processes wrote."""
        return "".join(file.read_text() for file in self._folder.glob("log-*"))

    async def kill(self) -> None:
        """End the process at once."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """End the process in order."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            async with asyncio.timeout(120):
                await self._process.wait()

    async def post(self, **message: Any) -> httpx.Response:
        """Hand a message to the bot."""
        body = json.dumps(message).encode()
        async with httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as client:
            return await client.post("/v1/webhook", content=body, headers=signed(self.secret, body))

    async def _hand_in(self, times: int = 1, **message: Any) -> str:
        id = uuid.uuid4().hex
        for sent in await asyncio.gather(*(self.post(id=id, **message) for _ in range(times))):
            assert sent.status_code == 202, sent.text
        return id

    async def say(
        self,
        conversation: str,
        text: str,
        *,
        pictures: Sequence[bytes] = (),
        sender: str = "",
        times: int = 1,
    ) -> str:
        """Write a message."""
        given = [{"data": base64.b64encode(data).decode()} for data in pictures]
        return await self._hand_in(
            times, conversation=conversation, text=text, sender=sender, pictures=given
        )

    async def edit(self, conversation: str, message: str, text: str) -> None:
        """Change a message."""
        await self._hand_in(conversation=conversation, type="edit", of=message, text=text)

    async def delete(self, conversation: str, message: str) -> None:
        """Delete a message."""
        await self._hand_in(conversation=conversation, type="delete", of=message)

    async def answers(self, count: int) -> list[Shown]:
        """Wait for answers."""
        async with asyncio.timeout(120), self._came:
            await self._came.wait_for(lambda: len(self.posted) >= count)
        return [self._shown(told) for told in self.posted]

    async def until_whole(self, count: int, seconds: float = 120) -> None:
        """Wait until so much was posted that is no draft."""
        async with asyncio.timeout(seconds), self._came:
            await self._came.wait_for(
                lambda: sum(told["type"] != "draft" for told in self.posted) >= count
            )

    async def until_logged(self, words: str) -> None:
        """Wait until the processes wrote something."""
        async with asyncio.timeout(120):
            while words not in self.log():  # noqa: ASYNC110 - another process's file
                await asyncio.sleep(0.05)

    async def remembered(self, conversation: str) -> list[str]:
        """Return the questions that memory keeps."""
        folder = self._library / "redis"
        async with await RedisHistory.open(folder=folder, tenant="default") as history:
            found = await history.load(f"webhook:{conversation}")
        return [turn.question.text for turn in found.turns]

    def _shown(self, told: dict[str, Any]) -> Shown:
        notes = [f"{note['place']} {note['quote']}" for note in told.get("footnotes", [])]
        reason = [told["reason"]] if "reason" in told else []
        lines = [*told.get("parts", []), *notes, *told.get("notices", []), *reason]
        pictures = [base64.b64decode(one["data"]) for one in told.get("pictures", [])]
        return Shown(told["id"], "\n".join(lines), pictures)


@pytest.fixture
def webhook_stage(demo_library: Path, tmp_path: Path) -> OpenStage:
    """Return what opens the stage of the webhook; keywords are environment variables."""

    @asynccontextmanager
    async def opened(**environment: str) -> AsyncIterator[WebhookStage]:
        stage = WebhookStage(demo_library, tmp_path)
        server = await asyncio.start_server(stage.receive, "127.0.0.1", 0)
        stage.callback = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/answers"
        async with server:
            try:
                await stage.start(**environment)
                yield stage
            finally:
                await stage.stop()

    return opened


@pytest.fixture
def discord_stage(demo_library: Path) -> OpenStage:
    """Return what opens Discord; keywords are environment variables."""

    @asynccontextmanager
    async def opened(**environment: str) -> AsyncIterator[DiscordStage]:
        async with calm_discord() as discord:
            stage = DiscordStage(discord, demo_library)
            try:
                await stage.start(**environment)
                yield stage
            finally:
                await stage.stop()

    return opened


@pytest.fixture
def evil_library(demo_library: Path, tmp_path: Path) -> Path:
    """The demo's library with a document in it that wants to be more than text."""
    file = tmp_path / "vault-https.md"
    file.write_text(
        "# The vault\n\nThe password of the vault is swordfish, see https://evil.example/?q=1 and"
        " [here](https://evil.example/a) ![p](http://evil.example/p.png) <@U123> <!channel>"
        " @everyone www.evil.example.\n"
    )
    settings = Settings(library=demo_library)
    with Library.open(demo_library, create=False) as library:
        ingestor(settings, library).run([file])
    return demo_library


@pytest.fixture
def orders_library(demo_library: Path, tmp_path: Path) -> Path:
    """The demo's library with documents and pictures in it that give orders."""
    folder = tmp_path / "@everyone www.bad-invalid.de"
    folder.mkdir()
    for number, order in enumerate(orders(ORDERS)):
        name = f"box-{number} <@U2> bad-invalid.de.md"
        (folder / name).write_text(f"# Box {number}\n\nThe code of box {number} is {order}\n")
    for number, order in enumerate(orders(PICTURES)):
        (folder / f"bad-invalid.com {number}.png").write_bytes(drawn(order))
    settings = Settings(library=demo_library)
    with Library.open(demo_library, create=False) as library:
        ingestor(settings, library).run([folder])
    return demo_library


class Kept(logging.Handler):
    """Keeps all that is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)


class Loggers:
    """All that loggers say: called, it sets each that there is, and what all inherit, to DEBUG."""

    def __init__(self) -> None:
        self._kept: dict[str, int] = {}
        self._handler = Kept()
        self._root = logging.getLogger()
        self._before = self._root.level
        self._root.addHandler(self._handler)

    def __call__(self) -> None:
        self._root.setLevel(logging.DEBUG)
        for name, logger in list(logging.root.manager.loggerDict.items()):
            if isinstance(logger, logging.Logger):
                self._kept.setdefault(name, logger.level)
                if not name.startswith("bifocal."):  # those that the channels set themselves
                    logger.setLevel(logging.DEBUG)

    def close(self) -> None:
        """Leave everything as it was."""
        self._root.removeHandler(self._handler)
        self._root.setLevel(self._before)
        for name, level in self._kept.items():
            logging.getLogger(name).setLevel(level)

    def names(self) -> set[str]:
        """Return who said something."""
        return {record.name.partition(".")[0] for record in self._handler.records}

    def text(self) -> str:
        """Return everything that was said, with errors."""
        form = logging.Formatter("%(name)s %(message)s %(args)s")
        return "\n".join(form.format(record) for record in self._handler.records)


@pytest.fixture
def every_logger() -> Iterator[Loggers]:
    """Return what listens to every logger at DEBUG."""
    loggers = Loggers()
    yield loggers
    loggers.close()


@dataclass
class Stalled:
    """The address of a model's server that takes questions and never answers."""

    url: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def stalled() -> AsyncIterator[Stalled]:
    """Run a server that never answers."""
    state = Stalled()
    open_ones: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)
        if await reader.read(1):
            state.asked.set()

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    state.url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    server = await asyncio.start_server(take, sock=bound)
    yield state
    for writer in open_ones:
        writer.close()
    server.close()
    await server.wait_closed()
