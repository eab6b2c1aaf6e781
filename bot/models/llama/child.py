"""One process of a local model, from its start to its end: pipes, last words, how it ended.

Knows nothing of requests, nor of starting again; that is ``process``.
"""

import contextlib
import errno
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from bot.models.llama import wire

_log = logging.getLogger(__name__)
_LONGEST = 500  # characters of a line that the process writes to standard error
_LAST = 40  # such lines that are kept
_REAP_SECONDS = 5.0  # for a process that has closed its pipes to end
# What a crash leaves on standard error that says why; what ``faulthandler`` adds does not
_TELLING = re.compile(r"GGML_ASSERT.*|(?:CUDA|Metal|Vulkan) error.*|what\(\):.*|\w*Error\b.*")
# Not handed on: native code reads a file that someone else made
_PRIVATE = re.compile(r"(?i)^BIFOCAL_|KEY|TOKEN|SECRET|PASS|CREDENTIAL")


class Child:
    """A running ``bot.models.llama.worker``. Make one with :meth:`start`; :meth:`end` reaps it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.process, self.pid = process, process.pid
        self._input, self._output, self._errors = process.stdin, process.stdout, process.stderr
        self._frames: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._lines: deque[str] = deque(maxlen=_LAST)
        self._ended_by = ""
        self._threads = [
            threading.Thread(target=work, daemon=True, name=f"llama-{work.__name__.strip('_')}")
            for work in (self._write, self._hear)
        ]

    @classmethod
    def start(cls) -> "Child":
        """Start the process; ``OSError`` when the system has no room for it."""
        child = cls(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "bot.models.llama.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C on the terminal is the program's to handle
            )
        )
        try:
            for thread in child._threads:
                thread.start()
        except RuntimeError as error:  # no room for another thread
            child.process.kill()
            child.process.wait()
            raise OSError(errno.EAGAIN, str(error)) from error
        return child

    def send(self, frame: list[bytes]) -> None:
        """Send a frame, without ever waiting."""
        self._frames.put(frame)

    def receive(self) -> wire.Frame | None:
        """Return the next frame, None at the end; ``WireError`` if it is none."""
        return wire.read(self._output)

    def kill(self, why: str) -> None:
        """End the process at once; ``why`` goes on after "its process"."""
        self._ended_by = self._ended_by or why
        with contextlib.suppress(OSError):
            self.process.kill()

    def wait(self, seconds: float) -> bool:
        """Return whether the process ends within that time."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> tuple[str, str]:
        """Reap the process, close what belonged to it; return how it ended, and what it said last.

        The first goes on after "its process", the second is empty or begins with a colon.
        """
        if not self.wait(_REAP_SECONDS):
            self.kill("closed its pipe and was ended")
        code = self.process.wait()
        self._frames.put(None)
        for thread in self._threads:
            thread.join()
        for pipe in (self._input, self._output, self._errors):
            with contextlib.suppress(OSError):  # what was not sent any more
                pipe.close()
        found = [m.group() for line in self._lines if (m := _TELLING.search(line))]
        return self._ended_by or _ending(code), f": {found[-1][:200]}" if found else ""

    def _write(self) -> None:
        while (frame := self._frames.get()) is not None:
            try:
                for piece in frame:
                    self._input.write(piece)
                self._input.flush()
            except OSError:  # it has ended; whoever reads will notice
                return

    def _hear(self) -> None:
        _drain(self._errors, self._lines)


def _drain(errors: IO[bytes], lines: deque[str]) -> None:
    """Keep the last lines, and log all."""
    while data := errors.readline(_LONGEST):
        line = data.decode("utf-8", "replace").rstrip()
        if line:
            lines.append(line)
            _log.debug("%s", line)


def _environment() -> dict[str, str]:
    """Return the child's environment: the way to this package, and no secrets."""
    root = str(Path(__file__).resolve().parents[3])
    found = {name: value for name, value in os.environ.items() if not _PRIVATE.search(name)}
    found |= {"PYTHONIOENCODING": "utf-8", "GGML_NO_BACKTRACE": "1"}  # it would start a debugger
    if not any(Path(part).resolve() == Path(root) for part in sys.path if "-packages" in part):
        found["PYTHONPATH"] = os.pathsep.join(
            part for part in (root, os.environ.get("PYTHONPATH", "")) if part
        )
    return found


def _ending(code: int) -> str:
    """Say how a process ended; goes on after "its process"."""
    if code >= 0:
        return f"ended (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return "was killed (SIGKILL; if nobody did it, the system ran out of memory)"
    return f"died ({name})"
