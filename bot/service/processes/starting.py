"""An application that says in one line why it could not start.

A server that starts an application tells of a failure in a traceback. Here the error is kept, and
of several processes each leaves its line in a folder where the process that watches over them finds
it. Knows nothing of what is served.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.errors import KNOWN_ERRORS
from bot.service.observability.logs import set_up, tell
from bot.settings import Settings

NAME = "why"  #: the file of the line
_EVENTS = {"lifespan.startup.complete": "started", "lifespan.shutdown.complete": "stopped"}


class Starting:
    """The application that ``make`` returns, made when the server starts it. ``error`` is what it
    could not start for."""

    def __init__(self, make: Callable[[], ASGIApp], folder: str | None) -> None:
        self._make = make
        self._folder = folder
        self._app: ASGIApp | None = None
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            assert self._app is not None  # the server starts it before it asks
            await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "lifespan.startup.failed":
                return  # the error itself follows
            await send(message)
            if message["type"] in _EVENTS:
                started = True
                tell(_EVENTS[message["type"]], pid=os.getpid())

        if self._folder is not None:
            _end_with_parent()
        try:
            self._app = self._make()
            await self._app(scope, receive, sending)
        except Exception as error:
            if started:
                raise
            self.error = error
            if not isinstance(error, KNOWN_ERRORS):
                tell("failed", level="error", error=error)
            if self._folder is not None:
                _leave(Path(self._folder), error)
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it knows only that
            await send({"type": "lifespan.startup.failed", "message": ""})


def set_up_log(settings: Settings) -> None:
    """Write this process's log. What the server says of its start and end, it says only in a log
    for debugging: ``started`` and ``stopped`` say the same. Warnings of everything else are lines
    of the same form."""
    set_up(settings.serve.log_level)
    root = logging.getLogger()
    root.handlers = list(logging.getLogger("bifocal").handlers)
    root.setLevel(logging.WARNING)
    if settings.serve.log_level == "info":
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def why_not(folder: str) -> str:
    """Return the first line that a process left in ``folder`` about why it could not start."""
    try:
        return (Path(folder) / NAME).read_text("utf-8")
    except FileNotFoundError:
        return (
            "a process of the service died while it started (out of memory?); try --workers 1, or"
            " the setting serve.log_level = debug"
        )


def _leave(folder: Path, error: Exception) -> None:
    text = " ".join(str(error).split())
    if not isinstance(error, KNOWN_ERRORS):
        text = f"unexpected {type(error).__name__}; the log says where (--workers 1 --debug more)"
    try:
        with (folder / NAME).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        pass  # another process was first


def _end_with_parent() -> None:
    """Stop this process as by SIGTERM when the one that watches over it is killed, so that none is
    left which holds the port."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
