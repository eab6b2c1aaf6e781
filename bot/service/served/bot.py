"""The bot that a service has over a library: its answers call sources as they may be shown.

What is stored keeps a source's own name, by which the library knows it; what leaves goes through
here, whichever interface sends it. Knows nothing of HTTP.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bot.chatbot import AsyncChatBot
from bot.events import (
    Answer,
    Citation,
    Cited,
    Done,
    Event,
    EvidenceFound,
    LedgerEntry,
    Notice,
    Token,
)
from bot.record import answer_again
from bot.service.served.names import LibraryNames, Names, model_name
from memory.messages import Turn
from retrievers.evidence import Evidence

if TYPE_CHECKING:
    from bot.turn_state import Parts


class ServedBot(AsyncChatBot):
    """A bot whose events may leave this machine."""

    def __init__(self, parts: "Parts", names: LibraryNames) -> None:
        super().__init__(parts)
        self.names = names

    async def stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Event, None]:
        """See :meth:`AsyncChatBot.stream`."""
        async with aclosing(self._shown(super().stream(*args, **kwargs))) as events:
            async for event in events:
                yield event

    async def stream_again(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Event, None]:
        """See :meth:`AsyncChatBot.stream_again`."""
        async with aclosing(self._shown(super().stream_again(*args, **kwargs))) as events:
            async for event in events:
                yield event

    async def stored_answer(self, conversation: str, turn: str | None = None) -> Answer:
        """See :meth:`AsyncChatBot.stored_answer`."""
        answer = await super().stored_answer(conversation, turn)
        return shown_answer(answer, await asyncio.to_thread(self.names.now))

    async def _shown(self, flow: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        names: Names | None = None
        sources: set[str] = set()
        async with aclosing(flow) as events:
            async for event in events:
                if isinstance(event, EvidenceFound):
                    sources.update(item.source for item in event.evidence)
                if not isinstance(event, Token):
                    if names is None:
                        names = await asyncio.to_thread(self.names.now)
                    event = _event(event, names, sources, self.parts.model_name)
                yield event


def _event(event: Event, names: Names, sources: set[str], model: str) -> Event:
    if isinstance(event, EvidenceFound):
        return EvidenceFound(tuple(_evidence(item, names) for item in event.evidence))
    if isinstance(event, Cited):
        return Cited(_citation(event.citation, names))
    if isinstance(event, Notice):
        return Notice(_notice(event.text, names, sources, model))
    if isinstance(event, Done):
        return Done(shown_answer(event.answer, names))
    return event


def shown_answer(answer: Answer, names: Names) -> Answer:
    """Return an answer whose sources are called as they may be."""
    sources = {entry.evidence.source for entry in answer.evidence}
    sources.update(citation.source for citation in answer.citations)
    return replace(
        answer,
        citations=tuple(_citation(c, names) for c in answer.citations),
        evidence=tuple(_entry(e, names) for e in answer.evidence),
        notices=tuple(_notice(t, names, sources, answer.model) for t in answer.notices),
        model=model_name(answer.model),
    )


def stored_answer(turn: Turn, conversation: str, parts: "Parts", names: Names) -> Answer:
    """Return the answer of a stored turn as it was, with its pictures left out.

    Raises ``KeyError``, ``TypeError``, ``ValueError`` or ``AttributeError`` for a record that was
    not written here.
    """
    pictures: Mapping[str, bytes] = {}
    answer = answer_again(turn, conversation, parts.library, pictures)
    return shown_answer(answer, names)


def shown_turn(turn: Turn, names: Names) -> Turn:
    """Return a stored turn whose sources are called as they may be."""
    ledger = dict(turn.ledger)
    found = ledger.get("evidence")
    entries = [e for e in found if isinstance(e, Mapping)] if isinstance(found, list) else []
    sources = {str(one.get("source", "")) for one in [*turn.citations, *entries]}
    if entries:
        ledger["evidence"] = [names.json(one) for one in entries]
    model = str(ledger.get("model", ""))
    if model:
        ledger["model"] = model_name(model)
    if isinstance(told := ledger.get("notices"), list):
        ledger["notices"] = [_notice(str(t), names, sources, model) for t in told]
    return replace(turn, citations=tuple(names.json(c) for c in turn.citations), ledger=ledger)


def _notice(text: str, names: Names, sources: set[str], model: str) -> str:
    if model:
        text = text.replace(model, model_name(model))
    return names.clean(text, sources)


def _citation(citation: Citation, names: Names) -> Citation:
    return replace(citation, source=names.shown(citation.source))


def _evidence(evidence: Evidence, names: Names) -> Evidence:
    return replace(evidence, source=names.shown(evidence.source))


def _entry(entry: LedgerEntry, names: Names) -> LedgerEntry:
    return replace(entry, evidence=_evidence(entry.evidence, names))
