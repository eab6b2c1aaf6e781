"""The process in which a local model runs: it is told what to do over a pipe, and may crash.

Frames of ``wire`` come on standard input and go out on what was standard output (native code that
prints cannot disturb them). The main thread runs the engine; one thread reads what comes, and so
sees a cancellation while the model is busy, and ends this process at once when the program that
started it is gone; two more do what can take long: preparing requests, and counting. Knows nothing
of llama.cpp, nor of who asks.
"""

import contextlib
import faulthandler
import io
import logging
import os
import queue
import re
import signal
import sys
import threading
import traceback
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from bot.errors import ModelBusy, ModelError
from bot.models.llama import wire
from bot.models.llama.values import Info, Line, Request

RETRY_SECONDS = 1.0  # when to ask again if too much waits to be prepared
_GONE, _FAILED, _MALFORMED = 0, 1, 2  # exit codes
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd")


class EngineLike(Protocol):
    """What this process runs: ``bot.models.llama.engine.Engine``."""

    info: Info

    def tokens_of(self, text: str) -> list[int]:
        """Return the tokens of plain text."""

    def count(self, lines: Sequence[Line], tools: Sequence[Mapping[str, Any]] = ()) -> int:
        """Return the tokens of a whole prompt."""

    def submit(self, request: Request, put: Callable[[wire.Said], None]) -> int:
        """Queue a request; ``put`` gets what becomes of it."""

    def cancel(self, ticket: int) -> None:
        """End an answer."""

    def stats(self) -> dict[str, float]:
        """Return counters."""

    def forget(self, tenant: str) -> None:
        """Drop what is kept for a tenant."""

    def serve(self) -> None:
        """Run the model until it is closed."""

    def close(self) -> None:
        """End."""


class Out:
    """The way out. Safe from any thread; ends this process when nobody listens any more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._lock = file, threading.Lock()

    def say(self, body: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Send a frame."""
        pieces = wire.pack(body, blobs)
        try:
            with self._lock:
                for piece in pieces:
                    self._file.write(piece)
                self._file.flush()
        except OSError:
            os._exit(_GONE)


class _Lane:
    """A thread that does jobs in order; no more than ``most`` wait."""

    def __init__(self, name: str, most: int) -> None:
        self._jobs: queue.Queue[Callable[[], None]] = queue.Queue(max(1, most))
        threading.Thread(target=self._run, daemon=True, name=name).start()

    def put(self, job: Callable[[], None]) -> bool:
        """Take a job, or return False when too many wait."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def _run(self) -> None:
        while True:
            self._jobs.get()()


class Desk:
    """Takes what the program asks to the engine, and brings back what comes of it."""

    def __init__(self, engine: EngineLike, out: Out, waiting: int) -> None:
        self._engine, self._out = engine, out
        self._preparing, self._counting = _Lane("prepare", waiting), _Lane("count", waiting)
        self._lock = threading.Lock()
        # requests by their number: the engine's ticket; None while it is prepared
        self._tickets: dict[int, int | None] = {}
        self._unwanted: set[int] = set()  # cancelled while being prepared
        self._does: dict[str, Callable[[int, wire.Frame], None]] = {
            "tokens": self._tokens,
            "count": self._count,
            "submit": self._submit,
            "cancel": self._cancel,
            "stats": self._stats,
            "forget": self._forget,
            "close": self._close,
        }

    def take(self, frame: wire.Frame) -> None:
        """Do what a frame asks for, or begin to; ``WireError`` if it cannot be read."""
        does = self._does.get(wire.typed(frame[0].get("do"), str))
        if does is None:
            raise wire.WireError(f"asked to {frame[0]['do']!r:.40}")
        does(wire.typed(frame[0].get("id"), int), frame)

    # what is asked

    def _tokens(self, number: int, frame: wire.Frame) -> None:
        text = wire.typed(frame[0].get("text"), str)

        def work() -> tuple[Any, bytes]:
            return None, array("i", self._engine.tokens_of(text)).tobytes()

        self._later(self._counting, number, work)

    def _count(self, number: int, frame: wire.Frame) -> None:
        lines = wire.lines_in(frame[0].get("lines"), frame[1])
        tools = wire.tools_in(frame[0].get("tools"))
        self._later(self._counting, number, lambda: (self._engine.count(lines, tools), b""))

    def _forget(self, number: int, frame: wire.Frame) -> None:
        tenant = wire.typed(frame[0].get("tenant"), str)

        def work() -> tuple[Any, bytes]:
            self._engine.forget(tenant)
            return None, b""

        self._later(self._counting, number, work)

    def _stats(self, number: int, frame: wire.Frame) -> None:
        self._answer(number, lambda: (self._engine.stats(), b""))

    def _close(self, number: int, frame: wire.Frame) -> None:
        # on a thread of its own: the one that reads must still see the program end
        threading.Thread(target=self._engine.close, daemon=True, name="close").start()

    def _submit(self, number: int, frame: wire.Frame) -> None:
        request = wire.request_in(frame[0].get("request"), frame[1])
        with self._lock:
            self._tickets[number] = None
        if not self._later(self._preparing, number, lambda: self._prepare(number, request)):
            self._drop(number)

    def _cancel(self, number: int, frame: wire.Frame) -> None:
        with self._lock:
            if number not in self._tickets:
                return  # it has ended
            ticket = self._tickets[number]
            if ticket is None:
                self._unwanted.add(number)
                return
        self._engine.cancel(ticket)

    # what comes of it

    def _prepare(self, number: int, request: Request) -> tuple[Any, bytes]:
        try:
            ticket = self._engine.submit(request, partial(self._put, number))
        except BaseException:
            self._drop(number)
            raise
        with self._lock:
            unwanted = number in self._unwanted
            if number in self._tickets:  # else it has ended already
                self._tickets[number] = ticket
        if unwanted:
            self._engine.cancel(ticket)
        return None, b""

    def _put(self, number: int, said: wire.Said) -> None:
        """Called by the engine, on its thread: send on what it says."""
        body = wire.said_out(said)
        body["turn"] = number
        if "text" not in body:
            self._drop(number)
        self._out.say(body)

    def _drop(self, number: int) -> None:
        with self._lock:
            self._tickets.pop(number, None)
            self._unwanted.discard(number)

    def _later(self, lane: _Lane, number: int, work: Callable[[], tuple[Any, bytes]]) -> bool:
        if lane.put(partial(self._answer, number, work)):
            return True
        error = ModelBusy(
            f"{self._engine.info.name}: too much waits to be prepared; ask again in"
            f" {RETRY_SECONDS:.0f} s",
            RETRY_SECONDS,
        )
        self._out.say({"call": number, **wire.said_out(error)})
        return False

    def _answer(self, number: int, work: Callable[[], tuple[Any, bytes]]) -> None:
        try:
            value, blob = work()
        except ModelError as error:
            self._out.say({"call": number, **wire.said_out(error)})
        except Exception as error:  # native libraries raise what they like: the process lives on
            traceback.print_exc()
            what = ModelError(
                f"{self._engine.info.name}: failed on this request"
                f" ({type(error).__name__}: {first_line(error)})"
            )
            self._out.say({"call": number, **wire.said_out(what)})
        else:
            self._out.say({"call": number, "value": value}, [blob] if blob else [])


def first_line(error: BaseException) -> str:
    """Return the beginning of what an error says."""
    return str(error).partition("\n")[0][:200]


def main() -> None:
    """Load the model that the first frame names, and serve until told to end."""
    incoming, out = _own_pipes()
    _settle()
    first = wire.read(incoming)
    if first is None:
        return
    files, options = wire.read_opening(first[0])
    if first[0].get("debug"):
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
    desk: list[Desk] = []
    threading.Thread(target=_listen, args=(incoming, desk), daemon=True, name="listen").start()
    try:
        from bot.models.llama.engine import Engine

        engine: EngineLike = Engine.open(files, options)
    except ModelError as error:
        out.say(wire.said_out(error))
        return
    desk.append(Desk(engine, out, options.waiting))
    out.say({"info": asdict(engine.info)})
    engine.serve()
    engine.close()  # waits until all is saved, if it is not


def _listen(incoming: BinaryIO, desk: list[Desk]) -> None:
    """Pass on what comes; end this process, whatever it is doing, when nothing can come."""
    try:
        while (frame := wire.read(incoming)) is not None:
            if desk:
                desk[0].take(frame)
            else:  # nothing is asked while the model loads, but to give it up
                os._exit(_GONE)
    except wire.WireError as error:
        sys.stderr.write(f"cannot read what the program says: {error}\n")
        sys.stderr.flush()
        os._exit(_MALFORMED)
    except BaseException:
        traceback.print_exc()
        os._exit(_FAILED)
    os._exit(_GONE)


def _own_pipes() -> tuple[BinaryIO, Out]:
    """Keep standard input and output for frames; for all else that reads or prints: nowhere."""
    incoming, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    assert isinstance(incoming, io.BufferedReader)
    return incoming, Out(out)


def _settle() -> None:
    """Leave signals that mean the program to the program, tell of crashes, and dump no memory."""
    faulthandler.enable()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        with contextlib.suppress(AttributeError, ValueError):  # not on every system
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
        _spare_the_machine(resource)


def _spare_the_machine(resource: Any) -> None:
    """Take no more memory than there is, whatever a damaged file says; be the first to go if none
    is left (on Linux).

    What is only mapped from files does not count. Not where a GPU's driver is: it maps what it
    likes.
    """
    Path("/proc/self/oom_score_adj").write_text("1000")
    told = Path("/proc/meminfo").read_text()
    found = re.search(r"MemAvailable:\s+(\d+) kB(?:.*SwapFree:\s+(\d+) kB)?", told, re.DOTALL)
    if found and not any(Path(driver).exists() for driver in _DRIVERS):
        room = 1024 * (int(found[1]) + int(found[2] or 0))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (room if hard < 0 else min(room, hard), hard))


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()
        os._exit(_FAILED)
    os._exit(_GONE)  # without waiting for threads that are inside of native code
