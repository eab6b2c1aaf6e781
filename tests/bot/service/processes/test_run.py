"""``bifocal serve`` as a newcomer meets it: a process of its own, its lines, and how it ends."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import pytest

from bot.service.processes.run import where
from bot.settings import Settings

LAST = "OpenAI base URL"


class Running:
    """A service in a process of its own, and the lines that it wrote."""

    def __init__(self, *args: str | Path, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bot", "serve", "--port", "0", *map(str, args)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        self.lines: list[str] = []
        self._new: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._new.put(line.rstrip())

    def until(self, words: str) -> str:
        """Return the line that holds ``words``, waiting for it."""
        while True:
            try:
                line = self._new.get(timeout=120)
            except Empty:
                raise AssertionError(f"never said {words!r}: {self.lines}") from None
            self.lines.append(line)
            if words in line:
                return line

    def url(self) -> str:
        """Return the address of the API, when the service says that it is ready."""
        return self.until(LAST).split()[-1].removesuffix("/v1")

    def ended(self) -> int:
        """Wait for its end; return the exit code."""
        code = self.process.wait(timeout=120)
        self._reader.join(timeout=60)
        while not self._new.empty():
            self.lines.append(self._new.get())
        return code


@contextmanager
def running(*args: str | Path, **env: str) -> Iterator[Running]:
    service = Running("--model", "extractive", *args, **env)
    try:
        yield service
    finally:
        service.process.terminate()
        try:
            service.ended()
        finally:
            service.process.kill()
            service.process.wait()
            assert service.process.stderr is not None
            service.process.stderr.close()


def refused(*args: str | Path, **env: str) -> str:
    """Check that the service does not start and says so in one line; return the line."""
    service = Running(*args, **env)
    assert service.ended() == 1
    assert service.process.stderr is not None
    service.process.stderr.close()
    assert len(service.lines) == 1, service.lines
    assert service.lines[0].startswith("bifocal: ")
    return service.lines[0]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=60, trust_env=False)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_says_where_it_is_when_it_answers_and_not_before(library: Path, workers: str) -> None:
    with running("-l", library, "--workers", workers) as service:
        url = service.url()
        assert get(f"{url}/readyz").status_code == 200
        told = "\n".join(service.lines)
        assert f"Bifocal is at {url}" in told
        assert f"{url}/v1/turns" in told
        assert "web page" in told
        assert "API key" not in told
        assert f"bifocal ingest FILES --library {library}" in service.until("is empty yet")
        service.process.terminate()
        assert service.ended() == 0


def test_it_says_how_to_make_a_key_while_there_is_none(library: Path) -> None:
    shared = {"BIFOCAL_SERVE_KEYS": "on", "BIFOCAL_SERVE_PAGE": "false"}
    with running("-l", library, **shared) as service:
        service.url()
        assert "bifocal keys add NAME" in service.until("no API key yet")
        made = [sys.executable, "-m", "bot", "keys", "add", "anna", "-l", str(library)]
        subprocess.run(made, check=True, capture_output=True, timeout=120)
    with running("-l", library, **shared) as service:
        service.url()
    assert not any("no API key" in line or "web page" in line for line in service.lines)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_redis_that_is_down_is_one_line_without_its_password(library: Path, workers: str) -> None:
    url = "redis://:geheim@127.0.0.1:1/0"
    line = refused("-l", library, "--workers", workers, BIFOCAL_REDIS_URL=url)
    assert "redis://127.0.0.1:1 cannot be reached" in line
    assert "geheim" not in line


def test_a_port_that_is_taken_is_one_line_that_names_the_way_out(library: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused("-l", library, "--port", str(port))
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


def test_keys_off_is_refused_beyond_loopback(library: Path) -> None:
    line = refused("-l", library, "--host", "0.0.0.0", BIFOCAL_SERVE_KEYS="off")
    assert "serve.keys" in line
    assert "bifocal keys add" in line


def test_a_model_and_a_library_that_cannot_be_used_are_one_line_each(
    tmp_path: Path, library: Path
) -> None:
    assert "nope" in refused("-l", library, "--model", "llama:nope")
    (tmp_path / "file").write_text("no folder")
    assert "give another folder" in refused("-l", tmp_path / "file" / "library")


def test_a_process_that_dies_is_replaced_and_none_outlives_the_one_that_watches(
    library: Path,
) -> None:
    with running("-l", library, "--workers", "2") as service:
        url = service.url()
        started = [json.loads(line) for line in service.lines if '"started"' in line]
        assert len({event["pid"] for event in started}) == 2
        os.kill(started[0]["pid"], signal.SIGKILL)
        assert json.loads(service.until("process_died"))["pid"] == started[0]["pid"]
        service.until("started")
        assert get(f"{url}/livez").status_code == 200
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        for _ in range(600):
            try:
                get(f"{url}/livez")
            except httpx.TransportError as error:
                if isinstance(error, httpx.ConnectError):
                    return
            time.sleep(0.1)
        raise AssertionError("a process was left, which holds the port")


def test_a_hangup_starts_every_process_anew_while_others_answer(
    library: Path, tmp_path: Path
) -> None:
    with running("-l", library, "--workers", "2") as service:
        url = service.url()
        before = {json.loads(line)["pid"] for line in service.lines if '"started"' in line}
        service.process.send_signal(signal.SIGHUP)
        ended: set[int] = set()
        while ended < before:
            ended.add(json.loads(service.until('"stopped"'))["pid"])
            assert get(f"{url}/livez").status_code == 200
        assert ended == before


def test_the_page_says_what_to_install_where_its_package_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Without:
        """The import system of an environment without nicegui."""

        @staticmethod
        def find_spec(name: str, *args: Any) -> Any:
            return None if name == "nicegui" else PathFinder.find_spec(name, *args)

    monkeypatch.delitem(sys.modules, "nicegui", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Without])
    told = "\n".join(where(Settings.load(), 8000))
    assert "pip install 'bifocal[web]'" in told
    assert "http://127.0.0.1:8000/v1" in told


def test_help_says_what_to_do_first() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bot", "serve", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for words in ("--workers", "curl", "bifocal keys add", "--host"):
        assert words in result.stdout


async def test_the_images_health_check_is_well_while_the_service_is_ready(serve: Any) -> None:
    lines = (Path(__file__).parents[4] / "docs" / "deploy" / "Dockerfile").read_text("utf-8")
    (command,) = re.findall(r"^HEALTHCHECK .*\\\n *CMD (.*)$", lines, re.M)
    name, *args = json.loads(command)
    assert name == "python"

    async def code(port: int) -> int:
        moved = [part.replace(":8000/", f":{port}/") for part in args]
        quiet = asyncio.subprocess.DEVNULL
        ran = await asyncio.create_subprocess_exec(sys.executable, *moved, stderr=quiet)
        return await ran.wait()

    async with serve() as served:
        port = int(served.url.rpartition(":")[2])
        assert await code(port) == 0
    assert await code(port) != 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_the_readmes_requests_are_answered(
    serve: Any, demo_files: Path, tmp_path: Path
) -> None:
    readme = (Path(__file__).parents[4] / "README.md").read_text("utf-8")
    shown = readme[readme.index("## Serving") :].partition("```sh\n")[2].partition("```")[0]
    requests = shown[shown.index("curl") :]
    shutil.copy(demo_files / "lighthouse.jpg", tmp_path / "photo.jpg")
    async with serve() as served:
        ran = await asyncio.create_subprocess_exec(
            "sh",
            "-ec",
            requests.replace("http://", "").replace("localhost:8000", served.url),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await ran.communicate()
    assert ran.returncode == 0
    whole, _, streamed = out.decode().partition("event: evidence")
    assert "34 metres" in json.loads(whole)["text"]
    assert "event: done" in streamed
