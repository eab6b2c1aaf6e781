"""What a crash left behind goes by itself: nobody calls ``sweep``, and nobody waits for it."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memory.messages import PictureRef, Turn
from memory.records import picture_key, sweep_key
from memory.redis_history import RedisHistory
from memory.sweeping import EVERY

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]

#: A process that is killed when its turn's picture is stored and its turn is not
DYING = """
import asyncio, hashlib, os, signal, sys
from memory.messages import Message, PictureRef, Turn
from memory.redis_history import RedisHistory

def die(turn, moved):
    os.kill(os.getpid(), signal.SIGKILL)

async def main(url, tenant):
    history = await RedisHistory.open(url, tenant=tenant, timeout=20)
    data = b"left behind"
    ref = PictureRef(1, hashlib.sha256(data).hexdigest(), "image/png", 4, 3, len(data))
    turn = Turn("dying", Message("q", (1,)), Message("a"), 1e9)
    await history.save("c", turn, (ref,), {ref.sha256: data}, die)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=["one server", "cluster"])
async def url(
    request: pytest.FixtureRequest, start_server: Callable[..., int], cluster_ports: list[int]
) -> str:
    """Return the address of a real Redis."""
    if request.param == "cluster":
        return f"redis+cluster://127.0.0.1:{cluster_ports[0]}"
    return f"redis://127.0.0.1:{start_server()}/0"


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


async def left_behind(history: RedisHistory, data: bytes, make: MakePicture) -> str:
    """Store bytes as a crash of an hour and more ago left them, and return their hash."""
    sha = make(1, data)[0].sha256
    client: Any = history._link.client
    await client.zadd(picture_key(history.tenant, sha, "holders"), {"gone/life": 1.0})
    await client.set(picture_key(history.tenant, sha, "bytes"), data)
    return sha


async def there(history: RedisHistory, sha: str) -> bool:
    return bool(await history._link.client.exists(picture_key(history.tenant, sha, "bytes")))


async def until_gone(history: RedisHistory, sha: str) -> None:
    async with asyncio.timeout(60):
        while await there(history, sha):  # noqa: ASYNC110 - another task makes it true
            await asyncio.sleep(0.01)


async def test_what_a_killed_process_left_goes_without_anybody_calling_sweep(
    url: str,
    tenant: str,
    run_python: Callable[..., Any],
    make_turn: MakeTurn,
    make_picture: MakePicture,
) -> None:
    """The process is killed between its hold and its turn; what is in use stays."""
    kept, blobs = make_picture(1, b"kept")
    left, _ = make_picture(1, b"left behind")
    async with await RedisHistory.open(url, tenant=tenant, timeout=20) as history:
        await history.save("c", make_turn("q", (1,)), (kept,), blobs)
        dying = run_python(DYING, url, tenant)
        assert await asyncio.to_thread(dying.wait, 60) == -9
        assert await there(history, left.sha256)
        client: Any = history._link.client
        key = picture_key(tenant, left.sha256, "holders")
        (holder,) = await client.zrange(key, 0, -1)
        await client.zadd(key, {holder: 1.0})  # long ago
        async with await RedisHistory.open(url, tenant=tenant, timeout=20, sweep_after=0) as other:
            await until_gone(other, left.sha256)
            assert not await client.exists(key)
            assert await other.picture("c", 1) == b"kept"
            assert (await other.load("c")).total == 1


async def test_one_of_many_processes_sweeps_once_an_hour_for_each_tenant(
    url: str, tenant: str, make_picture: MakePicture
) -> None:
    """They agree by a key that ends with the hour; another tenant has its own."""
    opened = [await RedisHistory.open(url, tenant=tenant, timeout=20) for _ in range(5)]
    other = await RedisHistory.open(url, tenant=f"{tenant}-2", timeout=20)
    try:
        first = opened[0]
        await left_behind(first, b"one", make_picture)
        swept = await asyncio.gather(*(history._sweeper.once() for history in opened))
        assert sorted(swept, key=str) == [1, None, None, None, None]
        sha = await left_behind(first, b"two", make_picture)
        assert [await history._sweeper.once() for history in opened] == [None] * 5
        assert await there(first, sha)
        assert await other._sweeper.once() == 0
        client: Any = first._link.client
        assert EVERY - 120 <= await client.ttl(sweep_key(tenant)) <= EVERY
        await client.delete(sweep_key(tenant))  # the hour is over
        assert await opened[3]._sweeper.once() == 1
        assert not await there(first, sha)
    finally:
        for history in (*opened, other):
            await history.aclose()


async def test_a_sweep_on_a_full_server_makes_room(
    start_server: Callable[..., int], make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    port = start_server("--maxmemory-policy", "noeviction")
    async with await RedisHistory.open(f"redis://127.0.0.1:{port}/0", timeout=20) as history:
        await left_behind(history, b"x" * 3_000_000, make_picture)
        client: Any = history._link.client
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", used - 1_000_000)
        assert await history._sweeper.once() == 1
        await history.save("c", make_turn("there is room"))


async def test_a_sweep_that_fails_fails_nobody_and_the_next_one_is_done(
    start_server: Callable[..., int],
    make_turn: MakeTurn,
    make_picture: MakePicture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that refuses scripts for a while: it is logged in one line, turns go on."""
    url = f"redis://127.0.0.1:{start_server()}/0"
    async with await RedisHistory.open(url, timeout=20) as history:
        client: Any = history._link.client
        sha = await left_behind(history, b"left", make_picture)
        await client.execute_command("ACL", "SETUSER", "default", "-eval")
        assert await history._sweeper.once() is None
        assert "was not swept" in caplog.text
        assert len(caplog.records) == 1
        await history.save("c", make_turn())
        await client.execute_command("ACL", "SETUSER", "default", "+eval")
        assert await history._sweeper.once() == 1
        assert not await there(history, sha)


@pytest.mark.parametrize("after", [3600.0, 0.0])
async def test_closing_leaves_no_task_behind(
    shared_folder: Path, tenant: str, make_picture: MakePicture, after: float
) -> None:
    """Neither while the first sweep is waited for, nor in the middle of one."""
    before = asyncio.all_tasks()
    async with await RedisHistory.open(folder=shared_folder, tenant=tenant) as history:
        shas = [await left_behind(history, b"%d" % n, make_picture) for n in range(50)]
    async with await RedisHistory.open(
        folder=shared_folder, tenant=tenant, sweep_after=after
    ) as history:
        assert len(asyncio.all_tasks() - before) == 1
        if not after:
            await until_gone(history, shas[0])
    assert asyncio.all_tasks() == before
