"""From an address to a client: one Redis, the primary that Sentinels name, or a cluster.

Knows nothing of conversations and of deadlines beyond those of a socket. Forms of an address::

    redis://USER:PASSWORD@HOST:PORT/DB              rediss://… the same over TLS
    unix://USER:PASSWORD@/PATH?db=DB
    redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB       rediss+sentinel://…
    redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT                   rediss+cluster://…

What follows ``?`` are redis-py's options of a connection, among them ``protocol=3``,
``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile``; Sentinels also take ``sentinel_username``
and ``sentinel_password``. Whoever is asked, a command is sent once: a write that failed half way
must not be sent again unseen. That is why the client's retrying is switched off altogether and not
only set to no attempts: when a connection dies in a transaction that watches, redis-py would say
``WatchError``, as if nothing had been done, and a turn would be stored twice.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from redis import exceptions as rx
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from memory.cluster import ClusterClient

Kind = Literal["one", "sentinel", "cluster"]

KINDS: dict[str, Kind] = {
    "redis": "one",
    "rediss": "one",
    "unix": "one",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
PORTS: dict[Kind, int] = {"one": 6379, "sentinel": 26379, "cluster": 6379}
FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
ADDRESSES = (
    "redis://HOST:PORT/0, rediss://HOST:PORT/0, unix:///PATH, "
    "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT"
)


@dataclass(frozen=True, slots=True)
class Address:
    """What an address says. ``options`` are a connection's, secrets among them: never shown."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, Any]
    shown: str


@dataclass(frozen=True, slots=True)
class Connected:
    """A client that has not connected yet, and how to close all that it opens."""

    client: Redis
    close: Callable[[], Awaitable[None]]


def parse(url: str) -> Address:
    """Return what an address says; ``ValueError`` (which may quote it) when it is none."""
    scheme, sep, rest = url.partition("://")
    kind = KINDS.get(scheme)
    if not sep or kind is None:
        raise ValueError("no scheme that is known")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    login, at, hosts = authority.rpartition("@")
    plain = "rediss" if scheme.startswith("rediss") else scheme.partition("+")[0]
    if kind == "one":
        options: dict[str, Any] = dict(parse_url(url))
        shown = f"unix:///{path}" if scheme == "unix" else f"{scheme}://{hosts or 'localhost'}"
        return Address(kind, (), "", options, f"Redis at {shown}")
    service, _, db = path.partition("/") if kind == "sentinel" else ("", "", path)
    found: list[tuple[str, int]] = []
    for host in hosts.split(","):
        options = dict(parse_url(f"{plain}://{login}{at}{host}/{db}?{query}"))
        found.append((options.pop("host", "localhost"), options.pop("port", PORTS[kind])))
    if kind == "sentinel" and not service:
        raise ValueError("the service is missing")
    if kind == "cluster" and options.pop("db", 0):
        raise ValueError("a cluster has database 0 only")
    shown = f"{scheme}://{hosts}{f'/{service}' if service else ''}"
    return Address(kind, tuple(found), service, options, f"Redis at {shown}")


def shown_url(url: str) -> str:
    """Return an address without user, password and options, in words when it is none."""
    try:
        return parse(url).shown
    except ValueError:
        return "Redis, at an address that cannot be used"


def connect(address: Address, timeout: float, connections: int) -> Connected:
    """Return a client with a bounded pool; nothing is opened yet.

    ``timeout`` bounds each wait on a socket (s), ``connections`` the pool (of each node).
    ``ValueError`` or ``TypeError`` for options that are none, ``FileNotFoundError`` for a file of
    theirs that is not there.
    """
    for name in FILES & address.options.keys():
        if not Path(address.options[name]).is_file():
            raise FileNotFoundError(f"{name} names {address.options[name]!r}, which is not there")
    options: dict[str, Any] = {
        "max_connections": connections,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0, supported_errors=()),
        "protocol": 2,
        **address.options,
    }
    if address.kind == "cluster":
        options["max_connections"] += 1  # for asking who holds what
        cluster = ClusterClient(address.hosts, lambda host, port: _pool(options, host, port))
        return Connected(cluster, cluster.aclose)
    if address.kind == "sentinel":
        return _through_sentinels(address, options, timeout)
    pool = ConnectionPool(**options)
    _checked(pool)
    return Connected(Redis(connection_pool=pool), pool.aclose)


def _pool(options: dict[str, Any], host: str, port: int) -> ConnectionPool:
    pool = ConnectionPool(**options, host=host, port=port)
    _checked(pool)
    return pool


def _checked(pool: ConnectionPool) -> None:
    """Find options that are none now, and not at the first use."""
    make: Callable[[], object] = pool.make_connection
    make()


def _through_sentinels(address: Address, options: dict[str, Any], timeout: float) -> Connected:
    tls = options.pop("connection_class", None) is SSLConnection
    # one Sentinel that is gone must leave time to ask the next
    share = timeout / (len(address.hosts) + 1)
    asking = {
        name.removeprefix("sentinel_"): options.pop(name)
        for name in ("sentinel_username", "sentinel_password")
        if name in options
    }
    asking |= {
        "socket_timeout": share,
        "socket_connect_timeout": share,
        "retry": options["retry"],
        "protocol": options["protocol"],
    }
    if tls:
        asking |= {"ssl": True} | {k: v for k, v in options.items() if k.startswith("ssl_")}
    untyped: Any = Sentinel
    sentinels: Sentinel = untyped(address.hosts, sentinel_kwargs=asking)
    untyped = SentinelConnectionPool
    pool: SentinelConnectionPool = untyped(address.service, sentinels, ssl=tls, **options)
    _checked(pool)

    async def close() -> None:
        with contextlib.suppress(rx.RedisError, OSError):
            await pool.aclose()
        await sentinels.aclose()

    return Connected(Redis(connection_pool=pool), close)
