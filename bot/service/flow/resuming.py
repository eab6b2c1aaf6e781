"""Streams that outlive a broken connection: a turn goes on, and its events wait for their reader.

The turn runs in a task of this process; its events are kept here for readers of this process, and
in Redis (a stream by the events' own numbers) for those who come back to another one. When nobody
has read for a while the turn is ended, since a model that writes for nobody is in everybody's way.
Knows nothing of what events mean.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bot.events import Event
from bot.service.flow.streams import frame
from bot.service.http.problems import Problem, not_found, problem_of
from bot.service.stores.shared_redis import SharedRedis
from memory.errors import HistoryUnavailable

WATCH = 1.0  #: seconds between looks at who reads, and at whether the turn was ended elsewhere
ENDED = Problem(409, "ended", "the turn was ended before its answer was whole; nothing is saved")
POLL = 0.1  #: seconds between looks at the events of another process


@dataclass(eq=False)
class Live:
    """A stream of this process."""

    tenant: str
    id: str
    frames: list[bytes] = field(default_factory=list)
    error: Exception | None = None  #: what ended it; in ``frames`` too
    done: bool = False
    readers: int = 0
    left: float = field(default_factory=time.monotonic)  #: when the last reader went
    more: asyncio.Condition = field(default_factory=asyncio.Condition)
    task: asyncio.Task[None] | None = None

    async def behind(self, number: int) -> tuple[list[bytes], bool]:
        """Wait for frames behind that number, or for the end; return them, and whether it is."""
        async with self.more:
            await self.more.wait_for(lambda: self.done or len(self.frames) > number)
            return self.frames[number:], self.done


class Streams:
    """The resumable streams of a process. Belongs to its event loop; end it with :meth:`aclose`.

    ``keep`` is for how many seconds a stream waits for a reader, and how long its events are kept
    after its end.
    """

    def __init__(self, redis: SharedRedis, keep: float) -> None:
        self._redis, self._keep = redis, keep
        self._live: dict[tuple[str, str], Live] = {}

    def begin(self, tenant: str, events: AsyncGenerator[Event, None]) -> str:
        """Run a turn in the background; return the id by which its events are read."""
        live = Live(tenant, secrets.token_hex(16))
        self._live[tenant, live.id] = live
        live.task = asyncio.create_task(self._run(live, events))
        return live.id

    async def read(self, tenant: str, id: str, after: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the frames that come after number ``after``, until the stream ends.

        Raises the problem of what is absent, and the error of a turn that failed before its first
        event.
        """
        live = self._live.get((tenant, id))
        source = self._here(live, after) if live else self._elsewhere(tenant, id, after)
        async with aclosing(source) as frames:
            async for data in frames:
                yield data

    async def cancel(self, tenant: str, id: str) -> None:
        """End a turn; the problem of what is absent when there is no stream of that id."""
        live = self._live.get((tenant, id))
        if live is not None and live.task is not None:
            live.task.cancel()
            await asyncio.wait({live.task})
            return

        async def work(client: Any) -> bool:
            if not await client.exists(_key(tenant, id, "events")):
                return False
            await client.set(_key(tenant, id, "cancel"), b"1", ex=self._seconds)
            return True

        if not await self._redis.write(work):
            raise not_found("stream")

    async def aclose(self) -> None:
        """End every turn that still runs."""
        tasks = {live.task for live in self._live.values() if live.task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @property
    def _seconds(self) -> int:
        return max(1, round(self._keep))

    # writing

    async def _run(self, live: Live, events: AsyncGenerator[Event, None]) -> None:
        """Take the turn's events in, write them down, and keep them for a while after the end."""
        writing = asyncio.create_task(self._write_down(live))
        watching = asyncio.create_task(self._watch(live, asyncio.current_task()))
        try:
            async with aclosing(events) as flow:
                async for event in flow:
                    await self._add(live, event.type, event.to_json())
        except Exception as error:
            live.error = error
            told = {"type": "error", "problem": problem_of(error).to_json()}
            await self._add(live, "error", told)
        except asyncio.CancelledError:
            told = {"type": "error", "problem": ENDED.to_json()}
            await self._add(live, "error", told)
            raise
        finally:
            watching.cancel()
            async with live.more:
                live.done = True
                live.more.notify_all()
            with suppress(asyncio.CancelledError):
                await writing
            asyncio.get_running_loop().call_later(
                self._keep, self._live.pop, (live.tenant, live.id), None
            )

    async def _add(self, live: Live, kind: str, value: dict[str, Any]) -> None:
        async with live.more:
            live.frames.append(frame(kind, value, f"{live.id}:{len(live.frames) + 1}"))
            live.more.notify_all()

    async def _write_down(self, live: Live) -> None:
        """Copy frames to Redis as they come, as many at once as there are; the end is marked."""
        key, written = _key(live.tenant, live.id, "events"), 0
        while True:
            new, done = await live.behind(written)
            entries = [{"f": data} for data in new] + ([{"end": b""}] if done else [])
            work = partial(_append, key, entries, written + 1, self._seconds)
            with suppress(HistoryUnavailable):  # readers of this process have it all the same
                await self._redis.write(work)
            written += len(new)
            if done:
                return

    async def _watch(self, live: Live, turn: asyncio.Task[Any] | None) -> None:
        """End the turn when nobody reads it for too long, or when it was ended elsewhere."""
        events, seen, cancel = (_key(live.tenant, live.id, p) for p in ("events", "seen", "cancel"))

        async def work(client: Any) -> tuple[int, int]:
            pipe = client.pipeline(transaction=False)
            pipe.expire(events, self._seconds)
            pipe.exists(seen)
            pipe.exists(cancel)
            _, reads, ended = await pipe.execute()
            return reads, ended

        while turn is not None and not turn.done():
            await asyncio.sleep(WATCH)
            reads = ended = 0
            with suppress(HistoryUnavailable):
                reads, ended = await self._redis.read(work)
            alone = not live.readers and not reads
            if ended or (alone and time.monotonic() - live.left > self._keep):
                turn.cancel()
                return

    # reading

    async def _here(self, live: Live, after: int) -> AsyncGenerator[bytes, None]:
        live.readers += 1
        try:
            while True:
                new, done = await live.behind(after)
                if after == 0 and live.error is not None and len(live.frames) == 1:
                    raise live.error
                for data in new:
                    yield data
                after += len(new)
                if done and after >= len(live.frames):
                    return
        finally:
            live.readers -= 1
            live.left = time.monotonic()

    async def _elsewhere(self, tenant: str, id: str, after: int) -> AsyncGenerator[bytes, None]:
        """Yield what another process writes down."""
        key, seen = _key(tenant, id, "events"), _key(tenant, id, "seen")
        first = True
        while True:

            async def work(client: Any, after: int = after) -> tuple[int, list[Any]]:
                pipe = client.pipeline(transaction=False)
                pipe.exists(key)
                pipe.xrange(key, min=f"(0-{after}" if after else "-", count=256)
                pipe.set(seen, b"1", ex=self._seconds)
                there, found, _ = await pipe.execute()
                return there, found

            there, found = await self._redis.read(work)
            if not there:
                if first:
                    raise not_found("stream")
                return
            first = False
            for number, fields in found:
                if b"end" in fields:
                    return
                after = int(number.rpartition(b"-")[2])
                yield fields[b"f"]
            if not found:
                await asyncio.sleep(POLL)


async def _append(
    key: str, entries: list[dict[str, bytes]], first: int, seconds: int, client: Any
) -> None:
    """Add entries to a stream, the first under the number ``first``, and keep it for so long."""
    pipe = client.pipeline(transaction=True)
    for number, entry in enumerate(entries, first):
        pipe.xadd(key, entry, id=f"0-{number}")
    pipe.expire(key, seconds)
    await pipe.execute()


def _key(tenant: str, id: str, part: str) -> str:
    return f"bifocal:{tenant}:{{stream:{id}}}:{part}"
