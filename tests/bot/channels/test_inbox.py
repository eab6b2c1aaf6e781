"""The inbox stores before it acknowledges, and every message is answered by one process."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.channels.inbox import Inbox, Taken
from bot.channels.working import TRIES, InOrder, Turns, Unreachable, Worker
from bot.service.stores.shared_redis import SharedRedis
from memory.embedded import EmbeddedRedis
from memory.errors import HistoryUnavailable


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[SharedRedis]:
    """A Redis of its own."""
    folder = tmp_path / "redis"
    with EmbeddedRedis.open(folder):
        async with await SharedRedis.open(folder=folder) as opened:
            yield opened


async def test_a_message_that_comes_under_any_of_its_ids_again_is_taken_once(
    redis: SharedRedis,
) -> None:
    async with Inbox(redis, "slack") as one, Inbox(redis, "slack") as two:
        taken = await asyncio.gather(
            *(box.take([f"e{n}", "C1:1.2"], b"hello") for n in range(10) for box in (one, two))
        )
        assert len([t for t in taken if t]) == 1
        assert await two.take(["e3"], b"hello") is None
        assert await two.take(["e3", "C1:9.9"], b"hello") is None
        assert await one.take(["e99"], b"another") is not None
        assert await Inbox(redis, "discord").take(["C1:1.2"], b"hello") is not None


async def test_a_message_of_a_process_that_died_is_taken_up_by_one_other_with_its_note(
    redis: SharedRedis,
) -> None:
    dead = Inbox(redis, "x", lease=0.3)  # it renews nothing: it is as good as dead
    taken = await dead.take(["1"], b"hello")
    assert taken is not None
    assert await dead.note(taken, b"shown as m7")
    async with Inbox(redis, "x", lease=0.3) as one, Inbox(redis, "x", lease=0.3) as two:
        found = None
        async with asyncio.timeout(60):
            while found is None:
                ups = await asyncio.gather(one.take_up(), two.take_up())
                found = next((t for t in ups if t), None)
                assert len([t for t in ups if t]) <= 1
                await asyncio.sleep(0.05)
        assert (found.message, found.tries, found.note) == (b"hello", 2, b"shown as m7")
        assert await dead.done(taken) is None  # too late: it is another's
        assert not await dead.note(taken, b"?")


async def test_a_message_in_work_is_not_taken_up_and_one_that_is_done_is_gone(
    redis: SharedRedis,
) -> None:
    async with Inbox(redis, "x", lease=0.6) as one, Inbox(redis, "x", lease=0.6) as two:
        taken = await one.take(["1"], b"hello")
        assert taken is not None
        for _ in range(15):
            assert await two.take_up() is None
            await asyncio.sleep(0.1)
        assert await one.done(taken) is None
    async with Inbox(redis, "x", lease=0.1) as three:
        assert await three.take_up() is None


async def test_what_a_stopped_process_leaves_is_taken_up_at_once(redis: SharedRedis) -> None:
    async with Inbox(redis, "x") as one:
        await one.take(["1"], b"hello")
    async with Inbox(redis, "x") as two:
        found = await two.take_up()
        assert found is not None
        assert found.message == b"hello"


async def test_more_messages_than_may_wait_are_refused_and_known_ones_still_known(
    redis: SharedRedis,
) -> None:
    async with Inbox(redis, "x", most=2) as inbox:
        assert await inbox.take(["1"], b"1")
        assert await inbox.take(["2"], b"2")
        with pytest.raises(HistoryUnavailable, match="2 messages wait already"):
            await inbox.take(["3"], b"3")
        assert await inbox.take(["1"], b"1") is None


async def test_redis_down_is_said_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    server = EmbeddedRedis.open(folder)
    redis = await SharedRedis.open(server.url)
    server.close()
    async with Inbox(redis, "x") as inbox:
        with pytest.raises(HistoryUnavailable):
            await inbox.take(["1"], b"hello")
    await redis.aclose()


async def test_messages_of_one_conversation_are_worked_at_in_order_others_beside_them(
    redis: SharedRedis,
) -> None:
    done: list[bytes] = []
    other = asyncio.Event()

    async def work(taken: object) -> None:
        message = taken.message  # type: ignore[attr-defined]
        if message == b"a1":
            await other.wait()  # so that b1 must be beside it
        if message == b"b1":
            other.set()
        done.append(message)

    async with Inbox(redis, "x") as inbox, Worker(inbox, work) as worker:
        for message in (b"a1", b"a2", b"a3", b"b1"):
            taken = await inbox.take([message.decode()], message, line=message.decode()[0])
            assert taken is not None
            worker.begin(taken)
        async with asyncio.timeout(60):
            await worker.idle()
        assert await inbox.take_up() is None
    assert done[0] == b"b1"
    assert done[1:] == [b"a1", b"a2", b"a3"]


async def test_work_that_fails_is_tried_again_and_given_up_in_the_end(redis: SharedRedis) -> None:
    tries: list[int] = []
    last = asyncio.Event()

    async def work(taken: object) -> None:
        tries.append(taken.tries)  # type: ignore[attr-defined]
        if len(tries) == TRIES:
            last.set()
        raise OSError("the channel is down")

    async with Inbox(redis, "x", lease=0.15) as inbox:
        async with Worker(inbox, work, again=0.0) as worker:
            taken = await inbox.take(["1"], b"hello")
            assert taken is not None
            worker.begin(taken)
            async with asyncio.timeout(60):
                await last.wait()
                await worker.idle()
        assert tries == [1, 2, 3, 4, 5]
        assert await inbox.take_up() is None


async def test_a_name_that_nobody_waits_for_is_not_kept() -> None:
    order = InOrder()
    for name in range(100):
        async with order.turn(str(name)):
            pass
    assert not order._locks


async def test_messages_find_their_turn_and_their_conversation_until_they_are_forgotten(
    redis: SharedRedis,
) -> None:
    turns = Turns(redis, "slack", None)
    name, turn = f"slack:T1:C1:{uuid.uuid4().hex}", uuid.uuid4().hex
    await turns.save(name, turn, "m1", "m2")
    assert await turns.turn(name, "m1") == await turns.turn(name, "m2") == turn
    assert sorted(await turns.messages(name, turn)) == ["m1", "m2"]
    assert await turns.conversation("m2") == name
    await turns.drop(name, "m1")
    assert await turns.turn(name, "m1") is None
    await turns.forget(name)
    assert await turns.turn(name, "m2") is None
    assert await turns.conversation("m2") is None


async def test_an_edit_waits_for_its_question_whichever_process_took_it(
    redis: SharedRedis,
) -> None:
    """One process answers, another one takes the edit: the first is told, and does both."""
    done: list[tuple[str, bytes]] = []
    begun, told = asyncio.Event(), asyncio.Event()

    async def work(taken: Taken) -> None:
        if taken.message == b"question":
            begun.set()
            await taken.withdrawn.wait()
            told.set()
        done.append(("one", taken.message))

    async def other(taken: Taken) -> None:
        done.append(("two", taken.message))

    async with (
        Inbox(redis, "x") as one,
        Inbox(redis, "x") as two,
        Worker(one, work) as first,
        Worker(two, other) as second,
    ):
        question = await one.take(["q"], b"question", line="c")
        assert question is not None
        first.begin(question)
        await begun.wait()
        edit = await two.take(["q:edit"], b"edit", line="c", about="q")
        assert edit is not None
        assert edit.waits
        second.begin(edit)
        beside = await two.take(["p"], b"beside", line="d")
        assert beside is not None
        second.begin(beside)
        async with asyncio.timeout(60):
            await told.wait()
            await first.idle()
            await second.idle()
        assert await two.waiting("q") is None
    assert sorted(done) == [("one", b"edit"), ("one", b"question"), ("two", b"beside")]
    assert done.index(("one", b"question")) < done.index(("one", b"edit"))


async def test_a_crash_leaves_question_and_deletion_to_others_in_their_order(
    redis: SharedRedis,
) -> None:
    dead = Inbox(redis, "x", lease=0.3)  # it renews nothing: it is as good as dead
    assert await dead.take(["q"], b"question", line="c")
    async with Inbox(redis, "x", lease=0.3) as alive:
        gone = await alive.take(["q:delete"], b"deletion", line="c", about="q")
        assert gone is not None
        assert gone.waits
        assert await alive.waiting("q") == b"deletion"
        async with asyncio.timeout(60):
            question = await anext(alive.left_behind())
        assert (question.message, question.tries) == (b"question", 2)
        assert question.withdrawn.is_set()
        deletion = await alive.done(question)
        assert deletion is not None
        assert (deletion.message, deletion.tries, deletion.waits) == (b"deletion", 1, False)
        assert await alive.done(deletion) is None
        assert await alive.take_up() is None


async def test_a_deletion_that_comes_before_its_question_goes_before_it(
    redis: SharedRedis,
) -> None:
    async with Inbox(redis, "x") as inbox:
        gone = await inbox.take(["q:delete"], b"deletion", line="c", about="q")
        assert gone is not None
        assert await inbox.take(["q"], b"question", line="c") is None


async def test_the_next_of_a_line_is_not_begun_before_the_one_that_is_tried_again(
    redis: SharedRedis,
) -> None:
    done: list[bytes] = []

    async def work(taken: Taken) -> None:
        done.append(taken.message)
        if taken.tries == 1 and taken.message == b"1":
            raise OSError("not now")

    async with Inbox(redis, "x", lease=0.15) as inbox, Worker(inbox, work, again=0.0) as worker:
        for message in (b"1", b"2"):
            taken = await inbox.take([message.decode()], message, line="c")
            assert taken is not None
            worker.begin(taken)
        async with asyncio.timeout(60):
            while len(done) < 3:  # noqa: ASYNC110 - it is tried again by the clock of Redis
                await asyncio.sleep(0.05)
    assert done == [b"1", b"1", b"2"]


async def test_what_ends_in_order_counts_as_no_try(redis: SharedRedis) -> None:
    """Neither a worker that ends while its inbox lives on, nor a process that is stopped."""
    tries: list[int] = []

    async def never(taken: Taken) -> None:
        tries.append(taken.tries)
        await asyncio.Event().wait()

    for _ in range(3):
        async with Inbox(redis, "x", lease=0.15) as inbox:
            for _ in range(2):
                before = len(tries)
                async with Worker(inbox, never) as worker, asyncio.timeout(60):
                    if not tries:
                        taken = await inbox.take(["1"], b"hello")
                        assert taken is not None
                        worker.begin(taken)
                    while len(tries) == before:  # noqa: ASYNC110 - it is found by looking
                        await asyncio.sleep(0.02)
    assert tries == [1] * 6


async def test_a_channel_that_cannot_be_reached_is_waited_for(redis: SharedRedis) -> None:
    tries: list[int] = []
    answered = asyncio.Event()

    async def work(taken: Taken) -> None:
        tries.append(taken.tries)
        if len(tries) <= 2 * TRIES:
            raise Unreachable
        answered.set()

    async with Inbox(redis, "x", lease=0.15) as inbox, Worker(inbox, work, again=0.0) as worker:
        taken = await inbox.take(["1"], b"hello")
        assert taken is not None
        worker.begin(taken)
        async with asyncio.timeout(60):
            await answered.wait()
            await worker.idle()
        assert await inbox.waiting("1") is None
    assert set(tries) == {1}
