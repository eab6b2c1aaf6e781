"""Starts a redis-server on a data folder, and returns when it answers.

Knows nothing of who shares it (``memory/embedded.py``).

A damaged append-only file is refused (``aof-load-truncated no``): cutting its tail in silence
would show a shorter history as if it were whole. ``memory/repair.py`` cuts it, and keeps a copy.
Also refused is a store that was used before and comes up without its mark, which is what a deleted
or emptied file, or an older server that does not read a newer one's files, looks like.
"""

import atexit
import contextlib
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from memory.errors import HistoryUnavailable
from memory.redis_server import (
    OLDEST,
    Lock,
    alive,
    ask,
    find_server,
    last_words,
    remove_socket,
    server_version,
)

Fsync = Literal["always", "everysec", "no"]

MARK = "bifocal:embedded"  #: the key that says that this store has been in use
LOG_LIMIT = 1 << 20  #: bytes of log after which a new one is begun

#: servers that this process started, by data folder, until they are reaped
_children: list[tuple[Path, subprocess.Popen[bytes]]] = []


@dataclass(frozen=True, slots=True)
class Launch:
    """A server that is to be started: ``server``, or the one that is found. ``timeout`` is how many
    seconds it gets."""

    folder: Path
    socket: Path
    fsync: Fsync
    timeout: float
    server: Path | None = None

    def run(self, lock: Lock, until: float) -> None:
        """Start the server, which inherits ``lock``, and return when it answers; ``until`` is a
        ``time.monotonic()``. Raises ``HistoryUnavailable``."""
        log = self.folder / "redis.log"
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.unlink()
        said_before = log.stat().st_size if log.exists() else 0
        child = None
        try:
            child = self._launch(lock, log)
            self._await_ready(child, until, log, said_before)
            self._check_mark(child)
        except BaseException:
            if child is None or child.poll() is not None:
                remove_socket(self.socket)
            raise

    def _launch(self, lock: Lock, log: Path) -> "subprocess.Popen[bytes]":
        binary, version = self.server, None
        if binary is None:
            binary, version = find_server()
        newer = self.folder / "appendonlydir"
        if newer.is_dir() and (version or server_version(str(binary)) or OLDEST) < (7, 0):
            raise HistoryUnavailable(
                f"{newer} was written by Redis 7 or newer, which {binary} cannot read: install a "
                "redis-server 7 or newer"
            )
        self.socket.unlink(missing_ok=True)
        child = subprocess.Popen(
            [str(binary), *self._options(log)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock.fd,),  # the server keeps server.lock for as long as it lives
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )
        _children.append((self.folder, child))
        # it may outlive this process, on behalf of others: no warning about that at exit
        atexit.register(setattr, child, "returncode", 0)
        return child

    def _options(self, log: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "600",
            "dir": str(self.folder),
            "logfile": str(log),
            "daemonize": "no",
            "databases": "1",
            "save": "",
            "appendonly": "yes",
            "appendfsync": self.fsync,
            "aof-load-truncated": "no",
            "maxmemory-policy": "noeviction",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _await_ready(
        self, child: subprocess.Popen[bytes], until: float, log: Path, said_before: int
    ) -> None:
        while True:
            if child.poll() is not None:
                last = last_words(log, said_before)
                if "No such file" in last:
                    raise HistoryUnavailable(
                        f"the stored conversations in {self.folder} are gone, at least in part "
                        f"({last}): put the file back, or delete the folder to begin anew"
                    )
                damaged = re.search(r"append.only|aof|rdb|checksum|short read", last, re.I)
                raise HistoryUnavailable(
                    f"the stored conversations in {self.folder} are damaged and were left as they "
                    f"are ({last}): `python -m memory.repair {self.folder}` keeps a copy "
                    "and cuts the damaged end"
                    if damaged
                    else f"redis-server ended at its start ({last}): see {log}"
                )
            ready = self.socket.exists() and alive(self.socket)
            if ready:
                return
            if time.monotonic() > until:
                if ready is False:
                    _end(child)
                # one that is loading goes on, and the next to ask joins it
                raise HistoryUnavailable(
                    f"redis-server was not ready within {self.timeout:g} s"
                    f"{' and is still loading: try again' if ready is None else ''}; see {log}"
                )
            time.sleep(0.002)

    def _check_mark(self, child: subprocess.Popen[bytes]) -> None:
        """Refuse a store that was in use before and has come up without anything in it."""
        used = self.folder / "in-use"
        if ask(self.socket, "GET", MARK):
            used.touch(mode=0o600)
            return
        if used.exists():
            _end(child)
            raise HistoryUnavailable(
                f"the stored conversations in {self.folder} are gone (its append-only file is "
                f"missing or empty): put the file back, or delete {used} to begin anew"
            )
        ask(self.socket, "CONFIG", "SET", "appendfsync", "always")  # the mark is on disk first
        ask(self.socket, "SET", MARK, "1")
        ask(self.socket, "CONFIG", "SET", "appendfsync", self.fsync)
        used.touch(mode=0o600)


def await_end(folder: Path) -> None:
    """Wait a moment for the servers of a folder that this process started."""
    for known, child in list(_children):
        if known == folder:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=1.0)


def reap() -> None:
    """Forget the servers that have ended."""
    for known in list(_children):
        if known[1].poll() is not None:
            with contextlib.suppress(ValueError):  # another thread was here first
                _children.remove(known)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
