"""What tests of the answer writers share: tiny GGUF files, an engine in this process, and a small
OpenAI-compatible server."""

import importlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bot.errors import ModelError
from bot.models.llama import LocalVisionChat
from bot.models.llama.engine import Engine
from bot.models.llama.files import ModelFiles
from bot.models.llama.values import Delta, Line, LogProb, Options, Outcome, Pixels, Request

WAIT = 60  # seconds until a test that hangs is given up; no test depends on how long things take


@pytest.fixture(scope="session", autouse=True)
def _tidy() -> Iterator[None]:
    """Close the two files that importing llama_cpp leaves open."""
    yield
    if utils := sys.modules.get("llama_cpp._utils"):
        utils.outnull_file.close()
        utils.errnull_file.close()


@pytest.fixture(scope="session")
def tiny(pocket: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model with its projector beside it."""
    folder = tmp_path_factory.mktemp("seeing")
    pocket.make_projector(folder / "mmproj-tiny.gguf")
    made: Path = pocket.make_text_model(folder / "tiny.gguf")
    return made


@pytest.fixture(scope="session")
def blind(pocket: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model without a projector."""
    made: Path = pocket.make_text_model(tmp_path_factory.mktemp("blind") / "tiny.gguf")
    return made


@pytest.fixture(scope="session")
def endless(pocket: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model that never ends its answer."""
    folder = tmp_path_factory.mktemp("endless")
    made: Path = pocket.make_text_model(folder / "endless.gguf", endless=True, trained_on=32768)
    return made


@pytest.fixture(scope="session")
def local(tiny: Path) -> Iterator[LocalVisionChat]:
    """The tiny model with its eyes, loaded."""
    model = LocalVisionChat.open(str(tiny), threads=1)
    yield model
    model.close()


@pytest.fixture
def opened() -> Iterator[Callable[..., LocalVisionChat]]:
    """Opens local models, and closes them after the test."""
    models: list[LocalVisionChat] = []

    def open_(files: object, **settings: Any) -> LocalVisionChat:
        models.append(LocalVisionChat.open(str(files), threads=1, **settings))
        return models[-1]

    yield open_
    for model in models:
        model.close()


@pytest.fixture(scope="session")
def odd(pocket: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFiles]:
    """Models of random weights, by architecture, with eyes where that matters."""
    folder = tmp_path_factory.mktemp("odd")
    sys.path.insert(0, str(Path(str(pocket.__file__)).parent))
    try:
        maker = importlib.import_module("make_odd_gguf")
    finally:
        sys.path.pop(0)
    found = {}
    for kind, projector in {
        "qwen2": "mlp",
        "gemma2": None,
        "mamba": None,
        "qwen2vl": "qwen2vl_merger",
        "internvl": "internvl",
    }.items():
        text = maker.make_text_model(folder / f"{kind}.gguf", kind.replace("internvl", "qwen2"))
        eyes = projector and maker.make_projector(folder / f"mmproj-{kind}.gguf", projector)
        found[kind] = ModelFiles(text, eyes or None)
    return found


@dataclass
class Asked:
    """An answer that comes from an engine in this process."""

    ticket: int = 0
    deltas: list[Delta] = field(default_factory=list)
    last: Outcome | ModelError | None = None
    began: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def put(self, told: Delta | Outcome | ModelError) -> None:
        """Hear what the engine tells."""
        assert self.last is None, "something came after the end"
        if isinstance(told, Delta):
            self.deltas.append(told)
            self.began.set()
        else:
            self.last = told
            self.ended.set()

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def logprobs(self) -> list[LogProb]:
        return [each for delta in self.deltas for each in delta.logprobs]

    @property
    def outcome(self) -> Outcome:
        """How it went; waits until the end, and raises what went wrong."""
        assert self.ended.wait(WAIT)
        if isinstance(self.last, ModelError):
            raise self.last
        assert self.last is not None
        return self.last


class Driven:
    """An engine that serves on a thread of its own or, with ``serve=False``, step by step."""

    def __init__(self, files: ModelFiles, *, serve: bool = True, **options: Any) -> None:
        settings = {"context_tokens": 1024, "batch": 128, **options}
        self.engine = Engine.open(files, Options(threads=1, **settings))
        self._thread = threading.Thread(target=self.engine.serve)
        if serve:
            self._thread.start()

    def start(self, *lines: tuple[str | Pixels, ...], **settings: Any) -> Asked:
        """Ask for an answer; each line is its role and its parts."""
        asked = Asked()
        said = tuple(Line(str(role), parts) for role, *parts_ in lines if (parts := tuple(parts_)))
        asked.ticket = self.engine.submit(Request(said, **settings), asked.put)
        return asked

    def ask(self, *lines: tuple[str | Pixels, ...], **settings: Any) -> Asked:
        """Return an answer that has ended; raises ``ModelError``."""
        asked = self.start(*lines, **settings)
        while not self._thread.is_alive() and not asked.ended.is_set():
            self.step()
        assert asked.outcome
        return asked

    def step(self, times: int = 1) -> None:
        """Do what the engine's thread does, so many times."""
        for _ in range(times):
            self.engine._next()
            self.engine._scheduler.step()

    def close(self) -> None:
        """Close the engine and wait for its thread."""
        self.engine.close()
        if self._thread.ident is not None:
            self._thread.join(WAIT)
            assert not self._thread.is_alive()


@pytest.fixture
def driven() -> Iterator[Callable[..., Driven]]:
    """Opens engines in this process, and closes them after the test."""
    engines: list[Driven] = []

    def open_(files: ModelFiles, **settings: Any) -> Driven:
        engines.append(Driven(files, **settings))
        return engines[-1]

    yield open_
    for engine in engines:
        engine.close()


@dataclass
class Server:
    """An OpenAI-compatible server that says what it was told, and can fail on purpose."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    fail: int = 0  #: answer with this status
    complaint: str = "on purpose"  #: and these words; {key} is the key that was sent
    break_after: int | None = None  #: hang up after so many tokens
    endless: bool = False  #: go on until the client leaves
    left: threading.Event = field(default_factory=threading.Event)  #: a client left

    def words(self, body: dict[str, Any]) -> Iterator[str]:
        """Tell what the last user message held."""
        last = [m for m in body["messages"] if m["role"] == "user"][-1]["content"]
        parts = [{"type": "text", "text": last}] if isinstance(last, str) else last
        shown = sum(part["type"] == "image_url" for part in parts)
        text = " ".join(part["text"] for part in parts if part["type"] == "text")
        yield from ("I", " see", f" {shown}", " and", " read", f" {text}", " 😀", ".")
        while self.endless:
            yield " more"


class _Handler(BaseHTTPRequestHandler):
    server_state: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer a chat completion."""
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        state.requests.append({"path": self.path, "key": key, "body": body})
        if state.fail:
            words = state.complaint.replace("{key}", key)
            self._json(state.fail, {"error": {"message": words, "type": "x", "code": None}})
            return
        words_, reason = self._limited(state, body)
        usage = {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15}
        if body.get("stream"):
            self._events(state, body, words_, reason, usage)
            return
        message = {"role": "assistant", "content": "".join(words_)}
        choice = {"index": 0, "message": message, "finish_reason": reason[0]}
        self._json(200, {**self._head("chat.completion"), "choices": [choice], "usage": usage})

    def _limited(self, state: Server, body: dict[str, Any]) -> tuple[Iterator[str], list[str]]:
        """Return the words up to a stop string or the limit, and a list that gets the reason."""
        reason = ["stop"]
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 10**9
        stops = body.get("stop") or []
        stops = [stops] if isinstance(stops, str) else stops

        def words() -> Iterator[str]:
            for n, word in enumerate(state.words(body)):
                if any(stop in word for stop in stops):
                    return
                if n == limit:
                    reason[0] = "length"
                    return
                yield word

        return words(), reason

    def _events(
        self,
        state: Server,
        body: dict[str, Any],
        words: Iterator[str],
        reason: list[str],
        usage: dict[str, int],
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        head = self._head("chat.completion.chunk")
        try:
            for n, word in enumerate(words):
                if n == state.break_after:
                    # a chunked body that never ends properly: the client must notice
                    self.wfile.write(b"data: {\n\n")
                    return
                self._event({**head, "choices": [{"index": 0, "delta": {"content": word}}]})
            end = {"index": 0, "delta": {}, "finish_reason": reason[0]}
            self._event({**head, "choices": [end]})
            if (body.get("stream_options") or {}).get("include_usage"):
                self._event({**head, "choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            state.left.set()

    def _event(self, value: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": "1", "object": kind, "created": 1, "model": "any"}

    def _json(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server on a free loopback port."""
    state = Server()
    handler = type("Handler", (_Handler,), {"server_state": state})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.daemon_threads = True
    state.url = f"http://127.0.0.1:{running.server_port}/v1"
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield state
    state.endless = False
    running.shutdown()
    running.server_close()
    thread.join(WAIT)
