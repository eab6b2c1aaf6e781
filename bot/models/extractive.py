"""The writer that needs no language model: it answers in the words of the evidence itself.

It quotes the sentences, table rows and lines of writing that answer the question, cites each, and
says so when none does. The rules of reading are in :mod:`bot.models.reading`; this is their
LangChain ``BaseChatModel``. Knows nothing of how evidence was found, nor of the prompt: where other
models are given messages alone, this one is given ``question``, ``evidence`` and ``rarity`` too.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from bot.models.reading.answer import Quote, Reading
from bot.models.reading.reader import read
from bot.models.reading.words import Rarity
from retrievers.evidence import Evidence

NAME = "extractive"


class ExtractiveChat(BaseChatModel):
    """Answers with quotations of the evidence, each followed by its mark ``[n]``.

    Call it with ``invoke(messages, question=…, evidence=…, rarity=…)``, or ``stream`` and their
    async twins. ``question`` is the last human message when left out (the one before it says what
    the conversation is about); ``evidence`` are the items
    that ``[1]``, ``[2]`` … name, best first; ``rarity`` gives each word's idf in the library, and
    is counted over the evidence when left out; ``about`` says what a picture that came with the
    question shows. Without evidence it says that it has no sources.

    The message's ``response_metadata`` holds ``"found"`` (whether the evidence answers) and
    ``"spans"``: by mark, a list of ``{"text": …, "lines": [indexes of lines of writing]}`` with the
    words as the source has them. ``max_chars`` limits what is quoted, marks not counted.
    """

    reads_evidence: ClassVar[bool] = True

    max_chars: int = Field(default=200, ge=80, le=4000)

    @property
    def _llm_type(self) -> str:
        return NAME

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": NAME, "max_chars": self.max_chars}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reading = self._read(messages, **kwargs)
        text, usage = "".join(_texts(reading)), _usage(messages, reading)
        message = AIMessage(
            content=text, response_metadata=_metadata(reading), usage_metadata=usage
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(messages, self._read(messages, **kwargs)):
            if run_manager and chunk.text:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reading = await asyncio.to_thread(
            self._read, messages, **kwargs
        )  # one thread, not one a chunk
        for chunk in _chunks(messages, reading):
            if run_manager and chunk.text:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _read(
        self,
        messages: list[BaseMessage],
        *,
        question: str | None = None,
        evidence: Sequence[Evidence] = (),
        rarity: Rarity | None = None,
        about: str = "",
        **_: Any,
    ) -> Reading:
        asked = [str(m.text) for m in messages if isinstance(m, HumanMessage)] or [""]
        before = asked[-2] if len(asked) > 1 else ""
        if question is None:
            question = asked[-1]
        return read(question, evidence, rarity, self.max_chars, before, about)


def _texts(reading: Reading) -> Iterator[str]:
    """Yield the answer piece by piece, each quotation with its mark."""
    space = ""
    for piece in reading.pieces:
        yield space + (f"{piece.text} [{piece.number}]" if isinstance(piece, Quote) else piece)
        space = " "


def _chunks(messages: Sequence[BaseMessage], reading: Reading) -> Iterator[ChatGenerationChunk]:
    """Yield the answer as LangChain streams it: the last chunk says what was found and used."""
    for text in _texts(reading):
        yield ChatGenerationChunk(message=AIMessageChunk(content=text))
    last = AIMessageChunk(
        content="",
        response_metadata=_metadata(reading),
        usage_metadata=_usage(messages, reading),
        chunk_position="last",
    )
    yield ChatGenerationChunk(message=last)


def _metadata(reading: Reading) -> dict[str, Any]:
    spans: dict[int, list[dict[str, Any]]] = {}
    for quote in reading.quotes:
        span = {"text": quote.source_text, "lines": list(quote.lines)}
        spans.setdefault(quote.number, []).append(span)
    return {
        "model_name": NAME,
        "finish_reason": "stop",
        "found": reading.found,
        "spans": spans,
    }


def _usage(messages: Sequence[BaseMessage], reading: Reading) -> UsageMetadata:
    """Return usage in words: there are no tokens here."""
    read_words = sum(len(str(m.text).split()) for m in messages)
    written = sum(len(text.split()) for text in _texts(reading))
    return UsageMetadata(
        input_tokens=read_words, output_tokens=written, total_tokens=read_words + written
    )
