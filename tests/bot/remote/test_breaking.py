"""Connections that break: what was asked is one turn, and each event arrives once, in order."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from bot import AsyncRemoteChatBot, Done, ServiceError, Token
from bot.remote import events as remote_events

WORDS = [f"w{n}é\u2028 " for n in range(100)]
TALL = "How tall is the lighthouse?"


class Wordy(BaseChatModel):
    """Says a hundred words, the rest of them after ``let`` is set."""

    reads_evidence: ClassVar[bool] = False
    context_tokens: int = 8192
    let: Any = None
    ended: int = 0

    @property
    def _llm_type(self) -> str:
        return "wordy"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        try:
            for at, word in enumerate(WORDS):
                if at == 2 and self.let is not None:
                    await self.let.wait()
                yield ChatGenerationChunk(message=AIMessageChunk(content=word))
                await asyncio.sleep(0)
        finally:
            self.ended += 1


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_events, "PAUSE", 0.001)


@pytest.mark.usefixtures("_at_once")
async def test_a_stream_that_is_cut_anywhere_arrives_whole(serve: Any, breaking: Any) -> None:
    """The connection is cut in the evidence, in and between tokens, and at last."""
    async with serve(writer=Wordy()) as served, breaking(served.url) as way:
        for step in range(6):
            early, late = [900 + step, 4000 + 7 * step], [2000 + 100 * step, 3500]
            way.limits = [*early, *range(900 + step, 1300, 17), *late]
            async with AsyncRemoteChatBot(way.url) as bot:
                seen = [event async for event in bot.stream(TALL, conversation=f"c{step}")]
                assert [e.type for e in seen[:1]] == ["evidence"], step
                said = [e.text for e in seen if isinstance(e, Token)]
                assert said == WORDS, step
                assert [e.type for e in seen[len(WORDS) + 1 :]] == ["done"], step
                way.limits = []
                known = await bot.conversation(f"c{step}")
                assert known.total == 1, step
                assert isinstance(seen[-1], Done)
                assert seen[-1].answer.turn == known.turns[0].id
        assert way.cuts > 100


async def test_a_question_whose_answer_was_lost_is_one_turn(serve: Any, breaking: Any) -> None:
    """The first connections end before a byte of the answer is through."""
    async with serve() as served, breaking(served.url) as way:
        way.limits = [1, 1]
        async with AsyncRemoteChatBot(way.url) as bot:
            answer = await bot.ask(TALL, conversation="c")
            assert "34 metres" in answer.text
            assert (await bot.conversation("c")).total == 1
            assert way.cuts == 2


async def test_a_list_whose_answer_was_lost_is_asked_for_again(serve: Any, breaking: Any) -> None:
    async with serve() as served, breaking(served.url) as way:
        async with AsyncRemoteChatBot(served.url) as bot:
            await bot.ask(TALL, conversation="c")
        way.limits = [20, 300]
        async with AsyncRemoteChatBot(way.url) as bot:
            assert [s.id for s in await bot.conversations()] == ["c"]
            assert way.cuts == 2


async def test_a_deletion_whose_answer_was_lost_is_done(serve: Any, breaking: Any) -> None:
    async with serve() as served, breaking(served.url) as way:
        async with AsyncRemoteChatBot(served.url) as bot:
            await bot.ask(TALL, conversation="c")
        way.limits = [1]
        async with AsyncRemoteChatBot(way.url) as bot:
            await bot.forget("c")
            assert way.cuts == 1
            assert await bot.conversations() == []


async def test_a_large_picture_gets_through_when_its_connection_breaks(
    serve: Any, breaking: Any, demo_files: Path
) -> None:
    async with serve() as served, breaking(served.url) as way:
        way.limits = [1]
        async with AsyncRemoteChatBot(way.url) as bot:
            picture = demo_files / "lighthouse.jpg"
            answer = await bot.ask("How tall is this?", images=[picture], conversation="c")
            assert "34 metres" in answer.text
            assert len((await bot.conversation("c")).pictures) == 1


async def test_a_copy_is_not_made_twice(serve: Any, breaking: Any) -> None:
    """What may have been done, and would do harm if done again, is an error."""
    async with serve() as served, breaking(served.url) as way:
        async with AsyncRemoteChatBot(served.url) as bot:
            await bot.ask(TALL, conversation="c")
        way.limits = [1]
        async with AsyncRemoteChatBot(way.url) as bot:
            with pytest.raises(ServiceError, match="broke before the answer"):
                await bot.fork("c", "d")
            assert {s.id for s in await bot.conversations()} == {"c", "d"}


async def test_whoever_stops_reading_ends_the_turn(serve: Any) -> None:
    """The model stops, and nothing is saved."""
    writer = Wordy(let=asyncio.Event())
    async with serve(writer=writer) as served, AsyncRemoteChatBot(served.url) as bot:
        events = bot.stream(TALL, conversation="c")
        assert (await anext(events)).type == "evidence"
        await anext(events)
        await events.aclose()
        assert writer.ended == 1  # DELETE returns when it is over
        assert (await bot.conversation("c")).total == 0


async def test_whoever_is_cancelled_ends_the_turn(serve: Any) -> None:
    writer = Wordy(let=asyncio.Event())
    async with serve(writer=writer) as served, AsyncRemoteChatBot(served.url) as bot:
        begun = asyncio.Event()

        async def read() -> None:
            async with aclosing(bot.stream(TALL, conversation="c")) as events:
                async for event in events:
                    if event.type == "token":
                        begun.set()

        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        await asyncio.wait({reading})
        assert writer.ended == 1
        assert (await bot.conversation("c")).total == 0


async def test_an_answer_again_that_breaks_is_an_error(serve: Any, breaking: Any) -> None:
    """It cannot be taken up again; the old answer, or the new one, is there."""
    async with serve(writer=Wordy()) as served, breaking(served.url) as way:
        async with AsyncRemoteChatBot(served.url) as bot:
            await bot.ask(TALL, conversation="c")
        async with AsyncRemoteChatBot(way.url) as bot:
            turn = (await bot.conversation("c")).turns[0].id
        way.limits = [2500]
        async with AsyncRemoteChatBot(way.url) as bot:
            with pytest.raises(ServiceError, match="broke"):
                await bot.regenerate("c", turn)
            assert [t.id for t in (await bot.conversation("c")).turns] == [turn]
