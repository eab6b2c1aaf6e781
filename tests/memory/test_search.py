"""Searching past turns: what is found, what never is, and what a search may cost."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memory.errors import HistoryError, HistoryUnavailable
from memory.messages import Message, Turn
from memory.records import conversation_key, index_key, pack
from memory.redis_history import RedisHistory
from memory.search import PAGE, search

MakeTurn = Callable[..., Turn]


def said(question: str, answer: str = "", at: float = 1e9) -> Turn:
    return Turn(uuid.uuid4().hex, Message(question), Message(answer), at)


async def fill(history: RedisHistory, conversations: int, turns: int, **more: Any) -> None:
    """Write many conversations at once, past the checks of ``save``: ``c0`` is the oldest."""
    pipe = history._link.client.pipeline(transaction=False)
    for number in range(conversations):
        records = [
            pack(replace(said(f"question n{number}t{turn}", f"answer {turn}"), **more).to_json())
            for turn in range(turns)
        ]
        pipe.rpush(conversation_key(history.tenant, f"c{number}", "turns"), *records)
        pipe.zadd(index_key(history.tenant), {f"c{number}": number})
    await pipe.execute()


async def test_a_turn_is_found_with_its_line_words_title_and_place(history: RedisHistory) -> None:
    """Everything that a person needs to know the turn again."""
    await history.save("c1", said("Hello there", "Hello."))
    turn = said("And the Leuchtturm?", "It has a light.\nThe tower is 34 metres tall.\nBuilt 1894.")
    await history.save("c1", replace(turn, at=1.5e9))
    result = await history.search("METRES tower")
    (hit,) = result.found
    assert (hit.conversation, hit.title, hit.turn, hit.id, hit.at) == (
        "c1",
        "Hello there",
        2,
        turn.id,
        1.5e9,
    )
    assert (hit.by, hit.line) == ("bot", "The tower is 34 metres tall.")
    assert [hit.line[a:b] for a, b in hit.marks] == ["tower", "metres"]
    assert (result.partial, result.notices, result.conversations, result.turns) == (False, (), 1, 2)
    # words of the question and of the answer together; the line that holds most of them is shown
    (hit,) = (await history.search("leuchtturm turm 1894")).found
    assert (hit.by, hit.line) == ("user", "And the Leuchtturm?")


async def test_the_last_written_conversation_and_its_last_turn_come_first(
    history: RedisHistory,
) -> None:
    """Newest first, and no more than the limit, which is then said."""
    for at, name in ((100.0, "old"), (300.0, "new"), (200.0, "old")):
        await history.save(name, said(f"fish at {at:.0f}", at=at))
    found = (await history.search("fish")).found
    assert [(hit.conversation, hit.turn) for hit in found] == [("new", 1), ("old", 2), ("old", 1)]
    result = await history.search("fish", limit=2)
    assert [hit.turn for hit in result.found] == [1, 2]
    assert result.partial
    assert "last 2" in result.notices[0]
    assert not (await history.search("fish", limit=3)).partial


async def test_a_tenant_finds_nothing_of_another(shared_folder: Path) -> None:
    """The same names, and words that only the other said."""
    names = [uuid.uuid4().hex, "*", "a", "a:c1"]
    for name in names:
        async with await RedisHistory.open(folder=shared_folder, tenant=name) as store:
            await store.save("c1", said(f"canary{names.index(name)}"))
    for name in names:
        async with await RedisHistory.open(folder=shared_folder, tenant=name) as store:
            for place in range(len(names)):
                found = (await store.search(f"canary{place}")).found
                assert bool(found) == (names[place] == name)
            await store.forget("c1")


async def test_what_was_forgotten_or_edited_away_is_never_found(history: RedisHistory) -> None:
    """There is no index that could lag behind: what is stored now is what is read."""
    await history.save("c1", said("my secret word is xylophone"))
    await history.save("c2", said("what a xylophone costs"))
    await history.forget("c1")
    assert [hit.conversation for hit in (await history.search("xylophone")).found] == ["c2"]
    record = pack(said("what a piano costs").to_json())
    key = conversation_key(history.tenant, "c2", "turns")
    await history._link.client.lset(key, 0, record.decode())
    assert (await history.search("xylophone")).found == ()
    assert [hit.conversation for hit in (await history.search("piano")).found] == ["c2"]


@pytest.mark.parametrize("name", ["*", "c?[a-z]", "{x}", "ünï 🎈\n", "", "\ud800"])
async def test_any_name_and_any_text_can_be_found(history: RedisHistory, name: str) -> None:
    """Names that are patterns, and a turn with a lone surrogate, which is stored escaped."""
    await history.save(name, said("der schöne Hafen \ud800", "\u202eja\x1b[31m"))
    (hit,) = (await history.search("schoene hafen")).found
    assert hit.conversation == name


async def test_words_that_only_the_ledger_or_the_sources_hold_are_not_found(
    history: RedisHistory,
) -> None:
    """A search is over what was said, not over evidence that was put before the model."""
    ledger = {"evidence": [{"text": "zeppelin"}]}
    turn = replace(said("why?", "so"), citations=({"source": "zeppelin.pdf"},), ledger=ledger)
    await history.save("c1", turn)
    assert (await history.search("zeppelin")).found == ()


async def test_a_citation_key_inside_what_was_said_hides_nothing(history: RedisHistory) -> None:
    """Text that looks like the end of the words in the stored form."""
    await history.save("c1", said('a ,"citations": [] b', "marmalade"))
    assert len((await history.search("marmalade")).found) == 1


async def test_damaged_turns_are_passed_over_and_counted(history: RedisHistory) -> None:
    """A flipped bit, and a key of another kind."""
    for word in ("alpha", "beta"):
        await history.save("c1", said(f"{word} gull"))
    await history.save("c2", said("gamma gull"))
    client = history._link.client
    key = conversation_key(history.tenant, "c1", "turns")
    record: Any = await client.lindex(key, 0)
    await client.lset(key, 0, record.replace(b"alpha", b"alphb").decode())
    await client.set(conversation_key(history.tenant, "c2", "turns"), "text")
    result = await history.search("gull")
    assert [hit.line for hit in result.found] == ["beta gull"]
    assert result.notices == ("2 damaged turns were passed over",)


@pytest.mark.parametrize(
    ("words", "limit", "why"),
    [
        ("", 5, "nothing to look for"),
        ("?! …", 5, "nothing to look for"),
        ("x" * 1001, 5, "1,001 characters"),
        (" ".join(f"w{n}" for n in range(17)), 5, "17 words"),
        ('"' + " ".join(f"w{n}" for n in range(17)) + '"', 5, "17 words"),
        ("x", 0, "limit of 0"),
        ("x", 1001, "limit of 1001"),
    ],
)
async def test_a_search_that_cannot_be_made_is_refused_in_one_line(
    history: RedisHistory, words: str, limit: int, why: str
) -> None:
    """The value and the way out, before Redis is asked."""
    with pytest.raises(HistoryError, match=why):
        await history.search(words, limit)


async def test_a_long_line_is_cut_around_the_word(history: RedisHistory) -> None:
    """A match far inside a line of a megabyte is shown with what stands around it."""
    text = "a word " * 70_000 + "marmalade " + "a word " * 70_000
    await history.save("c1", said("?", text))
    (hit,) = (await history.search("marmalade")).found
    assert len(hit.line) <= 162
    assert [hit.line[a:b] for a, b in hit.marks] == ["marmalade"]
    assert hit.line.startswith("…")
    assert hit.line.endswith("…")


async def test_every_turn_of_many_conversations_is_looked_at_in_few_commands(
    history: RedisHistory,
) -> None:
    """Four commands a conversation, and one a page; found wherever it is."""
    await fill(history, 2 * PAGE + 50, 5)
    client = history._link.client
    before = await client.info("commandstats")
    result = await history.search("question n0t0", limit=50)
    after = await client.info("commandstats")
    assert (result.conversations, result.turns, result.partial) == (450, 2250, False)
    assert [hit.line for hit in result.found] == ["question n0t0"]

    def calls(name: str) -> int:
        return int(after[name]["calls"]) - int(before.get(name, {"calls": 0})["calls"])

    assert calls("cmdstat_zrevrange") <= 5
    for name in ("llen", "hmget", "memory"):
        assert calls(f"cmdstat_{name}") == 450
    assert calls("cmdstat_lrange") <= 450 + 2250 // 512 + 2


async def test_heavy_turns_are_read_a_few_at_a_time(history: RedisHistory) -> None:
    """What is read at once is bounded by bytes: the largest reply stays far below the whole."""
    await fill(history, 60, 20)
    await history.forget("c0")
    await fill(history, 1, 150, ledger={"evidence": "x" * 200_000})  # the oldest
    replies: list[int] = []

    async def weighed(work: Callable[[Any], Any]) -> Any:
        got = await history._link.read(work)
        if got and isinstance(got[0], list):
            replies.append(sum(len(record) for records in got for record in records))
        return got

    result = await search(weighed, history.tenant, "question n0t0")
    assert len(result.found) == 1
    assert sum(replies) > 30_000_000
    assert max(replies) < 5_000_000


async def test_a_user_who_may_not_read_is_told_and_finds_no_empty_history(
    start_server: Callable[..., int],
) -> None:
    """A refusal is an error, not "nothing was found"; asking for sizes may be forbidden."""
    port = start_server()
    owner, half = (f"redis://{user}127.0.0.1:{port}/0" for user in ("", "half:pw@"))
    async with await RedisHistory.open(owner) as history:
        await history.save("c1", said("a gull"))
        rights = ["+@all", "-lrange", "-memory"]
        await history._link.client.acl_setuser(
            "half", enabled=True, passwords=["+pw"], keys=["*"], commands=rights
        )
    async with await RedisHistory.open(half) as history:
        with pytest.raises(HistoryUnavailable, match="does not let this user"):
            await history.search("gull")
    async with await RedisHistory.open(owner) as history:
        await history._link.client.acl_setuser("half", enabled=True, commands=["+lrange"])
    async with await RedisHistory.open(half) as history:
        assert len((await history.search("gull")).found) == 1


async def test_a_search_out_of_time_says_so_and_gives_what_it_found(history: RedisHistory) -> None:
    """With no time at all the first turns are still looked at."""
    await fill(history, 300, 3)
    result = await history.search("question", limit=1000, seconds=0)
    assert result.partial
    assert result.found
    assert result.turns < 900
    assert "out of time" in result.notices[0]


async def test_conversations_written_to_meanwhile_are_not_missed_and_not_found_twice(
    history: RedisHistory,
) -> None:
    """Others move up in the list while it is read page by page."""
    await fill(history, PAGE + 60, 1)

    async def write() -> None:
        for number in range(0, 40, 4):
            await history.save(f"c{number}", said("later", at=1e9 + number))
            await asyncio.sleep(0)

    result, _ = await asyncio.gather(history.search("question", limit=1000), write())
    names = [hit.conversation for hit in result.found]
    assert sorted(names) == sorted(f"c{number}" for number in range(PAGE + 60))
