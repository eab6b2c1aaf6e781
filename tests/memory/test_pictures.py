"""Bytes are stored once, stay while someone holds them, and are checked when read."""

from collections.abc import Awaitable, Callable

import pytest

from memory.errors import HistoryDamaged
from memory.messages import PictureRef, Turn
from memory.records import conversation_key, pack, picture_key, picture_pattern
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
Keys = Callable[[], Awaitable[int]]


@pytest.fixture
def keys(history: RedisHistory) -> Keys:
    async def count() -> int:
        return len(await history._link.client.keys(picture_pattern(history.tenant)))

    return count


async def test_a_picture_is_stored_once_and_goes_with_its_last_holder(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture, keys: Keys
) -> None:
    ref, blobs = make_picture(1)
    for name in ("c1", "c2", "c1"):
        await history.save(name, make_turn(pictures=(1,)), (ref,), blobs)
    assert await keys() == 2  # its bytes and its holders
    await history.forget("c1")
    assert await history.picture("c2", 1) == blobs[ref.sha256]
    await history.forget("c2")
    assert await keys() == 0


async def test_a_known_picture_needs_no_bytes(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    ref, blobs = make_picture(1)
    await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
    await history.save("c2", make_turn(pictures=(1,)), (ref,))
    assert await history.picture("c2", 1) == blobs[ref.sha256]


async def test_damaged_bytes_are_never_returned_and_can_be_sent_again(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    ref, blobs = make_picture(1)
    await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
    key = picture_key(history.tenant, ref.sha256, "bytes")
    client = history._link.client
    await client.setrange(key, 10, "garbled")
    with pytest.raises(HistoryDamaged, match="damaged"):
        await history.picture("c1", 1)
    await client.delete(key)
    with pytest.raises(HistoryDamaged, match="are gone"):
        await history.picture("c1", 1)
    await history.save("c1", make_turn(pictures=(2,)), (ref,), blobs)
    assert await history.picture("c1", 1) == blobs[ref.sha256]


async def test_a_sweep_removes_what_crashes_left_and_nothing_else(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture, keys: Keys
) -> None:
    kept, kept_bytes = make_picture(1, b"kept")
    await history.save("c1", make_turn(pictures=(1,)), (kept,), kept_bytes)
    client, tenant = history._link.client, history.tenant
    for number in (2, 3):  # a crash before the turn; bytes that lost their holders
        ref, blobs = make_picture(number)
        await client.set(picture_key(tenant, ref.sha256, "bytes"), blobs[ref.sha256])
    await client.zadd(picture_key(tenant, make_picture(2)[0].sha256, "holders"), {"c9/life": 1.0})
    # a hold of an earlier life of c1, beside one that counts
    await client.zadd(picture_key(tenant, kept.sha256, "holders"), {"c1/gone": 1.0})
    assert await history.sweep() == 2
    assert await keys() == 2
    assert await history.picture("c1", 1) == b"kept"
    await history.forget("c1")
    assert await keys() == 0


async def test_a_sweep_spares_a_turn_on_its_way(
    history: RedisHistory, make_picture: MakePicture, keys: Keys
) -> None:
    """Its hold is noted, its bytes are stored, its turn is not yet there."""
    ref, blobs = make_picture(1)
    seconds, _ = await history._link.client.time()
    await history._pictures.hold(history._link.client, "c1/new", [ref], blobs, float(seconds))
    assert await history.sweep() == 0
    assert await keys() == 2
    assert await history.sweep(grace=-60) == 1
    assert await keys() == 0


async def test_a_picture_whose_record_is_damaged_keeps_its_bytes(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture, keys: Keys
) -> None:
    ref, blobs = make_picture(1)
    await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
    record = pack(ref.to_json())[:-3]
    await history._link.client.hset(conversation_key(history.tenant, "c1", "pictures"), "1", record)
    assert await history.sweep(grace=-60) == 0
    assert await keys() == 2
