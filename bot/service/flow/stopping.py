"""SIGTERM drains: no new turns, those under way may end, and what is left is cut with a word.

The server stops listening at the signal and waits for open connections; what is needed beside that
is to know of the signal, and to end the streams that would outlast the grace time, each with its
``error`` event. Knows nothing of turns.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EARLIER = 0.5  #: seconds before the server's own deadline at which streams are cut


class Stopping:
    """Whether the service is stopping (``begun``), and when streams must end (``cut``)."""

    def __init__(self, grace: float) -> None:
        self.begun = asyncio.Event()
        self.cut = asyncio.Event()
        self._grace = grace
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Take no new turns, and cut the streams before the grace time ends."""
        if not self.begun.is_set():
            self.begun.set()
            self._loop.call_later(max(0.0, self._grace - EARLIER), self.cut.set)

    def on_signal(self) -> None:
        """Do so from a signal's handler."""
        self._loop.call_soon_threadsafe(self.begin)


@asynccontextmanager
async def stops_with(grace: float) -> AsyncIterator[Stopping]:
    """Hear of the signals that end a process, before those who heard of them until now."""
    stopping = Stopping(grace)
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        stopping.on_signal()
        if callable(then := before[signal.Signals(number)]):
            then(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)
