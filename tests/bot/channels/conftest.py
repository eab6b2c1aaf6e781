"""Channels as their users see them: a stage for each, with the same few things that people do."""

import asyncio
import base64
import importlib.util
import json
import logging
import os
import re
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from discord_stage import DiscordStage
from discord_story import calm_discord
from hostile_orders import drawn, orders
from pydantic import SecretStr
from seeing_double import SeeingModel, painted, seeing_model

from bot import Settings
from bot.build import ingestor
from bot.channels.webhook_message import signed
from bot.service.access.keys import KeyStore
from bot.service.stores.shared_redis import SharedRedis
from memory.redis_history import RedisHistory
from retrievers.library import Library

ORDERS, PICTURES = (374, 84) if os.environ.get("BIFOCAL_FULL") else (30, 4)
SECRET = "a secret of the webhook for tests"

_spec = importlib.util.spec_from_file_location(
    "service_conftest", Path(__file__).parents[1] / "service" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_served = importlib.util.module_from_spec(_spec)
sys.modules["service_conftest"] = _served  # dataclasses look themselves up
_spec.loader.exec_module(_served)
serve = _served.serve


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
        """End the bot's oldest process at once, without a word."""

    async def start(self, **environment: str) -> None:
        """Start the bot's process again, or another one."""

    async def remembered(self, conversation: str) -> list[str]:
        """Return the questions that memory keeps of a conversation."""
        raise NotImplementedError


OpenStage = Callable[..., AbstractAsyncContextManager[Any]]


class Service:
    """``bifocal serve`` over a library, in processes of its own: the last that was started is
    spoken to. Started again, when none runs, it has the same address."""

    _command: tuple[str, ...] = ("-m", "bot", "serve", "--port")

    def __init__(self, library: Path, folder: Path, **environment: str) -> None:
        self.library, self._folder, self._given = library, folder, environment
        self._processes: list[asyncio.subprocess.Process] = []
        self._port = "0"
        self.url = self.key = ""

    async def start(self, **environment: str) -> None:
        """Start it, and wait until it is ready."""
        log = self._folder / f"log-{uuid.uuid4().hex}"
        given = {
            "BIFOCAL_MODEL": "extractive",
            "BIFOCAL_LIBRARY": str(self.library),
            "NO_PROXY": "127.0.0.1",
        }
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self._command, "0" if self._processes else self._port),
                stderr=out,
                env={**os.environ, **given, **self._given, **environment},
            )
        self._processes.append(process)
        async with asyncio.timeout(120):
            while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
            self.url, self._port = found[0], found[1]
            async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
                while True:
                    try:
                        if (await client.get("/readyz")).is_success:
                            return
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)

    async def make_key(self, *libraries: str) -> str:
        """Return a new key that reads these libraries."""
        folder = self.library / "redis"
        async with await SharedRedis.open(folder=folder) as redis:
            _, key = await KeyStore(redis).add(
                f"k{uuid.uuid4().hex[:8]}", tenant="default", read=list(libraries), write=[]
            )
        return key

    async def revoke(self, key: str) -> None:
        """Revoke a key."""
        async with await SharedRedis.open(folder=self.library / "redis") as redis:
            await KeyStore(redis).revoke(key.split("_")[1])

    def log(self) -> str:
        """Return everything that the processes wrote."""
        return "".join(file.read_text() for file in self._folder.glob("log-*"))

    async def kill(self) -> None:
        """End the oldest process at once."""
        process = self._processes.pop(0)
        process.kill()
        await process.wait()

    async def stop(self) -> None:
        """End all processes in order."""
        for process in self._processes:
            if process.returncode is None:
                process.terminate()
        async with asyncio.timeout(120):
            while self._processes:
                await self._processes[0].wait()
                del self._processes[0]


class WebhookStage(Service):
    """``bifocal serve`` with a webhook, and the program at its other end. See :class:`Stage`."""

    def __init__(self, library: Path, folder: Path) -> None:
        super().__init__(library, folder, BIFOCAL_WEBHOOK_SECRET=SECRET)
        self.memory = library  #: whose Redis keeps the conversations
        self.posted: list[dict[str, Any]] = []  #: what came to the callback, whole
        self.failing = 0  #: posts to the callback that are answered with 503
        self._came = asyncio.Condition()
        self.callback = ""
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
            status = b"503 Unavailable" if self.failing else b"200 OK"
            self.failing = max(0, self.failing - 1)
            writer.write(b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)
            await writer.drain()
            async with self._came:
                self.posted.append(json.loads(body))
                self._came.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def start(self, **environment: str) -> None:
        """Start the process, and wait until it is ready."""
        await super().start(**{"BIFOCAL_WEBHOOK_CALLBACK": self.callback, **environment})

    @property
    def pid(self) -> int:
        """The process that answers."""
        return self._processes[-1].pid

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
            await self._came.wait_for(lambda: len(self._told()) >= count)
        return [self._shown(told) for told in self._told()]

    def _told(self) -> list[dict[str, Any]]:
        return [told for told in self.posted if told["type"] != "withdrawn"]

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
        return await questions(self.memory, f"webhook:{conversation}")

    def _shown(self, told: dict[str, Any]) -> Shown:
        notes = [f"{note['place']} {note['quote']}" for note in told.get("footnotes", [])]
        reason = [told["reason"]] if "reason" in told else []
        lines = [*told.get("parts", []), *notes, *told.get("notices", []), *reason]
        pictures = [base64.b64decode(one["data"]) for one in told.get("pictures", [])]
        return Shown(told["id"], "\n".join(lines), pictures)


class WebhookBesideStage(WebhookStage):
    """The webhook in a program that is not ``bifocal serve``."""

    _command = (str(Path(__file__).parent / "webhook_beside.py"),)


async def questions(library: Path, conversation: str) -> list[str]:
    """Return the questions that the Redis of a library keeps of a conversation."""
    async with await RedisHistory.open(folder=library / "redis", tenant="default") as history:
        found = await history.load(conversation)
    return [turn.question.text for turn in found.turns]


class Beside:
    """A channel over a served bot: two processes that start and die together. See
    :class:`Stage`."""

    def __init__(self, stage: Any, service: Service) -> None:
        self.stage, self.service = stage, service
        stage.memory = service.library

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stage, name)

    async def start(self, **environment: str) -> None:
        """Start the service with these settings, and the channel beside it."""
        await self.service.start(**environment)
        self.service.key = self.service.key or await self.service.make_key("*")
        await self.join()

    async def join(self, **environment: str) -> None:
        """Start the channel alone."""
        given = {"BIFOCAL_URL": self.service.url, "BIFOCAL_KEY": self.service.key}
        await self.stage.start(**given, **environment)

    async def kill(self) -> None:
        """End both processes at once."""
        await asyncio.gather(self.stage.kill(), self.service.kill())

    async def stop(self) -> None:
        """End both in order."""
        await self.stage.stop()
        await self.service.stop()


@asynccontextmanager
async def running(stage: Any, environment: dict[str, str]) -> AsyncIterator[Any]:
    """Start a stage, and stop it in the end."""
    try:
        await stage.start(**environment)
        yield stage
    finally:
        await stage.stop()


@pytest.fixture
def service(demo_library: Path, tmp_path: Path) -> Service:
    """``bifocal serve`` over the demo's library, which asks for keys; not started yet."""
    libraries = str(tmp_path / "libraries")
    return Service(
        demo_library, tmp_path, BIFOCAL_SERVE_KEYS="on", BIFOCAL_SERVE_LIBRARIES=libraries
    )


@pytest.fixture
def beside(service: Service) -> Callable[[Any], Beside]:
    """Return what puts a stage over the service."""
    return lambda stage: Beside(stage, service)


@pytest.fixture
def webhook_stage(demo_library: Path, tmp_path: Path) -> OpenStage:
    """Return what opens the stage of the webhook; keywords are environment variables."""

    @asynccontextmanager
    async def opened(**environment: str) -> AsyncIterator[WebhookStage]:
        stage = WebhookStage(demo_library, tmp_path)
        async with called_back(stage), running(stage, environment):
            yield stage

    return opened


@pytest.fixture
def webhook_beside_stage(tmp_path: Path, beside: Callable[[Any], Beside]) -> OpenStage:
    """Return what opens the webhook over a served bot; keywords are variables of the service."""

    @asynccontextmanager
    async def opened(**environment: str) -> AsyncIterator[Beside]:
        webhook = WebhookBesideStage(tmp_path / "beside", tmp_path)
        stage = beside(webhook)
        async with called_back(webhook), running(stage, environment):
            yield stage

    return opened


@asynccontextmanager
async def called_back(stage: WebhookStage) -> AsyncIterator[None]:
    """Be the callback of a webhook."""
    server = await asyncio.start_server(stage.receive, "127.0.0.1", 0)
    stage.callback = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/answers"
    async with server:
        yield


@pytest.fixture
def discord_stage(demo_library: Path) -> OpenStage:
    """Return what opens Discord; keywords are environment variables."""

    @asynccontextmanager
    async def opened(**environment: str) -> AsyncIterator[DiscordStage]:
        async with (
            calm_discord() as discord,
            running(DiscordStage(discord, demo_library), environment) as stage,
        ):
            yield stage

    return opened


@pytest.fixture
def discord_beside_stage(tmp_path: Path, beside: Callable[[Any], Beside]) -> OpenStage:
    """Return what opens Discord over a served bot; keywords are variables of the service."""

    @asynccontextmanager
    async def opened(**environment: str) -> AsyncIterator[Beside]:
        async with calm_discord() as discord:
            stage = beside(DiscordStage(discord, tmp_path / "beside"))
            async with running(stage, environment):
                yield stage

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
def seeing() -> Iterator[SeeingModel]:
    """A model that says which of the pictures of :func:`paint` it was shown."""
    with seeing_model() as model:
        yield model


@pytest.fixture
def paint() -> Callable[[str, str], bytes]:
    """Return what makes a picture of two colours, its left and its right."""
    return painted


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
    """The address of a model's server that takes questions and never answers. ``left`` is set when
    whoever asked hangs up."""

    url: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def stalled() -> AsyncIterator[Stalled]:
    """Run a server that never answers."""
    state = Stalled()
    open_ones: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)
        if await reader.read(1):
            state.asked.set()
            with suppress(ConnectionError):
                while await reader.read(1 << 16):
                    pass
            state.left.set()

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    state.url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    server = await asyncio.start_server(take, sock=bound)
    yield state
    for writer in open_ones:
        writer.close()
    server.close()
    await server.wait_closed()
