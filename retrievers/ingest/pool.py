"""Runs parsing in child processes, one a core, and replaces those that die or overrun.

Knows nothing of the library, of encoders or of formats: a job goes in, an outcome comes out, in
the order in which files get ready. A file whose process dies or takes too long is an outcome with
a reason; the other files go on.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from retrievers.cores import usable_cores
from retrievers.ingest.options import ParseOptions

START_SECONDS = 120.0  # for a child to start and load its libraries, on a busy machine
MOST_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class Job:
    """A file to parse; ``told`` are words that other files say of it."""

    key: int
    path: Path
    told: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: a folder with the parsed document, or a reason why there is none.

    ``died`` is true when the process was lost over it, by a crash or by a limit; ``passing`` when
    it was ended from outside (a shutdown), which says nothing of the file.
    """

    job: Job
    folder: Path | None
    reason: str = ""
    died: bool = False
    seconds: float = 0.0
    passing: bool = False


class _Child:
    """One child process and the deadline of what it is doing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        self.deadline: float | None = None
        self.began = 0.0
        self.overran = False

    def start(self) -> "subprocess.Popen[str]":
        """Start the process, unless it runs."""
        if self.process is None:
            self.overran = False
            self.began = 0.0
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "retrievers.ingest.worker", os.fspath(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="ascii",
                errors="replace",
                env=_environment(),
                start_new_session=True,  # Ctrl-C on the terminal is the parent's to handle
            )
        return self.process

    def stop(self) -> str:
        """Kill the process and return how it ended, in words."""
        process, self.process, self.deadline = self.process, None, None
        if process is None:
            return ""
        with contextlib.suppress(OSError):
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        code = process.wait()
        return _ending(code)


class Pool:
    """Child processes that parse; use it as a context manager."""

    def __init__(self, workers: int | None = None, options: ParseOptions | None = None) -> None:
        self.workers = max(1, workers if workers is not None else usable_cores())
        self.options = options or ParseOptions()
        self.deaths = 0
        self._folder: Path | None = None
        self._children: list[_Child] = []
        self._stopped = threading.Event()

    def __enter__(self) -> "Pool":
        self._folder = Path(tempfile.mkdtemp(prefix="bifocal-ingest-"))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all children and remove what they wrote."""
        self._stopped.set()
        self._kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _kill(self) -> None:
        for child in self._children:
            process = child.process
            if process is not None:
                with contextlib.suppress(OSError):
                    process.kill()

    def run(
        self,
        jobs: Iterable[Job],
        on_progress: Callable[[Job, int, int], None] | None = None,
    ) -> Iterator[Outcome]:
        """Yield an outcome for each job, as they get ready.

        ``on_progress`` is called from other threads. At most twice as many outcomes wait as there
        are workers, so that a slow taker is not buried in parsed files.
        """
        if self._folder is None:
            raise RuntimeError("the pool is not open; use it in a with statement")
        todo = list(reversed(list(jobs)))
        lock = threading.Lock()
        ready: queue.Queue[Outcome | None] = queue.Queue(maxsize=2 * self.workers)
        count = min(self.workers, len(todo))
        self._children = [_Child(self._folder) for _ in range(count)]

        def serve(child: _Child) -> None:
            try:
                while not self._stopped.is_set():
                    with lock:
                        job = todo.pop() if todo else None
                    if job is None:
                        return
                    outcome = self._parse(child, job, on_progress)
                    if outcome is not None:
                        self._put(ready, outcome)
            finally:
                child.stop()
                self._put(ready, None)

        threads = [
            threading.Thread(target=serve, args=(child,), daemon=True, name="ingest-serve")
            for child in self._children
        ]
        watch = threading.Thread(target=self._watch, daemon=True, name="ingest-watch")
        for thread in [*threads, watch]:
            thread.start()
        try:
            left = count
            while left:
                outcome = ready.get()
                if outcome is None:
                    left -= 1
                    continue
                yield outcome
                if outcome.folder is not None:
                    shutil.rmtree(outcome.folder, ignore_errors=True)
        finally:
            self._stopped.set()
            for thread in threads:
                while thread.is_alive():  # one may be starting a child just now
                    self._kill()
                    thread.join(0.05)
            watch.join()
            self._stopped.clear()

    def _put(self, ready: "queue.Queue[Outcome | None]", outcome: Outcome | None) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(outcome, timeout=0.1)
                return

    def _watch(self) -> None:
        """Kill children past their deadline."""
        while not self._stopped.wait(0.1):
            for child in self._children:
                process, deadline = child.process, child.deadline
                if process is not None and deadline is not None and time.monotonic() > deadline:
                    child.overran = True
                    with contextlib.suppress(OSError):
                        process.kill()

    def _parse(
        self, child: _Child, job: Job, on_progress: Callable[[Job, int, int], None] | None
    ) -> Outcome | None:
        """Have one file parsed; ``None`` when the pool was stopped over it."""
        folder = Path(tempfile.mkdtemp(dir=child.folder))
        began = time.monotonic()
        message = {
            "id": job.key,
            "path": os.fspath(job.path),
            "folder": os.fspath(folder),
            "told": dict(job.told),
            "options": self.options.to_json(),
        }
        answer = self._ask(child, message, job, on_progress)
        seconds = time.monotonic() - began
        if self._stopped.is_set():
            return None
        if answer is None:
            overran = child.overran
            how = child.stop()
            self.deaths += 1
            shutil.rmtree(folder, ignore_errors=True)
            reason = (
                f"{job.path.name}: took longer than {seconds:.0f} s to read and was given up"
                if overran
                else f"{job.path.name}: the process that read it {how}"
            )
            passing = any(name in how for name in ("SIGTERM", "SIGINT", "SIGHUP"))
            return Outcome(job, None, reason, True, seconds, passing)
        if "refused" in answer:
            shutil.rmtree(folder, ignore_errors=True)
            return Outcome(job, None, str(answer["refused"]), seconds=seconds)
        return Outcome(job, folder, seconds=seconds)

    def _ask(
        self,
        child: _Child,
        message: dict[str, object],
        job: Job,
        on_progress: Callable[[Job, int, int], None] | None,
    ) -> dict[str, object] | None:
        """Send a job and wait for its end; ``None`` when the child was lost."""
        process = child.start()
        if process.stdin is None or process.stdout is None:
            return None
        fresh = child.began == 0.0
        child.began = time.monotonic()
        child.deadline = child.began + self.options.seconds + (START_SECONDS if fresh else 0.0)
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                try:
                    said = json.loads(line)
                except ValueError:
                    return None
                if said.get("type") == "ready":
                    child.began = time.monotonic()
                    child.deadline = child.began + self.options.seconds
                elif said.get("type") == "progress" and said.get("id") == job.key:
                    steps = min(int(said["steps"]), MOST_STEPS)
                    extra = self.options.seconds_a_page * steps
                    child.deadline = child.began + self.options.seconds + extra
                    if on_progress is not None:
                        on_progress(job, int(said["step"]), steps)
                elif said.get("type") == "done" and said.get("id") == job.key:
                    child.deadline = None
                    return dict(said)
        except (OSError, ValueError):
            return None
        return None


def _environment() -> dict[str, str]:
    """Return the child's environment: one thread, and the way to this package."""
    root = str(Path(__file__).resolve().parents[2])
    found = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    if not any(Path(part).resolve() == Path(root) for part in sys.path if "-packages" in part):
        found["PYTHONPATH"] = os.pathsep.join(
            part for part in (root, os.environ.get("PYTHONPATH", "")) if part
        )
    return found


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended unexpectedly (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return "ran out of its processor time" if name == "SIGXCPU" else f"crashed ({name})"
