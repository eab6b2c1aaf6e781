"""One turn at a time, and a repeated question is one turn: as the Python interface shows it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from PIL import Image
from scripted_chat import ScriptedChat

from bot import Answer, AsyncChatBot, ChatBot, Cited, Done, EvidenceFound, Notice, Token, TurnError
from memory.errors import ConversationBusy, KeyReused, TurnInFlight

KEYS = 200 if os.environ.get("BIFOCAL_FULL") else 6
SEEN = ["Seen", "."]


def told(answer: Answer) -> dict[str, Any]:
    """What an answer says, but for its timings."""
    return {k: v for k, v in answer.to_json().items() if k != "timings"}


async def test_a_repeat_gets_the_stored_answer_and_its_events_again(open_bot: Any) -> None:
    """Same turn id, same words, ledger and citations; the model is not asked again."""
    red = Image.new("RGB", (40, 30), "red")
    async with open_bot() as bot:
        asked: dict[str, Any] = {"images": [red], "idempotency_key": "k"}
        first = [e async for e in bot.stream("How tall is the lighthouse?", **asked)]
        again = [e async for e in bot.stream("How tall is the lighthouse?", **asked)]
        assert isinstance(first[-1], Done)
        assert isinstance(again[-1], Done)
        assert told(again[-1].answer) == told(first[-1].answer)
        assert isinstance(again[0], EvidenceFound)
        assert [e.text for e in again if isinstance(e, Token)] == [first[-1].answer.text]
        cited = [[e.citation for e in es if isinstance(e, Cited)] for es in (first, again)]
        assert cited[0] == cited[1] != []
        assert (await bot.conversation(first[-1].answer.conversation)).total == 1
        answer = again[-1].answer
        for citation in answer.citations:
            if citation.media is not None and answer.media is not None:
                assert answer.media(citation)
        with pytest.raises(KeyReused):
            await bot.ask("How old is the lighthouse?", images=[red], idempotency_key="k")


async def test_a_repeated_follow_up_gets_what_was_searched_for_and_which_pictures_were_meant(
    open_bot: Any,
) -> None:
    """The whole JSON is that of the first answer but for timings, with a picture and without."""
    red, blue = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
    async with open_bot(ScriptedChat(says=SEEN, pictures=True), condense_seconds=0) as bot:
        await bot.ask("How tall is the lighthouse?", images=[red, blue], conversation="c")
        for key, question in (("p", "What is in the second picture?"), ("w", "And how old is it?")):
            first = await bot.ask(question, conversation="c", idempotency_key=key)
            again = await bot.ask(question, conversation="c", idempotency_key=key)
            assert told(again) == told(first)
            assert again.turn == first.turn
            if key == "p":
                assert again.references
                assert [(r.pictures, r.shown) for r in again.references] == [((2,), (2,))]
            else:
                assert "by the words of earlier turns" in again.searched
        assert (await bot.conversation("c")).total == 3


async def test_a_repeated_reply_to_a_question_back_keeps_the_question_that_had_waited(
    open_bot: Any,
) -> None:
    """The answer's question is the one that was answered, not "the second one"."""
    pictures = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green")]
    async with open_bot(ScriptedChat(says=SEEN, pictures=True)) as bot:
        await bot.ask("Keep these.", images=pictures, conversation="c")
        asks = await bot.ask("What is in that picture?", conversation="c", idempotency_key="a")
        repeated = await bot.ask("What is in that picture?", conversation="c", idempotency_key="a")
        assert told(repeated) == told(asks)
        assert asks.model == "no model"
        first = await bot.ask("the second one", conversation="c", idempotency_key="b")
        again = await bot.ask("the second one", conversation="c", idempotency_key="b")
    assert told(again) == told(first)
    assert again.question == "What is in that picture?"


async def test_many_at_once_under_one_key_are_one_turn(open_bot: Any) -> None:
    """5 at once for each key: one is answered, the others are told that it is in flight."""
    async with open_bot(ScriptedChat(says=SEEN)) as bot:
        for key in range(KEYS):
            replies = await asyncio.gather(
                *(bot.ask(f"What is {key}?", idempotency_key=f"k{key}") for _ in range(5)),
                return_exceptions=True,
            )
            answers = [reply for reply in replies if isinstance(reply, Answer)]
            assert len({answer.turn for answer in answers}) == 1
            assert all(isinstance(r, Answer | TurnInFlight) for r in replies)
            assert (await bot.conversation(answers[0].conversation)).total == 1


async def test_a_turn_that_failed_may_be_asked_again_under_its_key(open_bot: Any) -> None:
    """Nothing was saved, so nothing is repeated."""
    async with open_bot(
        ScriptedChat(says=["Seen", ConnectionResetError("the server hung up")])
    ) as bot:
        with pytest.raises(TurnError):
            await bot.ask("What is this?", conversation="c", idempotency_key="k")
        async with open_bot(ScriptedChat(says=SEEN)) as second:
            answer = await second.ask("What is this?", conversation="c", idempotency_key="k")
    assert answer.text == "Seen."


async def test_a_second_turn_waits_or_is_told_that_the_conversation_is_busy(open_bot: Any) -> None:
    """The setting busy_seconds says for how long."""
    model = ScriptedChat(says=["Seen", asyncio.Event()])
    async with open_bot(model, busy_seconds=0.05) as bot:
        first = asyncio.create_task(bot.ask("What is this?", conversation="c"))
        await model.asked.wait()
        with pytest.raises(ConversationBusy, match="try again in"):
            await bot.ask("And this?", conversation="c")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        saved = await bot.conversation("c")
    assert saved.total == 0


async def test_turns_that_come_at_once_see_one_another(open_bot: Any) -> None:
    """The later ones have the earlier ones in their prompt."""
    model = ScriptedChat(says=SEEN)
    async with open_bot(model) as bot:
        await asyncio.gather(*(bot.ask(f"Question {n}?", conversation="c") for n in range(4)))
    asked = [messages for messages in model.seen if len(messages) > 1]  # one: to rewrite it
    assert sorted(map(len, asked)) == [2, 4, 6, 8]
    assert not any(isinstance(m, AIMessageChunk) for m in asked[0])


def test_the_synchronous_bot_repeats_too(demo_library: Path) -> None:
    """ask, then stream, under one key."""
    with ChatBot.open(demo_library) as bot:
        answer = bot.ask("How tall is the lighthouse?", conversation="c", idempotency_key="k")
        events = list(
            bot.stream("How tall is the lighthouse?", conversation="c", idempotency_key="k")
        )
        assert isinstance(events[-1], Done)
        assert events[-1].answer.turn == answer.turn
        assert bot.conversation("c").total == 1
        assert not any(isinstance(e, Notice) for e in events)
        assert isinstance(bot._bot, AsyncChatBot)


async def test_a_picture_whose_pixels_are_gone_is_said_and_the_turn_goes_on(open_bot: Any) -> None:
    """Asked about by its number, and when its own turn is answered again; the handle stays."""
    red = Image.new("RGB", (40, 30), "red")
    async with open_bot(ScriptedChat(says=SEEN), pictures_ttl="0.05s") as bot:
        first = await bot.ask("What is this?", images=[red], conversation="c")
        await asyncio.sleep(0.2)
        answer = await bot.ask("What is in picture 1?", conversation="c")
        assert any("picture 1 are not kept any longer" in notice for notice in answer.notices)
        again = await bot.regenerate("c", first.turn)
        assert any("picture 1 are not kept any longer" in notice for notice in again.notices)
        found = await bot.conversation("c")
    assert [picture.number for picture in found.pictures] == [1]
    assert found.turns[0].question.pictures == (1,)
