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
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from bot.errors import ModelBusy, ModelError
from bot.models.llama import wire
from bot.models.llama.child import Child
from bot.models.llama.files import ModelFiles
from bot.models.llama.pending import Pending, Put, Reply, Turn
from bot.models.llama.values import Info, Line, Options, Request

PATIENCE = 60.0  # seconds
CLOSE_SECONDS = 10.0  # to save what is kept
CALM_SECONDS = 60.0  # a process that lived so long did not die of its start
#: Seconds to wait before the process is started again, by deaths without an answer in between
DELAYS = (0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_AGAIN = "; it is being started again, ask again"

_log = logging.getLogger(__name__)


class ModelProcess:
    """A model in its own process. Make one with :meth:`open`; safe from any thread.

    While the process is being started again, requests wait for it, at most as many as may wait for
    the model. ``pid`` is the latest process. All answers come on one thread of this class.
    """

    def __init__(
        self,
        files: ModelFiles,
        options: Options,
        patience: float,
        verify: Callable[[], object] | None,
    ) -> None:
        self.files, self.options, self._verify = files, options, verify
        self.info: Info
        self.pid = 0
        self._name, self._patience = files.text.name, patience
        self._opening = wire.pack(
            {**wire.opening(files, options), "debug": _log.isEnabledFor(logging.DEBUG)}
        )
        self._numbers = itertools.count(1)
        # What follows is held together by the lock. Threads of callers only ever take the lock
        # itself and wait in queues: Ctrl-C in a condition or an event can leave it locked for ever.
        self._lock = threading.RLock()
        self._ends = threading.Condition(self._lock)
        self._child: Child | None = None  # also while it loads
        self._loaded = False
        self._loads = 0
        self._refusal = ""  # why requests do not wait for the process to be started again
        self._next_try = 0.0
        self._waiters: list[SimpleQueue[None]] = []  # told when any of this changes
        self._pending = Pending(patience, self.cancel)
        self._closing = False
        self._supervisor = threading.Thread(
            target=self._supervise, daemon=True, name="llama-supervise"
        )
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="llama-watch")

    @classmethod
    def open(
        cls,
        files: ModelFiles,
        options: Options,
        *,
        patience: float = PATIENCE,
        verify: Callable[[], object] | None = None,
    ) -> "ModelProcess":
        """Start the process and wait until the model is loaded, however long that takes.

        A process that lets a question wait for ``patience`` seconds, or goes on for so long after
        the time limit of an answer, hangs: it is ended and started again. ``verify`` is called
        before the files are loaded again, and raises ``ModelError`` if they are not what they were.
        Raises ``ModelError`` with what the process said, or with how it ended.
        """
        process = cls(files, options, patience, verify)
        news: SimpleQueue[None] = SimpleQueue()
        process._waiters.append(news)
        try:
            process._supervisor.start()
            process._watcher.start()
            news.get()
            if not process._loads:
                raise ModelError(process._refusal)
        except BaseException:  # also when the wait is interrupted
            process.close()
            raise
        return process

    def close(self) -> None:
        """Let the process save what it keeps, and end it; safe to call twice.

        Answers that are being written end with a ``ModelError``.
        """
        with self._lock:
            first = not self._closing
            self._closing = True
            self._tell()
            self._ends.notify_all()
            child = self._child
        if child is not None and first:
            child.send(wire.pack({"do": "close", "id": 0}))
            if not child.wait(CLOSE_SECONDS):
                child.kill("did not end when it was closed")
        for thread in (self._supervisor, self._watcher):
            if thread.ident and thread is not threading.current_thread():
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
        turn = Turn(put, request.seconds)
        number = next(self._numbers)
        self._ask({"do": "submit", "request": told}, pixels, number=number, turn=turn)
        return number

    def cancel(self, ticket: int) -> None:
        """End an answer soon; its ``Outcome`` still comes. Harmless when it has ended."""
        with self._lock:
            if self._child is not None and self._pending.answering(ticket):
                self._child.send(wire.pack({"do": "cancel", "id": ticket}))

    def stats(self) -> dict[str, float]:
        """Return the engine's counters, which begin anew with each process."""
        return dict(wire.typed(self._ask({"do": "stats"})[0], dict))

    @property
    def ready(self) -> bool:
        """Whether the model is loaded; false while it is being loaded again after a crash."""
        with self._lock:
            return self._loaded and not self._closing

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
        turn: Turn | None = None,
    ) -> Reply:
        """Send a question and wait for what is said to it: a JSON value, and bytes."""
        if threading.current_thread() is self._supervisor:
            raise RuntimeError("a put cannot ask the model: answers come on the thread it is on")
        number = next(self._numbers) if number is None else number
        frame = wire.pack({**body, "id": number}, pixels)
        reply: SimpleQueue[Reply | ModelError] | None = None
        try:
            while reply is None:
                with self._lock:
                    news = self._hindered()
                    if news is None and self._child is not None:
                        reply = self._pending.add(number, turn)
                        self._child.send(frame)
                if news is not None:
                    self._wait(news, None if turn is None else turn.seconds)
            said = reply.get()
        except BaseException:  # also when a wait is interrupted
            self.cancel(number)
            self._pending.drop(number)
            raise
        if isinstance(said, ModelError):
            raise said
        return said

    def _hindered(self) -> SimpleQueue[None] | None:
        """Return None if the model can be asked, or where it will be told that this may be so."""
        if self._closing:
            raise ModelError(self._closed)
        if self._loaded:
            return None
        if self._refusal:
            left = self._next_try - time.monotonic()
            when = f"the next try is in {left:.0f} s" if left >= 0.5 else "it is being tried again"
            raise ModelError(f"{self._refusal}; {when}")
        if len(self._waiters) >= self.options.waiting:
            raise ModelBusy(
                f"{self._name}: its process is being started again and {len(self._waiters)}"
                " requests wait for it already; ask again in 1 s",
                1.0,
            )
        self._waiters.append(SimpleQueue())
        return self._waiters[-1]

    def _wait(self, news: SimpleQueue[None], seconds: float | None) -> None:
        try:
            news.get(timeout=seconds)
        except Empty:
            raise ModelError(
                f"{self._name}: its process is still being started again; ask again"
            ) from None
        finally:
            with self._lock:
                if news in self._waiters:
                    self._waiters.remove(news)

    def _tell(self) -> None:
        for news in self._waiters:
            news.put(None)
        self._waiters.clear()

    @property
    def _closed(self) -> str:
        return f"{self._name} was closed; open it again"

    # the process, on the supervisor's thread

    def _supervise(self) -> None:
        """Run one process after the other, until closed or until the first cannot load."""
        deaths = -1  # in a row: the first of a row has no delay
        while True:
            began = time.monotonic()
            why, final = self._live()
            calm = time.monotonic() - began > CALM_SECONDS
            with self._lock:
                pending, self._pending = self._pending, Pending(self._patience, self.cancel)
                deaths = 0 if calm or pending.answered else deaths + 1
                delay = DELAYS[min(deaths, len(DELAYS) - 1)]
                ends = self._closing or not self._loads
                self._loaded, self._child = False, None
                self._next_try = time.monotonic() + delay
                if final or delay or ends:
                    self._refusal = why
                    self._tell()
            if self._closing:
                why = self._closed
            elif not ends:
                why += f"; it is started again in {delay:.0f} s" if delay else _AGAIN
                _log.warning("%s", why)
            pending.fail(why)
            with self._lock:
                if ends or self._ends.wait_for(lambda: self._closing, delay):
                    return

    def _live(self) -> tuple[str, bool]:
        """Run one process from its start to its end.

        Returns what went wrong, and whether that would not change by waiting for the next.
        """
        try:
            if self._loads and self._verify is not None:
                self._verify()
            with self._lock:
                if self._closing:
                    return self._closed, True
                self._child = child = Child.start()
                self.pid = child.pid
        except OSError as error:
            return f"{self._name}: no process can be started for it ({error.strerror})", True
        except ModelError as error:
            return str(error), True
        child.send(self._opening)
        refusal = ""
        try:
            while (frame := child.receive()) is not None:
                if self._loaded:
                    self._pending.take(*frame)
                elif "info" in frame[0]:
                    self._begin(wire.info_in(frame[0]["info"]))
                else:
                    refusal = str(wire.said_in(frame[0]))
        except Exception:  # a WireError, or no memory for what it says
            _log.debug("%s: cannot be read", self._name, exc_info=True)
            child.kill("said what cannot be read")
        how, telling = child.end()
        if refusal:
            return refusal, True
        doing = " while it answered" if self._pending.waits else ""
        doing = doing if self._loaded else " while it loaded the model"
        return f"{self._name}: its process {how}{doing}{telling}", False

    def _begin(self, info: Info) -> None:
        with self._lock:
            self.info = info
            self._loads += 1
            self._loaded, self._refusal = True, ""
            self._tell()

    def _watch(self) -> None:
        """End a process that hangs: one that does not reply, or goes on past a time limit."""
        with self._lock:
            while not self._closing:
                if self._child is not None and self._pending.hangs():
                    self._child.kill("hung and was ended")
                self._ends.wait(1.0)


def _sizes_only(line: Line) -> Line:
    parts = (p if isinstance(p, str) else replace(p, data=b"") for p in line.parts)
    return replace(line, parts=tuple(parts))
