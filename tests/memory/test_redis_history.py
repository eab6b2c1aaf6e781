"""The contract of a History, and what RedisHistory promises beyond it."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memory import History
from memory.errors import ConversationNotFound, HistoryDamaged, HistoryError, HistoryUnavailable
from memory.messages import Conversation, Message, PictureRef, Turn
from memory.records import conversation_key, index_key, pack
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]

HOSTILE_NAMES = ["*", "c?[a-z]", "{x}", "a:b", "ünï 🎈\n", "", "\ud800", "%2A", "x" * 2000]


class HistoryContract:
    """What every History does; a subclass gives the fixture ``store``."""

    async def test_a_conversation_that_was_never_written_is_empty(self, store: History) -> None:
        assert await store.load("none") == Conversation("none")

    async def test_turns_come_back_as_they_were_oldest_first(
        self, store: History, make_turn: MakeTurn
    ) -> None:
        turns = [make_turn(f"question {number}") for number in range(5)]
        for turn in turns:
            assert await store.save("c1", turn) == turn
        loaded = await store.load("c1")
        assert list(loaded.turns) == turns
        assert (loaded.total, loaded.notices) == (5, ())

    @pytest.mark.parametrize(("last", "count"), [(0, 0), (1, 1), (3, 3), (5, 5), (99, 5)])
    async def test_the_last_turns_can_be_loaded_alone(
        self, store: History, make_turn: MakeTurn, last: int, count: int
    ) -> None:
        turns = [make_turn() for _ in range(5)]
        for turn in turns:
            await store.save("c1", turn)
        loaded = await store.load("c1", last=last)
        assert list(loaded.turns) == turns[5 - count :]
        assert loaded.total == 5

    async def test_pictures_are_numbered_and_all_known_whatever_is_loaded(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        for number in (1, 2, 3):
            ref, blobs = make_picture(number, name=f"{number}.png")
            await store.save("c1", make_turn(pictures=(number,)), (ref,), blobs)
        await store.save("c1", make_turn())
        loaded = await store.load("c1", last=1)
        assert [picture.number for picture in loaded.pictures] == [1, 2, 3]
        assert loaded.pictures[1].name == "2.png"
        ref, blobs = make_picture(2)
        assert await store.picture("c1", 2) == blobs[ref.sha256]

    async def test_numbers_taken_meanwhile_are_given_anew(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        for data in (b"first", b"second"):  # both were told that the next is number 1
            ref, blobs = make_picture(1, data)
            stored = await store.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
        assert stored.question.pictures == (2,)
        loaded = await store.load("c1")
        assert [turn.question.pictures for turn in loaded.turns] == [(1,), (2,)]
        assert await store.picture("c1", 1) == b"first"
        assert await store.picture("c1", 2) == b"second"

    async def test_concurrent_turns_with_pictures_get_every_number_once(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        async def send(place: int) -> int:
            ref, blobs = make_picture(1, f"data {place}".encode())
            stored = await store.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
            (number,) = stored.question.pictures
            assert await store.picture("c1", number) == f"data {place}".encode()
            return number

        numbers = await asyncio.gather(*(send(place) for place in range(6)))
        assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
        assert (await store.load("c1")).total == 6

    async def test_two_pictures_may_have_the_same_bytes(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        (one, blobs), (two, _) = make_picture(1, b"same"), make_picture(2, b"same")
        await store.save("c1", make_turn(pictures=(1, 2)), (one, two), blobs)
        assert await store.picture("c1", 1) == await store.picture("c1", 2) == b"same"

    async def test_a_picture_that_is_not_there_is_damage_never_a_key_error(
        self, store: History
    ) -> None:
        with pytest.raises(HistoryDamaged, match="no picture 3"):
            await store.picture("c1", 3)

    async def test_bytes_that_are_not_those_of_the_hash_store_nothing(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        ref, _ = make_picture(1)
        with pytest.raises(HistoryDamaged, match="nothing was stored"):
            await store.save("c1", make_turn(pictures=(1,)), (ref,), {ref.sha256: b"other"})
        with pytest.raises(HistoryDamaged, match="without its bytes"):
            await store.save("c1", make_turn(pictures=(1,)), (ref,))
        assert await store.load("c1") == Conversation("c1")
        assert await store.conversations() == []

    async def test_conversations_are_listed_the_last_written_first(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        ref, blobs = make_picture(1)
        await store.save("old", make_turn("what is old?", at=100.0))
        await store.save("new", make_turn("what is new?", (1,), at=200.0), (ref,), blobs)
        await store.save("old", make_turn("and then?", at=150.0))
        listed = await store.conversations()
        assert [(s.id, s.title, s.turns, s.pictures, s.updated) for s in listed] == [
            ("new", "what is new?", 1, 1, 200.0),
            ("old", "what is old?", 2, 0, 150.0),
        ]

    async def test_the_last_turn_is_completed_with_pictures_that_get_numbers(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        first, open_ = make_turn("first"), replace(make_turn("how tall?"), answer=Message())
        for turn in (first, open_):
            await store.save("c1", turn)
        ref, blobs = make_picture(7)  # a number that nobody gave
        whole = replace(open_, answer=Message("34 metres", (7,)), at=2e9)
        stored = await store.complete("c1", open_, whole, (ref,), blobs)
        assert stored == replace(whole, answer=Message("34 metres", (1,)))
        loaded = await store.load("c1")
        assert (loaded.turns, loaded.total, loaded.notices) == ((first, stored), 2, ())
        assert await store.picture("c1", 1) == blobs[ref.sha256]
        assert [(s.title, s.turns, s.updated) for s in await store.conversations()] == [
            ("first", 2, 2e9)
        ]

    async def test_a_turn_that_is_not_the_last_as_it_was_is_not_completed(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        ref, blobs = make_picture(1)
        open_ = replace(make_turn("how tall?"), answer=Message())
        mine, other = replace(open_, answer=Message("34")), replace(open_, answer=Message("35"))
        assert await store.complete("c1", open_, mine) is None  # nothing is there
        await store.save("c1", open_)
        assert await store.complete("c1", open_, other) == other
        assert await store.complete("c1", open_, mine, (ref,), blobs) is None  # it was answered
        last = make_turn("and then?")
        await store.save("c1", last)
        assert await store.complete("c1", other, mine) is None  # another came
        loaded = await store.load("c1")
        assert (loaded.turns, loaded.pictures) == ((other, last), ())

    async def test_one_of_many_answers_at_once_completes_a_turn(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        open_ = replace(make_turn("how tall?"), answer=Message())
        await store.save("c1", open_)

        async def answer(number: int) -> Turn | None:
            ref, blobs = make_picture(1, f"data {number}".encode())
            whole = replace(open_, answer=Message(f"{number}", (1,)))
            return await store.complete("c1", open_, whole, (ref,), blobs)

        stored = [turn for turn in await asyncio.gather(*map(answer, range(6))) if turn]
        assert len(stored) == 1
        loaded = await store.load("c1")
        assert loaded.turns == tuple(stored)
        assert await store.picture("c1", 1) == f"data {stored[0].answer.text}".encode()

    async def test_conversations_are_listed_page_by_page(
        self, store: History, make_turn: MakeTurn
    ) -> None:
        for number in range(5):
            await store.save(f"c{number}", make_turn(at=100.0 + number))
        pages = [await store.conversations(offset, 2) for offset in (0, 2, 4, 6)]
        assert [[s.id for s in page] for page in pages] == [["c4", "c3"], ["c2", "c1"], ["c0"], []]
        assert [s.id for s in await store.conversations(3)] == ["c1", "c0"]
        assert await store.conversations(0, 0) == []
        assert await store.conversation_count() == 5

    async def test_a_title_that_was_given_stays(self, store: History, make_turn: MakeTurn) -> None:
        await store.save("c1", make_turn("what is it?"))
        await store.rename("c1", "  The\x1b harbour\n at night ")
        await store.save("c1", make_turn("and then?"))
        assert [s.title for s in await store.conversations()] == ["The harbour at night"]

    @pytest.mark.parametrize(("title", "why"), [("", "empty"), (" \n", "empty"), ("x" * 81, "81")])
    async def test_a_title_that_cannot_be_one_is_refused(
        self, store: History, make_turn: MakeTurn, title: str, why: str
    ) -> None:
        await store.save("c1", make_turn("what is it?"))
        with pytest.raises(HistoryError, match=why):
            await store.rename("c1", title)
        assert [s.title for s in await store.conversations()] == ["what is it?"]

    async def test_what_is_not_there_gets_no_title(self, store: History) -> None:
        with pytest.raises(ConversationNotFound, match="'nowhere'"):
            await store.rename("nowhere", "a title")
        assert await store.conversations() == []

    async def test_past_turns_are_found_by_their_words_until_they_are_forgotten(
        self, store: History, make_turn: MakeTurn
    ) -> None:
        await store.save("c1", make_turn("Wo liegt die Fähre?"))
        await store.save("c2", make_turn("灯塔有多高"))
        for words, name in (("faehre liegt", "c1"), ("灯塔", "c2")):
            assert [hit.conversation for hit in (await store.search(words)).found] == [name]
            await store.forget(name)
            assert (await store.search(words)).found == ()

    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    async def test_any_name_is_safe(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture, name: str
    ) -> None:
        ref, blobs = make_picture(1)
        await store.save("bystander", make_turn(), (ref,), blobs)
        await store.save(name, make_turn("q", (1,)), (ref,), blobs)
        assert (await store.load(name)).total == 1
        assert {s.id for s in await store.conversations()} == {name, "bystander"}
        await store.forget(name)
        assert [s.id for s in await store.conversations()] == ["bystander"]
        assert await store.picture("bystander", 1) == blobs[ref.sha256]

    async def test_a_forgotten_conversation_is_gone(
        self, store: History, make_turn: MakeTurn, make_picture: MakePicture
    ) -> None:
        ref, blobs = make_picture(1)
        await store.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
        await store.forget("c1")
        assert await store.load("c1") == Conversation("c1")
        assert await store.conversations() == []
        with pytest.raises(HistoryDamaged):
            await store.picture("c1", 1)
        # and can be begun anew, from number 1
        stored = await store.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
        assert stored.question.pictures == (1,)

    async def test_forgetting_what_is_not_there_says_so(self, store: History) -> None:
        with pytest.raises(ConversationNotFound, match="'nowhere'"):
            await store.forget("nowhere")


class TestEmbedded(HistoryContract):
    """RedisHistory on the server it starts itself."""

    @pytest.fixture
    def store(self, history: RedisHistory) -> RedisHistory:
        return history


class TestTcp(HistoryContract):
    """RedisHistory on a server that is given by its address, with a password."""

    @pytest.fixture
    async def store(self, start_server: Callable[..., int]) -> AsyncIterator[RedisHistory]:
        port = start_server("--requirepass", "s3cret")
        url = f"redis://:s3cret@127.0.0.1:{port}/0"
        async with await RedisHistory.open(url, tenant="t*") as opened:
            yield opened


class TestNewerProtocol(HistoryContract):
    """RedisHistory speaking RESP3."""

    @pytest.fixture
    async def store(self, start_server: Callable[..., int]) -> AsyncIterator[RedisHistory]:
        url = f"redis://127.0.0.1:{start_server()}/0?protocol=3"
        async with await RedisHistory.open(url) as opened:
            yield opened


class TestCluster(HistoryContract):
    """RedisHistory on a cluster of three primaries."""

    @pytest.fixture
    async def store(self, cluster_ports: list[int]) -> AsyncIterator[RedisHistory]:
        url = f"redis+cluster://127.0.0.1:{cluster_ports[0]}"
        async with await RedisHistory.open(url, tenant=uuid.uuid4().hex) as opened:
            yield opened


class TestSentinel(HistoryContract):
    """RedisHistory on the primary that a Sentinel names."""

    @pytest.fixture
    async def store(self, watched: Any) -> AsyncIterator[RedisHistory]:
        async with await RedisHistory.open(watched.url, tenant=uuid.uuid4().hex) as opened:
            yield opened


async def test_tenants_never_meet(
    shared_folder: Path, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """The same conversation name and the same picture, in tenants whose names invite confusion."""
    ref, blobs = make_picture(1)
    names = [uuid.uuid4().hex, "*", "a", "a:c1", "a}"]
    stores = [await RedisHistory.open(folder=shared_folder, tenant=name) for name in names]
    for name, store in zip(names, stores, strict=True):
        await store.save("c1", make_turn(f"I am {name}", (1,)), (ref,), blobs)
    for name, store in zip(names, stores, strict=True):
        assert [t.question.text for t in (await store.load("c1")).turns] == [f"I am {name}"]
        assert len(await store.conversations()) == 1
    for store in stores[:-1]:
        await store.forget("c1")
        assert await store.conversations() == []
    assert await stores[-1].picture("c1", 1) == blobs[ref.sha256]
    await stores[-1].forget("c1")
    for store in stores:
        await store.aclose()


async def test_damaged_records_are_left_out_and_named(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    turns = [make_turn(f"question {number}") for number in range(4)]
    for turn in turns:
        await history.save("c1", turn)
    for number in (1, 2):
        ref, blobs = make_picture(number)
        await history.save("c1", make_turn(pictures=(number,)), (ref,), blobs)
    client = history._link.client
    key = conversation_key(history.tenant, "c1", "turns")
    good = pack(turns[1].to_json())
    await client.lset(key, 1, good.replace(b"question", b"quastion").decode())
    await client.lset(key, 2, pack({"v": 1, "id": "x"}).decode())
    await client.hset(conversation_key(history.tenant, "c1", "pictures"), "2", "nonsense")
    loaded = await history.load("c1")
    assert [turn.id for turn in loaded.turns[:2]] == [turns[0].id, turns[3].id]
    assert loaded.total == 6
    assert [picture.number for picture in loaded.pictures] == [1]
    assert len(loaded.notices) == 3
    assert "turn 2 of 6" in loaded.notices[0]
    assert "turn 3 of 6" in loaded.notices[1]
    assert "picture 2" in loaded.notices[2]
    with pytest.raises(HistoryDamaged, match="picture 2"):
        await history.picture("c1", 2)
    # its number is not given again
    ref, blobs = make_picture(2, b"another")
    stored = await history.save("c1", make_turn(pictures=(2,)), (ref,), blobs)
    assert stored.question.pictures == (3,)


async def test_turns_that_vanished_are_counted(history: RedisHistory, make_turn: MakeTurn) -> None:
    """A server told to evict takes keys away: an empty history is not shown as whole."""
    for _ in range(3):
        await history.save("c1", make_turn())
    await history._link.client.delete(conversation_key(history.tenant, "c1", "turns"))
    loaded = await history.load("c1")
    assert loaded.total == 0
    assert loaded.notices == ("3 of the 3 turns of conversation 'c1' are missing",)


async def test_a_key_of_another_kind_is_damage(history: RedisHistory, make_turn: MakeTurn) -> None:
    await history._link.client.set(conversation_key(history.tenant, "c1", "turns"), "text")
    with pytest.raises(HistoryDamaged, match="another program"):
        await history.load("c1")


async def test_a_damaged_picture_count_does_not_cost_a_turn(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    ref, blobs = make_picture(1)
    await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
    await history._link.client.hset(
        conversation_key(history.tenant, "c1", "pictures"), "last", "many"
    )
    stored = await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
    assert stored.question.pictures == (2,)


async def test_a_turn_that_is_not_json_is_refused_before_anything_is_written(
    history: RedisHistory,
) -> None:
    turn = Turn("t", Message("q"), Message("a"), 0.0, ledger={"x": object()})
    with pytest.raises(HistoryError, match="not JSON"):
        await history.save("c1", turn)
    assert await history.conversations() == []


async def test_an_entry_without_turns_is_not_listed(
    history: RedisHistory, make_turn: MakeTurn
) -> None:
    """What a crash between the list and the turn leaves behind."""
    await history.save("c1", make_turn())
    await history._link.client.zadd(index_key(history.tenant), {"crashed": 5e9})
    assert [summary.id for summary in await history.conversations()] == ["c1"]


async def test_a_conversation_begun_anew_while_it_is_forgotten_stays_listed(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Saves and forgets race; at the end what has turns is listed and has its pictures."""
    ref, blobs = make_picture(1)

    async def forget() -> None:
        for _ in range(40):
            try:
                await history.forget("c1")
            except ConversationNotFound:
                await asyncio.sleep(0)

    async def save(pictures: bool) -> None:
        for _ in range(40):
            if pictures:
                await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
            else:
                await history.save("c1", make_turn())

    await asyncio.gather(forget(), save(True), save(False))
    loaded = await history.load("c1")
    assert loaded.notices == ()
    assert (loaded.total > 0) == bool(await history.conversations())
    for picture in loaded.pictures:
        assert await history.picture("c1", picture.number) == blobs[ref.sha256]


async def test_every_conversation_of_many_is_listed(
    history: RedisHistory, make_turn: MakeTurn
) -> None:
    """More than are asked for at once."""
    client = history._link.client
    pipe = client.pipeline(transaction=False)
    for number in range(1203):
        key = conversation_key(history.tenant, f"c{number}", "turns")
        pipe.rpush(key, pack(make_turn().to_json()))
        pipe.zadd(index_key(history.tenant), {f"c{number}": number})
    await pipe.execute()
    listed = await history.conversations()
    assert [summary.id for summary in listed] == [f"c{n}" for n in reversed(range(1203))]


async def test_answers_that_came_too_late_leave_no_picture_that_is_not_swept(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Of six answers with a picture each, one is stored, and one picture."""
    open_ = replace(make_turn("how tall?"), answer=Message())
    await history.save("c1", open_)

    async def answer(number: int) -> Turn | None:
        ref, blobs = make_picture(1, f"data {number}".encode())
        whole = replace(open_, answer=Message(f"{number}", (1,)))
        return await history.complete("c1", open_, whole, (ref,), blobs)

    await asyncio.gather(*map(answer, range(6)))
    await history.sweep(grace=0)
    client = history._link.client
    assert (await history.load("c1")).pictures[0].bytes == len(await history.picture("c1", 1))
    assert len(await client.keys(f"bifocal:p:{{{history.tenant}:*:bytes")) == 1
    assert len(await client.keys(f"bifocal:p:{{{history.tenant}:*:holders")) == 1


async def test_a_page_costs_the_same_however_many_conversations_there_are(
    history: RedisHistory, make_turn: MakeTurn
) -> None:
    """A page of 20 of 10,000: one command for the names, three for each line."""
    client = history._link.client
    record = pack(make_turn().to_json())
    pipe = client.pipeline(transaction=False)
    for number in range(10_000):
        pipe.rpush(conversation_key(history.tenant, f"c{number}", "turns"), record)
        pipe.zadd(index_key(history.tenant), {f"c{number}": number})
    await pipe.execute()
    before = (await client.info("stats"))["total_commands_processed"]
    page = await history.conversations(5000, 20)
    count = await history.conversation_count()
    spent = (await client.info("stats"))["total_commands_processed"] - before
    assert [summary.id for summary in page] == [f"c{n}" for n in range(4999, 4979, -1)]
    assert count == 10_000
    assert spent <= 1 + 3 * 20 + 1 + 2  # and INFO itself


async def test_a_title_given_while_turns_are_written_and_forgotten_is_no_conversation(
    history: RedisHistory, make_turn: MakeTurn
) -> None:
    """Renaming races with forgetting: a title never makes a conversation of its own."""

    async def rename() -> None:
        for number in range(60):
            with contextlib.suppress(ConversationNotFound):
                await history.rename("c1", f"title {number}")

    async def live() -> None:
        for _ in range(30):
            await history.save("c1", make_turn())
            await history.forget("c1")

    await asyncio.gather(rename(), live())
    assert await history.conversations() == []
    assert not await history._link.client.exists(conversation_key(history.tenant, "c1", "meta"))


async def test_loading_reads_no_picture_bytes(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    ref, blobs = make_picture(1, b"x" * 3_000_000)
    await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
    client = history._link.client
    before = (await client.info("stats"))["total_net_output_bytes"]
    await history.load("c1")
    assert (await client.info("stats"))["total_net_output_bytes"] - before < 20_000


async def test_neither_an_address_nor_a_folder_is_one_line() -> None:
    with pytest.raises(HistoryUnavailable, match="no place"):
        await RedisHistory.open(None)


async def test_what_was_said_is_there_after_a_restart(
    tmp_path: Path, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    ref, blobs = make_picture(1)
    turn = make_turn(pictures=(1,))
    async with await RedisHistory.open(folder=tmp_path) as first:
        await first.save("c1", turn, (ref,), blobs)
    async with await RedisHistory.open(folder=tmp_path) as second:
        assert (await second.load("c1")).turns == (turn,)
        assert await second.picture("c1", 1) == blobs[ref.sha256]
