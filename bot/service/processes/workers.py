"""Watches over the processes of a service that has several.

The server's own supervisor starts again whatever died, at once and for ever. Here a service whose
processes cannot start ends, and says why; one that has started keeps its other processes while one
of them is tried again, after pauses that grow. Knows nothing of what is served.
"""

import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from prometheus_client.multiprocess import mark_process_dead
from uvicorn import Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

ANSWERS = 30.0  #: seconds in which a process must answer
MOST = 30.0  #: seconds between two attempts at most
OVERTIME = 5.0  #: seconds beyond the grace time after which a process is killed


class Workers(Multiprocess):
    """The processes of a service. ``on_ready`` is called once, when all of them answer.

    ``failed`` says that one could not start before that; then none is left.
    """

    def __init__(
        self, config: Config, bound: socket.socket, on_ready: Callable[[], None], grace: float
    ) -> None:
        super().__init__(config, [bound])
        self._on_ready = on_ready
        self._heard, self._tell = socket.socketpair()  #: a byte for each signal
        for end in (self._heard, self._tell):
            end.setblocking(False)
        self._grace = grace
        self.failed = False
        self._complete = False
        self._ready: set[int] = set()  #: places of those that answer
        self._pauses: dict[int, float] = {}  #: the last pause, by place
        self._again: dict[int, float] = {}  #: when to start again, by place

    def run(self) -> None:
        """Start the processes and look after them until a signal ends them all. A signal is heard
        at once: the time that it takes is missing from their grace time."""
        before = signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        try:
            self.init_processes()
            while not self.should_exit.is_set():
                self._wait([])
                self.handle_signals()
                self.keep_subprocess_alive()
            self.terminate_all()
            self.join_all()
        finally:
            signal.set_wakeup_fd(before)
            self._heard.close()
            self._tell.close()

    def _wait(self, others: list[Any]) -> list[Any]:
        """Wait half a second for one of ``others`` or for a signal; return what has come."""
        found = wait([self._heard, *others], timeout=0.5)
        if self._heard in found:
            self._heard.recv(4096)
        return found

    def init_processes(self) -> None:
        """Start them, and then this process's own log, which takes a while."""
        super().init_processes()
        from bot.service.processes.starting import set_up_log
        from bot.settings import Settings

        set_up_log(Settings.usual())

    def keep_subprocess_alive(self) -> None:
        """Look after each process; called twice a second."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if place in self._again:
                if time.monotonic() >= self._again[place]:
                    self._start(place)
            elif (started := self._ask(process)) is None:
                self._died(place, process)
            elif started:
                self._ready.add(place)
                self._pauses.pop(place, None)
        if not self._complete and len(self._ready) >= len(self.processes):
            self._complete = True
            self._on_ready()

    def _ask(self, process: Process) -> bool | None:
        """Return whether a process has started; None when it is dead, or hangs."""
        deadline = time.monotonic() + ANSWERS
        try:
            process.parent_conn.send(b"ping")
            while time.monotonic() < deadline:
                found = self._wait([process.parent_conn, process.process.sentinel])
                if process.parent_conn in found:
                    return bool(process.parent_conn.recv())
                if process.process.sentinel in found:
                    return None
                if self.signal_queue:
                    return False  # first what the signal says
        except (OSError, EOFError):
            pass
        return None

    def _died(self, place: int, process: Process) -> None:
        process.kill()  # one that is alive and does not answer
        process.join()
        assert process.pid is not None
        mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        if not self._complete:
            self.failed = True
            self.should_exit.set()
            return
        from bot.service.observability.logs import tell

        pause = 0.0 if place in self._ready else min(MOST, 2 * self._pauses.get(place, 0.5))
        self._ready.discard(place)
        self._pauses[place] = pause or 0.5
        self._again[place] = time.monotonic() + pause
        told: dict[str, Any] = {
            "pid": process.pid,
            "exit_code": process.exitcode,
            "again_in_s": pause,
        }
        tell("process_died", level="error", **told)

    def _start(self, place: int) -> None:
        del self._again[place]
        self.processes[place] = Process(self.config, self.sockets)
        self.processes[place].start()

    def join_all(self) -> None:
        """Wait until all have ended; what outlasts the grace time is killed."""
        deadline = time.monotonic() + self._grace + OVERTIME
        for process in self.processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            if process.process.is_alive():
                process.kill()
                process.process.join()
