"""Starts the service: one process, or several that share a port.

Knows nothing of what is served.
"""

import math
import os
import signal
import socket
from collections.abc import Callable
from tempfile import TemporaryDirectory
from types import FrameType

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE

from bot.errors import SettingsError
from bot.service.settings import ServeSettings
from bot.service.stopping import SIGNALS
from bot.service.wire import Wire
from bot.settings import Settings

#: Where the processes of a service add up what they counted (see bot/service/metrics.py)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Serve until a signal ends it; ``tell`` gets the address once it is bound.

    Raises ``SettingsError`` for an address that cannot be listened on, or that would be open to
    everybody.
    """
    chosen = settings.serve
    if chosen.keys == "off" and not chosen.on_loopback:
        raise SettingsError(
            f"setting serve.keys: off is for loopback only, and {chosen.host!r} is not; leave it at"
            " auto and make a key with `bifocal keys add`"
        )
    bound = _bind(chosen.host, chosen.port)
    config = configured("bot.service.run:from_environment", chosen, factory=True)
    _end_well()
    with bound:
        host, port = bound.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        tell(f"http://{shown}:{port}")
        if chosen.workers == 1:
            Server(config).run([bound])
            return
        from uvicorn.supervisors import Multiprocess

        with TemporaryDirectory(prefix="bifocal-metrics-") as folder:
            os.environ[FOLDER] = folder  # before any of them counts
            parent = Multiprocess(config, sockets=[bound])
            parent.run()
        if any(process.exitcode == STARTUP_FAILURE for process in parent.processes):
            raise SystemExit(STARTUP_FAILURE)


def configured(app: ASGIApp | str, chosen: ServeSettings, *, factory: bool = False) -> Config:
    """Return how the web server is to run ``app``."""
    return Config(
        app,
        factory=factory,
        workers=chosen.workers,
        http=Wire,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, math.ceil(chosen.grace_seconds)),
        timeout_keep_alive=max(1, math.ceil(chosen.read_seconds)),
        limit_concurrency=chosen.connections,
        lifespan="on",
    )


def _end_well() -> None:
    """Let the signals that stop the service end the process with 0: the server, having drained,
    raises them again for whoever had been told of them before."""

    def stopped(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    for number in SIGNALS:
        signal.signal(number, stopped)


def from_environment() -> ASGIApp:
    """Return the application with the settings that the environment and the file give: what each
    process of a service makes for itself."""
    from bot.service.app import create_app
    from bot.service.logs import set_up

    settings = Settings.usual()
    set_up(settings.serve.log_level)
    return create_app(settings)


def to_environment(changes: dict[str, object]) -> None:
    """Put what the command line says over the settings where every process of the service finds
    it; None counts as not said."""
    for name, value in changes.items():
        if value is not None:
            os.environ[f"BIFOCAL_{name.upper()}"] = str(value)


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
