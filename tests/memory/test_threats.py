"""Connections that stall or break, tenants side by side, damaged files: rows 25, 12 and 3.

A few rounds in the ordinary run; the full counts with ``BIFOCAL_FULL=1``.
"""

import asyncio
import contextlib
import os
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from memory.errors import ConversationNotFound, HistoryDamaged, HistoryUnavailable
from memory.messages import Conversation, PictureRef, Turn
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
StartProxy = Callable[..., Awaitable[Any]]

FULL = bool(os.environ.get("BIFOCAL_FULL"))
FAULTS = 30  #: of each kind
TURNS = 10_000 if FULL else 150
TAILS = 60 if FULL else 12

DEADLINE = 0.3  #: seconds that a call is given in the rounds of faults


async def slow(proxy: Any, chance: random.Random) -> None:
    """Everything is late, by less or by more than the deadline."""
    proxy.delay = chance.uniform(0, 2 * DEADLINE / 3)


async def cut(proxy: Any, chance: random.Random) -> None:
    """A reset after some bytes: between commands, within one, within a picture."""
    proxy.cut_after = proxy.passed + chance.choice([0, 1, 40, 150, 400, 3000, 20_000, 40_000])


async def drop(proxy: Any, chance: random.Random) -> None:
    """A reset of every connection at some moment."""
    for _ in range(chance.randrange(40)):
        await asyncio.sleep(0)
    proxy.reset_all()


async def unanswered(proxy: Any, chance: random.Random) -> None:
    """The server does what it is told, and a reset comes instead of one of its answers."""
    proxy.answers_left = chance.randrange(10)


async def swallow(proxy: Any, chance: random.Random) -> None:
    """From some moment on nothing comes through, and no connection ends."""
    for _ in range(chance.randrange(40)):
        await asyncio.sleep(0)
    proxy.deaf = True


QUICK = (cut, drop, unanswered)


@pytest.mark.parametrize("fault", [slow, cut, drop, unanswered, swallow])
async def test_a_bad_connection_never_says_saved_for_what_is_not_and_ends_in_time(
    start_server: Callable[..., int],
    start_proxy: StartProxy,
    make_turn: MakeTurn,
    make_picture: MakePicture,
    fault: Callable[[Any, random.Random], Coroutine[Any, Any, None]],
) -> None:
    """Each round a fault meets a save and a load; then the connection is well again, and is used.

    What was acknowledged is there. What was refused is there whole or not at all.
    """
    chance = random.Random(fault.__name__)
    port = start_server()
    proxy = await start_proxy(port)
    direct = await RedisHistory.open(f"redis://127.0.0.1:{port}/0", timeout=20)
    url = f"redis://127.0.0.1:{proxy.port}/0"
    saved: list[str] = []
    refused = 0
    async with await RedisHistory.open(url, timeout=DEADLINE) as history:
        for _ in range(FAULTS if FULL or fault in QUICK else 2):
            ref, blobs = make_picture(1, chance.randbytes(30_000))
            turn = make_turn(pictures=(1,))
            breaking = asyncio.create_task(fault(proxy, chance))
            for call in (
                lambda t=turn, r=ref, b=blobs: history.save("c1", t, (r,), b),
                lambda: history.load("c1"),
            ):
                began = time.monotonic()
                try:
                    done = await call()
                except HistoryUnavailable as error:
                    refused += 1
                    assert "\n" not in str(error)  # noqa: PT017
                else:
                    if isinstance(done, Turn):
                        saved.append(done.id)
                    else:
                        assert set(saved) <= {turn.id for turn in done.turns}
                assert time.monotonic() - began < 2
            await breaking
            proxy.delay, proxy.deaf, proxy.cut_after, proxy.answers_left = 0.0, False, -1, -1
            kept = await whole(direct)
            assert set(saved) <= set(kept)
            with contextlib.suppress(HistoryUnavailable):  # one that was cut may have been pooled
                await history.load("c1")
            assert (await history.load("c1")).total >= len(saved)
    kept = await whole(direct)
    assert len(set(kept)) == len(kept)  # none doubled
    assert set(saved) <= set(kept)
    assert refused or fault is slow
    await direct.aclose()


async def whole(history: RedisHistory) -> list[str]:
    """Return the ids of the stored turns, having read every picture they have."""
    loaded = await history.load("c1")
    assert loaded.notices == ()
    for turn in loaded.turns:
        for number in turn.question.pictures:
            assert len(await history.picture("c1", number)) == 30_000
    return [turn.id for turn in loaded.turns]


TENANTS = ["a", "A", "a:c1", "a}", "{a}", "*", "a*", "%61", "ä", ""]


@pytest.mark.parametrize("where", ["embedded", "cluster"])
async def test_tenants_never_meet_however_their_turns_interleave(
    shared_folder: Path,
    cluster_ports: list[int],
    make_turn: MakeTurn,
    make_picture: MakePicture,
    where: str,
) -> None:
    """Tenants whose names invite confusion use the same names of conversations, all at once."""
    mark = uuid.uuid4().hex
    url = f"redis+cluster://127.0.0.1:{cluster_ports[0]}" if where == "cluster" else None
    stores = [
        await RedisHistory.open(url, folder=shared_folder, tenant=f"{name}{mark}", timeout=60)
        for name in TENANTS
    ]
    names = ["c1", "c2", "a:c1", "*", "c1}:turns"]

    def check(owner: int, name: str, loaded: Conversation) -> None:
        assert loaded.notices == ()
        said = {turn.question.text for turn in loaded.turns}
        assert all(text.startswith(f"canary {owner} {name!r} ") for text in said)
        assert all(ref.name == f"canary {owner}" for ref in loaded.pictures)

    async def use(owner: int) -> None:
        chance = random.Random(owner)
        store = stores[owner]
        for step in range(TURNS // len(stores)):
            name = chance.choice(names)
            turn = make_turn(f"canary {owner} {name!r} {step}", (1,) if step % 10 == 0 else ())
            if step % 10 == 0:  # the bytes are the same for all
                ref, blobs = make_picture(1, b"shared", name=f"canary {owner}")
                await store.save(name, turn, (ref,), blobs)
            else:
                await store.save(name, turn)
            check(owner, name, await store.load(name, last=5))

    await asyncio.gather(*(use(owner) for owner in range(len(stores))))
    for owner, store in enumerate(stores):
        listed = await store.conversations()
        assert sum(summary.turns for summary in listed) == TURNS // len(stores)
        for summary in listed:
            assert summary.title.startswith(f"canary {owner} ")
            check(owner, summary.id, await store.load(summary.id))
        for summary in listed:  # forgetting takes nothing from anyone else
            await store.forget(summary.id)
        assert await store.sweep(grace=-60) == 0
    for store in stores:
        assert await store.conversations() == []
        await store.aclose()


async def test_what_another_tenant_has_is_told_like_what_is_not_there(
    shared_folder: Path, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """With a guessed name: the same answer, to the letter."""
    ref, blobs = make_picture(1)

    async def answers(store: RedisHistory) -> list[str]:
        said = [repr(await store.load("guess"))]
        for wrong, call in (
            (HistoryDamaged, store.picture("guess", 1)),
            (ConversationNotFound, store.forget("guess")),
        ):
            with pytest.raises(wrong) as caught:
                await call
            said.append(str(caught.value))
        return said

    async with (
        await RedisHistory.open(folder=shared_folder, tenant=uuid.uuid4().hex) as owner,
        await RedisHistory.open(folder=shared_folder, tenant=uuid.uuid4().hex) as other,
    ):
        absent = await answers(other)
        await owner.save("guess", make_turn(pictures=(1,)), (ref,), blobs)
        assert await answers(other) == absent
        # nor can bytes be had by their hash alone
        with pytest.raises(HistoryDamaged, match="without its bytes"):
            await other.save("guess", make_turn(pictures=(1,)), (ref,))
        assert await owner.picture("guess", 1) == blobs[ref.sha256]


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Return an append-only file whose tail was cut, garbled, zeroed or added to."""
    size = chance.randrange(1, len(whole) // 2)
    head, tail = whole[:-size], whole[-size:]
    place = chance.randrange(size)
    flipped = bytes([tail[place] ^ (1 << chance.randrange(8))])
    return chance.choice(
        [
            head,
            head + chance.randbytes(size),
            head + bytes(size),
            whole + bytes(size),
            whole + chance.randbytes(size),
            head + tail[:place] + flipped + tail[place + 1 :],
        ]
    )


def append_only_file(folder: Path) -> Path:
    (file,) = [*folder.glob("appendonly.aof"), *folder.glob("appendonlydir/*.incr.aof")]
    return file


async def test_a_damaged_file_is_refused_or_its_damage_is_named(
    tmp_path: Path, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Nothing is ever shown as whole that is not: not an empty history, and not a shorter one."""
    turns = [
        make_turn(f"question {number}" * 9, (1,) if number == 3 else ()) for number in range(6)
    ]
    ref, blobs = make_picture(1, b"x" * 500)
    async with await RedisHistory.open(folder=tmp_path) as history:
        for place, turn in enumerate(turns):
            await history.save("c1", turn, *(((ref,), blobs) if place == 3 else ()))
    file = append_only_file(tmp_path)
    intact, chance = file.read_bytes(), random.Random(3)
    refused = named = 0
    for _ in range(TAILS):
        file.write_bytes(damaged(intact, chance))
        try:
            async with await RedisHistory.open(folder=tmp_path) as history:
                loaded = await history.load("c1")
        except (HistoryUnavailable, HistoryDamaged) as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
            continue
        if list(loaded.turns) != turns:
            named += 1
            assert loaded.notices
    assert refused > TAILS // 2
    file.write_bytes(intact)
    async with await RedisHistory.open(folder=tmp_path) as history:
        assert list((await history.load("c1")).turns) == turns
