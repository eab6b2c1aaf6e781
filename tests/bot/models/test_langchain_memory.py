"""A local model with conversations from Redis, as LangChain and LangGraph run them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.graph import START, MessagesState, StateGraph
from PIL import Image

from bot.models.llama import LocalVisionChat, picture_part
from memory import RedisHistory
from memory.errors import HistoryError

pytestmark = pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
ADDRESS = {"type": "image", "url": "https://example.com/x.png"}


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[RedisHistory]:
    async with await RedisHistory.open(folder=tmp_path / "redis") as opened:
        yield opened


def called(session: str) -> RunnableConfig:
    return {"configurable": {"session_id": session}}


def with_history(model: Any, history: RedisHistory, **more: Any) -> Any:
    return RunnableWithMessageHistory(model, history.as_langchain, **more)


async def test_a_streamed_answer_is_kept_with_its_usage_and_its_picture(
    local: LocalVisionChat, history: RedisHistory
) -> None:
    """What comes in pieces is stored as one answer; the next turn sees the picture."""
    chat = with_history(local, history)
    asked = HumanMessage(["What is there?", picture_part(Image.new("RGB", (90, 70), "red"))])
    pieces = [piece.content async for piece in chat.astream([asked], called("c1"))]
    question, answer = await history.as_langchain("c1").aget_messages()
    assert isinstance(answer, AIMessage)
    assert answer.content == "".join(pieces)
    assert "red" in str(answer.content)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    assert question.content[1]["extras"]["picture"] == 1  # type: ignore[index]
    again = await chat.ainvoke([HumanMessage("And now?")], called("c1"))
    assert "red" in again.content
    assert (await history.load("c1")).total == 2


async def test_many_sessions_at_once_each_keep_their_own(
    local: LocalVisionChat, history: RedisHistory
) -> None:
    """A prompt with a placeholder, five sessions of two turns: nobody gets another's words."""
    prompt = ChatPromptTemplate([MessagesPlaceholder("before"), ("human", "{question}")])
    keys = {"input_messages_key": "question", "history_messages_key": "before"}
    chat = with_history(prompt | local, history, **keys)

    async def talk(name: str) -> list[BaseMessage]:
        for turn in (1, 2):
            await chat.ainvoke({"question": f"{name} asks {turn}"}, called(name))
        return await history.as_langchain(name).aget_messages()

    names = [f"session {n}" for n in range(5)]
    for name, messages in zip(names, await asyncio.gather(*map(talk, names)), strict=True):
        assert [m.content for m in messages[::2]] == [f"{name} asks 1", f"{name} asks 2"]
        assert [m.type for m in messages] == ["human", "ai"] * 2


async def test_langchain_logs_what_cannot_be_saved_and_a_node_raises_it(
    history: RedisHistory, caplog: pytest.LogCaptureFixture
) -> None:
    """What the page tells of LangChain is so: an error in saving does not reach the caller."""
    chat = with_history(RunnableLambda(lambda _: AIMessage("fine")), history)
    assert (await chat.ainvoke([HumanMessage([ADDRESS])], called("c1"))).content == "fine"
    assert "a 'https' address" in caplog.text
    assert await history.as_langchain("c1").aget_messages() == []

    async def node(state: MessagesState) -> MessagesState:
        await history.as_langchain("c1").aadd_messages(state["messages"])
        return {"messages": []}

    graph = StateGraph(MessagesState).add_node(node).add_edge(START, "node").compile()
    with pytest.raises(HistoryError, match="a 'https' address"):
        await graph.ainvoke({"messages": [HumanMessage([ADDRESS])]})


async def test_a_graph_with_a_node_for_the_question_and_one_for_the_answer(
    local: LocalVisionChat, history: RedisHistory
) -> None:
    """The question is stored before the model is asked; an answer that fails leaves it there."""

    async def remember(state: MessagesState, config: RunnableConfig) -> MessagesState:
        await history.as_langchain(config["configurable"]["thread_id"]).aadd_messages(
            state["messages"][-1:]
        )
        return {"messages": []}

    async def answer(state: MessagesState, config: RunnableConfig) -> MessagesState:
        kept = history.as_langchain(config["configurable"]["thread_id"])
        if state["messages"][-1].content == "fail":
            raise RuntimeError("the model is gone")
        reply = await local.ainvoke(await kept.aget_messages())
        await kept.aadd_messages([reply])
        return {"messages": [reply]}

    graph = (
        StateGraph(MessagesState)
        .add_node(remember)
        .add_node(answer)
        .add_edge(START, "remember")
        .add_edge("remember", "answer")
        .compile()
    )
    thread: RunnableConfig = {"configurable": {"thread_id": "c1"}}
    await graph.ainvoke({"messages": [HumanMessage("hello")]}, thread)
    with pytest.raises(RuntimeError, match="gone"):
        await graph.ainvoke({"messages": [HumanMessage("fail")]}, thread)
    await graph.ainvoke({"messages": [HumanMessage("again")]}, thread)
    turns = (await history.load("c1")).turns
    assert [turn.question.text for turn in turns] == ["hello", "fail", "again"]
    assert [bool(turn.answer.text) for turn in turns] == [True, False, True]
