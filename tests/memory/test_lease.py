"""One turn at a time, whoever stands still; and a repeated question is one turn."""

import asyncio
import os
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions as rx

from memory.claims import Once
from memory.cluster import ClusterClient
from memory.errors import (
    ConversationBusy,
    HistoryDamaged,
    HistoryError,
    HistoryUnavailable,
    KeyReused,
    TurnInFlight,
    TurnOvertaken,
)
from memory.messages import Message, PictureRef, Turn
from memory.records import conversation_key
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
StartServer = Callable[..., int]
RunPython = Callable[..., "subprocess.Popen[str]"]

#: BIFOCAL_FULL=1 runs the full count
KEYS = 1000 if os.environ.get("BIFOCAL_FULL") else 60


@pytest.fixture(params=["resp2", "resp3", "cluster"])
async def store(
    request: pytest.FixtureRequest,
    shared_folder: Path,
    start_server: StartServer,
    cluster_ports: list[int],
) -> AsyncIterator[RedisHistory]:
    """A history on the embedded server, one that speaks RESP3 over TCP, and one on a cluster."""
    tenant = uuid.uuid4().hex
    if request.param == "resp2":
        async with await RedisHistory.open(folder=shared_folder, tenant=tenant) as opened:
            yield opened
    else:
        url = f"redis+cluster://127.0.0.1:{cluster_ports[0]}"
        if request.param == "resp3":
            url = f"redis://127.0.0.1:{start_server()}/0?protocol=3"
        async with await RedisHistory.open(url, tenant=tenant) as opened:
            yield opened


async def test_a_claim_brings_the_conversation_and_ends_with_the_save(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """What was loaded is the conversation; after the save, within the claim, the next may begin."""
    before = make_turn("before")
    await store.save("c1", before)
    turn = make_turn("now")
    async with store.claim("c1", turn.id) as claim:
        assert claim.conversation == await store.load("c1")
        assert await store.save("c1", turn, claim=claim) == turn
        async with store.claim("c1", "next") as following:
            assert following.conversation.turns == (before, turn)
            assert int(following.token) > int(claim.token)


async def test_what_completes_a_turn_under_a_claim_checks_its_token_and_ends_it(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """A holder that was overtaken completes nothing; one that was not gives its lease back."""
    open_ = replace(make_turn("how tall?"), answer=Message())
    whole = replace(open_, answer=Message("34"))
    await store.save("c1", open_)
    client: Any = store._link.client
    async with store.claim("c1", open_.id) as slow:
        await client.delete(conversation_key(store.tenant, "c1", "lease"))
        async with store.claim("c1", "next") as claim:
            with pytest.raises(TurnOvertaken):
                await store.complete("c1", open_, whole, claim=slow)
            assert (await store.load("c1")).turns == (open_,)
            assert await store.complete("c1", open_, whole, claim=claim) == whole
            async with store.claim("c1", "third") as third:
                assert third.conversation.turns == (whole,)


async def test_while_one_turn_is_under_way_another_is_told_busy_and_when_to_come_back(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """Only in its own conversation, and only for as long as the turn lasts."""
    async with store.claim("c1", "one"):
        with pytest.raises(ConversationBusy, match=r"busy .* try again in \d+ s") as caught:
            async with store.claim("c1", "two"):
                pass
        assert 1 <= caught.value.retry_after <= 15
        async with store.claim("c2", "three"):
            pass
    async with store.claim("c1", "four") as claim:
        assert claim.conversation.total == 0


async def test_turns_that_wait_come_one_after_another(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """Ten at once: each sees all that came before it."""

    async def take() -> None:
        turn = make_turn()
        async with store.claim("c1", turn.id, wait=60) as claim:
            turn = make_turn(str(claim.conversation.total))
            await asyncio.sleep(0.002)
            await store.save("c1", turn, claim=claim)

    await asyncio.gather(*(take() for _ in range(10)))
    assert [t.question.text for t in (await store.load("c1")).turns] == [str(n) for n in range(10)]


async def test_a_turn_that_fails_or_is_cancelled_leaves_the_conversation_free(
    store: RedisHistory,
) -> None:
    """Nothing waits for the lease to end by itself, and no key stays behind."""
    with pytest.raises(RuntimeError):
        async with store.claim("c1", "one", once=Once.of("k", "q", [])):
            raise RuntimeError
    entered = asyncio.Event()

    async def stall() -> None:
        async with store.claim("c1", "two", once=Once.of("k", "other", [])):
            entered.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(stall())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.claim("c1", "three", once=Once.of("k", "third", [])):
        pass
    client: Any = store._link.client
    left = await client.keys(conversation_key(store.tenant, "c1", "*").replace("{", "?"))
    assert [key.rpartition(b":")[2] for key in left] == [b"meta"]
    assert 0 < await client.ttl(conversation_key(store.tenant, "c1", "meta")) <= 86400
    assert await store.conversations() == []


async def test_a_lease_is_renewed_for_as_long_as_its_turn_runs(
    shared_folder: Path, make_turn: MakeTurn
) -> None:
    """A turn that takes several leases' time keeps its conversation."""
    async with await RedisHistory.open(
        folder=shared_folder, tenant=uuid.uuid4().hex, lease=1.5
    ) as history:
        turn = make_turn()
        async with history.claim("c1", turn.id) as claim:
            for _ in range(9):
                await asyncio.sleep(0.25)
                with pytest.raises(ConversationBusy):
                    async with history.claim("c1", "other"):
                        pass
            await history.save("c1", turn, claim=claim)
        assert (await history.load("c1")).total == 1


async def test_forgetting_ends_a_turn_that_is_under_way(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """What was forgotten does not come back with the turn's end; the token grows all the same."""
    await store.save("c1", make_turn())
    turn = make_turn()
    async with store.claim("c1", turn.id) as claim:
        await store.forget("c1")
        async with store.claim("c1", "next") as following:
            assert int(following.token) > int(claim.token)
            with pytest.raises(TurnOvertaken, match="nothing of it was stored"):
                await store.save("c1", turn, claim=claim)
    assert (await store.load("c1")).total == 0


HOLDER = """
import asyncio, hashlib, sys
from memory.errors import HistoryError
from memory.messages import Message, PictureRef, Turn
from memory.redis_history import RedisHistory

async def main():
    data = b"pixels" * 1000
    sha = hashlib.sha256(data).hexdigest()
    history = await RedisHistory.open(sys.argv[1], tenant=sys.argv[2], lease=0.3)
    async with history.claim("c1", "stalled") as claim:
        number = len(claim.conversation.pictures) + 1
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        turn = Turn("stalled", Message("q", (number,)), Message("a"), 1.0)
        ref = PictureRef(number, sha, "image/png", 1, 1, len(data))
        try:
            await history.save("c1", turn, (ref,), {sha: data}, claim=claim)
            print("saved", flush=True)
        except HistoryError as error:
            print(type(error).__name__, flush=True)
    await history.aclose()

asyncio.run(main())
"""


async def test_a_holder_that_stood_still_past_its_lease_cannot_write_past_the_next(
    shared_folder: Path, make_turn: MakeTurn, make_picture: MakePicture, run_python: RunPython
) -> None:
    """SIGSTOP beyond the lease, another turn, SIGCONT: the first is refused, and nothing torn."""
    tenant = uuid.uuid4().hex
    async with await RedisHistory.open(folder=shared_folder, tenant=tenant) as history:
        holder = run_python(HOLDER, f"unix://{(shared_folder / 'socket').read_text()}", tenant)
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
        holder.send_signal(signal.SIGSTOP)
        ref, blobs = make_picture(1)
        turn = make_turn(pictures=(1,))
        async with history.claim("c1", turn.id, wait=60) as claim:
            await history.save("c1", turn, (ref,), blobs, claim=claim)
        before = await history.load("c1")
        holder.stdin.write("\n")
        holder.stdin.flush()
        holder.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(holder.stdout.readline) == "TurnOvertaken\n"
        assert await asyncio.to_thread(holder.wait, 60) == 0
        assert await history.load("c1") == before
        assert await history.picture("c1", 1) == blobs[ref.sha256]


async def test_a_holder_that_was_killed_is_waited_for_no_longer_than_its_lease(
    shared_folder: Path, run_python: RunPython
) -> None:
    """`kill -9`, and the conversation is free again by itself."""
    tenant = uuid.uuid4().hex
    async with await RedisHistory.open(folder=shared_folder, tenant=tenant) as history:
        holder = run_python(HOLDER, f"unix://{(shared_folder / 'socket').read_text()}", tenant)
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
        holder.kill()
        async with history.claim("c1", "next", wait=60) as claim:
            assert claim.conversation.total == 0


TAKER = """
import asyncio, sys, uuid
from memory.messages import Message, Turn
from memory.redis_history import RedisHistory

async def main():
    history = await RedisHistory.open(sys.argv[1], tenant=sys.argv[2])
    for _ in range(int(sys.argv[3])):
        id = uuid.uuid4().hex
        async with history.claim("c1", id, last=1, wait=120) as claim:
            turn = Turn(id, Message(str(claim.conversation.total)), Message("a"), 1.0)
            await history.save("c1", turn, claim=claim)
    await history.aclose()

asyncio.run(main())
"""


async def test_two_processes_take_their_turns_one_after_another(
    shared_folder: Path, run_python: RunPython
) -> None:
    """Each turn of either process saw all turns of both before it."""
    tenant = uuid.uuid4().hex
    async with await RedisHistory.open(folder=shared_folder, tenant=tenant) as history:
        address = f"unix://{(shared_folder / 'socket').read_text()}"
        takers = [run_python(TAKER, address, tenant, "20") for _ in range(2)]
        for taker in takers:
            assert await asyncio.to_thread(taker.wait, 120) == 0
        turns = (await history.load("c1")).turns
        assert [turn.question.text for turn in turns] == [str(n) for n in range(40)]


async def test_a_repeated_question_is_one_turn_however_many_ask_at_once(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """5 at once under one key: one turn, the others "in flight" or its answer; then its answer."""
    outcomes: list[str] = []

    async def ask(number: int) -> None:
        turn = make_turn(f"question {number}")
        once = Once.of(f"key {number}", turn.question.text, [])
        try:
            async with store.claim(f"c{number % 7}", turn.id, wait=600, once=once) as claim:
                if claim.answered is None:
                    await asyncio.sleep(0)
                    await store.save(f"c{number % 7}", turn, claim=claim)
                    outcomes.append("saved")
                else:
                    assert claim.answered.question.text == turn.question.text
                    outcomes.append("answered")
        except TurnInFlight:
            outcomes.append("in flight")

    for start in range(0, KEYS, 4):
        numbers = range(start, min(KEYS, start + 4))
        await asyncio.gather(*(ask(number) for number in numbers for _ in range(5)))
    assert outcomes.count("saved") == KEYS
    assert len(outcomes) == 5 * KEYS
    assert outcomes.count("in flight") > 0
    await ask(3)
    assert outcomes[-1] == "answered"
    texts = [t.question.text for n in range(7) for t in (await store.load(f"c{n}")).turns]
    assert sorted(texts) == sorted(f"question {number}" for number in range(KEYS))


async def test_saving_twice_under_one_key_is_one_turn_without_a_claim_too(
    store: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """The second save returns the first one's turn, also when both are sent at once."""
    ref, blobs = make_picture(1)
    turns = [make_turn("same", pictures=(1,)) for _ in range(5)]
    saved = await asyncio.gather(
        *(store.save("c1", turn, (ref,), blobs, idempotency_key="k") for turn in turns)
    )
    assert len({turn.id for turn in saved}) == 1
    loaded = await store.load("c1")
    assert (loaded.total, len(loaded.pictures)) == (1, 1)
    (other, more) = make_picture(2)
    with pytest.raises(KeyReused, match="another question"):
        await store.save("c1", make_turn("other"), idempotency_key="k")
    with pytest.raises(KeyReused):
        await store.save("c1", make_turn("same", (2,)), (other,), more, idempotency_key="k")
    assert (await store.load("c1")).total == 1
    await store.save("c1", make_turn("other"), idempotency_key="K")
    await store.save("c2", make_turn("other"), idempotency_key="k")
    assert ((await store.load("c1")).total, (await store.load("c2")).total) == (2, 1)


async def test_a_key_with_another_question_is_refused_in_flight_and_afterwards(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """Other words, and the same words with another picture."""
    turn = make_turn("q")
    once = Once.of("k", "q", ["aa"])
    async with store.claim("c1", turn.id, once=once) as claim:
        for other in (Once.of("k", "p", ["aa"]), Once.of("k", "q", []), Once.of("k", "q", ["bb"])):
            with pytest.raises(KeyReused):
                async with store.claim("c1", "x", once=other):
                    pass
        await store.save("c1", turn, claim=claim)
    with pytest.raises(KeyReused):
        async with store.claim("c1", "x", once=Once.of("k", "p", ["aa"])):
            pass


async def test_keys_are_forgotten_after_their_time_and_do_not_pile_up(
    shared_folder: Path, make_turn: MakeTurn
) -> None:
    """A key past its time is a new question; what is past its time is removed on the way."""
    async with await RedisHistory.open(
        folder=shared_folder, tenant=uuid.uuid4().hex, remember=0.2
    ) as history:
        first = await history.save("c1", make_turn("q"), idempotency_key="k")
        await asyncio.sleep(0.25)
        second = await history.save("c1", make_turn("q"), idempotency_key="k")
        assert first.id != second.id
        key = conversation_key(history.tenant, "c1", "keys")
        for number in range(120):
            turn = make_turn("q")
            once = Once.of(f"key {number}", "q", [])
            async with history.claim("c1", turn.id, last=0, once=once) as claim:
                await history.save("c1", turn, claim=claim)
            await asyncio.sleep(0.01)
        assert await history._link.client.hlen(key) < 80
        assert 0 < await history._link.client.pttl(key) <= 1300


async def test_after_its_turn_is_gone_a_key_is_free(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """Forgetting a conversation forgets its keys; so does deleting the turn."""
    await store.save("c1", make_turn("q"), idempotency_key="k")
    await store.forget("c1")
    turn = make_turn("q")
    assert await store.save("c1", turn, idempotency_key="k") == turn
    await store.save("c1", make_turn("other"))
    await store.delete_turn("c1", turn.id)
    again = make_turn("q")
    assert await store.save("c1", again, idempotency_key="k") == again
    await store.delete_turn("c1", again.id)
    third = make_turn("q")
    async with store.claim("c1", third.id, once=Once.of("k", "q", [])) as claim:
        assert claim.answered is None
        await store.save("c1", third, claim=claim)
    assert third in (await store.load("c1")).turns


async def test_a_damaged_token_or_key_blocks_nothing(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """Nonsense in either is replaced; a key of another kind is damage, named as such."""
    client = store._link.client
    await store.save("c1", make_turn("q"), idempotency_key="k")
    once = Once.of("k", "q", [])
    await client.hset(conversation_key(store.tenant, "c1", "keys"), once.key, "nonsense")
    await client.hset(conversation_key(store.tenant, "c1", "meta"), "fence", "many")
    turn = make_turn("q")
    async with store.claim("c1", turn.id, once=once) as claim:
        await store.save("c1", turn, claim=claim)
    assert (await store.load("c1")).total == 2
    await client.delete(conversation_key(store.tenant, "c1", "meta"))
    await client.set(conversation_key(store.tenant, "c1", "meta"), "text")
    with pytest.raises(HistoryDamaged, match="another program"):
        async with store.claim("c1", "x"):
            pass


async def test_a_full_server_refuses_the_claim_before_the_turn_is_made(
    start_server: StartServer,
) -> None:
    """One clear line at the beginning, not after a minute of writing."""
    port = start_server("--maxmemory-policy", "noeviction")
    async with await RedisHistory.open(f"redis://127.0.0.1:{port}/0") as history:
        await history._link.client.config_set("maxmemory", 1)
        with pytest.raises(HistoryUnavailable, match="maxmemory reached") as caught:
            async with history.claim("c1", "t"):
                pass
        assert isinstance(caught.value.__cause__, rx.ResponseError)
        assert isinstance(caught.value, HistoryError)


async def commands(store: RedisHistory) -> Counter[str]:
    """Return how often each command was done, by all servers together."""
    client: Any = store._link.client
    nodes = [client]
    if isinstance(client, ClusterClient):
        nodes = [client.slots.client(node) for node in await client.slots.primaries()]
    counts: Counter[str] = Counter()
    for node in nodes:
        stats = await node.info("commandstats")
        counts.update({n.removeprefix("cmdstat_"): s["calls"] for n, s in stats.items()})
    return counts


async def test_a_turn_under_a_claim_is_one_script_and_one_transaction(
    store: RedisHistory, make_turn: MakeTurn
) -> None:
    """Counted by the server: a turn under a claim, without pictures, is a handful of commands."""
    await store.save("c1", make_turn())
    before = await commands(store)
    turn = make_turn()
    async with store.claim("c1", turn.id, last=8) as claim:
        await store.save("c1", turn, claim=claim)
    counts = await commands(store) - before
    assert counts["eval"] == 1
    assert counts["multi"] == counts["exec"] == counts["watch"] == 1
