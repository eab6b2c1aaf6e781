"""What every writer of answers does, whichever it is: the contract of the ChatModel seam."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.runnables import Runnable, RunnableLambda
from PIL import Image
from pydantic import SecretStr

from bot.models.choose import Capabilities, capabilities, load_model
from bot.models.llama import picture_part
from retrievers.evidence import Evidence

EVIDENCE = (
    Evidence("passage:1", "passage", "ferry.md", "The ferry to Skerrin leaves at 07:40 each day."),
    Evidence("passage:2", "passage", "lamp.md", "The lamp of the lighthouse was lit in 1887."),
)
QUESTION = "When does the ferry to Skerrin leave?"


@dataclass(frozen=True)
class Writer:
    """A model, what it says it can do, and what is given with each call."""

    model: BaseChatModel
    able: Capabilities
    extra: dict[str, Any]
    long: str  #: a question with an answer long enough to leave in the middle of


def _extractive(_: Callable[[str], Any]) -> Writer:
    model = load_model("extractive")
    able = capabilities(model)
    return Writer(model, able, {"evidence": EVIDENCE}, QUESTION)


def _llama(fixture: Callable[[str], Any]) -> Writer:
    path: Path = fixture("tiny")
    model = load_model(f"llama:{path}", options={"threads": 1})
    return Writer(model, capabilities(model), {}, "a red thing")


def _remote(fixture: Callable[[str], Any]) -> Writer:
    model = load_model(
        "openai:any",
        base_url=fixture("server").url,
        api_key=SecretStr("swordfish-4711"),
        options={"pictures": True, "max_retries": 0},
    )
    return Writer(model, capabilities(model), {}, "tell me")


@pytest.fixture(params=[_extractive, _llama, _remote], ids=["extractive", "llama", "remote"])
def writer(request: pytest.FixtureRequest) -> Iterator[Writer]:
    """Each writer in turn."""
    made: Writer = request.param(request.getfixturevalue)
    yield made
    if close := getattr(made.model, "close", None):
        close()


def messages(*parts: Any) -> list[BaseMessage]:
    """Return a conversation that ends with words and other parts, or with the question."""
    given = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts or (QUESTION,)]
    return [SystemMessage("Answer from the sources."), HumanMessage(given)]


class TestChatModelContract:
    """The contract; see ``Writer`` for what varies."""

    def test_invoke_and_stream_agree(self, writer: Writer) -> None:
        """The streamed pieces together are the answer, and there is one."""
        whole = writer.model.invoke(messages(), **writer.extra)
        pieces = list(writer.model.stream(messages(), **writer.extra))
        assert str(whole.text).strip()
        assert "".join(str(piece.text) for piece in pieces) == str(whole.text)
        assert len([p for p in pieces if p.text]) >= 1

    async def test_the_async_twins_agree(self, writer: Writer) -> None:
        """ainvoke and astream say what invoke says."""
        whole = writer.model.invoke(messages(), **writer.extra)
        again = await writer.model.ainvoke(messages(), **writer.extra)
        pieces = [str(p.text) async for p in writer.model.astream(messages(), **writer.extra)]
        assert str(again.text) == "".join(pieces) == str(whole.text)

    def test_the_same_question_gets_the_same_answer(self, writer: Writer) -> None:
        """By default nothing is left to chance."""
        first, second = (writer.model.invoke(messages(), **writer.extra) for _ in range(2))
        assert first.text == second.text

    def test_usage_is_told_whole_and_streamed(self, writer: Writer) -> None:
        """Both ways tell the same counts, once, and they add up."""
        whole = writer.model.invoke(messages(), **writer.extra).usage_metadata
        joined: AIMessageChunk | None = None
        for piece in writer.model.stream(messages(), **writer.extra):
            assert isinstance(piece, AIMessageChunk)
            joined = piece if joined is None else joined + piece
        assert joined is not None
        assert whole is not None
        assert joined.usage_metadata is not None
        for usage in (whole, joined.usage_metadata):
            assert usage["input_tokens"] > 0
            assert usage["output_tokens"] > 0
            assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert joined.usage_metadata["total_tokens"] == whole["total_tokens"]

    def test_why_it_ended_is_told(self, writer: Writer) -> None:
        """finish_reason is stop for an answer that is whole."""
        answer = writer.model.invoke(messages(), **writer.extra)
        assert answer.response_metadata["finish_reason"] == "stop"

    def test_a_stop_string_is_not_part_of_the_answer(self, writer: Writer) -> None:
        """Writers of free text end before it; one that quotes evidence has no use for it."""
        whole = str(writer.model.invoke(messages(), **writer.extra).text)
        if writer.able.reads_evidence:
            pytest.skip("it quotes: what it says is chosen whole")
        stop = whole.split()[2]
        cut = str(writer.model.invoke(messages(), stop=[stop], **writer.extra).text)
        assert cut
        assert whole.startswith(cut)
        assert stop not in cut

    def test_a_batch_is_as_many_single_answers(self, writer: Writer) -> None:
        """batch keeps order."""
        asked = [messages(t) for t in ("red", QUESTION, "a blue one")]
        alone = [writer.model.invoke(one, **writer.extra).text for one in asked]
        assert [a.text for a in writer.model.batch(asked, **writer.extra)] == alone  # type: ignore[arg-type]

    async def test_answers_at_once_do_not_mix(self, writer: Writer) -> None:
        """Ten tasks get what each would get alone."""
        texts = [" red", " green", " blue", QUESTION, "nothing"] * 2
        alone = [writer.model.invoke(messages(t), **writer.extra).text for t in texts]
        together = await asyncio.gather(
            *(writer.model.ainvoke(messages(t), **writer.extra) for t in texts)
        )
        assert [answer.text for answer in together] == alone

    def test_pictures_are_taken_by_those_who_say_so(self, writer: Writer) -> None:
        """A writer that takes pictures answers; capabilities and behaviour are the same."""
        part = picture_part(Image.new("RGB", (64, 64), "red"))
        asked = messages("what is it?", part)
        assert writer.able.pictures == (writer.able.max_pictures > 0)
        assert writer.able.pictures or writer.able.reads_evidence
        assert str(writer.model.invoke(asked, **writer.extra).text)

    def test_history_may_come_before_the_question(self, writer: Writer) -> None:
        """A conversation of several turns is taken."""
        asked = [HumanMessage("Hello"), AIMessage("Good day"), *messages()[1:]]
        assert str(writer.model.invoke(asked, **writer.extra).text)

    async def test_leaving_in_the_middle_leaves_the_writer_whole(self, writer: Writer) -> None:
        """After a stream that was left at its first piece, the next answer is the right one."""
        before = writer.model.invoke(messages(), **writer.extra).text
        stream = writer.model.astream(
            messages({"type": "text", "text": writer.long}), **writer.extra
        )
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        for _ in writer.model.stream(messages(), **writer.extra):
            break
        assert (await writer.model.ainvoke(messages(), **writer.extra)).text == before

    def test_it_stands_in_a_chain(self, writer: Writer) -> None:
        """It composes with other Runnables, and streams through them."""
        upper: Runnable[Any, str] = RunnableLambda(lambda message: str(message.text).upper())
        chain = writer.model.bind(**writer.extra) | upper
        whole = str(writer.model.invoke(messages(), **writer.extra).text)
        assert chain.invoke(messages()) == whole.upper()

    def test_what_it_can_do_is_whole(self, writer: Writer) -> None:
        """Capabilities make sense, and a writer that counts tokens counts them here."""
        able = writer.able
        assert able.context_tokens > 0
        assert able.max_pictures >= 0
        if able.counts_tokens:
            assert writer.model.get_num_tokens("one two three") > 0
