"""OpenAI's client for a running service, and a chat model that tells what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar

import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field


class Writer(BaseChatModel):
    """A chat model that writes what it was given, and remembers what it was asked."""

    reads_evidence: ClassVar[bool] = False
    pictures: ClassVar[bool] = True
    max_pictures: ClassVar[int] = 8
    context_tokens: int = 8192
    temperature: float = 0.0
    max_tokens: int = 100
    says: list[str] = Field(default_factory=lambda: ["It is ", "tall [1]."])
    fails: bool = False
    stalls: bool = False
    ended: int = 0
    finish: str = "stop"
    asked: list[tuple[list[BaseMessage], dict[str, Any]]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "writer"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        kwargs.pop("run_manager", None)
        self.asked.append((messages, {**kwargs, **({"stop": stop} if stop else {})}))
        for piece in self.says:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        if self.stalls:
            try:
                await asyncio.Event().wait()
            finally:
                self.ended += 1
        if self.fails:
            raise ValueError("secret detail of a driver")
        last = AIMessageChunk(
            content="",
            response_metadata={"finish_reason": self.finish},
            usage_metadata={
                "input_tokens": 12,
                "output_tokens": 3,
                "total_tokens": 15,
                "input_token_details": {"cache_read": 5},
            },
        )
        yield ChatGenerationChunk(message=last)


@pytest.fixture
def writer() -> type[Writer]:
    """The class of a chat model that remembers what it was asked."""
    return Writer


@pytest.fixture
def client() -> Callable[..., AbstractAsyncContextManager[Any]]:
    """OpenAI's client: ``async with client(served, key, **options) as asks``."""

    @asynccontextmanager
    async def opened(served: Any, key: str = "none", **more: Any) -> AsyncIterator[Any]:
        options = {"max_retries": 0, "timeout": 60, **more}
        url = f"{served.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=key, **options) as found:
            yield found

    return opened


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait until something is so, for a minute at most."""

    async def waited(true: Callable[[], bool]) -> None:
        for _ in range(6000):
            if true():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come true")

    return waited
