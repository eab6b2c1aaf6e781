"""Jobs: the taking in of uploaded files, in the background, seen and stopped from any process.

A job runs in the process that took its files, in a thread, one at a time for a library whichever
process has it: whoever holds the library's lease (``job_store.py``). Knows nothing of HTTP.
"""

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bot.errors import KNOWN_ERRORS
from bot.service.flow.stopping import Stopping
from bot.service.http.problems import problem_of
from bot.service.ingestion.job_state import JobState
from bot.service.ingestion.job_store import STOPPED, JobStore
from bot.service.stores.shared_redis import SharedRedis
from memory.errors import HistoryUnavailable
from retrievers.encoders import Encoder
from retrievers.ingest.pipeline import IngestEvent, Ingestor, Report
from retrievers.library import Library

T = TypeVar("T")

BEAT = 1.0  #: seconds between two signs of life, and between looks at whether to stop
POLL = 0.2  #: seconds between looks at a job, or at a library that another job has
AT_ONCE = 2  #: jobs that a process works at
MOST = 32  #: jobs of a process that are not over
LAST = 1.0  #: seconds that jobs get to end when the service does


class TooMany(Exception):
    """The process has as many jobs as it takes."""


@dataclass(eq=False)
class Live:
    """A job of this process."""

    state: JobState
    library: Library
    paths: Sequence[Path]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ingestor: Ingestor | None = None
    holds: bool = False  #: the library's lease
    whole: bool = False  #: every file was looked at
    task: asyncio.Task[None] | None = None

    def note(self, event: IngestEvent) -> None:
        """Take in how far it is."""
        self.state.note(event)
        self.changed.set()

    def halt(self, reason: str = "") -> None:
        """Ask it to end after the file in hand."""
        self.state.why = self.state.why or reason
        self.stop.set()
        if self.ingestor is not None:
            self.ingestor.stop()


class Jobs:
    """The jobs of a process, and a view of all others. Belongs to its event loop."""

    def __init__(
        self,
        redis: SharedRedis,
        encoders: tuple[Encoder, Encoder],
        workers: int | None,
        stopping: Stopping,
        tell: Callable[[Exception], None],
    ) -> None:
        self._store, self._encoders, self._workers = JobStore(redis), encoders, workers
        self._stopping, self._tell = stopping, tell
        self._live: dict[str, Live] = {}
        self._working = 0
        self._ending = asyncio.create_task(self._end_in_time())

    def check(self) -> None:
        """Raise :class:`TooMany` unless another job would be taken."""
        if len(self._live) >= MOST:
            raise TooMany

    async def submit(
        self, tenant: str, name: str, library: Library, paths: Sequence[Path]
    ) -> dict[str, Any]:
        """Begin to take files into a library; return the job."""
        self.check()
        state = JobState(secrets.token_hex(16), tenant, name, library.folder, paths)
        live = Live(state, library, paths)
        self._live[state.id] = live  # before anything is waited for: it counts
        try:
            await self._store.beat(state, holds=False)
            await self._store.write(state)
        except BaseException:
            del self._live[state.id]
            raise
        live.task = asyncio.create_task(self._run(live))
        return state.to_json()

    async def read(self, tenant: str, id: str) -> dict[str, Any] | None:
        """Return a job as far as it is; ``None`` when there is none."""
        return await self._store.read(tenant, id)

    async def watch(self, tenant: str, id: str) -> AsyncGenerator[dict[str, Any], None]:
        """Yield a job whenever it has changed, until it is over; nothing when there is none."""
        before: dict[str, Any] | None = None
        while (now := await self.read(tenant, id)) is not None:
            if now != before:
                yield now
            if now["ended"] is not None:
                return
            before = now
            await asyncio.sleep(POLL)

    async def stop(self, tenant: str, id: str) -> None:
        """Ask a job to end after the file in hand."""
        if (live := self._live.get(id)) is not None and live.state.tenant == tenant:
            live.halt()
        else:
            await self._store.ask_to_stop(tenant, id)

    async def aclose(self) -> None:
        """Stop every job; what does not end at once is left, and told as failed."""
        self._ending.cancel()
        tasks = {live.task for live in self._live.values() if live.task is not None}
        for live in list(self._live.values()):
            live.halt(STOPPED)
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=LAST)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    async def _end_in_time(self) -> None:
        await self._stopping.begun.wait()
        for live in list(self._live.values()):
            live.halt(STOPPED)

    # the work

    async def _run(self, live: Live) -> None:
        """Wait for a place and for the library, take the files in, and say how it ended."""
        state = live.state
        beating = asyncio.create_task(self._beat(live))
        writing = asyncio.create_task(self._write_down(live))
        try:
            if await self._hold(live):
                state.begin()
                live.changed.set()
                loop = asyncio.get_running_loop()
                report = await _in_thread(partial(self._ingest, live, loop))
                state.take(report)
                live.whole = not report.stopped
            if live.whole:
                state.end("done")
            else:
                await asyncio.to_thread(_remove_left, live)
                state.end("failed" if state.why else "stopped", state.why)
        except asyncio.CancelledError:
            state.end("failed", STOPPED)
        except HistoryUnavailable:
            state.end("failed", "Redis could not be reached; upload again")
        except KNOWN_ERRORS as error:
            state.end("failed", problem_of(error).detail)
        except Exception as error:
            self._tell(error)
            state.end("failed", "unexpected; the operator's log has more")
        finally:
            beating.cancel()
            writing.cancel()
            await asyncio.wait({beating, writing})
            await self._finish(live)

    def _ingest(self, live: Live, loop: asyncio.AbstractEventLoop) -> Report:
        """Take the files in: work for a thread."""
        ingestor = live.ingestor = Ingestor(live.library, *self._encoders, workers=self._workers)

        def tell(event: IngestEvent) -> None:
            if live.stop.is_set():
                ingestor.stop()
            with suppress(RuntimeError):  # the loop is closed: the service went without us
                loop.call_soon_threadsafe(live.note, event)

        return ingestor.run(live.paths, retry=True, on_event=tell)

    async def _hold(self, live: Live) -> bool:
        """Take a place and the library's lease when there are any; false when stopped before."""
        while not live.stop.is_set():
            if self._working < AT_ONCE:
                self._working += 1
                try:
                    live.holds = await self._store.hold(live.state)
                finally:
                    self._working -= not live.holds
                if live.holds:
                    return True
            with suppress(TimeoutError):
                await asyncio.wait_for(live.stop.wait(), POLL)
        return False

    async def _beat(self, live: Live) -> None:
        """Show that the job lives, renew its lease, and look whether it is to stop."""
        while True:
            await asyncio.sleep(BEAT)
            with suppress(HistoryUnavailable):
                held, stopped = await self._store.beat(live.state, live.holds)
                if stopped:
                    live.halt()
                if not held:
                    live.halt("another job has taken the library over; upload again")

    async def _write_down(self, live: Live) -> None:
        """Write what is known of the job whenever that has changed, not too often."""
        while True:
            await live.changed.wait()
            live.changed.clear()
            with suppress(HistoryUnavailable):
                await self._store.write(live.state)
            await asyncio.sleep(POLL)

    async def _finish(self, live: Live) -> None:
        """Write the end down, and give everything back; without it the job counts as failed."""
        self._live.pop(live.state.id, None)
        self._working -= live.holds
        with suppress(HistoryUnavailable):
            await self._store.write(live.state)
        with suppress(HistoryUnavailable):  # they end by themselves
            await self._store.let_go(live.state)


async def _in_thread(work: Callable[[], T]) -> T:
    """Return what ``work`` does in a thread of its own, which does not keep the process alive: a
    file in hand must not hold up the end of a service."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():  # cancelled
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, trouble = None, None
        try:
            result = work()
        except BaseException as error:
            trouble = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, trouble)

    threading.Thread(target=run, daemon=True, name="ingest-job").start()
    return await done


def _remove_left(live: Live) -> None:
    """Remove files that were not taken in because the job was stopped before."""
    for path in live.paths:
        if live.library.source(str(path)) is None:
            path.unlink(missing_ok=True)
