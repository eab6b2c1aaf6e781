"""A local model in a process of its own, that is started again when it dies.

Has the methods of the engine, which runs in that process: native code that crashes, hangs or is
killed ends the answers that were being written, each with one error, and nothing else. Knows
nothing of messages, nor of what the model does with a request.
"""

import itertools
import logging
import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from bot.errors import ModelBusy, ModelError
from bot.models.llama import wire
from bot.models.llama.child import Child
from bot.models.llama.files import ModelFiles
from bot.models.llama.values import Delta, Info, Line, Options, Outcome, Request

Put = Callable[[wire.Said], None]

CALL_SECONDS = 120.0  # for a question that is no answer to write: longer, and the process hangs
GRACE_SECONDS = 30.0  # for an answer to end after its time limit
CLOSE_SECONDS = 10.0  # to save what is kept
CALM_SECONDS = 60.0  # a process that lived so long did not die of its start
#: Seconds to wait before the process is started again, by deaths without an answer in between
DELAYS = (0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_AGAIN = "; it is being started again, ask again"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Turn:
    """An answer being written: who gets it, and when it is overdue (``time.monotonic``)."""

    put: Put
    seconds: float | None
    overdue: float = inf


@dataclass(slots=True)
class _Call:
    """A question to the process, and when what it says to it is overdue."""

    reply: "Future[tuple[Any, bytes]]"
    overdue: float


class ModelProcess:
    """A model in its own process. Make one with :meth:`open`; safe from any thread.

    While the process is being started again, requests wait for it, at most as many as may wait for
    the model. ``pid`` is the latest process. All answers come on one thread of this class.
    """

    def __init__(self, files: ModelFiles, options: Options) -> None:
        self.files, self.options = files, options
        self.info: Info
        self.pid = 0
        self._name = files.text.name
        self._opening = wire.pack(
            {**wire.opening(files, options), "debug": _log.isEnabledFor(logging.DEBUG)}
        )
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()  # holds together what follows
        self._child: Child | None = None  # also while it loads
        self._loaded = False
        self._loads = 0
        self._refusal = ""  # why requests do not wait for the process to be started again
        self._next_try = 0.0
        self._waiting = 0
        self._calls: dict[int, _Call] = {}
        self._turns: dict[int, _Turn] = {}
        self._closing = threading.Event()
        self._deaths = 0  # without an answer in between
        self._supervisor = threading.Thread(
            target=self._supervise, daemon=True, name="llama-supervise"
        )
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="llama-watch")

    @classmethod
    def open(cls, files: ModelFiles, options: Options) -> "ModelProcess":
        """Start the process and wait until the model is loaded, however long that takes.

        Raises ``ModelError`` with what the process said, or with how it ended.
        """
        process = cls(files, options)
        process._supervisor.start()
        process._watcher.start()
        try:
            with process._changed:
                process._changed.wait_for(lambda: process._loaded or process._refusal)
                if not process._loaded:
                    raise ModelError(process._refusal)
        except BaseException:  # also when the wait is interrupted
            process.close()
            raise
        return process

    def close(self) -> None:
        """Let the process save what it keeps, and end it; safe to call twice.

        Answers that are being written end with a ``ModelError``.
        """
        with self._changed:
            first = not self._closing.is_set()
            self._closing.set()
            self._changed.notify_all()
            child = self._child
        if child is not None and first:
            child.send(wire.pack({"do": "close", "id": 0}))
            if not child.wait(CLOSE_SECONDS):
                child.kill("did not end when it was closed")
        for thread in (self._supervisor, self._watcher):
            if thread is not threading.current_thread():
                thread.join()

    @property
    def restarts(self) -> int:
        """How often the model was loaded again."""
        return max(0, self._loads - 1)

    # what an engine does

    def tokens_of(self, text: str) -> list[int]:
        """Return the tokens of plain text, among which no control token ever is."""
        _, data = self._ask({"do": "tokens", "text": text})
        tokens = array("i")
        if len(data) % tokens.itemsize:
            raise wire.WireError(f"{self._name}: {len(data)} bytes of tokens")
        tokens.frombytes(data)
        return tokens.tolist()

    def count(self, lines: Sequence[Line], tools: Sequence[Mapping[str, Any]] = ()) -> int:
        """Return the tokens of a whole prompt, its template's and its pictures' included."""
        told, _ = wire.lines_out([_sizes_only(line) for line in lines])
        body = {"do": "count", "lines": told, "tools": list(map(dict, tools))}
        return wire.typed(self._ask(body)[0], int)

    def submit(self, request: Request, put: Put) -> int:
        """Have a request answered; returns its ticket once it is prepared and queued.

        ``put`` is called with each ``Delta``, and lastly with one ``Outcome`` or ``ModelError``,
        on a thread that all answers share: it must not wait. If it raises, the answer is given up.
        Raises ``ModelError`` for a request that cannot be answered and ``ModelBusy`` when too many
        wait; ``put`` then hears of no end.
        """
        told, pixels = wire.request_out(request)
        turn = _Turn(put, request.seconds)
        number = next(self._numbers)
        self._ask({"do": "submit", "request": told}, pixels, number=number, turn=turn)
        return number

    def cancel(self, ticket: int) -> None:
        """End an answer soon; its ``Outcome`` still comes. Harmless when it has ended."""
        with self._changed:
            if ticket in self._turns and self._child is not None:
                self._child.send(wire.pack({"do": "cancel", "id": ticket}))

    def stats(self) -> dict[str, float]:
        """Return the engine's counters, which begin anew with each process."""
        return dict(wire.typed(self._ask({"do": "stats"})[0], dict))

    def forget(self, tenant: str) -> None:
        """Drop all that is kept for a tenant, in memory and on disk."""
        self._ask({"do": "forget", "tenant": tenant})

    # asking

    def _ask(
        self,
        body: dict[str, Any],
        pixels: Sequence[bytes] = (),
        *,
        number: int | None = None,
        turn: _Turn | None = None,
    ) -> tuple[Any, bytes]:
        """Send a question and wait for what is said to it: a JSON value, and bytes."""
        if threading.current_thread() is self._supervisor:
            raise RuntimeError("a put cannot ask the model: answers come on the thread it is on")
        number = next(self._numbers) if number is None else number
        frame = wire.pack({**body, "id": number}, pixels)
        call = _Call(Future(), inf)
        with self._changed:
            child = self._await(None if turn is None else turn.seconds)
            call.overdue = time.monotonic() + CALL_SECONDS
            self._calls[number] = call
            if turn is not None:
                self._turns[number] = turn
            child.send(frame)
        try:
            return call.reply.result()
        except BaseException:
            self.cancel(number)  # when the wait was interrupted
            self._calls.pop(number, None)
            self._turns.pop(number, None)
            raise

    def _await(self, seconds: float | None) -> Child:
        """Return the process that has the model; waits while one is being started again."""
        if not (self._loaded or self._refusal or self._closing.is_set()):
            if self._waiting >= self.options.waiting:
                raise ModelBusy(
                    f"{self._name}: its process is being started again and {self._waiting}"
                    " requests wait for it already; ask again in 1 s",
                    1.0,
                )
            self._waiting += 1
            try:
                self._changed.wait_for(
                    lambda: self._loaded or self._refusal or self._closing.is_set(), seconds
                )
            finally:
                self._waiting -= 1
        if self._closing.is_set():
            raise ModelError(self._closed)
        if self._loaded and self._child is not None:
            return self._child
        if not self._refusal:
            raise ModelError(f"{self._name}: its process is still being started again; ask again")
        left = self._next_try - time.monotonic()
        when = f"the next try is in {left:.0f} s" if left >= 0.5 else "it is being tried again"
        raise ModelError(f"{self._refusal}; {when}")

    @property
    def _closed(self) -> str:
        return f"{self._name} was closed; open it again"

    # the process, on the supervisor's thread

    def _supervise(self) -> None:
        """Run one process after the other, until closed or until the first cannot load."""
        while True:
            began = time.monotonic()
            why, final = self._live()
            if time.monotonic() - began > CALM_SECONDS:
                self._deaths = 0
            delay = DELAYS[min(self._deaths, len(DELAYS) - 1)]
            ends = self._closing.is_set() or not self._loads
            with self._changed:
                self._deaths += 1
                self._loaded, self._child = False, None
                self._next_try = time.monotonic() + delay
                if final or delay or ends:
                    self._refusal = why
                calls, self._calls = self._calls, {}
                turns, self._turns = self._turns, {}
                self._changed.notify_all()
            if self._closing.is_set():
                why = self._closed
            elif not ends:
                why += f"; it is started again in {delay:.0f} s" if delay else _AGAIN
                _log.warning("%s", why)
            self._fail(calls, turns, why)
            if ends or self._closing.wait(delay):
                return

    def _live(self) -> tuple[str, bool]:
        """Run one process from its start to its end.

        Returns what went wrong, and whether that would not change by waiting for the next.
        """
        try:
            with self._changed:
                if self._closing.is_set():
                    return self._closed, True
                self._child = child = Child.start()
                self.pid = child.pid
        except OSError as error:
            return f"{self._name}: no process can be started for it ({error.strerror})", True
        child.send(self._opening)
        refusal = ""
        try:
            while (frame := child.receive()) is not None:
                if self._loaded:
                    self._take(*frame)
                elif "info" in frame[0]:
                    self._begin(wire.info_in(frame[0]["info"]))
                else:
                    refusal = str(wire.said_in(frame[0]))
        except wire.WireError as error:
            _log.debug("malformed: %s", error)
            child.kill("said what cannot be read")
        how, telling = child.end()
        if refusal:
            return refusal, True
        doing = "while it answered" if self._loaded else "while it loaded the model"
        return f"{self._name}: its process {how} {doing}{telling}", False

    def _begin(self, info: Info) -> None:
        with self._changed:
            self.info = info
            self._loads += 1
            self._loaded, self._refusal = True, ""
            self._changed.notify_all()

    def _take(self, body: dict[str, Any], data: bytes) -> None:
        """Pass on what the process says."""
        if "turn" in body:
            self._hear(wire.typed(body["turn"], int), wire.said_in(body))
            return
        number = wire.typed(body.get("call"), int)
        call = self._calls.pop(number, None)
        if "error" in body:
            self._turns.pop(number, None)
            if call is not None:
                call.reply.set_exception(wire.typed(wire.said_in(body), ModelError))
            return
        if (turn := self._turns.get(number)) is not None and turn.seconds is not None:
            turn.overdue = time.monotonic() + turn.seconds + GRACE_SECONDS
        if call is not None:
            call.reply.set_result((body.get("value"), data))

    def _hear(self, number: int, said: wire.Said) -> None:
        """Pass on a stretch of an answer, or its end."""
        turn = self._turns.get(number)
        if turn is None:
            return
        if not isinstance(said, Delta):
            self._turns.pop(number, None)
            if isinstance(said, Outcome):
                self._deaths = 0
        try:
            turn.put(said)
        except Exception:  # not ours: its reader is gone, perhaps with its event loop
            _log.debug("%s: a reader failed; its answer ends", self._name, exc_info=True)
            self.cancel(number)
            self._turns.pop(number, None)

    def _fail(self, calls: dict[int, _Call], turns: dict[int, _Turn], why: str) -> None:
        """Tell all that were waiting, each once."""
        for number, turn in turns.items():
            if number in calls:
                continue  # submit raises
            try:
                turn.put(ModelError(why))
            except Exception:
                _log.debug("%s: a reader failed", self._name, exc_info=True)
        for call in calls.values():
            call.reply.set_exception(ModelError(why))

    def _watch(self) -> None:
        """End a process that hangs: one that does not reply, or goes on past a time limit."""
        while not self._closing.wait(1.0):
            now = time.monotonic()
            with self._changed:
                times: list[_Call | _Turn] = [
                    *self._calls.copy().values(),
                    *self._turns.copy().values(),
                ]
                if self._child is not None and any(now > one.overdue for one in times):
                    self._child.kill("hung and was ended")


def _sizes_only(line: Line) -> Line:
    parts = (p if isinstance(p, str) else replace(p, data=b"") for p in line.parts)
    return replace(line, parts=tuple(parts))
