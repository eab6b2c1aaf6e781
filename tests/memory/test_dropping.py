"""A picture is taken out of a conversation: what goes, what stays, and what can come between."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from memory.errors import HistoryDamaged, PictureNotFound
from memory.messages import PictureRef, Recap, Turn
from memory.records import conversation_key, picture_key
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]


async def stored(history: RedisHistory, sha256: str) -> bool:
    return bool(await history._link.client.exists(picture_key(history.tenant, sha256, "bytes")))


async def send(
    history: RedisHistory, name: str, make: MakePicture, turn: MakeTurn, number: int, data: bytes
) -> str:
    ref, blobs = make(number, data)
    await history.save(name, turn(pictures=(number,)), (ref,), blobs)
    return ref.sha256


async def test_a_dropped_picture_is_gone_and_its_number_never_returns(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Also the highest one; what was said with it stays, and the other pictures do."""
    shas = [
        await send(history, "c", make_picture, make_turn, n, b"%d" % n * 100) for n in (1, 2, 3)
    ]
    await history.drop("c", 3)
    await history.drop("c", 1)
    loaded = await history.load("c")
    assert [p.number for p in loaded.pictures] == [2]
    assert (loaded.dropped, loaded.total, loaded.notices) == ((1, 3), 3, ())
    assert loaded.turns[0].question.pictures == (1,)
    assert [await stored(history, sha) for sha in shas] == [False, True, False]
    assert await history.picture("c", 2) == b"2" * 100
    ref, blobs = make_picture(3, b"new")
    again = await history.save("c", make_turn(pictures=(3,)), (ref,), blobs)
    assert again.question.pictures == (4,)
    assert (await history.conversations())[0].pictures == 2


async def test_what_was_dropped_says_so_and_what_never_was_is_not_found(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    await send(history, "c", make_picture, make_turn, 1, b"one")
    await history.drop("c", 1)
    for _ in range(2):
        with pytest.raises(PictureNotFound, match="picture 1 of conversation 'c' was dropped"):
            await history.drop("c", 1)
    with pytest.raises(PictureNotFound, match="was dropped"):
        await history.picture("c", 1)
    with pytest.raises(PictureNotFound, match="has no picture 7"):
        await history.drop("c", 7)
    with pytest.raises(PictureNotFound, match="has no picture 1"):
        await history.drop("never written", 1)
    assert (await history.conversations())[0].id == "c"
    assert len(await history.conversations()) == 1


async def test_pixels_stay_while_another_number_or_conversation_has_them(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    sha = await send(history, "c", make_picture, make_turn, 1, b"same")
    await send(history, "c", make_picture, make_turn, 2, b"same")
    await send(history, "d", make_picture, make_turn, 1, b"same")
    await history.drop("c", 1)
    assert await history.picture("c", 2) == b"same"
    await history.drop("c", 2)
    assert await history.picture("d", 1) == b"same"
    await history.drop("d", 1)
    assert not await stored(history, sha)


async def test_the_summary_goes_with_the_picture_and_one_that_was_being_made_is_not_stored(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """It may tell what the picture showed; one made after the drop is stored."""
    for number in (1, 2, 3):
        await send(history, "c", make_picture, make_turn, number, b"%d" % number * 9)
    read = await history.load("c")
    told = [Recap(2, "picture 1 (a dog), picture 2 (a cat)")]
    assert await history.save_recaps("c", told, (), 0, read.turns[:2], read.dropped)
    await history.drop("c", 1)
    assert await history.recaps("c") == ()
    assert not await history.save_recaps("c", told, (), 0, read.turns[:2], read.dropped)
    assert await history.recaps("c") == ()
    read = await history.load("c")
    told = [Recap(2, "picture 1 (no longer there), picture 2 (a cat)")]
    assert await history.save_recaps("c", told, (), 0, read.turns[:2], read.dropped)
    assert await history.recaps("c") == tuple(told)


async def test_forgetting_and_sweeping_after_a_drop_leave_nothing_behind(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Nor does a crash between the drop and its letting go: the sweep ends what is left."""
    kept = await send(history, "c", make_picture, make_turn, 1, b"kept")
    gone = await send(history, "c", make_picture, make_turn, 2, b"gone")
    key = conversation_key(history.tenant, "c", "pictures")
    client: Any = history._link.client
    life = (await client.hget(key, "life")).decode()
    await history.drop("c", 2)
    for sha, data in ((kept, b"kept"), (gone, b"gone")):
        await client.zadd(picture_key(history.tenant, sha, "holders"), {f"c/{life}": 1.0})
        await client.set(picture_key(history.tenant, sha, "bytes"), data)
    assert await history.sweep(grace=0.0) == 1
    assert (await stored(history, kept), await stored(history, gone)) == (True, False)
    await history.forget("c")
    assert not await stored(history, kept)


async def test_a_picture_that_is_sent_while_it_is_dropped_keeps_its_pixels(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Turns with the very same picture are stored at the same moment as it is dropped, in many
    rounds: every reference that is left can be read."""
    for round_ in range(30):
        name = f"c{round_}"
        await send(history, name, make_picture, make_turn, 1, b"same")
        ref, blobs = make_picture(2, b"same")
        sends = [history.save(name, make_turn(pictures=(2,)), (ref,), blobs) for _ in range(3)]
        await asyncio.gather(*sends[:1], history.drop(name, 1), *sends[1:])
        left = (await history.load(name)).pictures
        assert [p.number for p in left] == [2, 3, 4]
        for picture in left:
            assert await history.picture(name, picture.number) == b"same"
        for picture in left:
            await history.drop(name, picture.number)
        assert not await stored(history, ref.sha256)


async def test_a_turn_that_held_the_pixels_before_they_were_dropped_holds_them_again(
    shared_folder: Path, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """The whole drop comes between a turn's hold of the very same picture and its transaction."""
    tenant = uuid.uuid4().hex

    async def drop() -> None:
        async with await RedisHistory.open(folder=shared_folder, tenant=tenant) as other:
            await other.drop("c", 1)

    dropping = threading.Thread(target=asyncio.run, args=(drop(),))

    def follow(turn: Turn, _: Mapping[int, int]) -> Turn:
        if dropping.ident is None:  # once: it is called again for the next attempt
            dropping.start()
            dropping.join()
        return turn

    async with await RedisHistory.open(folder=shared_folder, tenant=tenant, timeout=20) as history:
        await send(history, "c", make_picture, make_turn, 1, b"same")
        ref, blobs = make_picture(1, b"same")  # its number is taken: ``follow`` is asked
        await history.save("c", make_turn(pictures=(1,)), (ref,), blobs, follow)
        assert dropping.ident is not None
        assert (await history.load("c")).dropped == (1,)
        assert await history.picture("c", 2) == b"same"


async def test_beside_a_damaged_record_pixels_are_not_thrown_away(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    await send(history, "c", make_picture, make_turn, 1, b"one")
    sha = await send(history, "c", make_picture, make_turn, 2, b"two")
    key = conversation_key(history.tenant, "c", "pictures")
    await history._link.client.hset(key, "1", "nonsense")
    await history.drop("c", 2)
    assert await stored(history, sha)
    assert (await history.load("c")).dropped == (2,)
    await history.drop("c", 1)
    with pytest.raises(PictureNotFound, match="was dropped"):
        await history.picture("c", 1)
    with pytest.raises(HistoryDamaged, match="no picture 9"):
        await history.picture("c", 9)


async def test_a_picture_is_dropped_on_a_cluster_too(
    cluster_ports: list[int], make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Where its bytes, its conversation and the pictures that stay lie on different nodes."""
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in cluster_ports)
    async with await RedisHistory.open(url, tenant=uuid.uuid4().hex, timeout=20) as history:
        for number in range(1, 9):
            await send(history, "c", make_picture, make_turn, number, b"%d" % number * 50)
        for number in (2, 8, 5):
            await history.drop("c", number)
        loaded = await history.load("c")
        assert [p.number for p in loaded.pictures] == [1, 3, 4, 6, 7]
        assert loaded.dropped == (2, 5, 8)
        for picture in loaded.pictures:
            assert await history.picture("c", picture.number) == b"%d" % picture.number * 50
        for number in (2, 5, 8):
            assert not await stored(history, make_picture(number, b"%d" % number * 50)[0].sha256)
        assert await history.sweep(grace=0.0) == 0
