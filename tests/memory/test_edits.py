"""Deleting, replacing and copying turns: whole or not at all, and pictures stay with who names
them."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from memory import cutting
from memory.errors import (
    ConversationExists,
    ConversationNotFound,
    HistoryDamaged,
    TurnNotFound,
    TurnOvertaken,
)
from memory.messages import Message, PictureRef, Turn
from memory.records import conversation_key, pack, picture_key
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]


@pytest.fixture
def history(history_anywhere: RedisHistory) -> RedisHistory:
    """Return a history on the embedded server, and one on a cluster."""
    return history_anywhere


@pytest.fixture
async def talk(history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture) -> list[Turn]:
    """Conversation c1: a turn with picture 1, one without, one with pictures 1 and 2, one last."""
    turns = []
    for number, (new, named) in enumerate([((1,), (1,)), ((), ()), ((2,), (1, 2)), ((), ())]):
        made = [make_picture(n, name=f"{n}.png") for n in new]
        turn = make_turn(f"question {number}", named)
        blobs = {sha: data for _, more in made for sha, data in more.items()}
        turns.append(await history.save("c1", turn, tuple(ref for ref, _ in made), blobs))
    return turns


async def holders(history: RedisHistory, data: bytes) -> int:
    sha = hashlib.sha256(data).hexdigest()
    client: Any = history._link.client
    return int(await client.zcard(picture_key(history.tenant, sha, "holders")))


async def test_a_deleted_turn_is_gone_with_the_pictures_that_only_it_names(
    history: RedisHistory, talk: list[Turn], make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Numbers stay what they were, and are not given again."""
    (_, first), (second_ref, second) = make_picture(1), make_picture(2)
    await history.delete_turn("c1", talk[2].id)
    loaded = await history.load("c1")
    assert loaded.turns == (talk[0], talk[1], talk[3])
    assert (loaded.total, loaded.notices) == (3, ())
    assert [p.number for p in loaded.pictures] == [1]
    assert await history.picture("c1", 1) in first.values()
    with pytest.raises(HistoryDamaged, match="no picture 2"):
        await history.picture("c1", 2)
    assert await holders(history, second[second_ref.sha256]) == 0
    ref, blobs = make_picture(2, b"another")
    stored = await history.save("c1", make_turn("q", (2,)), (ref,), blobs)
    assert stored.question.pictures == (3,)


async def test_a_picture_that_another_turn_names_outlives_the_turn_it_came_with(
    history: RedisHistory, talk: list[Turn], make_picture: MakePicture
) -> None:
    """Picture 1 came with turn 1 and is named in turn 3; the title is the next question."""
    await history.delete_turn("c1", talk[0].id)
    assert await history.picture("c1", 1) in make_picture(1)[1].values()
    assert [line.title for line in await history.conversations()] == ["question 1"]


async def test_a_title_that_a_person_gave_stays_when_turns_go_or_are_replaced(
    history: RedisHistory, talk: list[Turn]
) -> None:
    """Until the conversation is begun anew."""
    await history.rename("c1", "ferries")
    await history.delete_turn("c1", talk[0].id)
    async with history.claim("c1", "x", again=talk[1].id) as claim:
        again = replace(talk[1], question=Message("what else?"))
        await history.save("c1", again, claim=claim)
    assert [line.title for line in await history.conversations()] == ["ferries"]
    for turn in talk[1:]:
        await history.delete_turn("c1", turn.id)
    await history.save("c1", replace(talk[0], question=Message("anew")))
    assert [line.title for line in await history.conversations()] == ["anew"]


async def test_deleting_what_is_not_there_says_so_and_changes_nothing(
    history: RedisHistory, talk: list[Turn]
) -> None:
    """Neither a wrong id nor a deleted one."""
    await history.delete_turn("c1", talk[1].id)
    for id in (talk[1].id, "nothing", "-"):
        with pytest.raises(TurnNotFound, match="has no turn"):
            await history.delete_turn("c1", id)
    with pytest.raises(TurnNotFound):
        await history.delete_turn("none", talk[0].id)
    assert (await history.load("c1")).total == 3


async def test_after_the_last_turn_was_deleted_the_conversation_is_gone(
    history: RedisHistory, talk: list[Turn], make_picture: MakePicture
) -> None:
    """Not listed, nothing held; and it can be begun anew."""
    for turn in talk:
        await history.delete_turn("c1", turn.id)
    assert (await history.load("c1")).total == 0
    assert (await history.load("c1")).notices == ()
    assert await history.conversations() == []
    for number in (1, 2):
        ref, blobs = make_picture(number)
        assert await holders(history, blobs[ref.sha256]) == 0
    await history.save("c1", talk[1])
    assert [line.turns for line in await history.conversations()] == [1]


async def test_a_damaged_turn_keeps_every_picture(history: RedisHistory, talk: list[Turn]) -> None:
    """It may name any of them."""
    client: Any = history._link.client
    await client.lset(conversation_key(history.tenant, "c1", "turns"), 1, b"damaged")
    await history.delete_turn("c1", talk[2].id)
    loaded = await history.load("c1")
    assert loaded.total == 3
    assert await history.picture("c1", 2)


async def test_a_turn_that_is_answered_again_is_replaced_in_its_place(
    history: RedisHistory, talk: list[Turn]
) -> None:
    """What was loaded is what was said before it, with its own pictures apart."""
    async with history.claim("c1", "again", again=talk[2].id) as claim:
        assert claim.conversation.turns == (talk[0], talk[1])
        assert [p.number for p in claim.conversation.pictures] == [1]
        assert [p.number for p in claim.own] == [2]
        assert claim.again == talk[2]
        turn = replace(talk[2], answer=Message("better"))
        await history.save("c1", turn, claim=claim)
    loaded = await history.load("c1")
    assert loaded.turns == (talk[0], talk[1], turn, talk[3])
    assert loaded.notices == ()
    async with history.claim("c1", "again", again=talk[3].id, last=2) as claim:
        assert claim.conversation.turns == (talk[1], turn)
        assert claim.conversation.total == 3
    with pytest.raises(TurnNotFound):
        async with history.claim("c1", "again", again="nothing"):
            pass
    async with history.claim("c1", "next"):
        pass


async def test_a_turn_that_was_deleted_while_it_was_answered_again_stays_deleted(
    history: RedisHistory, talk: list[Turn]
) -> None:
    """And the title follows the first question when that is replaced."""
    async with history.claim("c1", "again", again=talk[0].id) as claim:
        turn = replace(talk[0], question=Message("what else?", (1,)))
        await history.save("c1", turn, claim=claim)
    assert [line.title for line in await history.conversations()] == ["what else?"]
    async with history.claim("c1", "again", again=talk[2].id) as claim:
        await history.delete_turn("c1", talk[2].id)
        with pytest.raises(TurnNotFound):
            await history.save("c1", talk[2], claim=claim)
    assert (await history.load("c1")).total == 3
    async with history.claim("c1", "again", again=talk[3].id) as claim:
        await history.forget("c1")
        with pytest.raises(TurnOvertaken):
            await history.save("c1", talk[3], claim=claim)
    assert (await history.load("c1")).total == 0


async def test_a_fork_has_turns_and_pictures_of_its_own(
    history: RedisHistory, talk: list[Turn], make_picture: MakePicture
) -> None:
    """Forgetting either harms nothing of the other."""
    assert await history.fork("c1", "early", turn=talk[1].id) == 2
    assert await history.fork("c1", "all") == 4
    early, whole = await history.load("early"), await history.load("all")
    assert early.turns == (talk[0], talk[1])
    assert [p.number for p in early.pictures] == [1]
    assert replace(whole, id="c1") == await history.load("c1")
    assert [line.turns for line in await history.conversations()].count(4) == 2
    ref, blobs = make_picture(2)
    assert await holders(history, blobs[ref.sha256]) == 2
    await history.forget("c1")
    assert await history.picture("all", 2) == blobs[ref.sha256]
    assert await history.picture("early", 1)
    await history.forget("all")
    assert await holders(history, blobs[ref.sha256]) == 0
    assert await history.sweep(0) == 0
    assert await history.picture("early", 1)


async def test_a_fork_that_cannot_be_leaves_nothing(
    history: RedisHistory, talk: list[Turn], make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """A name that is taken, a turn and a conversation that are not there."""
    await history.save("taken", make_turn("mine"))
    with pytest.raises(ConversationExists, match="'taken'"):
        await history.fork("c1", "taken")
    with pytest.raises(ConversationExists):
        await history.fork("c1", "c1")
    with pytest.raises(TurnNotFound):
        await history.fork("c1", "new", turn="nothing")
    with pytest.raises(ConversationNotFound):
        await history.fork("none", "new")
    assert {line.id for line in await history.conversations()} == {"taken", "c1"}
    ref, blobs = make_picture(1)
    assert await holders(history, blobs[ref.sha256]) == 1


async def test_saves_deletes_and_forks_that_race_lose_no_picture(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Two writers send the same picture, which two others delete; what is left has its bytes."""
    ref, blobs = make_picture(1)

    async def send() -> None:
        for _ in range(25):
            await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)

    async def delete() -> None:
        for _ in range(60):
            loaded = await history.load("c1")
            for turn in loaded.turns[:-1]:
                try:
                    await history.delete_turn("c1", turn.id)
                except TurnNotFound:
                    await asyncio.sleep(0)

    async def copy() -> None:
        for _ in range(10):
            try:
                await history.fork("c1", uuid.uuid4().hex)
            except ConversationNotFound:
                await asyncio.sleep(0.001)

    await asyncio.gather(send(), send(), delete(), delete(), copy())
    names = [line.id for line in await history.conversations()]
    for name in names:
        loaded = await history.load(name)
        assert loaded.notices == ()
        assert loaded.total == len(loaded.turns) > 0
        numbers = {number for turn in loaded.turns for number in turn.question.pictures}
        assert numbers == {picture.number for picture in loaded.pictures}
        for number in numbers:
            assert await history.picture(name, number) == blobs[ref.sha256]
    for name in names:
        await history.forget(name)
    assert await holders(history, blobs[ref.sha256]) == 0


async def test_a_fork_does_not_give_dropped_numbers_again(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Nor does it show what was dropped."""
    for number in (1, 2):
        ref, blobs = make_picture(number, b"%d" % number)
        await history.save("c", make_turn(pictures=(number,)), (ref,), blobs)
    await history.drop("c", 2)
    await history.fork("c", "copy")
    copied = await history.load("copy")
    assert ([p.number for p in copied.pictures], copied.dropped) == ([1], (2,))
    ref, blobs = make_picture(2, b"new")
    assert (
        await history.save("copy", make_turn(pictures=(2,)), (ref,), blobs)
    ).question.pictures == (3,)


async def test_a_removal_that_rests_on_what_has_changed_is_not_done(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """A turn, a picture or a title that came meanwhile; as it stands now, it is done."""
    client: Any = history._link.client
    keys = {
        part: history._store.key("c", part) for part in ("turns", "pictures", "meta", "captions")
    }
    ref, blobs = make_picture(1)
    await history.save("c", make_turn("one", (1,)), (ref,), blobs)

    async def another_turn() -> None:
        await history.save("c", make_turn("two"))

    async def another_picture() -> None:
        await client.hset(keys["pictures"], "2", pack(replace(ref, number=2).to_json()))

    async def another_title() -> None:
        await history.rename("c", "a title")

    for change in (another_turn, another_picture, another_title):
        found = await cutting.read(client, keys)
        await change()
        before = await history.load("c")
        assert not await cutting.remove(client, keys, found, {0}, {1}, 1.0)
        assert await history.load("c") == before
    found = await cutting.read(client, keys)
    assert await cutting.remove(client, keys, found, {0}, {1}, 1.0)
    left = await history.load("c")
    assert [turn.question.text for turn in left.turns] == ["two"]
    assert [picture.number for picture in left.pictures] == [2]
