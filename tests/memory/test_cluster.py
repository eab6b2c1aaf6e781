"""A real cluster of three: every command finds its node, slots move, nodes die, nothing is lost."""

import asyncio
import os
import random
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis import Redis
from redis import exceptions as rx

from memory.client import Link
from memory.cluster import ClusterClient
from memory.cluster_slots import slot_of
from memory.errors import HistoryUnavailable
from memory.messages import Conversation, Message, PictureRef, Turn
from memory.records import conversation_key, picture_key, picture_pattern
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]

FULL = bool(os.environ.get("BIFOCAL_FULL"))


def address(ports: list[int]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)


@pytest.fixture
async def store(cluster_ports: list[int]) -> AsyncIterator[RedisHistory]:
    url = address(cluster_ports)
    async with await RedisHistory.open(url, tenant=uuid.uuid4().hex, timeout=20) as opened:
        yield opened


@pytest.fixture
async def client(store: RedisHistory) -> ClusterClient:
    assert isinstance(store._link.client, ClusterClient)
    return store._link.client


async def test_the_keys_of_a_conversation_share_a_slot_and_conversations_are_spread(
    client: ClusterClient, store: RedisHistory
) -> None:
    owners = set()
    for number in range(50):
        keys = [
            conversation_key(store.tenant, f"c{number}", p) for p in ("turns", "pictures", "meta")
        ]
        slots = {slot_of(("GET", key)) for key in keys}
        assert len(slots) == 1
        owners.add(await client.slots.owner(slots.pop() or 0))
    assert len(owners) == 3


async def test_replies_of_a_pipeline_over_all_nodes_come_in_the_order_of_its_commands(
    client: ClusterClient, store: RedisHistory
) -> None:
    pipe: Any = client.pipeline(transaction=False)
    for number in range(300):
        pipe.set(f"{store.tenant}{number}", number)
        pipe.get(f"{store.tenant}{number}")
    assert (await pipe.execute())[1::2] == [str(number).encode() for number in range(300)]


async def test_an_error_in_a_pipeline_stands_in_its_place_or_is_raised(
    client: ClusterClient, store: RedisHistory
) -> None:
    def queued() -> Any:
        pipe: Any = client.pipeline(transaction=False)
        for number in range(9):
            pipe.set(f"{store.tenant}{number}", "text")
        return pipe.llen(f"{store.tenant}4").get(f"{store.tenant}5")

    replies = await queued().execute(raise_on_error=False)
    assert isinstance(replies[9], rx.ResponseError)
    assert replies[10] == b"text"
    with pytest.raises(rx.ResponseError, match="WRONGTYPE"):
        await queued().execute()


async def test_a_transaction_over_two_slots_is_refused_before_anything_is_done(
    client: ClusterClient, store: RedisHistory
) -> None:
    names = [f"{store.tenant}{number}" for number in range(2)]
    pipe: Any = client.pipeline(transaction=True)
    for name in names:
        pipe.set(name, 1)
    with pytest.raises(rx.ClusterCrossSlotError):
        await pipe.execute()
    assert [await client.get(name) for name in names] == [None, None]


async def test_a_scan_passes_every_key_of_every_node(
    client: ClusterClient, store: RedisHistory
) -> None:
    wanted = {picture_key(store.tenant, f"{number:064x}", "bytes") for number in range(500)}
    for key in wanted:
        await client.set(key, 1)
    cursor, found, passes = 0, set(), 0
    while passes == 0 or cursor != 0:
        reply: Any = await client.scan(cursor, match=picture_pattern(store.tenant), count=100)
        cursor, passes = int(reply[0]), passes + 1
        found |= {key.decode() for key in reply[1]}
    assert found == wanted
    assert await store.sweep() == 500
    assert await client.keys(picture_pattern(store.tenant)) == []


async def test_a_script_that_was_loaded_is_known_to_every_node(
    client: ClusterClient, store: RedisHistory
) -> None:
    sha = await client.script_load("return redis.call('SET', KEYS[1], ARGV[1])")
    for number in range(30):
        await client.evalsha(sha, 1, f"{store.tenant}{number}", number)
    assert await client.get(f"{store.tenant}29") == b"29"


async def test_every_conversation_of_many_is_listed(store: RedisHistory) -> None:
    for number in range(40):
        turn = make_numbered(number)
        await store.save(f"c{number}", turn)
    assert {summary.id for summary in await store.conversations()} == {f"c{n}" for n in range(40)}


async def test_one_address_of_a_node_that_is_gone_does_no_harm(
    cluster_ports: list[int], make_turn: MakeTurn
) -> None:
    url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster_ports[2]}"
    async with await RedisHistory.open(url, tenant=uuid.uuid4().hex) as history:
        await history.save("c1", make_turn())
        assert (await history.load("c1")).total == 1


def make_numbered(number: int) -> Turn:
    return Turn(str(number), Message("q"), Message("a"), float(number))


def move(slot: int, source: int, target: int, pause: Callable[[], None]) -> None:
    """Move a slot as an operator's tool does it; ``pause`` is called between the steps."""
    clients: list[Any] = [Redis(port=port, socket_timeout=5) for port in (source, target)]
    ids = [client.execute_command("CLUSTER", "MYID") for client in clients]
    clients[1].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    clients[0].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    pause()
    while keys := clients[0].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
        clients[0].execute_command("MIGRATE", "127.0.0.1", target, keys[0], 0, 5000)
        pause()
    for client in (clients[1], clients[0]):
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
    pause()
    for client in clients:
        client.close()


async def test_a_conversation_that_moves_to_another_node_meanwhile_loses_and_doubles_nothing(
    cluster_ports: list[int],
    store: RedisHistory,
    client: ClusterClient,
    make_picture: MakePicture,
) -> None:
    """Turns are saved and read while the slot goes from node to node."""
    slot = slot_of(("GET", conversation_key(store.tenant, "c1", "turns"))) or 0
    saved: list[str] = []
    over = asyncio.Event()

    async def talk() -> None:
        number = 0
        while not over.is_set():
            number += 1
            ref, blobs = make_picture(1, f"data {number}".encode())
            with_picture = number % 2 == 0
            turn = make_numbered(number)
            await store.save("c1", turn, *(((ref,), blobs) if with_picture else ()))
            saved.append(turn.id)
            loaded = await store.load("c1")
            assert loaded.notices == ()
            assert [turn.id for turn in loaded.turns] == saved

    talking = asyncio.create_task(talk())
    try:
        loop = asyncio.get_running_loop()

        def pause() -> None:
            before = len(saved)
            done = asyncio.run_coroutine_threadsafe(_until(lambda: len(saved) > before), loop)
            try:
                done.result(0.1)  # while half of its keys have moved, it may have to wait
            except TimeoutError:
                done.cancel()

        for _ in range(60 if FULL else 3):
            _, source = await client.slots.owner(slot)
            target = next(port for port in random.sample(cluster_ports, 3) if port != source)
            await asyncio.to_thread(move, slot, source, target, pause)
            before = len(saved)
            await asyncio.wait_for(_until(lambda n=before: len(saved) > n, talking), 20)  # type: ignore[misc]
    finally:
        over.set()
        await talking
    assert len(saved) >= 3
    loaded = await store.load("c1")
    assert [turn.id for turn in loaded.turns] == saved
    for picture in loaded.pictures:
        assert (await store.picture("c1", picture.number)).startswith(b"data ")


async def _until(true: Callable[[], bool], task: "asyncio.Task[None] | None" = None) -> None:
    while not true():
        if task is not None and task.done():
            task.result()
        await asyncio.sleep(0.005)


async def test_what_was_watched_and_read_before_its_slot_moved_is_watched_and_read_again(
    cluster_ports: list[int], store: RedisHistory, client: ClusterClient
) -> None:
    """One that is as it was goes on; one that was changed on the way is not written over."""
    for changed in (False, True):
        one, two = (f"{{{store.tenant}{changed}}}:{part}" for part in "ab")
        await client.set(one, 1)
        await client.set(two, 2)
        slot = slot_of(("GET", one)) or 0
        _, source = await client.slots.owner(slot)
        target = next(port for port in cluster_ports if port != source)
        async with client.pipeline(transaction=True) as pipe:
            reading: Any = pipe
            await reading.watch(one)
            assert await reading.get(one) == b"1"
            await asyncio.to_thread(move, slot, source, target, lambda: None)
            if changed:
                await client.set(one, 7)
                with pytest.raises(rx.WatchError, match="changed"):
                    await reading.get(two)
            else:
                assert await reading.get(two) == b"2"
                reading.multi()
                reading.set(one, 3)
                assert await reading.execute() == [True]
        assert await client.get(one) == (b"7" if changed else b"3")


async def test_a_node_that_dies_is_told_and_its_replica_takes_over(
    servers: Any, begin_cluster: Callable[..., list[int]]
) -> None:
    """What the dead node held is there again after the failover; nothing is shown as empty.

    Once the replica is gone, too, the cluster is down, and says so.
    """
    ports = begin_cluster(servers, replicas=1, timeout=300)
    url = address(ports[:3])
    async with await RedisHistory.open(url, tenant="t", timeout=1) as history:
        names = [f"c{number}" for number in range(12)]
        for name in names:
            await history.save(name, make_numbered(1))
        client = history._link.client
        assert isinstance(client, ClusterClient)
        with Redis(port=ports[0]) as dying:  # what was acknowledged is with the replica, too
            assert dying.wait(1, 5000) == 1
        servers.kill(ports[0])
        told, back = set[str](), False
        for _ in range(600):
            try:
                loaded = [await history.load(name) for name in names]
            except HistoryUnavailable as error:
                told.add(str(error))
                await asyncio.sleep(0.05)
            else:
                back = all(conversation.total == 1 for conversation in loaded)
                break
        assert told
        for line in told:
            assert "cannot be reached" in line or "cluster that is down" in line
        assert back
        for name in names:
            await history.save(name, make_numbered(2))
            assert (await history.load(name)).total == 2
        elsewhere = await on_another_node(history, ports[3])
        servers.kill(ports[3])
        line = ""
        for _ in range(600):
            try:
                await history.load(elsewhere)
            except HistoryUnavailable as error:
                line = str(error)
                break
            await asyncio.sleep(0.05)
        assert "belongs to a cluster that is down" in line
        assert "\n" not in line


async def on_another_node(history: RedisHistory, port: int) -> str:
    """Return the name of a conversation that is not on the node of that port."""
    client = history._link.client
    assert isinstance(client, ClusterClient)
    for number in range(100):
        slot = slot_of(("GET", conversation_key(history.tenant, f"c{number}", "turns")))
        if (await client.slots.owner(slot or 0))[1] != port:
            return f"c{number}"
    raise AssertionError("every conversation is on that node")


@pytest.mark.parametrize("protocol", [2, 3])
async def test_cancelled_calls_poison_nothing(
    cluster_ports: list[int], make_turn: MakeTurn, make_picture: MakePicture, protocol: int
) -> None:
    """Six users on six conversations, calls cancelled at every point: no reply goes astray."""
    chance = random.Random(protocol)
    store = await RedisHistory.open(
        f"{address(cluster_ports)}?protocol={protocol}", tenant=uuid.uuid4().hex, timeout=60
    )
    cancelled = 0

    def check(user: int, loaded: Conversation) -> None:
        assert loaded.notices == ()
        assert {turn.question.text for turn in loaded.turns} <= {f"user {user}"}

    async def use(user: int) -> None:
        nonlocal cancelled
        for step in range(20):
            ref, blobs = make_picture(1, f"user {user} step {step}".encode())
            more = ((ref,), blobs) if step % 2 else ()
            shown = (1,) if step % 2 else ()
            call = asyncio.create_task(
                store.save(f"c{user}", make_turn(f"user {user}", shown), *more)
            )
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            call.cancel()
            try:
                await call
            except asyncio.CancelledError:
                cancelled += 1
            check(user, await store.load(f"c{user}"))

    await asyncio.gather(*(use(user) for user in range(6)))
    assert cancelled >= 30
    for user in range(6):
        loaded = await store.load(f"c{user}")
        check(user, loaded)
        for picture in loaded.pictures:
            data = await store.picture(f"c{user}", picture.number)
            assert data.startswith(f"user {user} ".encode())
    await store.aclose()


async def test_a_server_by_itself_is_no_cluster_and_a_node_by_itself_is_not_enough(
    cluster_ports: list[int], start_server: Callable[..., int]
) -> None:
    with pytest.raises(HistoryUnavailable, match="is no cluster: give redis://"):
        await RedisHistory.open(f"redis+cluster://127.0.0.1:{start_server()}")
    url = f"redis://127.0.0.1:{cluster_ports[0]}/0"
    async with await RedisHistory.open(url, tenant=uuid.uuid4().hex) as history:
        with pytest.raises(HistoryUnavailable, match=r"give the cluster's address, redis\+cluster"):
            await asyncio.gather(*(history.load(f"c{number}") for number in range(50)))


async def test_no_node_to_be_reached_is_one_line() -> None:
    with pytest.raises(HistoryUnavailable, match="cannot be reached"):
        await Link.open("redis+cluster://127.0.0.1:1,127.0.0.1:2")
