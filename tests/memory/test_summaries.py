"""Summaries of older turns lie beside the turns that they stand for, and never outlive them."""

from dataclasses import replace
from typing import Any

import pytest

from memory import HistoryDamaged, Message, Recap, Turn
from memory.records import conversation_key
from memory.summaries import FIELD


def turn(number: int, text: str = "?") -> Turn:
    return Turn(f"t{number}", Message(f"{text} {number}"), Message("!"), at=float(number))


TURNS = [turn(n) for n in range(1, 7)]
OLD, NEW = Recap(2, "two turns: 38 m, picture 1"), Recap(4, "four turns … 灯塔")


@pytest.fixture
async def talked(history: Any) -> Any:
    for each in TURNS:
        await history.save("c", each)
    return history


async def test_a_summary_is_kept_and_a_later_one_takes_its_place(talked: Any) -> None:
    assert await talked.recaps("c") == ()
    assert await talked.save_recaps("c", [OLD], (), 0, TURNS[:2])
    assert await talked.save_recaps("c", [OLD, NEW], [OLD], 2, TURNS[2:4])
    assert await talked.recaps("c") == (OLD, NEW)


async def test_the_turns_all_stay_and_listing_does_not_show_a_summary(talked: Any) -> None:
    await talked.save_recaps("c", [OLD], (), 0, TURNS[:2])
    assert (await talked.load("c")).turns == tuple(TURNS)
    (line,) = await talked.conversations()
    assert (line.title, line.turns) == ("? 1", 6)


async def test_a_forgotten_conversations_summary_goes_with_it_and_does_not_come_back(
    talked: Any,
) -> None:
    await talked.save_recaps("c", [OLD], (), 0, TURNS[:2])
    await talked.forget("c")
    assert await talked.recaps("c") == ()
    assert not await talked.save_recaps("c", [OLD, NEW], [OLD], 2, TURNS[2:4])
    await talked.save("c", turn(9))
    assert not await talked.save_recaps("c", [OLD], (), 0, TURNS[:2])
    assert await talked.recaps("c") == ()


async def test_a_summary_of_turns_that_were_changed_meanwhile_is_not_stored(talked: Any) -> None:
    changed = [TURNS[0], replace(TURNS[1], question=Message("something else"))]
    assert not await talked.save_recaps("c", [OLD], (), 0, changed)
    assert await talked.recaps("c") == ()


async def test_a_summary_that_rests_on_one_that_is_no_longer_there_is_not_stored(
    talked: Any,
) -> None:
    assert not await talked.save_recaps("c", [OLD, NEW], [OLD], 2, TURNS[2:4])
    await talked.save_recaps("c", [NEW], (), 0, TURNS[:4])
    assert not await talked.save_recaps("c", [OLD], (), 0, TURNS[:2])
    assert await talked.recaps("c") == (NEW,)


async def test_a_damaged_summary_is_said_to_be_one_and_the_turns_are_still_read(
    talked: Any,
) -> None:
    await talked.save_recaps("c", [OLD], (), 0, TURNS[:2])
    meta = conversation_key(talked.tenant, "c", "meta")

    async def damage(client: Any) -> None:
        record = await client.hget(meta, FIELD)
        await client.hset(meta, FIELD, record.replace(b"38 m", b"83 m"))

    await talked._link.write(damage)
    with pytest.raises(HistoryDamaged, match="summary of older turns"):
        await talked.recaps("c")
    assert len((await talked.load("c")).turns) == 6
    assert await talked.save_recaps("c", [OLD], (), 0, TURNS[:2])
    assert await talked.recaps("c") == (OLD,)


async def test_a_recaps_stored_form_comes_back_as_it_was() -> None:
    assert Recap.from_json(NEW.to_json()) == NEW


async def test_a_turn_that_is_removed_or_answered_again_leaves_no_summary(talked: Any) -> None:
    """It may tell what the turn said."""
    await talked.save_recaps("c", [OLD], (), 0, TURNS[:2])
    await talked.delete_turn("c", "t1")
    assert await talked.recaps("c") == ()
    await talked.save_recaps("c", [OLD], (), 0, TURNS[1:3])
    assert await talked.recaps("c") == (OLD,)
    async with talked.claim("c", "new", again="t2") as claim:
        await talked.save("c", replace(TURNS[1], question=Message("other")), claim=claim)
    assert await talked.recaps("c") == ()
