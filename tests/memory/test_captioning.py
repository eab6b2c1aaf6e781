"""A picture that came without a caption gets one later: once, whole, and only while it is there."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memory.lifetimes import Lifetimes
from memory.messages import PictureRef, Turn
from memory.records import conversation_key
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
LONG = 3600.0


@pytest.fixture
def history(history_anywhere: RedisHistory) -> RedisHistory:
    """Return a history on the embedded server, and one on a cluster."""
    return history_anywhere


@pytest.fixture
def sent(make_turn: MakeTurn, make_picture: MakePicture) -> Any:
    """Send pictures without captions to a conversation, one a turn; return their references."""

    async def send(history: RedisHistory, *ages: float, name: str = "c") -> list[PictureRef]:
        refs = []
        for number, age in enumerate(ages, 1):
            ref, blobs = make_picture(number)
            at = time.time() - age
            refs.append(replace(ref, at=at))
            await history.save(name, make_turn(pictures=(number,), at=at), (refs[-1],), blobs)
        return refs

    return send


async def captions(history: RedisHistory, name: str = "c") -> list[str]:
    return [picture.caption for picture in (await history.load(name)).pictures]


async def test_only_the_first_caption_is_stored_and_the_rest_of_the_record_stays(
    history: RedisHistory, sent: Any
) -> None:
    one, two = await sent(history, 0, 0)
    assert await history.save_caption("c", replace(one, caption="a boat", name="not kept"))
    assert not await history.save_caption("c", replace(one, caption="a house"))
    assert (await history.load("c")).pictures == (replace(one, caption="a boat"), two)


async def test_of_many_writers_at_once_one_stores_its_caption(
    history: RedisHistory, sent: Any
) -> None:
    (one,) = await sent(history, 0)
    words = [f"caption {n}" for n in range(8)]
    stored = await asyncio.gather(
        *(history.save_caption("c", replace(one, caption=word)) for word in words)
    )
    assert sum(stored) == 1
    assert await captions(history) == [words[stored.index(True)]]


async def test_nothing_is_stored_for_a_picture_that_was_dropped_or_forgotten(
    history: RedisHistory, sent: Any
) -> None:
    one, two = (replace(ref, caption="a boat") for ref in await sent(history, 0, 0))
    await history.drop("c", 1)
    assert not await history.save_caption("c", one)
    await history.forget("c")
    assert not await history.save_caption("c", two)
    assert not await history.save_caption("never written", two)
    client: Any = history._link.client
    for part in ("pictures", "captions"):
        assert not await client.exists(conversation_key(history.tenant, "c", part))


async def test_a_caption_never_goes_to_another_picture_of_a_conversation_of_the_same_name(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture, sent: Any
) -> None:
    (one,) = await sent(history, 0)
    await history.forget("c")
    other, blobs = make_picture(1, data=b"other bytes")
    assert other.sha256 != one.sha256
    await history.save("c", make_turn(pictures=(1,)), (other,), blobs)
    assert not await history.save_caption("c", replace(one, caption="a boat"))
    assert await captions(history) == [""]


async def test_a_caption_ends_with_its_picture_and_lengthens_no_life(
    history: RedisHistory, shared_folder: Path, sent: Any
) -> None:
    """Its lifetime counts from when the picture was sent, and what is over is not stored."""
    shown = history._link.name.removeprefix("Redis at ")
    url, folder = (shown, None) if shown.startswith("redis+cluster") else (None, shared_folder)
    lives = Lifetimes(captions=LONG, turns=2 * LONG)
    async with await RedisHistory.open(
        url, folder=folder, tenant=uuid.uuid4().hex, lifetimes=lives
    ) as kept:
        old, half, _ = await sent(kept, 1.5 * LONG, LONG / 2, 0)
        client: Any = kept._link.client
        keys = {
            part: conversation_key(kept.tenant, "c", part)
            for part in ("turns", "meta", "pictures", "captions")
        }
        for part in ("turns", "meta", "pictures"):  # as if the last turn were long ago
            await client.pexpire(keys[part], 60_000)
        assert not await kept.save_caption("c", replace(old, caption="a boat"))
        assert await kept.save_caption("c", replace(half, caption="a house"))
        assert await captions(kept) == ["", "a house", ""]
        for part in ("turns", "meta", "pictures"):
            assert 0 < await client.pttl(keys[part]) <= 60_000
        assert 0 < await client.pttl(keys["captions"]) <= LONG / 2 * 1000
