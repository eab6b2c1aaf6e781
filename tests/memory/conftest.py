"""Real Redis servers for the tests of memory/: embedded ones, and others on loopback ports.

Those on ports are one by itself, a cluster of three, and a primary with a replica and a Sentinel;
a proxy stands before any of them to slow, cut or swallow what passes, or to speak TLS.
"""

import asyncio
import contextlib
import hashlib
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from memory.embedded import EmbeddedRedis
from memory.messages import Message, PictureRef, Turn
from memory.redis_history import RedisHistory
from memory.redis_server import find_server

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
StartServer = Callable[..., int]
RunPython = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def make_turn() -> MakeTurn:
    """Return a maker of turns with an id of their own."""

    def make(question: str = "why?", pictures: tuple[int, ...] = (), at: float = 1e9) -> Turn:
        return Turn(
            id=uuid.uuid4().hex,
            question=Message(question, pictures),
            answer=Message(f"because {question}"),
            at=at,
            citations=({"n": 1, "source": "a.pdf", "page": 3},),
            ledger={"evidence": [{"id": "p1", "score": 0.5}]},
        )

    return make


@pytest.fixture
def make_picture() -> MakePicture:
    """Return a maker of a reference and its bytes by hash."""

    def make(number: int, data: bytes = b"", **more: str) -> tuple[PictureRef, dict[str, bytes]]:
        data = data or f"bytes of picture {number}".encode() * 50
        sha = hashlib.sha256(data).hexdigest()
        ref = PictureRef(number, sha, "image/png", 40, 30, len(data), name=more.get("name", ""))
        return ref, {sha: data}

    return make


def free_port() -> int:
    """Return a port that is free, and whose cluster bus port (10,000 higher) is free as well."""
    while True:
        port = random.randrange(20_000, 50_000)
        with socket.socket() as one, socket.socket() as bus, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port


class Servers:
    """Starts redis-servers on loopback ports, each in a folder of its own, and ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *options: str, config: str | None = None) -> int:
        """Start one and return its port, on which it answers."""
        port = free_port()
        home = self._folder / str(port)
        home.mkdir()
        first = []
        if config is not None:
            (home / "redis.conf").write_text(config)
            first = [str(home / "redis.conf")]
        command = [str(find_server()[0]), *first, "--port", str(port), "--bind", "127.0.0.1"]
        if config is None:
            command += ["--save", ""]
        self.running[port] = subprocess.Popen(
            [*command, *options], cwd=home, stdout=subprocess.DEVNULL
        )
        wait_for(lambda: answers(port), f"the redis-server on {port}")
        return port

    def kill(self, port: int) -> None:
        """End one at once."""
        server = self.running.pop(port)
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()

    def close(self) -> None:
        for port in list(self.running):
            self.kill(port)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(true: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Ask again and again until something is true."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.01)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Return a starter of servers that ends them."""
    started = Servers(tmp_path)
    yield started
    started.close()


@pytest.fixture
def start_server(servers: Servers) -> StartServer:
    """Return a starter of a redis-server on 127.0.0.1; it gives the port."""
    return servers.start


def in_step(replica: Redis) -> bool:
    said: Any = replica.info("replication")
    return bool(said["role"] == "slave" and said["master_link_status"] == "up")


def start_cluster(servers: Servers, replicas: int = 0, timeout: int = 1000) -> list[int]:
    """Start three primaries that share the slots, and return their ports.

    With ``replicas`` as many of them (the first ones) have one; their ports come after. A node
    that does not answer for ``timeout`` milliseconds is taken for dead.
    """
    ports = [
        servers.start("--cluster-enabled", "yes", "--cluster-node-timeout", str(timeout))
        for _ in range(3 + replicas)
    ]
    clients: list[Any] = [Redis(port=port, socket_timeout=5) for port in ports]
    for place, client in enumerate(clients[:3]):
        slots = range(16384 * place // 3, 16384 * (place + 1) // 3)
        client.execute_command("CLUSTER", "ADDSLOTS", *slots)
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
    for client in clients:
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])

    def agreed() -> bool:
        said = [client.execute_command("CLUSTER", "INFO") for client in clients]
        all_known = b"cluster_known_nodes:%d" % len(ports)
        return all(b"cluster_state:ok" in info and all_known in info for info in said)

    wait_for(agreed, "the cluster")
    for primary, replica in zip(clients, clients[3:], strict=False):
        name = primary.execute_command("CLUSTER", "MYID")
        replica.execute_command("CLUSTER", "REPLICATE", name)
    for replica in clients[3:]:
        wait_for(partial(in_step, replica), "a replica")
    for client in clients:
        client.close()
    return ports


@pytest.fixture
def begin_cluster() -> Callable[..., list[int]]:
    """Return a starter of a cluster on a test's own ``servers``, for the test to break."""
    return start_cluster


@pytest.fixture(scope="session")
def cluster_ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """Return the ports of a cluster of three that stays up for all tests."""
    servers = Servers(tmp_path_factory.mktemp("cluster"))
    try:
        yield start_cluster(servers)
    finally:
        servers.close()


@dataclass(frozen=True)
class Watched:
    """A primary with a replica, watched by a Sentinel that knows them as ``chat``."""

    primary: int
    replica: int
    sentinel: int

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel}/chat"


def start_sentinel(servers: Servers, *options: str) -> Watched:
    """Start the three, and return when the Sentinel knows the replica."""
    primary = servers.start("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
    replica = servers.start("--replicaof", "127.0.0.1", str(primary))
    config = f"""
sentinel monitor chat 127.0.0.1 {primary} 1
sentinel down-after-milliseconds chat 300
sentinel failover-timeout chat 2000
"""
    sentinel = servers.start("--sentinel", *options, config=config)
    with Redis(port=replica) as client:
        wait_for(partial(in_step, client), "the replica")
    return Watched(primary, replica, sentinel)


@pytest.fixture
def begin_sentinel() -> Callable[..., Watched]:
    """Return a starter of the three on a test's own ``servers``, for the test to break."""
    return start_sentinel


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Return a primary, replica and Sentinel that stay up for all tests."""
    servers = Servers(tmp_path_factory.mktemp("sentinel"))
    try:
        yield start_sentinel(servers)
    finally:
        servers.close()


class Proxy:
    """Stands before a port. What passes can be made late, swallowed, or cut off with a reset."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = port  #: where it goes
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._busy: set[asyncio.Task[None]] = set()
        self.port = 0
        self.delay = 0.0  #: seconds by which each piece is late, each way
        self.deaf = False  #: what comes is read and goes nowhere
        self.cut_after = -1  #: bytes towards the server after which the connection is reset
        self.answers_left = -1  #: pieces towards the client after which it is reset
        self.passed = 0  #: bytes that went towards the server
        self.pieces = 0  #: pieces that went towards the server: round trips, when one talks

    async def start(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        self._open.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            back, far = await asyncio.open_connection("127.0.0.1", self.target)
            self._open.add(far)
            await asyncio.gather(
                self._pass(reader, far, True, writer), self._pass(back, writer, False, writer)
            )
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in filter(None, (writer, far)):
                self._open.discard(one)
                one.transport.abort()
            self._busy.discard(task)

    async def _pass(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        onward: bool,
        client: asyncio.StreamWriter,
    ) -> None:
        while data := await source.read(1 << 16):
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.deaf:
                continue
            if onward and 0 <= self.cut_after <= self.passed + len(data):
                sink.write(data[: max(self.cut_after - self.passed, 0)])
                await sink.drain()
                self.passed = self.cut_after
                reset(client)
                raise ConnectionResetError
            if not onward and self.answers_left >= 0:
                self.answers_left -= 1
                if self.answers_left < 0:
                    reset(client)
                    raise ConnectionResetError
            if onward:
                self.passed += len(data)
                self.pieces += 1
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError

    def reset_all(self) -> None:
        """Cut every connection with a reset."""
        for writer in list(self._open):
            reset(writer)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        await self._server.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset, not with an orderly end."""
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


StartProxy = Callable[..., Awaitable[Proxy]]


@pytest.fixture
async def start_proxy() -> AsyncIterator[StartProxy]:
    """Return a starter of a proxy before a port; with a ``tls`` context it is reached over TLS."""
    started: list[Proxy] = []

    async def start(port: int, tls: ssl.SSLContext | None = None) -> Proxy:
        started.append(await Proxy(port, tls).start())
        return started[-1]

    yield start
    for proxy in started:
        await proxy.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for 127.0.0.1 that signs itself; its key lies beside it (``.key``)."""
    file = tmp_path_factory.mktemp("tls") / "redis.pem"
    names = ["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1"]
    how = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    where = ["-keyout", str(file.with_suffix(".key")), "-out", str(file)]
    try:
        subprocess.run(
            ["openssl", "req", "-x509", *how, *names, *where], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl command to make a certificate with")
    return file


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of an embedded server that stays up for all tests."""
    folder = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis.open(folder):
        yield folder


@pytest.fixture
async def history(shared_folder: Path) -> AsyncIterator[RedisHistory]:
    """Return an embedded history under a tenant of its own."""
    async with await RedisHistory.open(folder=shared_folder, tenant=uuid.uuid4().hex) as opened:
        yield opened


@pytest.fixture
def run_python() -> Iterator[RunPython]:
    """Return a starter of a Python process that runs a piece of source."""
    running: list[subprocess.Popen[str]] = []

    def start(source: str, *args: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", source, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
