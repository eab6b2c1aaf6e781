"""One bounded, cancel-safe way to Redis, and every failure of it as one clear line.

It goes to an address, or to the private server of a folder (``memory/embedded.py``), which is
started again when it has died. Knows nothing of conversations.

Each piece of work runs in a task of its own that the caller's cancellation does not reach: a
connection is never given up between a command and its reply, where the next user would read
someone else's answer (redis-py closes such a connection, but its pool's bookkeeping can still be
cut in half by a second cancellation). What the caller gets is the wait, not the work: it ends at
once when cancelled, and at the deadline at the latest. A write whose wait was cancelled may thus
have happened, whole.

A link belongs to the event loop that opened it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from redis import exceptions as rx
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError

from memory.connect import ADDRESSES, Connected, connect, parse
from memory.embedded import EmbeddedRedis
from memory.errors import HistoryError, HistoryUnavailable
from memory.launching import Fsync

T = TypeVar("T")


class Link:
    """A bounded pool of connections to a Redis, or to each node of one. Made by :meth:`open`; an
    asynchronous context manager."""

    def __init__(
        self,
        connected: Connected,
        name: str,
        timeout: float,
        connections: int,
        embedded: EmbeddedRedis | None = None,
    ) -> None:
        self.name = name
        self.client: Redis = connected.client
        self._close = connected.close
        self._timeout = timeout
        self._free = asyncio.Semaphore(connections)
        self._embedded = embedded
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str | None = None,
        *,
        folder: Path | None = None,
        fsync: Fsync = "everysec",
        timeout: float = 2.0,  # noqa: ASYNC109 - kept as the link's own deadline
        connections: int = 16,
    ) -> Self:
        """Connect to ``url`` (see ``memory/connect.py``), or to a server kept in ``folder``, and
        say PING; ``HistoryUnavailable`` when that fails within ``timeout`` seconds.

        ``fsync`` is the kept server's. ``connections`` bounds the pool; further work waits for its
        turn.
        """
        embedded = None
        if url is None:
            if folder is None:
                raise HistoryUnavailable(
                    "there is no place to keep anything: give a Redis address or a folder"
                )
            embedded = await EmbeddedRedis.aopen(folder, fsync=fsync)
            url = embedded.url
        try:
            connected, shown = _connected(url, timeout, connections)
            name = f"the Redis of {folder}" if embedded else shown
            link = cls(connected, name, timeout, connections, embedded)
        except BaseException:
            if embedded is not None:
                await embedded.aclose()
            raise
        try:
            await link._once(_ping)
        except BaseException:
            await link.aclose()
            raise
        return link

    async def read(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """Do ``work`` as :meth:`write` does, but once more if a kept server had died."""
        try:
            return await self.write(work)
        except HistoryUnavailable as error:
            if self._embedded is None or not _is_gone(error):
                raise
        return await self._once(work)

    async def write(self, work: Callable[[Redis], Awaitable[T]], limit: float | None = None) -> T:
        """Do ``work`` with the client, once, and return what it returns.

        The deadline is ``limit`` seconds (the link's own by default) and counts waiting for a
        free connection. Redis' errors become ``HistoryUnavailable``, chained to their cause. A
        kept server that has died is started again for the next call.
        """
        try:
            return await self._once(work, limit)
        except HistoryUnavailable as error:
            if self._embedded is not None and _is_gone(error):
                await asyncio.to_thread(self._embedded.revive)
            raise

    async def _once(self, work: Callable[[Redis], Awaitable[T]], limit: float | None = None) -> T:
        if self._closed:
            raise HistoryUnavailable(f"{self.name} was closed")
        limit = self._timeout if limit is None else limit
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        alarm = asyncio.get_running_loop().call_later(limit, task.cancel)
        task.add_done_callback(lambda done: self._done(done, alarm))
        await asyncio.wait({task}, timeout=limit)
        if not task.done() or task.cancelled():
            raise HistoryUnavailable(f"{self.name} did not answer within {limit:g} s") from None
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, (rx.RedisError, rx.RedisClusterException, OSError)):
            raise explain(error, self.name) from error
        raise error

    async def _guarded(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        async with self._free:
            return await work(self.client)

    def _done(self, task: asyncio.Task[T], alarm: asyncio.TimerHandle) -> None:
        alarm.cancel()
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits any more

    async def aclose(self) -> None:
        """Wait for work under way, up to the deadline, close every connection and leave a kept
        server."""
        self._closed = True
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=self._timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with contextlib.suppress(rx.RedisError, OSError):
            await self._close()
        if self._embedded is not None:
            await self._embedded.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _connected(url: str, timeout: float, connections: int) -> tuple[Connected, str]:
    """Return the pool of an address, and the address as it may be shown."""
    try:
        address = parse(url)
        return connect(address, timeout, connections), address.shown
    except FileNotFoundError as error:
        raise HistoryUnavailable(f"in the Redis address, {error}: mend or leave it out") from None
    except (ValueError, TypeError, rx.RedisError):
        # not chained: a mistyped address quotes its password in the cause
        raise HistoryUnavailable(
            f"the Redis address ({url.partition('://')[0][:20]!r}…) cannot be used, or has an "
            f"option that is none: give {ADDRESSES}"
        ) from None


def _is_gone(error: HistoryUnavailable) -> bool:
    """Tell whether the connection failed, and not the login or what was asked."""
    cause = error.__cause__
    return isinstance(cause, rx.ConnectionError) and not isinstance(
        cause, rx.AuthenticationError | rx.BusyLoadingError | rx.MaxConnectionsError
    )


async def _ping(client: Redis) -> None:
    await client.ping()


def explain(error: Exception, name: str) -> HistoryError:
    """Return what a Redis error means for a user. Commands and their values are never quoted."""
    return HistoryUnavailable(f"{name} {_meaning(error)}")


def _meaning(error: Exception) -> str:
    # a pipeline quotes the command before the server's words: only those count
    said = str(error).rpartition("caused error: ")[2]
    match error:
        case rx.BusyLoadingError():
            return "is still loading its data: try again in a moment"
        case rx.AuthenticationError() | rx.AuthenticationWrongNumberOfArgsError():
            return "refuses the login: check the user and the password in its address"
        case rx.AuthorizationError() | rx.NoPermissionError():
            return "does not let this user run the commands or touch the keys (bifocal:*) needed"
        case rx.MaxConnectionsError():
            return "has no free connection: too much is asked of it at once"
        case rx.TimeoutError() | TimeoutError():
            return "did not answer in time"
        case rx.OutOfMemoryError():
            return "is full (maxmemory reached), nothing was saved: raise it or forget something"
        case rx.ReadOnlyError():
            return "is a read-only replica: give the primary's address"
        case rx.ClusterDownError() | rx.ClusterError():
            return "belongs to a cluster that is down, at least in part: see its CLUSTER INFO"
        case rx.AskError() | rx.ClusterCrossSlotError():
            return (
                "is one node of a cluster and does not hold this conversation: give the cluster's "
                "address, redis+cluster://HOST:PORT"
            )
        case rx.TryAgainError():
            return "is moving this conversation from node to node: try again in a moment"
        case rx.WatchError():
            return "is being written to by too many at once: try again"
        case MasterNotFoundError():
            return _without_primary(said)
        case rx.ConnectionError() | OSError() if "CERTIFICATE_VERIFY_FAILED" in said:
            return (
                "shows a certificate that is not trusted: add ?ssl_ca_certs=FILE with the "
                "authority that signed it to the address, and check the host's name"
            )
        case rx.ConnectionError() | OSError() if "[SSL" in said:
            return (
                f"cannot be spoken to over TLS ({_brief(said)}): check that it speaks it on this "
                "port, and the options ssl_… of the address"
            )
        case rx.ConnectionError() | OSError():
            if "max number of clients" in said:
                return "takes no further clients (maxclients reached)"
            return f"cannot be reached ({_brief(said)}): is it running?"
        case rx.ResponseError() if "MISCONF" in said:
            return "cannot write to its disk (MISCONF), nothing was saved: see its log"
        case rx.ResponseError() if "NOREPLICAS" in said:
            return "has too few replicas to accept a write (NOREPLICAS), nothing was saved"
        case rx.ResponseError() if "NOAUTH" in said:
            return "asks for a login: put user and password into its address"
        case rx.ResponseError() if "cluster support disabled" in said:
            return "is no cluster: give redis://HOST:PORT/0"
        case _:
            return f"refused a command ({type(error).__name__})"


def _brief(said: str) -> str:
    return " ".join(said.split())[:200]


def _without_primary(said: str) -> str:
    if "Authentication" in said:
        return (
            "has Sentinels that refuse the login: add ?sentinel_username=USER"
            "&sentinel_password=PASSWORD to the address"
        )
    if " : " in said:  # some could not be reached
        return (
            "has no Sentinel that answers and knows a primary that is up: check their addresses "
            "and the service's name"
        )
    return (
        "names a service of which its Sentinels know no primary that is up: check the name in "
        "redis+sentinel://HOST:PORT/SERVICE"
    )
