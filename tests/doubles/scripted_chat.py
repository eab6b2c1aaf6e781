"""A real LangChain chat model that is led by the test."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field


class ScriptedChat(BaseChatModel):
    """Says its pieces, one a chunk; where one is an event it waits for that, an error it raises."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    reads_evidence: ClassVar[bool] = False
    context_tokens: int = 8192
    pictures: bool = False  #: it sees them
    max_pictures: int = 4
    says: list[str | asyncio.Event | Exception]
    seen: list[list[BaseMessage]] = Field(default_factory=list)  #: prompts, in order
    asked: asyncio.Event = Field(default_factory=asyncio.Event)  #: set when it is asked
    ended: int = 0  #: answers that are no longer under way

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _pieces(self, messages: list[BaseMessage]) -> Sequence[str | asyncio.Event | Exception]:
        """Return what is said to a prompt."""
        return self.says

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.seen.append(messages)
        self.asked.set()
        try:
            for piece in self._pieces(messages):
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                elif isinstance(piece, Exception):
                    raise piece
                else:
                    yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        finally:
            self.ended += 1
