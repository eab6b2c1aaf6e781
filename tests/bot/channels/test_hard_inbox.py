"""No message is lost or kept for ever when Redis fails at a bad moment, or a worker ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.channels.inbox import Inbox, Taken
from bot.channels.working import TRIES, Turns, Work, Worker
from bot.service.stores.shared_redis import SharedRedis
from memory.embedded import EmbeddedRedis


class Unreliable:
    """A way to a Redis that hangs up on the next command about ``refused``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.refused = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes both ways, until either side ends."""
        there, back = await asyncio.open_unix_connection(self._path)

        async def replies() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await there.read(1 << 16):
                    writer.write(data)

        task = asyncio.create_task(replies())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if self.refused and self.refused in data:
                    self.refused = b""
                    break
                back.write(data)
        task.cancel()
        for one in (back, writer):
            one.close()


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[tuple[Unreliable, SharedRedis]]:
    """An unreliable way to a Redis, and the client at its end."""
    folder = tmp_path / "redis"
    with EmbeddedRedis.open(folder) as server:
        path = server.url.removeprefix("unix://").partition("?")[0]
        unreliable = Unreliable(path)
        async with await asyncio.start_server(unreliable, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with await SharedRedis.open(f"redis://127.0.0.1:{port}/0") as redis:
                yield unreliable, redis


def worker_of(inbox: Inbox, work: Work) -> Worker:
    """Return a worker that tries again at once."""
    return Worker(inbox, work, again=0.0)


async def waiting(redis: SharedRedis) -> int:
    """Return how many messages are not done."""
    return int(await redis.read(lambda client: client.hlen("bifocal:x:{x}:messages")))


async def test_a_question_that_failed_while_redis_was_down_is_tried_again(
    way: tuple[Unreliable, SharedRedis],
) -> None:
    unreliable, redis = way
    tries: list[int] = []
    again = asyncio.Event()

    async def work(taken: Taken) -> None:
        tries.append(taken.tries)
        if taken.tries == 1:
            unreliable.refused = taken.token.encode()  # it cannot be given back
            raise OSError("the channel is down")
        again.set()

    async with (
        Inbox(redis, "x", lease=0.6) as inbox,
        worker_of(inbox, work) as worker,
    ):
        taken = await inbox.take(["1"], b"hello")
        assert taken is not None
        worker.begin(taken)
        async with asyncio.timeout(60):
            await again.wait()
            await worker.idle()
        assert await waiting(redis) == 0
    assert tries == [1, 2]


async def test_an_answered_question_is_removed_when_redis_is_back(
    way: tuple[Unreliable, SharedRedis],
) -> None:
    unreliable, redis = way
    tries: list[int] = []

    async def work(taken: Taken) -> None:
        tries.append(taken.tries)
        unreliable.refused = taken.token.encode()  # it cannot be removed

    async with (
        Inbox(redis, "x", lease=30) as inbox,
        worker_of(inbox, work) as worker,
    ):
        taken = await inbox.take(["1"], b"hello")
        assert taken is not None
        worker.begin(taken)
        async with asyncio.timeout(60):
            await worker.idle()
        assert await waiting(redis) == 0
    assert tries == [1]


async def test_what_a_worker_leaves_goes_on_with_the_next_one_however_often(
    way: tuple[Unreliable, SharedRedis],
) -> None:
    """A channel connects anew: its inbox stays, each connection has a worker of its own."""
    _, redis = way
    tries: list[int] = []
    began = asyncio.Event()

    async def stall(taken: Taken) -> None:
        tries.append(taken.tries)
        began.set()
        await asyncio.Event().wait()

    async with Inbox(redis, "x", lease=30) as inbox:
        taken = await inbox.take(["1"], b"hello")
        assert taken is not None
        await inbox.give_back(taken)
        for _ in range(TRIES + 1):
            began.clear()
            async with worker_of(inbox, stall), asyncio.timeout(60):
                await began.wait()
    assert tries == [2] * (TRIES + 1)


async def test_of_a_conversation_without_end_the_last_messages_are_known(
    way: tuple[Unreliable, SharedRedis],
) -> None:
    """A direct channel is one conversation for ever. What is saved again counts as new."""
    _, redis = way
    turns, name = Turns(redis, "discord", most=6), "discord:dm:300"
    for n in range(20):
        await turns.save(name, f"turn{n}", f"q:{n}", f"a:{n}", "last")
    assert await turns.turn(name, "last") == "turn19"
    assert sorted(await turns.messages(name, "turn19")) == ["a:19", "last", "q:19"]
    assert await turns.turn(name, "q:18") == "turn18"
    assert [n for n in range(20) if await turns.messages(name, f"turn{n}")] == [17, 18, 19]
    assert await turns.conversation("q:1") is None
    keys = [turns._turns(name), turns._since(name)]
    lasting: Any = await redis.read(lambda c: asyncio.gather(*(c.pttl(key) for key in keys)))
    assert min(lasting) > 0
    await turns.forget(name)
    assert await redis.read(lambda client: client.exists(*keys)) == 0
