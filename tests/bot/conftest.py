"""The demo's files, ingested once by the real ingestion; bots over copies of that library; tiny
GGUF files; a hub to download from, on loopback."""

import asyncio
import importlib.util
import re
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field

from bot import AsyncChatBot, ChatBot, Settings
from bot.build import ingestor
from bot.demo import copy_library
from bot.models.choose import capabilities
from retrievers.library import Library

OpenBot = Callable[..., AbstractAsyncContextManager[AsyncChatBot]]


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the demo's files."""
    folder = tmp_path_factory.mktemp("demo") / "files"
    copy_library(folder)
    return folder


@pytest.fixture(scope="session")
def _demo_library(demo_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "library"
    settings = Settings(library=folder)
    with Library.open(folder, create=True) as library:
        report = ingestor(settings, library).run([demo_files])
    assert report.skipped == []
    return folder


@pytest.fixture
def demo_library(_demo_library: Path, tmp_path: Path) -> Path:
    """A library of the demo's files that a test may change."""
    return Path(shutil.copytree(_demo_library, tmp_path / "library"))


@pytest.fixture
def open_bot(demo_library: Path) -> OpenBot:
    """Open a bot over the demo's library. ``model`` may be any LangChain chat model,
    ``model_name`` one that the settings can name."""

    @asynccontextmanager
    async def opened(
        model: BaseChatModel | None = None, *, model_name: str | None = None, **changes: Any
    ) -> AsyncIterator[AsyncChatBot]:
        named: dict[str, Any] = {"model": model_name} if model_name else {}
        async with ChatBot.aopen(demo_library, **named, **changes) as bot:
            if model is not None:
                parts = replace(
                    bot.parts, model=model, model_name="scripted", capabilities=capabilities(model)
                )
                bot = AsyncChatBot(parts)
            yield bot

    return opened


class AsideChat(BaseChatModel):
    """A chat model that is asked other things than questions, too.

    ``asides`` holds, by the first words of what it is asked, what it says then: pieces of text, an
    error that it raises, or None when it stalls. Everything else is answered with ``says``.
    """

    reads_evidence: ClassVar[bool] = False
    context_tokens: int = 8192
    pictures: bool = False  #: it sees them
    max_pictures: int = 8
    picture_tokens: int = 100
    says: str = "Aye."
    asides: dict[str, Any] = Field(default_factory=dict)
    asked: list[str] = Field(default_factory=list)  #: texts of asides
    answered: list[list[BaseMessage]] = Field(default_factory=list)  #: prompts of answers
    ended: int = 0  #: asides that are no longer under way

    @property
    def _llm_type(self) -> str:
        return "aside"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        text = str(messages[-1].text)
        reply: Any = [self.says]
        if (begin := next((b for b in self.asides if text.startswith(b)), "")) == "":
            self.answered.append(messages)
        else:
            self.asked.append(text)
            reply = self.asides[begin]
        try:
            if reply is None:
                await asyncio.Event().wait()
            if isinstance(reply, Exception):
                raise reply
            for piece in reply:
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        finally:
            self.ended += bool(begin)


@pytest.fixture
def aside_chat() -> type[AsideChat]:
    """The class of a chat model that is asked other things than questions, too."""
    return AsideChat


@pytest.fixture(scope="session")
def pocket() -> ModuleType:
    """The module that writes tiny GGUF files."""
    path = Path(__file__).parents[1] / "pocket" / "make_gguf.py"
    spec = importlib.util.spec_from_file_location("make_gguf", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Hub:
    """A server of files that knows ranges, tells what it sent, and can misbehave on purpose."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)  #: by path, or by its last part
    asked: list[str] = field(default_factory=list)  #: path and range of each request
    sent: int = 0  #: bytes of files that were sent
    cut: list[int] = field(default_factory=list)  #: hang up after so many bytes, one a request
    ranges: bool = True
    status: int = 0  #: answer with this status
    size: int | None = None  #: claim this size of every file
    chunked: bool = False  #: tell a length, and send more than that in chunks
    elsewhere: bool = False  #: send the client to another address first
    hold: threading.Event | None = None  #: send the first half, and wait for this
    held: threading.Event = field(default_factory=threading.Event)  #: the first half is out


class _HubHandler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Send a file, or the part of it that is asked for."""
        hub, wanted = self.hub, self.headers.get("Range", "")
        hub.asked.append(f"{self.path} {wanted}")
        data = hub.files.get(self.path.rpartition("/")[2])
        if hub.elsewhere and not self.path.startswith("/cdn/"):
            self.send_response(302)
            self.send_header("Location", "/cdn" + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if data is None or hub.status:
            self.send_error(hub.status or 404)
            return
        found = re.fullmatch(r"bytes=(\d+)-", wanted) if hub.ranges else None
        begin, size = int(found[1]) if found else 0, hub.size or len(data)
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - begin))
        if hub.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self._send(data[begin:])
        except OSError:
            self.close_connection = True  # the client left

    def _send(self, data: bytes) -> None:
        hub = self.hub
        if hub.chunked:
            self.wfile.write(b"%x\r\n%s\r\n3\r\nand\r\n0\r\n\r\n" % (len(data), data))
            return
        if hub.cut:
            data = data[: hub.cut.pop(0)]
            self.close_connection = True
        half = len(data) // 2 if hub.hold else len(data)
        self._write(data[:half])
        if hub.hold:
            hub.held.set()
            hub.hold.wait(60)
            self._write(data[half:])

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()
        self.hub.sent += len(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running hub on a free loopback port, which downloads go to."""
    state = Hub()
    handler = type("Handler", (_HubHandler,), {"hub": state})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.daemon_threads = True
    state.url = f"http://127.0.0.1:{running.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", state.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield state
    if state.hold:
        state.hold.set()
    running.shutdown()
    running.server_close()
    thread.join(60)
