"""A turn's events as OpenAI's chunks or as one completion, with footnotes and our own field.

Footnotes are plain text, whatever the sources say: no link, picture, tag or mark of theirs is left.
Knows nothing of requests, nor of how a turn is made.
"""

import json
import re
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from bot.events import Answer, Citation, Done, Event, Token
from bot.models.reading.plain import plain
from bot.service.flow.streams import EventStream
from bot.service.http.openai_errors import error_of
from bot.service.http.problems import Problem
from bot.service.openai.schema import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    Choice,
    ChunkChoice,
    Citations,
    Delta,
    Extension,
    Finish,
    TokenDetails,
    Usage,
)
from bot.show import source_name, where

QUOTE = 200  #: characters of a quotation in a footnote
DONE = b"data: [DONE]\n\n"

_NOTES = re.compile(r"\n\n\[\d{1,3}\] [^\n]+(?:\n\[\d{1,3}\] [^\n]+)*\Z")


@dataclass(frozen=True, slots=True)
class Telling:
    """How an answer is told: under which model's name, with which of the extras.

    ``kept`` says whether its conversation is; ``notices`` come before the turn's own."""

    model: str
    citations: Citations
    usage: bool = False
    kept: bool = False
    notices: Sequence[str] = ()
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(self, answer: Answer) -> dict[str, Any]:
        """Return a whole answer."""
        message = ChatMessage(
            content=answer.text + self._notes(answer), bifocal=self._extension(answer)
        )
        whole = ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=[Choice(message=message, finish_reason=_finish(answer))],
            usage=usage_of(answer),
        )
        return whole.model_dump()

    async def chunks(self, flow: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
        """Yield the frames of an answer as it comes. What fails before the first is raised."""
        begun = False
        async with aclosing(flow) as events:
            async for event in events:
                if not begun:
                    begun = True
                    yield self._chunk(Delta(role="assistant", content=""))
                if isinstance(event, Token):
                    yield self._chunk(Delta(content=event.text))
                elif isinstance(event, Done):
                    for frame in self._last(event.answer):
                        yield frame
        yield DONE

    def _last(self, answer: Answer) -> list[bytes]:
        frames = [self._chunk(Delta(content=notes))] if (notes := self._notes(answer)) else []
        frames.append(self._chunk(Delta(bifocal=self._extension(answer)), _finish(answer)))
        if self.usage:
            chunk = self._whole([]) | {"usage": _dumped(usage_of(answer))}
            frames.append(data(chunk))
        return frames

    def _chunk(self, delta: Delta, finish: Finish | None = None) -> bytes:
        choice = ChunkChoice(delta=delta, finish_reason=finish, logprobs=None)
        chunk = self._whole([choice])
        return data(chunk | {"usage": None} if self.usage else chunk)

    def _whole(self, choices: list[ChunkChoice]) -> dict[str, Any]:
        chunk = ChatCompletionChunk(
            id=self.id, created=self.created, model=self.model, choices=choices
        )
        made = chunk.model_dump(exclude={"usage"})
        for one, told in zip(choices, made["choices"], strict=True):
            # what a piece does not say is not there: clients add pieces up
            told["delta"] = one.delta.model_dump(exclude_unset=True)
        return made

    def _notes(self, answer: Answer) -> str:
        return footnotes(answer.citations) if self.citations in ("footnotes", "both") else ""

    def _extension(self, answer: Answer) -> Extension:
        cited = [c.to_json() | {"source": source_name(c.source)} for c in answer.citations]
        return Extension(
            citations=cited if self.citations in ("field", "both") else None,
            evidence=[entry.evidence.id for entry in answer.evidence],
            notices=[*self.notices, *answer.notices],
            conversation=answer.conversation if self.kept else None,
            turn=answer.turn,
            found=answer.found,
        )


class ChunkStream(EventStream):
    """A stream of chunks; what ends it early is told in OpenAI's form."""

    def told(self, problem: Problem, id: str) -> bytes:
        """See ``EventStream.told``."""
        return data(error_of(problem))


def data(value: dict[str, Any]) -> bytes:
    """Return a frame of OpenAI's streams."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode("utf-8", "replace")


def footnotes(citations: Sequence[Citation]) -> str:
    """Return a line for each mark of an answer, as they stand under it; empty without any."""
    places: dict[int, str] = {}
    quotes: dict[int, dict[str, None]] = {}
    for one in citations:
        places.setdefault(one.mark, plain(where(one)))
        if quote := plain(one.quote):
            cut = quote if len(quote) <= QUOTE else f"{quote[:QUOTE].rstrip()}…"
            quotes.setdefault(one.mark, {})[f"“{cut}”"] = None
    lines = [
        f"[{mark}] {': '.join([place, *filter(None, ['; '.join(quotes.get(mark, ()))])])}"
        for mark, place in sorted(places.items())
    ]
    return "\n\n" + "\n".join(lines) if lines else ""


def without_footnotes(text: str) -> str:
    """Return an answer that a client sends back without the footnotes that were put under it."""
    return _NOTES.sub("", text.rstrip())


def usage_of(answer: Answer) -> Usage | None:
    """Return the tokens of an answer; None where the model does not say."""
    said = answer.usage
    if not said:
        return None
    read, written = said.get("input", 0), said.get("output", 0)
    return Usage(
        prompt_tokens=read,
        completion_tokens=written,
        total_tokens=read + written,
        prompt_tokens_details=TokenDetails(cached_tokens=said.get("cached", 0)),
    )


def _dumped(usage: Usage | None) -> dict[str, Any] | None:
    return usage.model_dump() if usage is not None else None


def _finish(answer: Answer) -> Finish:
    return "length" if answer.finish == "length" else "stop"
