"""What is left of a finished turn: the answer that its caller gets, and the record that is saved.

Pure functions; knows nothing of how either is sent or stored.
"""

import time
from collections.abc import Mapping
from dataclasses import replace

from bot.events import Answer, LedgerEntry
from bot.turn_state import Parts, TurnState
from memory.messages import Message, Turn


def answer_of(state: TurnState, parts: Parts) -> Answer:
    """Return the answer of a turn that was generated and cited, with its ledger."""
    assert state.reply is not None
    assert state.prompt is not None
    cited = {c.mark for c in state.citations}
    reads = parts.capabilities.reads_evidence
    ledger = tuple(
        LedgerEntry(
            number=number,
            evidence=item,
            in_prompt=reads or number in state.prompt.kept,
            pixels_shown=number in state.prompt.shown,
            cited=number in cited,
        )
        for number, item in enumerate(state.evidence, 1)
    )
    return Answer(
        text=str(state.reply.text).strip(),
        question=state.question,
        citations=state.citations,
        evidence=ledger,
        notices=state.notices,
        timings=state.timings,
        conversation=state.conversation_id,
        turn=state.id,
        model=parts.model_name,
        found=bool(state.reply.response_metadata.get("found", bool(cited))),
    )


def record(state: TurnState, answer: Answer) -> Turn:
    """Return what memory keeps of a turn."""
    return Turn(
        id=state.id,
        question=Message(state.question, tuple(p.ref.number for p in state.pictures)),
        answer=Message(answer.text),
        at=time.time(),
        citations=tuple(c.to_json() for c in answer.citations),
        ledger={
            "evidence": [entry.to_json() for entry in answer.evidence],
            "notices": list(answer.notices),
            "model": answer.model,
            "found": answer.found,
            "query": state.query.text,
            "about": state.about,
        },
    )


def renumbered(answer: Answer, moved: Mapping[int, int]) -> Answer:
    """Return the answer with the numbers that its pictures got, another turn having come first.

    What was saved names pictures by their hash as well, so it stays right.
    """
    told = ", ".join(f"{old} is now {new}" for old, new in moved.items() if old != new)
    citations = tuple(replace(c, picture=moved.get(c.picture or 0)) for c in answer.citations)
    notice = f"another turn came first, so pictures were numbered anew: {told}"
    return replace(answer, citations=citations, notices=(*answer.notices, notice))
