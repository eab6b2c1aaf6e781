"""What a model's process says -> LangChain's chunks: words, calls, log-probabilities, counts.

Knows nothing of processes or requests.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.utils.json import parse_partial_json

from bot.errors import ModelError
from bot.models.llama.tools import Call, CallReader
from bot.models.llama.values import Delta, LogProb, Outcome


class Chunks:
    """The chunks of one answer; ``ended`` once it has."""

    def __init__(self, model_name: str, tools: Sequence[Mapping[str, Any]] = ()) -> None:
        self._name = model_name
        self._reader = CallReader(tools) if tools else None
        self._calls = 0
        self.ended = False

    def of(self, item: Delta | Outcome | ModelError) -> Iterator[ChatGenerationChunk]:
        """Return the chunks for what was said; raises an error that was said."""
        if isinstance(item, ModelError):
            self.ended = True
            raise item
        if isinstance(item, Delta):
            told = _logprobs(item.logprobs)
            for message in self._read(
                [item.text] if self._reader is None else self._reader.feed(item.text)
            ):
                message.response_metadata, told = told, {}
                yield ChatGenerationChunk(message=message)
            if told:
                yield ChatGenerationChunk(
                    message=AIMessageChunk(content="", response_metadata=told)
                )
            return
        for message in self._read(self._reader.finish() if self._reader else ()):
            yield ChatGenerationChunk(message=message)
        self.ended = True
        yield self._last(item)

    def _read(self, found: Iterable[str | Call]) -> Iterator[AIMessageChunk]:
        for one in found:
            if isinstance(one, Call):
                yield AIMessageChunk(content="", tool_call_chunks=[self._call(one)])
            elif one:
                yield AIMessageChunk(content=one)

    def _call(self, call: Call) -> Any:
        arguments = call.arguments
        if call.error and _would_do(arguments):  # LangChain would mend it, and take it for a call
            arguments = json.dumps(arguments, ensure_ascii=False)
        self._calls += 1
        return tool_call_chunk(name=call.name, args=arguments, id=call.id, index=self._calls - 1)

    def _last(self, outcome: Outcome) -> ChatGenerationChunk:
        called = self._calls and outcome.reason == "stop"
        reason = "tool_calls" if called else outcome.reason
        message = AIMessageChunk(
            content="",
            usage_metadata={
                "input_tokens": outcome.prompt,
                "output_tokens": outcome.written,
                "total_tokens": outcome.prompt + outcome.written,
                "input_token_details": {"cache_read": outcome.reused},
            },
            response_metadata={
                "model_name": self._name,
                "finish_reason": reason,
                "engine": {
                    "prompt_tokens": outcome.prompt,
                    "reused_tokens": outcome.reused,
                    "read_tokens": outcome.read,
                    "written_tokens": outcome.written,
                    "encoded_pictures": outcome.encoded,
                    "cached_pictures": outcome.kept,
                    "queue_s": outcome.queue_s,
                    "prompt_s": outcome.prompt_s,
                },
            },
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message, generation_info={"finish_reason": reason})


def _would_do(arguments: str) -> bool:
    try:
        return not arguments or isinstance(parse_partial_json(arguments), dict)
    except ValueError:
        return False


def _logprobs(found: Iterable[LogProb]) -> dict[str, Any]:
    """Return OpenAI's form of log-probabilities, as response metadata; empty without any."""
    content = [
        {
            "token": one.text,
            "logprob": one.logprob,
            "top_logprobs": [{"token": text, "logprob": value} for text, value in one.top],
        }
        for one in found
    ]
    return {"logprobs": {"content": content}} if content else {}
