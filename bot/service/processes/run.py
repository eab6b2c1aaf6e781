"""Starts the service: one process, or several that share a port.

Knows nothing of what is served. What keeps a process from starting is raised here in one line,
wherever it went wrong.
"""

import asyncio
import atexit
import contextlib
import importlib.util
import math
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from multiprocessing import parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from starlette.types import ASGIApp

from bot.errors import BifocalError, SettingsError
from bot.service.http.wire import Wire
from bot.service.settings import ServeSettings
from bot.settings import Settings
from memory.errors import HistoryUnavailable
from retrievers.library import Library

if TYPE_CHECKING:
    from bot.service.processes.starting import Starting

#: Where the processes of a service add up what they counted (see observability/metrics.py)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
STARTS = 60  #: seconds that a process may take to start when others are replaced (SIGHUP)
_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}

Ready = Callable[[], Coroutine[Any, Any, None]]


def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Serve until a signal ends it; ``tell`` gets lines that say where, once it is ready. Then
    the process ends (``_end_process``): this does not return.

    Raises ``SettingsError`` for an address that cannot be listened on, or that would be open to
    everybody, and one of ``bot.errors.KNOWN_ERRORS`` for what keeps the service from starting.
    """
    chosen = settings.serve
    if chosen.keys == "off" and not chosen.on_loopback:
        raise SettingsError(
            f"setting serve.keys: off is for loopback only, and {chosen.host!r} is not; leave it at"
            " auto and make a key with `bifocal keys add NAME`"
        )
    with _bind(chosen.host, chosen.port) as bound:
        port = bound.getsockname()[1]

        async def ready() -> None:
            for line in where(settings, port):
                tell(line)
            if _is_empty(settings.library):
                folder = settings.library
                tell(f"The library {folder} is empty yet: bifocal ingest FILES --library {folder}")
            if chosen.keys_on and await _no_key(settings):
                tell("There is no API key yet, so nobody gets in: bifocal keys add NAME")

        if chosen.workers == 1:
            _alone(settings, bound, ready)
        else:
            _together(settings, bound, ready)


def _alone(settings: Settings, bound: socket.socket, ready: Ready) -> None:
    app = from_environment()
    try:
        _Server(configured(app, settings.serve), ready).run([bound])
    except SystemExit:
        if app.error is None:
            raise
        raise app.error from None


def _together(settings: Settings, bound: socket.socket, ready: Ready) -> None:
    from bot.service.processes.workers import Workers

    with TemporaryDirectory(prefix="bifocal-service-") as folder:
        os.environ[FOLDER] = folder  # before any of them counts
        config = configured("bot.service.processes.run:from_environment", settings.serve)
        workers = Workers(config, bound, lambda: asyncio.run(ready()), settings.serve.grace_seconds)
        workers.run()
        if workers.failed:
            from bot.service.processes.starting import why_not

            raise BifocalError(why_not(folder))
    _end_process()


class _Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Ready) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._captured_signals.clear()  # what they asked for is done: the exit code is 0
        if not self.force_exit:
            _end_process()


def _end_process() -> NoReturn:
    """End this process, of which everything is closed, with the exit code 0.

    The interpreter's own end would wait for threads that read a picture for nobody, and visit
    every object that was ever loaded: a second or more beyond the grace time.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
            stream.flush()
    os._exit(0)


def configured(app: ASGIApp | str, chosen: ServeSettings) -> uvicorn.Config:
    """Return how the web server is to run ``app``, or what the factory of that name makes."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=chosen.workers,
        http=Wire,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, math.ceil(chosen.grace_seconds)),
        timeout_keep_alive=max(1, math.ceil(chosen.read_seconds)),
        timeout_worker_healthcheck=STARTS,
        limit_concurrency=chosen.connections,
        lifespan="on",
    )


def from_environment() -> "Starting":
    """Return the application with the settings that the environment and the file give: what each
    process of a service makes for itself."""
    from bot.service.app import create_app
    from bot.service.processes.starting import Starting, set_up_log

    settings = Settings.usual()
    set_up_log(settings)
    folder = os.environ.get(FOLDER) if parent_process() is not None else None
    return Starting(lambda: create_app(settings), folder)


def to_environment(changes: dict[str, object]) -> None:
    """Put what the command line says over the settings where every process of the service finds
    it; None counts as not said."""
    for name, value in changes.items():
        if value is not None:
            os.environ[f"BIFOCAL_{name.upper()}"] = str(value)


def where(settings: Settings, port: int) -> list[str]:
    """Return the lines that say where the service is."""
    host = settings.serve.host
    shown = _ANY.get(host) or (f"[{host}]" if ":" in host else host)
    url = f"http://{shown}:{port}"
    beyond = " and at this machine's other addresses" if host in _ANY else ""
    page = f"{url}/"
    if importlib.util.find_spec("nicegui") is None:
        page = "needs a package: pip install 'bifocal[web]'"
    return [
        f"Bifocal is at {url}{beyond}",
        *([f"  web page         {page}"] if settings.serve.page else []),
        f"  HTTP API         {url}/v1/turns   (described at {url}/openapi.json)",
        f"  OpenAI base URL  {url}/v1",
    ]


def _is_empty(folder: Path) -> bool:
    """Tell whether there is nothing in a library that could be found."""
    with Library.open(folder) as library:
        return not (
            library.vector_ids("text", "passage").size or library.vector_ids("look", "picture").size
        )


async def _no_key(settings: Settings) -> bool:
    """Tell whether no API key was ever made."""
    from bot.service.access.keys import KeyStore
    from bot.service.stores.shared_redis import SharedRedis

    try:
        async with await SharedRedis.of(settings) as redis:
            return not await KeyStore(redis).list()
    except HistoryUnavailable:  # the service tells of it, request by request
        return False


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        raise SettingsError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}); give another"
            " --host or --port (0 takes a free one)"
        ) from error
    bound.set_inheritable(True)
    return bound
