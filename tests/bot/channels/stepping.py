"""A chat model that is led by a test, step by step."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field


class SteppingChat(BaseChatModel):
    """A chat model that says ``pieces``; where one is an event it waits for that, an error it
    raises. ``by_question`` are other pieces, by a word of the question."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    reads_evidence: ClassVar[bool] = False
    context_tokens: int = 8192
    pictures: bool = True
    max_pictures: int = 8
    picture_tokens: int = 100
    pieces: list[Any] = Field(default_factory=lambda: ["Aye."])
    by_question: dict[str, list[Any]] = Field(default_factory=dict)
    asked: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "stepping"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.asked.append(messages)
        text = str(messages[-1].text)
        pieces = next((p for word, p in self.by_question.items() if word in text), self.pieces)
        for piece in pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, Exception):
                raise piece
            else:
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
