"""Which node of a Redis Cluster holds which slot, and which slot a command's key has.

Knows nothing of what commands do. The nodes are asked when that is in doubt, and not before.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis import exceptions as rx
from redis.asyncio import ConnectionPool, Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

Node = tuple[str, int]  #: host and port
MakePool = Callable[[str, int], ConnectionPool]

ASKED = 8  #: nodes asked at once who holds what
KEYLESS = frozenset(
    "ACL CLIENT CLUSTER COMMAND CONFIG DBSIZE INFO LATENCY PING PUBLISH SCRIPT TIME WAIT".split()
)


class Slots:
    """Who holds which slot, and a client for each node."""

    def __init__(self, seeds: Sequence[Node], make_pool: MakePool) -> None:
        self._seeds = tuple(seeds)
        self._make_pool = make_pool
        self._clients: dict[Node, Redis] = {}
        self._known: set[Node] = set(seeds)
        self._owners: list[Node | None] = [None] * SLOTS
        self._asking = asyncio.Lock()
        self.stale = True

    def client(self, node: Node) -> Redis:
        """Return the client of a node."""
        if node not in self._clients:
            self._clients[node] = Redis(connection_pool=self._make_pool(*node))
        return self._clients[node]

    async def owner(self, slot: int) -> Node:
        """Return the node that holds a slot."""
        await self.refresh()
        node = self._owners[slot]
        if node is None:
            raise rx.ClusterDownError("Hash slot not served")
        return node

    async def primaries(self) -> list[Node]:
        """Return every node that holds slots, in a lasting order."""
        await self.refresh()
        return sorted({node for node in self._owners if node is not None})

    def moved(self, error: rx.AskError, told_by: Node) -> Node:
        """Note where a slot went (MOVED), and return that node; ask all about it next time."""
        node = (error.host or told_by[0], error.port)
        if isinstance(error, rx.MovedError):
            self._owners[error.slot_id] = node
            self.stale = True
        return node

    async def refresh(self) -> None:
        """Ask who holds what, if that is in doubt. The first whole answer counts."""
        if not self.stale:
            return
        async with self._asking:
            if not self.stale:
                return
            known = random.sample(sorted(self._known), min(len(self._known), ASKED))
            self.stale = False  # what is said to have moved from now on is asked for again
            try:
                self._owners, self._known = await self._ask({*known, *self._seeds})
            except BaseException:
                self.stale = True
                raise
            for node in set(self._clients) - self._known - set(self._seeds):
                await self._clients[node].connection_pool.disconnect(inuse_connections=False)

    async def _ask(self, nodes: Iterable[Node]) -> tuple[list[Node | None], set[Node]]:
        tasks = [asyncio.create_task(self._table(node)) for node in nodes]
        best: tuple[list[Node | None], set[Node]] | None = None
        error: Exception | None = None
        try:
            for answer in asyncio.as_completed(tasks):
                try:
                    best = await answer
                except (rx.RedisError, OSError) as failed:
                    # what a node says is worth more than that another is not there
                    if error is None or type(error) in (rx.ConnectionError, rx.TimeoutError):
                        error = failed
                    continue
                if None not in best[0]:
                    break
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if best is None:
            raise error or rx.ClusterDownError("no node is known")
        return best

    async def _table(self, node: Node) -> tuple[list[Node | None], set[Node]]:
        owners: list[Node | None] = [None] * SLOTS
        nodes: set[Node] = set()
        client: Any = self.client(node)
        for start, end, *holders in await client.execute_command("CLUSTER", "SLOTS"):
            held = [((host or b"").decode() or node[0], port) for host, port, *_ in holders]
            nodes.update(held)
            owners[start : end + 1] = [held[0]] * (end + 1 - start)
        return owners, nodes

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.connection_pool.aclose()


def slot_of(args: Sequence[Any]) -> int | None:
    """Return the slot of a command's (first) key, ``None`` for a command without one."""
    name = str(args[0]).split(" ")[0].upper()
    if name in KEYLESS or len(args) < 2:
        return None
    if name in ("EVAL", "EVALSHA"):
        return _slot(args[3]) if int(args[2]) else None
    return _slot(args[1])


def _slot(key: Any) -> int:
    raw = key if isinstance(key, bytes) else str(key).encode()
    return int(key_slot(raw))
