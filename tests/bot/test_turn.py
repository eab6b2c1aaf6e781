"""A turn, from the question to what memory holds, over a real library and a real Redis."""

import asyncio
import io
from contextlib import aclosing
from typing import Any, ClassVar
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from PIL import Image
from pydantic import Field
from scripted_chat import ScriptedChat

from bot import Answer, AsyncChatBot, Cited, Done, Event, EvidenceFound, Notice, Token, TurnError
from bot.demo import DemoQuestion, questions

STEPS = ["load", "encode", "retrieve", "fuse", "compose", "generate", "cite", "save"]


class WholeChat(BaseChatModel):
    """A real chat model that cannot stream: its answer comes in one piece."""

    reads_evidence: ClassVar[bool] = False
    says: str
    metadata_of: dict[str, Any] = Field(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "whole"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(content=self.says, response_metadata=self.metadata_of)
        return ChatResult(generations=[ChatGeneration(message=message)])


async def collect(bot: AsyncChatBot, *args: Any, **kwargs: Any) -> list[Event]:
    return [event async for event in bot.stream(*args, **kwargs)]


def done(events: list[Event]) -> Answer:
    assert isinstance(events[-1], Done)
    return events[-1].answer


async def test_events_come_in_their_order_and_the_last_one_is_the_saved_answer(
    open_bot: Any,
) -> None:
    async with open_bot() as bot:
        events = await collect(bot, "How tall is the lighthouse?", conversation="c1")
        saved = await bot.conversation("c1")
    kinds = [event.type for event in events]
    assert kinds[0] == "evidence"
    assert kinds[-1] == "done"
    assert kinds.index("token") < kinds.index("citation") < kinds.index("done")
    answer = done(events)
    assert "".join(e.text for e in events if isinstance(e, Token)).strip() == answer.text
    assert [e.citation for e in events if isinstance(e, Cited)] == list(answer.citations)
    assert saved.turns[0].answer.text == answer.text
    assert saved.turns[0].id == answer.turn


async def test_every_demo_question_is_answered_with_its_fact_from_its_source(open_bot: Any) -> None:
    wrong: list[str] = []
    async with open_bot() as bot:
        number = 0
        for question in questions():
            number += not question.follows
            images = [question.picture] if question.picture else []
            answer = await bot.ask(question.text, images=images, conversation=f"c{number}")
            if not _right(question, answer):
                wrong.append(f"{question.text}: {answer.text}")
    assert wrong == []


def _right(question: DemoQuestion, answer: Answer) -> bool:
    sources = {(c.source.rsplit("/", 1)[-1], c.page) for c in answer.citations}
    cited = any(
        name == question.source and (question.page is None or page == question.page)
        for name, page in sources
    )
    return question.expect.casefold() in answer.text.casefold() and cited


async def test_langchain_callbacks_see_every_step_and_the_retrievers_and_the_model(
    open_bot: Any,
) -> None:
    class Names(AsyncCallbackHandler):
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def on_chain_start(self, *args: Any, name: str = "", **kwargs: Any) -> None:
            self.seen.append(name)

        async def on_retriever_start(self, *args: Any, name: str = "", **kwargs: Any) -> None:
            self.seen.append(f"retriever {name}")

        async def on_chat_model_start(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
            self.seen.append("model")

    names = Names()
    async with open_bot() as bot:
        await bot.ask("How tall is the lighthouse?", callbacks=[names])
    assert [name for name in names.seen if name in STEPS] == STEPS
    assert "model" in names.seen
    assert {"TextRetriever", "PictureRetriever"} < set(names.seen)
    assert names.seen[0] == "turn"


async def test_a_turn_that_callbacks_look_at_has_the_same_events_as_one_that_none_looks_at(
    open_bot: Any,
) -> None:
    async with open_bot() as bot:
        told = []
        for callbacks in ([], [AsyncCallbackHandler()]):
            asked = bot.stream("How tall is the lighthouse?", callbacks=callbacks)
            events = [event async for event in asked]
            told.append([event.to_json() for event in events[:-1]])
    assert told[0] == told[1] != []


async def test_the_ledger_says_who_found_what_and_timings_name_every_step(open_bot: Any) -> None:
    async with open_bot() as bot:
        answer = await bot.ask("How tall is the lighthouse?")
    assert [entry.number for entry in answer.evidence] == list(range(1, len(answer.evidence) + 1))
    assert all(entry.evidence.scores for entry in answer.evidence)
    assert {e.number for e in answer.evidence if e.cited} == {c.mark for c in answer.citations}
    assert set(answer.timings) == {*STEPS, "total"}


async def test_a_model_that_fails_in_mid_stream_leaves_no_trace_in_memory(open_bot: Any) -> None:
    model = ScriptedChat(says=["It is ", "38 ", ConnectionResetError("the server hung up")])
    picture = Image.new("RGB", (40, 30), "red")
    async with open_bot(model) as bot:
        with pytest.raises(TurnError) as caught:
            await bot.ask("How tall?", images=[picture], conversation="c1")
        after = await bot.conversation("c1")
        names = await bot.conversations()
    assert caught.value.stage == "generate"
    assert "scripted" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (after.total, after.pictures, names) == (0, (), [])


async def test_a_caller_that_leaves_in_mid_stream_leaves_no_trace_in_memory(open_bot: Any) -> None:
    model = ScriptedChat(says=["It ", "is ", "tall."])
    async with open_bot(model) as bot:
        async with aclosing(bot.stream("How tall?", conversation="c1")) as events:
            async for event in events:
                if isinstance(event, Token):
                    break
        after = await bot.conversation("c1")
    assert after.total == 0


async def test_a_cancelled_turn_leaves_no_trace_and_the_next_one_works(open_bot: Any) -> None:
    model = ScriptedChat(says=["It ", asyncio.Event()])
    async with open_bot(model) as bot:
        task = asyncio.create_task(bot.ask("How tall?", conversation="c1"))
        await model.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        model.says = ["It ", "is "]
        answer = await bot.ask("How tall?", conversation="c1")
        after = await bot.conversation("c1")
    assert answer.text == "It is"
    assert after.total == 1


async def test_an_answer_that_takes_too_long_is_ended_with_the_setting_that_allows_more(
    open_bot: Any,
) -> None:
    for begins in ([], ["It "]):
        model = ScriptedChat(says=[*begins, asyncio.Event()])
        async with open_bot(model, answer_seconds=0.2) as bot:
            with pytest.raises(TurnError, match="answer_seconds"):
                await bot.ask("How tall?")


async def test_a_model_that_cannot_stream_answers_in_one_token(open_bot: Any) -> None:
    """Its follow-up questions and its word that it ran out of time are understood as well."""
    async with open_bot(WholeChat(says="38 m [1].")) as bot:
        first = await collect(bot, "How tall is the lighthouse?", conversation="c")
        second = await collect(bot, "And when was it built?", conversation="c")
        saved = (await bot.conversation("c")).turns
    for events in (first, second):
        assert [e.text for e in events if isinstance(e, Token)] == ["38 m [1]."]
        assert [c.mark for c in done(events).citations] == [1]
    assert [turn.answer.text for turn in saved] == ["38 m [1]."] * 2
    late = WholeChat(says="38", metadata_of={"finish_reason": "time"})
    async with open_bot(late) as bot:
        with pytest.raises(TurnError, match="answer_seconds"):
            await bot.ask("How tall is the lighthouse?", conversation="d")
        assert (await bot.conversation("d")).turns == ()


async def test_marks_that_name_no_source_are_a_notice_and_no_citation(open_bot: Any) -> None:
    async with open_bot(ScriptedChat(says=["So it is [99]."])) as bot:
        events = await collect(bot, "How tall is the lighthouse?")
    assert done(events).citations == ()
    assert "the answer cites [99], which is no source" in done(events).notices
    assert any(isinstance(e, Notice) for e in events)


async def test_a_model_with_eyes_is_shown_the_picture_and_one_without_is_not_and_it_is_said(
    open_bot: Any,
) -> None:
    picture = Image.new("RGB", (40, 30), "red")
    seeing, blind = (ScriptedChat(says=["Red."], pictures=p) for p in (True, False))
    async with open_bot(seeing) as bot:
        shown = await bot.ask("What colour is this?", images=[picture])
    async with open_bot(blind) as bot:
        hidden = await bot.ask("What colour is this?", images=[picture])
    kinds = [part["type"] for part in seeing.seen[0][-1].content if isinstance(part, dict)]
    assert "image" in kinds
    assert shown.evidence[0].pixels_shown
    assert isinstance(blind.seen[0][-1].content, str)
    assert not hidden.evidence[0].pixels_shown
    assert any("takes no pictures" in notice for notice in hidden.notices)


async def test_the_second_picture_is_found_again_turns_later(open_bot: Any) -> None:
    model = ScriptedChat(says=["Seen."], pictures=True)
    async with open_bot(model) as bot:
        for colour in ("red", "green", "blue"):
            await bot.ask("Look.", images=[Image.new("RGB", (8, 8), colour)], conversation="c")
        for _ in range(5):
            await bot.ask("How tall is the lighthouse?", conversation="c")
        answer = await bot.ask("What is in the second picture?", conversation="c")
        pictures = (await bot.conversation("c")).pictures
    assert [p.number for p in pictures] == [1, 2, 3]
    assert answer.evidence[0].evidence.id == "shown:2"
    assert answer.evidence[0].pixels_shown


async def test_earlier_turns_are_put_before_the_model(open_bot: Any) -> None:
    model = ScriptedChat(says=["Aye."])
    async with open_bot(model) as bot:
        await bot.ask("How tall is the lighthouse?", conversation="c")
        await bot.ask("And who kept its lamp?", conversation="c")
    texts = [str(m.text) for m in model.seen[-1]]
    assert texts[1:3] == ["How tall is the lighthouse?", "Aye."]


async def test_evidence_is_told_before_the_first_word(open_bot: Any) -> None:
    async with open_bot() as bot:
        events = await collect(bot, "How tall is the lighthouse?")
    assert isinstance(events[0], EvidenceFound)
    assert isinstance(events[-1], Done)


@pytest.mark.parametrize(
    ("text", "images", "said"),
    [
        ("", [], "nothing was asked"),
        ("x" * 9000, [], "9,000 characters, the most is 8,000"),
        ("?", [b"GIF89a"], "not a picture in one of the formats PNG"),
        ("?", ["/nowhere/dog.png"], "/nowhere/dog.png"),
        ("?", [b"<html>"], "not a picture"),
    ],
)
async def test_what_cannot_be_asked_is_refused_in_one_line(
    open_bot: Any, text: str, images: list[Any], said: str
) -> None:
    async with open_bot() as bot:
        with pytest.raises(TurnError, match=said) as caught:
            await bot.ask(text, images=images)
    assert caught.value.stage == "load"
    assert "\n" not in str(caught.value)


async def test_two_turns_of_two_conversations_run_at_once(open_bot: Any) -> None:
    async with open_bot() as bot:
        answers = await asyncio.gather(
            *(bot.ask("How tall is the lighthouse?", conversation=f"c{n}") for n in range(8))
        )
    assert len({a.text for a in answers}) == 1
    assert {a.conversation for a in answers} == {f"c{n}" for n in range(8)}


@pytest.mark.parametrize(
    ("question", "meant"),
    [
        ("What is in this picture?", ["shown:3"]),
        ("How does it differ from the last picture?", ["shown:3", "shown:2"]),
        ("Compare it with picture 1.", ["shown:3", "shown:1"]),
        ("What is in the third picture?", ["shown:3"]),
    ],
)
async def test_words_about_pictures_mean_the_one_just_sent_unless_they_point_back(
    open_bot: Any, question: str, meant: list[str]
) -> None:
    async with open_bot(ScriptedChat(says=["Seen."])) as bot:
        for colour in ("red", "green"):
            await bot.ask("Look.", images=[Image.new("RGB", (8, 8), colour)], conversation="c")
        blue = Image.new("RGB", (8, 8), "blue")
        answer = await bot.ask(question, images=[blue], conversation="c")
    shown = [e.evidence.id for e in answer.evidence if e.evidence.id.startswith("shown:")]
    assert shown == meant
    assert not any("may be" in notice for notice in answer.notices)


async def test_a_picture_that_is_not_there_is_said_and_one_that_could_be_several_is_asked_for(
    open_bot: Any,
) -> None:
    async with open_bot(ScriptedChat(says=["Hm."])) as bot:
        for colour in ("red", "green"):
            await bot.ask("Look.", images=[Image.new("RGB", (8, 8), colour)], conversation="c")
        absent = await bot.ask("What is in the ninth picture?", conversation="c")
        several = await bot.ask("What is in the picture?", conversation="c")
    assert "“the ninth picture”: there is no such picture in this conversation" in absent.notices
    assert several.text == "Which picture do you mean by “the picture”: picture 1 or picture 2?"


async def test_pictures_of_turns_at_once_get_numbers_of_their_own_and_citations_follow(
    open_bot: Any,
) -> None:
    async with open_bot(ScriptedChat(says=["Seen [1]."])) as bot:
        colours = ("red", "green", "blue")
        answers = await asyncio.gather(
            *(
                bot.ask("Look.", images=[Image.new("RGB", (8, 8), colour)], conversation="c")
                for colour in colours
            )
        )
        found = await bot.conversation("c")
        refs = {p.number: p.sha256 for p in found.pictures}
        for turn in found.turns:
            (cited,) = turn.citations
            assert refs[cited["picture"]] == cited["media"]
            assert cited["evidence"] == f"shown:{turn.question.pictures[0]}"
        for colour, answer in zip(colours, answers, strict=True):
            (citation,) = answer.citations
            data = await bot.cited_picture(answer, citation)
            pixel = Image.open(io.BytesIO(data)).convert("RGB").getpixel((0, 0))
            assert pixel == Image.new("RGB", (1, 1), colour).getpixel((0, 0))
    assert sorted(p.number for p in found.pictures) == [1, 2, 3]
    assert len({answer.citations[0].picture for answer in answers}) == 3


async def test_words_of_the_library_picture_that_was_recognised_reach_the_writer(
    open_bot: Any,
) -> None:
    lighthouse = next(q for q in questions() if q.text == "How tall is this?")
    assert lighthouse.picture is not None
    async with open_bot() as bot:
        await bot.ask(lighthouse.text, images=[lighthouse.picture], conversation="c")
        saved = await bot.conversation("c")
    assert "lighthouse of Skerrin Head" in saved.turns[0].ledger["about"]


async def test_earlier_pictures_beyond_the_limit_are_left_out_and_said(open_bot: Any) -> None:
    async with open_bot(ScriptedChat(says=["Hm."]), pictures_per_turn=2) as bot:
        for colour in ("red", "green", "blue"):
            await bot.ask("Look.", images=[Image.new("RGB", (8, 8), colour)], conversation="c")
        answer = await bot.ask("Compare pictures 1, 2 and 3.", conversation="c")
    shown = [e for e in answer.evidence if e.evidence.id.startswith("shown:")]
    assert len(shown) == 2
    assert "only 2 of the 3 earlier pictures were looked at" in answer.notices


async def test_turns_that_were_not_loaded_are_said(open_bot: Any) -> None:
    async with open_bot(ScriptedChat(says=["Hm."]), history_turns=2) as bot:
        for _ in range(4):
            answer = await bot.ask("How tall is the lighthouse?", conversation="c")
    assert "only the last 2 of 3 turns were looked at" in answer.notices
