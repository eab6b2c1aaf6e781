"""Summaries of older turns are made beside the turns, and nothing waits for them."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot import Answer
from bot.beside import WAITING, Beside
from bot.summariser import Job, Summariser, starts
from bot.summary import missing
from memory.messages import Message, Turn

#: How the prompts begin that ask for a summary, and for a question that stands alone
SUM_UP, ANEW = "Write down what was said", "A person goes on talking."


async def talk(bot: Any, turns: int, begin: int = 1) -> list[Answer]:
    said = []
    for number in range(begin, begin + turns):
        said.append(await bot.ask(f"Tell me about boat {number}00 of Skerrin.", conversation="c"))
        await bot.parts.beside.settled()
    return said


def prompts(model: Any) -> list[list[str]]:
    return [[str(m.text) for m in messages] for messages in model.answered]


async def test_without_a_model_the_turns_own_words_are_the_summary_and_pictures_stay_in_it(
    open_bot: Any,
) -> None:
    async with open_bot(history_turns=4) as bot:
        await bot.ask("What is this?", images=[Image.new("RGB", (8, 8), "red")], conversation="c")
        await talk(bot, 8)
        recaps = await bot.parts.history.recaps("c")
        whole = await bot.conversation("c")
    assert len(whole.turns) == 9
    assert recaps[-1].turns in (6, 8)
    wanted = ["picture 1", "Skerrin", *(f"{n}00" for n in range(1, recaps[-1].turns))]
    assert missing(wanted, recaps[-1].text) == []
    assert len(recaps) <= 3


async def test_a_models_summary_is_put_before_the_kept_turns_with_what_it_lost(
    open_bot: Any, aside_chat: Any
) -> None:
    model = aside_chat(
        says="So it is [1].", asides={SUM_UP: ["Boats were ", "talked of."], ANEW: [""]}
    )
    async with open_bot(model, history_turns=4) as bot:
        answer = (await talk(bot, 8))[-1]
    last = prompts(model)[-1]
    assert '<summary turns="1-' in last[1]
    assert "Boats were talked of.\nAlso: " in last[1]
    assert missing(["100", "200", "Skerrin"], last[1]) == []
    assert any("in the prompt only as a summary" in notice for notice in answer.notices)
    assert not any("not in the summary yet" in notice for notice in answer.notices)
    summaries = [text for text in model.asked if text.startswith(SUM_UP)]
    assert "Person: Tell me about boat 100" in summaries[0]
    assert "(nothing yet)" in summaries[0]
    assert "Boats were talked of." in summaries[-1]


async def test_what_stands_before_the_kept_turns_changes_only_when_the_window_moves(
    open_bot: Any, aside_chat: Any
) -> None:
    model = aside_chat(asides={SUM_UP: ["Boats were talked of."], ANEW: [""]})
    async with open_bot(model, history_turns=8) as bot:
        await talk(bot, 20)
    heads = [texts[1] for texts in prompts(model)[1:]]
    kept = [head.rpartition("Tell me about boat ")[2] for head in heads]
    assert len(set(kept)) >= 3
    for (head, first), (head_after, first_after) in pairwise(zip(heads, kept, strict=True)):
        assert (head == head_after) == (first == first_after)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (ConnectionResetError("gone"), "the model: cannot be reached"),
        (["It was 4711."], "the model wrote no summary"),
        (None, "had not written it within 0.2 s"),
    ],
)
async def test_when_the_model_fails_invents_or_is_slow_the_turns_own_words_are_the_summary(
    open_bot: Any, aside_chat: Any, reply: Any, why: str
) -> None:
    model = aside_chat(asides={SUM_UP: reply, ANEW: [""]})
    async with open_bot(model, history_turns=4, summary_seconds=0.2) as bot:
        answers = await talk(bot, 6)
        recaps = await bot.parts.history.recaps("c")
    assert recaps[0].text.startswith("Turn 1: Tell me about boat 100")
    notices = [notice for answer in answers for notice in answer.notices]
    assert any("the last summary of older turns" in n and why in n for n in notices)


async def test_a_turn_does_not_wait_for_a_summary_and_nothing_is_lost_when_it_breaks_it_off(
    open_bot: Any, aside_chat: Any
) -> None:
    """The model would write its summary for ever; each answer comes all the same."""
    model = aside_chat(asides={SUM_UP: None, ANEW: [""]})
    async with open_bot(model, history_turns=4, summary_seconds=600, condense_seconds=0) as bot:
        for number in range(10):
            answer = await bot.ask(f"Tell me about boat {number}.", conversation="c")
            await asyncio.sleep(0.05)
        assert (await bot.conversation("c")).total == 10
        assert model.ended >= 2
    last = prompts(model)[-1]
    recalled = last[1].partition("</summary>")[0]
    assert len(model.answered) == 10
    for number in range(9):
        assert any(f"Tell me about boat {number}." in t for t in (recalled, *last[1:]))
    assert any("an answer came in between" in notice for notice in answer.notices)
    assert model.ended == len(model.asked)


async def test_closing_the_bot_ends_a_summary_under_way_and_leaves_no_task(
    open_bot: Any, aside_chat: Any
) -> None:
    model = aside_chat(asides={SUM_UP: None, ANEW: [""]})
    before = asyncio.all_tasks()
    async with open_bot(model, history_turns=2, summary_seconds=600) as bot:
        for number in range(5):
            await bot.ask(f"Tell me about boat {number}.", conversation="c")
        async with asyncio.timeout(60):
            while not model.asked:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        bot.parts.summariser.offer(Job("d", 9, (4,), 500))
    assert model.ended == len(model.asked)
    assert asyncio.all_tasks() <= before


async def test_a_summary_of_a_conversation_that_was_forgotten_meanwhile_is_not_kept(
    open_bot: Any, aside_chat: Any
) -> None:
    model = aside_chat(asides={SUM_UP: ["Boats."], ANEW: [""]})
    async with open_bot(model, history_turns=2) as bot:
        await talk(bot, 5)
        await bot.forget("c")
        bot.parts.summariser.offer(Job("c", 5, (4,), 500))
        await bot.parts.beside.settled()
        assert await bot.parts.history.recaps("c") == ()
        assert await bot.conversations() == []


async def test_after_a_drop_no_summary_tells_what_the_picture_showed(
    open_bot: Any, aside_chat: Any, tmp_path: Path
) -> None:
    """The summary goes with the picture; the next one says that it is gone."""
    Image.new("RGB", (8, 8), "red").save(tmp_path / "secret-otter.png")
    model = aside_chat(asides={SUM_UP: ["Boats."], ANEW: [""]})
    async with open_bot(model, history_turns=4) as bot:
        await bot.ask("Look.", images=[tmp_path / "secret-otter.png"], conversation="c")
        await talk(bot, 7)
        history = bot.parts.history
        assert "secret-otter" in (await history.recaps("c"))[-1].text
        await bot.drop("c", 1)
        assert await history.recaps("c") == ()
        await talk(bot, 5, 8)
        recaps = await history.recaps("c")
    assert "picture 1 (no longer there)" in recaps[-1].text
    said = "".join("".join(texts) for texts in (*prompts(model)[8:], model.asked[-1:]))
    assert "picture 1 (no longer there)" in said
    assert "secret-otter" not in said


async def test_a_question_that_asks_back_leaves_the_turns_that_are_still_in_the_prompt_alone(
    open_bot: Any, aside_chat: Any
) -> None:
    """It has no prompt; its summary is that of a prompt into which all that is loaded fits."""
    model = aside_chat(asides={SUM_UP: ["Boats."], ANEW: [""]})
    async with open_bot(model, history_turns=4) as bot:
        pair = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
        await bot.ask("Look.", images=pair, conversation="c")
        await talk(bot, 5)
        before = await bot.parts.history.recaps("c")
        back = await bot.ask("What is in the picture?", conversation="c")
        await bot.parts.beside.settled()
        recaps = await bot.parts.history.recaps("c")
        (after,) = await talk(bot, 1, 6)
    assert back.text.startswith("Which picture do you mean")
    assert before
    assert max(recap.turns for recap in recaps) <= 7 - 4 + 2
    assert not any("not in the summary yet" in notice for notice in after.notices)


async def test_a_damaged_summary_is_said_and_made_anew(open_bot: Any, aside_chat: Any) -> None:
    model = aside_chat(asides={SUM_UP: ["Boats."], ANEW: [""]})
    async with open_bot(model, history_turns=2) as bot:
        await talk(bot, 5)
        history = bot.parts.history
        key = history._store.key("c", "meta")
        await history._link.write(lambda client: client.hset(key, "recaps", b"00000000{}"))
        (answer,) = await talk(bot, 1, 6)
        assert any("summary of older turns cannot be read" in n for n in answer.notices)
        assert (await history.recaps("c"))[-1].text.startswith("Boats.")


async def test_a_long_conversation_without_a_summary_gets_one_also_while_turns_go_on(
    open_bot: Any,
) -> None:
    """Turns that came after it was put on the list do no harm; the newest have lines."""
    async with open_bot() as bot:
        history = bot.parts.history
        for number in range(300):
            turn = Turn(str(number), Message(f"boat {number}00?"), Message("Aye."), number)
            await history.save("c", turn)
        bot.parts.summariser.offer(Job("c", 295, (290,), 3000))
        await bot.parts.beside.settled()
        (recap,) = await history.recaps("c")
        assert bot.parts.summariser.trouble("c") == ""
    assert recap.turns == 290
    assert recap.text.split("\n")[-1] == "Turn 290: boat 28900? — Aye."
    assert "Turn 1:" not in recap.text
    assert len(recap.text) <= 3000


class NoHistory:
    """Keeps nothing, and says that it is gone; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def recaps(self, conversation: str) -> tuple[()]:
        self.asked.append(conversation)
        raise OSError("gone")


async def test_the_list_is_bounded_and_one_conversations_failure_stops_no_other() -> None:
    history: Any = NoHistory()
    beside = Beside()
    summariser = Summariser(history, beside, 1)
    for number in range(3 * WAITING):
        summariser.offer(Job(f"c{number}", 4, (2,), 500))
        summariser.offer(Job(f"c{number}", 5, (4,), 500))
    await beside.settled()
    assert history.asked == [f"c{n}" for n in range(2 * WAITING, 3 * WAITING)]
    assert "gone" in summariser.trouble(f"c{3 * WAITING - 1}")
    assert summariser.trouble(f"c{3 * WAITING - 1}") == ""
    await beside.aclose()
    summariser.offer(Job("late", 4, (2,), 500))
    await beside.settled()
    assert "late" not in history.asked


def test_the_next_window_is_foreseen_wherever_everything_fits() -> None:
    from bot.compose import Budget, Prompts, compose, estimate_tokens
    from prompts import load_prompt

    made = Prompts(load_prompt("answer"), load_prompt("question"), load_prompt("source"))
    turns = [Turn(str(n), Message("q"), Message("a"), n) for n in range(60)]
    foreseen: tuple[int, ...] = ()
    for most in (1, 2, 3, 5, 8, 13):
        foreseen = ()
        for total in range(60):
            loaded = turns[max(0, total - most) : total]
            budget = Budget(8000, 0, estimate_tokens)
            prompt = compose("?", [], [], loaded, made, budget, turns_before=total - len(loaded))
            assert not prompt.first or prompt.first in foreseen
            foreseen = starts(prompt.first, prompt.fitting, len(loaded), total + 1, most)
