"""What is left of a finished turn: the answer that its caller gets, and the record that is saved.

Pure functions; knows nothing of how either is sent or stored.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from langchain_core.messages import BaseMessage

from bot.events import Answer, Citation, LedgerEntry, Referred
from bot.turn_state import Parts, TurnState
from memory.messages import Message, Turn
from retrievers.errors import LibraryError
from retrievers.library import Library

_PHRASE = 200  # characters of a phrase that are kept
_NO_MODEL = "no model"  # wrote the question that asks back


def answer_of(state: TurnState, parts: Parts) -> Answer:
    """Return the answer of a turn that was generated and cited, with its ledger."""
    assert state.reply is not None
    assert state.prompt is not None
    cited = {c.mark for c in state.citations}
    reads = parts.capabilities.reads_evidence
    shown = {p.ref.sha256: p.decoded.data for p in state.pictures}
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
        references=_references(state),
        notices=state.notices,
        timings=state.timings,
        conversation=state.conversation_id,
        turn=state.turn,
        model=_NO_MODEL if state.asks else parts.model_name,
        searched=searched(state.query.text, state.query.context, state.how),
        usage=_usage(state.reply),
        found=bool(state.reply.response_metadata.get("found", bool(cited))),
        media=partial(_media, parts.library, shown),
        finish=str(state.reply.response_metadata.get("finish_reason") or ""),
    )


def _usage(reply: BaseMessage) -> dict[str, int]:
    """Return the tokens that a model says it read and wrote, nothing where it does not say."""
    said = getattr(reply, "usage_metadata", None)
    if not said:
        return {}
    cached = (said.get("input_token_details") or {}).get("cache_read")
    known = {"cached": int(cached)} if cached else {}
    return {"input": int(said["input_tokens"]), "output": int(said["output_tokens"]), **known}


def searched(text: str, context: str, how: str) -> str:
    """Return what was searched for in place of the question, and by whom; else nothing."""
    if not how:
        return ""
    about = f" (and, counting less: {context})" if context else ""
    return f"{text}{about}; {how}"


def _references(state: TurnState) -> tuple[Referred, ...]:
    """Return what each phrase meant, and what of it was put before the model."""
    assert state.prompt is not None
    shown = [p.ref.number for n, p in enumerate(state.pictures, 1) if n in state.prompt.shown]
    return tuple(
        Referred(
            phrase=one.phrase[:_PHRASE],
            pictures=one.numbers,
            sure=one.sure,
            shown=tuple(n for n in one.numbers if (one.sure or one.carried) and n in shown),
            carried=one.carried,
        )
        for one in state.reference.found
    )


def _media(library: Library, shown: Mapping[str, bytes], citation: Citation) -> bytes:
    """Return a cited picture: one of the turn's own, or one of the library."""
    if citation.media is None:
        raise LibraryError(f"{citation.source}: the citation is of no picture")
    own = shown.get(citation.media)
    return own if own is not None else library.media(citation.media)


def record(state: TurnState, answer: Answer) -> Turn:
    """Return what memory keeps of a turn. One that was answered again keeps its id, its time and
    its pictures, and says when that was."""
    again = state.claim.again if state.claim else None
    own = [ref.number for ref in state.claim.own] if state.claim else []
    numbers = dict.fromkeys([*own, *(p.ref.number for p in state.pictures)])
    now = time.time()
    return Turn(
        id=state.turn,
        question=Message(state.said or state.question, tuple(numbers)),
        answer=Message(answer.text),
        at=again.at if again else now,
        citations=tuple(c.to_json() for c in answer.citations),
        ledger={
            "evidence": [entry.to_json() for entry in answer.evidence],
            "notices": list(answer.notices),
            "model": answer.model,
            "usage": dict(answer.usage),
            "found": answer.found,
            "query": state.query.text,
            "context": state.query.context,
            "how": state.how,
            "about": state.about,
            **({"again": now} if again else {}),
            "references": [referred.to_json() for referred in answer.references],
            **({"asks": state.asks.to_json()} if state.asks else {}),
            **({"question": state.question} if state.said else {}),
        },
    )


def answer_again(
    turn: Turn, conversation: str, library: Library | None, pictures: Mapping[str, bytes]
) -> Answer:
    """Return the answer of a stored turn as it was given, but for timings and the evidence's text.

    ``pictures`` are those of the conversation that it cites, by SHA-256; without a ``library`` it
    has no pictures.
    """
    ledger = turn.ledger
    return Answer(
        text=turn.answer.text,
        question=str(ledger.get("question", turn.question.text)),
        citations=tuple(Citation.from_json(value) for value in turn.citations),
        evidence=tuple(LedgerEntry.from_json(value) for value in ledger.get("evidence", ())),
        references=tuple(Referred.from_json(value) for value in ledger.get("references", ())),
        notices=tuple(str(text) for text in ledger.get("notices", ())),
        conversation=conversation,
        turn=turn.id,
        model=str(ledger.get("model", "")),
        usage={str(name): int(count) for name, count in ledger.get("usage", {}).items()},
        found=bool(ledger.get("found", True)),
        searched=searched(*(str(ledger.get(key, "")) for key in ("query", "context", "how"))),
        media=partial(_media, library, pictures) if library is not None else None,
    )


def renumbered(turn: Turn, moved: Mapping[int, int]) -> Turn:
    """Return the turn with the numbers that its new pictures got, another turn having come first.

    ``moved`` holds new numbers by old ones. Citations and the ledger follow.
    """
    ledger = dict(turn.ledger)
    ledger["evidence"] = [
        {**entry, "id": _moved_id(str(entry["id"]), moved)} for entry in ledger["evidence"]
    ]
    ledger["notices"] = [*ledger["notices"], told(moved)]
    ledger["references"] = [
        {**one, **{key: [moved.get(n, n) for n in one[key]] for key in ("pictures", "shown")}}
        for one in ledger["references"]
    ]
    if asks := ledger.get("asks"):
        numbers = {key: [moved.get(n, n) for n in asks[key]] for key in ("candidates", "numbers")}
        ledger["asks"] = {**asks, **numbers}
    citations = tuple(
        {
            **citation,
            "evidence": _moved_id(str(citation["evidence"]), moved),
            "picture": moved.get(citation["picture"], citation["picture"]),
        }
        for citation in turn.citations
    )
    return replace(turn, citations=citations, ledger=ledger)


def follow(answer: Answer, moved: Mapping[int, int]) -> Answer:
    """Return the answer as :func:`renumbered` changed its record."""
    return replace(
        answer,
        citations=tuple(
            replace(
                c,
                evidence_id=_moved_id(c.evidence_id, moved),
                picture=moved.get(c.picture, c.picture) if c.picture is not None else None,
            )
            for c in answer.citations
        ),
        evidence=tuple(
            replace(e, evidence=replace(e.evidence, id=_moved_id(e.evidence.id, moved)))
            for e in answer.evidence
        ),
        references=tuple(
            replace(
                r,
                pictures=tuple(moved.get(n, n) for n in r.pictures),
                shown=tuple(moved.get(n, n) for n in r.shown),
            )
            for r in answer.references
        ),
        notices=(*answer.notices, told(moved)),
    )


def told(moved: Mapping[int, int]) -> str:
    """Return the notice of pictures that were numbered anew."""
    changes = ", ".join(f"{old} is now {new}" for old, new in moved.items() if old != new)
    return f"another turn came first, so pictures were numbered anew: {changes}"


def _moved_id(id: str, moved: Mapping[int, int]) -> str:
    kind, _, number = id.partition(":")
    return f"shown:{moved.get(int(number), int(number))}" if kind == "shown" else id
