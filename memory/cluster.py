"""A Redis Cluster behind the face of one Redis: the client that everything else is written for.

Knows nothing of conversations. Commands go to the node that holds their key, pipelines are dealt
out by node and their replies put back in order, and a transaction goes to the one node that holds
all of its keys; keys of several slots in one are refused before anything is sent.

redis-py's own cluster client is not used: at version 8.1 it repeats a transaction whose fate is
unknown (a turn could be stored twice), queues each of its commands in a thread with an event loop
of its own, and gives other results than the plain client for SCAN and UNLINK. Its plain client does
the talking here; this module only says to which node, and ``memory/cluster_slots.py`` knows who
holds what. What a node refuses with MOVED or ASK was not done, so it is sent on; a connection that
fails is not tried again, and who holds what is asked anew before the next command.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from redis import exceptions as rx
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS

from memory.cluster_slots import MakePool, Node, Slots, slot_of

HOPS = 8  #: how often a command is sent on before the cluster is called unsettled
PAUSE = 0.01  #: seconds before a slot that is just being moved is tried again, then twice that …
AGAIN = 0.15  #: seconds before a transaction that watched such a slot is begun again

Command = tuple[tuple[Any, ...], Mapping[str, Any]]


class ClusterClient(Redis):
    """The plain client's commands, each sent to the node that holds its key.

    TIME and other commands without a key go to the node that holds slot 0, so that all clients
    read the same clock; SCRIPT LOAD goes to every node, SCAN passes from one to the next.
    """

    def __init__(self, seeds: Sequence[Node], make_pool: MakePool) -> None:
        self.slots = Slots(seeds, make_pool)
        super().__init__(connection_pool=self.slots.client(seeds[0]).connection_pool)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node that holds its key, and on when that node says so."""
        name = str(args[0]).upper()
        if name == "SCAN":
            return await self._scan(int(args[1]), args[2:], options)
        if name in ("SCRIPT LOAD", "KEYS"):
            nodes = await self.slots.primaries()
            replies = [await self._send(node, False, args, options) for node in nodes]
            return list(chain(*replies)) if name == "KEYS" else replies[0]
        node = await self.slots.owner(slot_of(args) or 0)
        ask = False
        for hop in range(HOPS):
            try:
                return await self._send(node, ask, args, options)
            except rx.AskError as error:  # MOVED is a kind of it
                node = self.slots.moved(error, node)
                ask = not isinstance(error, rx.MovedError)
            except rx.TryAgainError:
                await asyncio.sleep(PAUSE * 2**hop)
            except (rx.ConnectionError, rx.TimeoutError, rx.ClusterDownError, OSError):
                self.slots.stale = True
                raise
        raise rx.TryAgainError("sent on too often")

    async def _send(
        self, node: Node, ask: bool, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        client: Any = self.slots.client(node)
        if not ask:
            return await client.execute_command(*args, **options)
        pipe = client.pipeline(transaction=False)
        pipe.execute_command("ASKING")
        pipe.execute_command(*args, **options)
        return (await pipe.execute())[1]

    async def _scan(self, cursor: int, rest: Sequence[Any], options: dict[str, Any]) -> Any:
        """A node's cursor, times the number of slots, plus the node's place in their order."""
        nodes = await self.slots.primaries()
        inner, place = divmod(cursor, SLOTS)
        if place >= len(nodes):  # there are fewer nodes than when the scan began
            return 0, []
        words = ("SCAN", inner, *rest)
        following, keys = await self._send(nodes[place], False, words, options)
        if int(following):
            return int(following) * SLOTS + place, keys
        return (place + 1 if place + 1 < len(nodes) else 0), keys

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline that finds its node, or with ``transaction=False`` its nodes."""
        return ClusterPipeline(self, transaction, shard_hint)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close every connection to every node."""
        await self.slots.aclose()


class ClusterPipeline(Pipeline):
    """A pipeline that knows its node only once its keys are known."""

    def __init__(self, cluster: ClusterClient, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(
            cluster.connection_pool, cluster.response_callbacks, transaction, shard_hint
        )
        self._cluster = cluster
        self._slots = cluster.slots
        self._node: Node = ("", 0)
        #: what was sent since WATCH, itself included, and the replies
        self._done: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = []

    async def reset(self) -> Any:
        """Forget what was queued and watched, and give the connection back."""
        self._done = []
        reset: Callable[..., Any] = super().reset
        await reset()

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Send WATCH, and what follows it before MULTI, to the node of the first key watched.

        Should the slot be moved meanwhile, it is watched and read again there; ``WatchError`` if
        something else is read then.
        """
        send: Callable[..., Any] = super().immediate_execute_command
        for hop in range(HOPS):
            try:
                if self.connection is None:
                    self._node = await self._aim(slot_of(args) or 0)
                    for words, more, said in self._done:
                        if await send(*words, **more) != said:
                            raise rx.WatchError("changed while the slot was moved")
                reply = await send(*args, **options)
            except (rx.AskError, rx.TryAgainError) as error:
                if isinstance(error, rx.AskError):
                    self._slots.moved(error, self._node)
                done = self._done
                await self.reset()
                self._done = done
                await asyncio.sleep(PAUSE * 2**hop)
            except (rx.ConnectionError, rx.TimeoutError, rx.ClusterDownError, OSError):
                self._slots.stale = True
                raise
            else:
                self._done.append((args, options, reply))
                return reply
        raise rx.TryAgainError("sent on too often")

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Do what was queued: as one transaction on one node, or dealt out by node."""
        if self.watching or self.explicit_transaction or self.is_transaction:
            return await self._transaction(raise_on_error)
        return await self._dealt_out(raise_on_error)

    async def _aim(self, slot: int) -> Node:
        node = await self._slots.owner(slot)
        self.connection_pool = self._slots.client(node).connection_pool
        return node

    async def _transaction(self, raise_on_error: bool) -> list[Any]:
        stack, watched = list(self.command_stack), self.connection is not None
        slots = {slot for args, _ in stack if (slot := slot_of(args)) is not None}
        if len(slots) > 1:
            await self.reset()
            raise rx.ClusterCrossSlotError("the keys of one transaction lie in several slots")
        for hop in range(HOPS):
            if not watched:
                self._node = await self._aim(min(slots, default=0))
            self.command_stack = list(stack)
            try:
                return await super().execute(raise_on_error)
            except (rx.AskError, rx.TryAgainError) as error:  # nothing of it was done
                if isinstance(error, rx.AskError):
                    self._slots.moved(error, self._node)
                if watched:  # the caller looks again at what it watched
                    await asyncio.sleep(AGAIN)
                    raise rx.WatchError("the slot is being moved") from error
                await asyncio.sleep(PAUSE * 2**hop)
            except (rx.ConnectionError, rx.TimeoutError, rx.ClusterDownError, OSError):
                self._slots.stale = True
                raise
        raise rx.TryAgainError("sent on too often")

    async def _dealt_out(self, raise_on_error: bool) -> list[Any]:
        stack = list(self.command_stack)
        await self.reset()
        places: dict[Node, list[int]] = {}
        for place, (args, _) in enumerate(stack):
            node = await self._slots.owner(slot_of(args) or 0)
            places.setdefault(node, []).append(place)
        work = [self._part(node, [stack[i] for i in own]) for node, own in places.items()]
        parts = await asyncio.gather(*work, return_exceptions=True)
        replies: list[Any] = [None] * len(stack)
        for own, part in zip(places.values(), parts, strict=True):
            if isinstance(part, BaseException):
                self._slots.stale = True
                raise part
            for place, reply in zip(own, part, strict=True):
                replies[place] = reply
        for place, reply in enumerate(replies):
            if isinstance(reply, rx.AskError | rx.TryAgainError):
                args, options = stack[place]
                try:
                    replies[place] = await self._cluster.execute_command(*args, **options)
                except rx.ResponseError as error:
                    replies[place] = error
        if raise_on_error:
            self.raise_first_error(stack, replies)
        return replies

    async def _part(self, node: Node, commands: list[Command]) -> list[Any]:
        pipe = self._slots.client(node).pipeline(transaction=False)
        pipe.command_stack = list(commands)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies
