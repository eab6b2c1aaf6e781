"""LangChain's own OpenAI classes, unchanged, against the real service."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

TALL = "How tall is the lighthouse?"


@asynccontextmanager
async def chat(served: Any, **more: Any) -> AsyncIterator[ChatOpenAI]:
    """LangChain's chat model, told where and who; its connections are closed at the end."""
    options = {"model": "default", "max_retries": 0, "timeout": 60, **more}
    model = ChatOpenAI(base_url=f"{served.url}/v1", api_key=SecretStr("none"), **options)
    yield model
    await model.root_async_client.close()
    model.root_client.close()


def picture(file: Path) -> dict[str, Any]:
    """Return a standard block for a picture."""
    data = base64.b64encode(file.read_bytes()).decode()
    return {"type": "image", "base64": data, "mime_type": "image/jpeg"}


async def test_it_answers_whole_and_in_pieces(serve: Any) -> None:
    """``ainvoke`` and ``astream`` give the same cited words, with usage."""
    async with serve() as served, chat(served, stream_usage=True) as model:
        answer = await model.ainvoke([SystemMessage("Be brief."), HumanMessage(TALL)])
        assert "34 metres" in answer.text
        assert "\n\n[2] skerrin-guide.md" in answer.text
        assert answer.usage_metadata is not None
        whole = None
        async for chunk in model.astream(TALL):
            whole = chunk if whole is None else whole + chunk
        assert whole is not None
        assert whole.text == answer.text
        assert whole.usage_metadata is not None
        assert whole.usage_metadata["total_tokens"] > 0
        assert whole.response_metadata["finish_reason"] == "stop"


async def test_pictures_and_follow_ups_go_through(serve: Any, demo_files: Path) -> None:
    """A picture part is asked about, and again by the next question of the same messages."""
    async with serve() as served, chat(served, temperature=0.2, max_tokens=100) as model:
        words = {"type": "text", "text": "How tall is this?"}
        first = HumanMessage([words, picture(demo_files / "lighthouse.jpg")])
        answer = await model.ainvoke([first])
        assert "34 metres" in answer.text
        then = [first, AIMessage(answer.text), HumanMessage("How many steps has it?")]
        assert "163" in (await model.ainvoke(then)).text


async def test_the_conversation_can_be_kept_here(serve: Any) -> None:
    """By LangChain's ``extra_body``: each call sends its own question only."""
    async with (
        serve() as served,
        chat(served, extra_body={"conversation": "c1", "citations": "none"}) as model,
    ):
        first = await model.ainvoke(TALL)
        assert first.text.endswith("[2]")
        assert "163" in (await model.ainvoke("And how many steps has it?")).text


async def test_embeddings_of_text(serve: Any) -> None:
    """LangChain's are asked to send text, and not another model's tokens."""
    async with serve() as served:
        options: dict[str, Any] = {
            "model": "text",
            "base_url": f"{served.url}/v1",
            "api_key": SecretStr("none"),
            "max_retries": 0,
        }
        made = OpenAIEmbeddings(check_embedding_ctx_length=False, **options)
        several = await made.aembed_documents(["a lighthouse", "a boat"])
        assert await made.aembed_query("a boat") == pytest.approx(several[1])
        await made.async_client._client.close()
        made.client._client.close()
