"""What tests of the answer writers share: tiny GGUF files, and a small OpenAI-compatible server."""

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

from bot.models.llama import LocalVisionChat

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
