"""Starts a private redis-server beside a library when no Redis address is given, and shares it.

Knows nothing of conversations: it hands out an address (``unix:///…``) and keeps one server per
data folder alive for as long as any process uses it.

Who may do what is settled by three ``flock`` files in the data folder, which the kernel releases
whatever way a process ends:

1. ``start.lock``   exclusive, held while somebody starts, joins or leaves;
2. ``users.lock``   shared by every user; whoever can turn it exclusive on leaving is the last one,
   and shuts the server down;
3. ``server.lock``  exclusive, inherited by redis-server itself. As long as it is taken, a server
   owns the append-only file, also after its starter was killed, so no second one is ever started.

A server left behind by ``kill -9`` is found by its socket and used again; a socket without a
server is replaced. ``SIGTERM`` without a handler counts as a kill.

How one is started, and what is refused then, is in ``memory/launching.py``.
"""

import asyncio
import atexit
import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from memory.errors import HistoryUnavailable
from memory.launching import Fsync, Launch, await_end, reap
from memory.redis_server import Lock, Refused, alive, ask, remove_socket, socket_path


class EmbeddedRedis:
    """One user's hold on the server of a data folder. Made by :meth:`open` or :meth:`aopen`.

    ``url`` is the address (``unix:///…``), ``folder`` the data folder. A context manager, plain
    and asynchronous; what is not closed is closed when the interpreter ends.
    """

    def __init__(self, folder: Path, fsync: Fsync, timeout: float, server: Path | None) -> None:
        self.folder = folder
        self._fsync = fsync
        self._timeout = timeout
        self._server = server
        self._users: Lock | None = None
        self._socket = Path()
        self._pid = os.getpid()

    @property
    def url(self) -> str:
        """The server's address for a Redis client."""
        return f"unix://{self._socket}"

    @property
    def socket(self) -> Path:
        """The server's Unix socket, mode 0600 in a folder of mode 0700."""
        return self._socket

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        fsync: Fsync = "everysec",
        timeout: float = 10.0,
        server: Path | None = None,
    ) -> "EmbeddedRedis":
        """Join the server of ``folder``, or start it, and return when it answers.

        ``fsync`` is when a write reaches the disk; a server that runs already is made stricter by
        ``always``, never laxer. ``timeout`` bounds the start in seconds (a large history takes
        longer to read). ``server`` is the redis-server to start instead of the one that is found.
        Raises ``HistoryUnavailable``.
        """
        self = cls(folder.absolute(), fsync, timeout, server)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            self._users = Lock(self.folder / "users.lock")
            self.revive()
        except OSError as error:
            self._leave()
            raise HistoryUnavailable(
                f"the folder for conversations, {folder}, cannot be written "
                f"({error.strerror or error}): make it writable, or set BIFOCAL_REDIS_URL"
            ) from error
        except BaseException:
            self._leave()
            raise
        atexit.register(self.close)
        return self

    @classmethod
    async def aopen(
        cls,
        folder: Path,
        *,
        fsync: Fsync = "everysec",
        timeout: float = 10.0,  # noqa: ASYNC109 - bounds the start in its thread
        server: Path | None = None,
    ) -> "EmbeddedRedis":
        """:meth:`open` in a thread. A caller that is cancelled leaves no hold behind."""
        opening = asyncio.ensure_future(
            asyncio.to_thread(cls.open, folder, fsync=fsync, timeout=timeout, server=server)
        )
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    def revive(self) -> None:
        """See to it that the server answers: find it again, or start it if it died."""
        users = self._users
        if users is None:
            raise HistoryUnavailable(f"the Redis of {self.folder} was closed")
        until = time.monotonic() + self._timeout
        with self._starting(until) as taken:
            if not taken or not users.wait(fcntl.LOCK_SH, until):
                raise HistoryUnavailable(
                    f"another process has been starting the Redis of {self.folder} for more than "
                    f"{self._timeout:g} s: see {self.folder / 'redis.log'}"
                )
            self._join(until)

    def _join(self, until: float) -> None:
        # 1. a server that answers, where we would put it or where its starter did
        known = self.folder / "socket"
        places = [socket_path(self.folder)]
        with contextlib.suppress(OSError):
            places.append(Path(known.read_text(encoding="utf-8").strip()))
        lock = Lock(self.folder / "server.lock")
        try:
            while True:
                for place in places:
                    if alive(place):
                        self._socket = place
                        if self._fsync == "always":
                            ask(place, "CONFIG", "SET", "appendfsync", "always")
                        return
                # 2. none answers, and none owns the data: start one
                if lock.take(fcntl.LOCK_EX):
                    self._socket = places[0]
                    known.write_text(str(self._socket), encoding="utf-8")
                    folder, given = self.folder, (self._fsync, self._timeout, self._server)
                    Launch(folder, self._socket, *given).run(lock, until)
                    return
                # 3. one owns the data and is loading, or on its way out
                if time.monotonic() > until:
                    raise HistoryUnavailable(
                        f"a redis-server holds {self.folder} but does not answer from here: wait "
                        "for it, stop it, or set BIFOCAL_REDIS_URL; see "
                        f"{self.folder / 'redis.log'}"
                    )
                time.sleep(0.005)
        finally:
            lock.close()

    @contextlib.contextmanager
    def _starting(self, until: float) -> Iterator[bool]:
        lock = Lock(self.folder / "start.lock")
        try:
            yield lock.wait(fcntl.LOCK_EX, until)
        finally:
            lock.close()

    def close(self) -> None:
        """Leave; the last one out shuts the server down and waits until its data is on disk."""
        if self._users is None:
            return
        atexit.unregister(self.close)
        if os.getpid() != self._pid:  # a fork shares its parent's locks: they are not its to change
            self._users.close()
            self._users = None
            return
        until = time.monotonic() + self._timeout
        try:
            with self._starting(until) as taken:
                if taken and self._users.take(fcntl.LOCK_EX):
                    self._shut_down(until)
        except OSError:
            pass  # the folder was removed: there is nothing left to keep
        finally:
            self._leave()

    def _shut_down(self, until: float) -> None:
        with contextlib.suppress(OSError, Refused):
            ask(self._socket, "SHUTDOWN", "NOSAVE", timeout=self._timeout)
        lock = Lock(self.folder / "server.lock")
        lock.wait(fcntl.LOCK_EX, until)
        lock.close()
        await_end(self.folder)  # it let go of the lock as it was ending: a moment more
        remove_socket(self._socket)

    def _leave(self) -> None:
        if self._users is not None:
            self._users.close()
            self._users = None
        reap()

    async def aclose(self) -> None:
        """:meth:`close` in a thread."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> "EmbeddedRedis":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> "EmbeddedRedis":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _close_unwanted(opening: "asyncio.Future[EmbeddedRedis]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
