"""A Redis that is full: what is there stays readable, and can be forgotten to make room."""

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
