"""A served bot to talk to, and a way there that breaks when it is told to."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_PATH = Path(__file__).parents[1] / "service" / "conftest.py"
_spec = importlib.util.spec_from_file_location("service_conftest", _PATH)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules["service_conftest"] = _module
_spec.loader.exec_module(_module)
serve = _module.serve


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of the environment out of the way to loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost,::1")


class Breaking:
    """A TCP proxy which passes on ``limits.pop(0)`` bytes of answers, one number a connection, and
    then hangs up; without a number it passes on everything."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.limits: list[int] = []
        self.cuts = 0  #: connections that were cut
        self.url = ""
        self.tasks: set[asyncio.Task[Any]] = set()

    async def serve_one(self, reader: Any, writer: Any) -> None:
        """Pass one connection on."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        limit = self.limits.pop(0) if self.limits else None
        try:
            there, out = await asyncio.open_connection("127.0.0.1", self._port)
            sending = asyncio.create_task(self._all(reader, out))
            try:
                await self._some(there, writer, limit)
            finally:
                sending.cancel()
                out.transport.abort()
                await asyncio.wait({sending})
        except OSError:
            pass
        finally:
            if self.cuts % 2:  # an end without a word, or a reset
                writer.close()
            else:
                writer.transport.abort()
            self.tasks.discard(task)

    async def _all(self, reader: Any, writer: Any) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    async def _some(self, reader: Any, writer: Any, left: int | None) -> None:
        while data := await reader.read(65536):
            if left is not None and len(data) >= left:
                writer.write(data[:left])
                with suppress(OSError):
                    await writer.drain()
                self.cuts += 1
                return
            left = None if left is None else left - len(data)
            writer.write(data)
            await writer.drain()


@pytest.fixture
def breaking() -> Callable[[str], Any]:
    """``async with breaking(url) as way``: a way to a service that breaks; see ``Breaking``."""

    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Breaking]:
        way = Breaking(int(url.rpartition(":")[2]))
        server = await asyncio.start_server(way.serve_one, "127.0.0.1", 0)
        way.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield way
        finally:
            server.close()
            for task in way.tasks:
                task.cancel()
            if way.tasks:
                await asyncio.wait(way.tasks)
            await server.wait_closed()

    return opened
