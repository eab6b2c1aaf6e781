"""A Redis that is full: what is there stays readable, and can be removed to make room."""

from collections.abc import Callable
from typing import Any

import pytest

from memory.errors import HistoryUnavailable
from memory.messages import PictureRef, Turn
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_full_server_lets_read_and_forget_and_then_takes_turns_again(
    start_server: Callable[..., int],
    make_turn: MakeTurn,
    make_picture: MakePicture,
    protocol: int,
) -> None:
    """Filled up by conversations, not by a setting: nothing of the refused ones is left."""
    port = start_server("--maxmemory-policy", "noeviction", "--maxmemory", "16mb")
    url = f"redis://127.0.0.1:{port}/0?protocol={protocol}"
    async with await RedisHistory.open(url, timeout=10) as history:
        saved: dict[str, bytes] = {}
        with pytest.raises(HistoryUnavailable, match="maxmemory reached"):  # noqa: PT012
            for number in range(200):
                ref, blobs = make_picture(1, f"picture {number} ".encode() * 20_000)
                await history.save(f"c{number}", make_turn("q", (1,)), (ref,), blobs)
                saved[f"c{number}"] = blobs[ref.sha256]
        assert len(saved) >= 12
        refused = f"c{len(saved)}"
        assert (await history.load(refused)).total == 0
        assert {summary.id for summary in await history.conversations()} == set(saved)
        for name, data in saved.items():
            assert await history.picture(name, 1) == data
        client: Any = history._link.client
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", used - 500_000)  # fuller than full
        for name in list(saved)[:9]:
            await history.forget(name)
        assert {summary.id for summary in await history.conversations()} == set(saved) - {
            f"c{number}" for number in range(9)
        }
        await history.save("c9", make_turn("there is room again"))
        assert (await history.load("c9")).total == 2


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_full_server_lets_delete_turns_and_drop_pictures_and_then_takes_turns_again(
    start_server: Callable[..., int],
    make_turn: MakeTurn,
    make_picture: MakePicture,
    protocol: int,
) -> None:
    """One conversation that filled it up: the title follows the first turn that is left, a dropped
    number is noted, and the pixels go."""
    port = start_server("--maxmemory-policy", "noeviction", "--maxmemory", "16mb")
    url = f"redis://127.0.0.1:{port}/0?protocol={protocol}"
    async with await RedisHistory.open(url, timeout=10) as history:
        turns: list[Turn] = []
        with pytest.raises(HistoryUnavailable, match="maxmemory reached"):  # noqa: PT012
            for number in range(1, 200):
                ref, blobs = make_picture(number, f"picture {number} ".encode() * 20_000)
                turn = make_turn(f"question {number}", (number,))
                await history.save("c", turn, (ref,), blobs)
                turns.append(turn)
        count = len(turns)
        assert count >= 12
        client: Any = history._link.client
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", used - 1_000_000)  # fuller than full
        with pytest.raises(HistoryUnavailable, match="maxmemory reached"):
            await history.save("c", make_turn("no room yet"))
        for turn in turns[:4]:
            await history.delete_turn("c", turn.id)
        await history.drop("c", 6)
        await history.drop("c", count)
        for turn in turns[6:11]:
            await history.delete_turn("c", turn.id)
        loaded = await history.load("c")
        assert list(loaded.turns) == [*turns[4:6], *turns[11:]]
        assert (loaded.dropped, loaded.notices) == ((6, count), ())
        assert [p.number for p in loaded.pictures] == [5, *range(12, count)]
        assert (await history.conversations())[0].title == "question 5"
        assert len(await client.keys("bifocal:p:*:bytes")) == len(loaded.pictures)
        ref, blobs = make_picture(1, b"new")
        saved = await history.save("c", make_turn("there is room again", (1,)), (ref,), blobs)
        assert saved.question.pictures == (count + 1,)
