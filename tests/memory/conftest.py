"""Real Redis servers for the tests of memory/: embedded ones, and one on a loopback port."""

import hashlib
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from memory.embedded import EmbeddedRedis
from memory.messages import Message, PictureRef, Turn
from memory.redis_history import RedisHistory
from memory.redis_server import find_server

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
StartServer = Callable[..., int]
RunPython = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def make_turn() -> MakeTurn:
    """Return a maker of turns with an id of their own."""

    def make(question: str = "why?", pictures: tuple[int, ...] = (), at: float = 1e9) -> Turn:
        return Turn(
            id=uuid.uuid4().hex,
            question=Message(question, pictures),
            answer=Message(f"because {question}"),
            at=at,
            citations=({"n": 1, "source": "a.pdf", "page": 3},),
            ledger={"evidence": [{"id": "p1", "score": 0.5}]},
        )

    return make


@pytest.fixture
def make_picture() -> MakePicture:
    """Return a maker of a reference and its bytes by hash."""

    def make(number: int, data: bytes = b"", **more: str) -> tuple[PictureRef, dict[str, bytes]]:
        data = data or f"bytes of picture {number}".encode() * 50
        sha = hashlib.sha256(data).hexdigest()
        ref = PictureRef(number, sha, "image/png", 40, 30, len(data), name=more.get("name", ""))
        return ref, {sha: data}

    return make


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Return a starter of a redis-server on 127.0.0.1; it gives the port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        command = [str(find_server()[0]), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        running.append(
            subprocess.Popen([*command, *options], cwd=tmp_path, stdout=subprocess.DEVNULL)
        )
        for _ in range(2000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return port
            time.sleep(0.005)
        raise AssertionError("redis-server did not start")

    yield start
    for server in running:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of an embedded server that stays up for all tests."""
    folder = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis.open(folder):
        yield folder


@pytest.fixture
async def history(shared_folder: Path) -> AsyncIterator[RedisHistory]:
    """Return an embedded history under a tenant of its own."""
    async with await RedisHistory.open(folder=shared_folder, tenant=uuid.uuid4().hex) as opened:
        yield opened


@pytest.fixture
def run_python() -> Iterator[RunPython]:
    """Return a starter of a Python process that runs a piece of source."""
    running: list[subprocess.Popen[str]] = []

    def start(source: str, *args: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", source, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
