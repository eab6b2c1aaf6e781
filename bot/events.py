"""What a turn tells while it runs, and what it leaves: pure values with a JSON form.

Knows nothing of channels; each channel shows these in its own way. The order of a turn's events
is: ``evidence`` once, ``token`` many, ``citation`` some, ``done`` once; ``notice`` at any time. A
turn that fails raises ``TurnError`` instead of all that would follow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from retrievers.evidence import Box, Evidence, Kind


@dataclass(frozen=True, slots=True)
class Citation:
    """What a mark ``[n]`` of the answer rests on.

    ``quote`` is the sentence, table row or line of writing; ``box`` where that stands on the
    picture (fractions of its size), the whole picture when ``None``. ``picture`` is the number of
    a picture of the conversation, when the answer rests on one; otherwise ``media`` names one of
    the library.
    """

    mark: int
    kind: Kind
    evidence_id: str
    source: str
    page: int | None = None
    quote: str = ""
    box: Box | None = None
    media: str | None = None
    picture: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "mark": self.mark,
            "kind": self.kind,
            "evidence": self.evidence_id,
            "source": self.source,
            "page": self.page,
            "quote": self.quote,
            "box": self.box.to_json() if self.box else None,
            "media": self.media,
            "picture": self.picture,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Citation":
        """Read what :meth:`to_json` wrote; ``KeyError``, ``TypeError``, ``ValueError`` if not."""
        return cls(
            mark=int(value["mark"]),
            kind=value["kind"],
            evidence_id=str(value["evidence"]),
            source=str(value["source"]),
            page=value["page"],
            quote=str(value["quote"]),
            box=Box.from_json(value["box"]) if value["box"] else None,
            media=value["media"],
            picture=value["picture"],
        )


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One piece of evidence and what became of it.

    ``number`` is its mark. ``in_prompt``: its words were put before the model; ``pixels_shown``:
    its pixels were; ``cited``: the answer rests on it. What an item scored, and with which
    retriever, is in ``evidence.scores``.
    """

    number: int
    evidence: Evidence
    in_prompt: bool = True
    pixels_shown: bool = False
    cited: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without the evidence's full text."""
        e = self.evidence
        return {
            "number": self.number,
            "id": e.id,
            "kind": e.kind,
            "source": e.source,
            "page": e.page,
            "caption": e.caption[:200],
            "score": round(e.score, 4),
            "scores": {k: round(v, 4) for k, v in e.scores.items()},
            "in_prompt": self.in_prompt,
            "pixels_shown": self.pixels_shown,
            "cited": self.cited,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "LedgerEntry":
        """Read what :meth:`to_json` wrote; the evidence's text is not in it."""
        evidence = Evidence(
            id=str(value["id"]),
            kind=value["kind"],
            source=str(value["source"]),
            text="",
            page=value["page"],
            caption=str(value["caption"]),
            score=float(value["score"]),
            scores={str(name): float(score) for name, score in value["scores"].items()},
        )
        return cls(
            number=int(value["number"]),
            evidence=evidence,
            in_prompt=bool(value["in_prompt"]),
            pixels_shown=bool(value["pixels_shown"]),
            cited=bool(value["cited"]),
        )


@dataclass(frozen=True, slots=True)
class Referred:
    """A phrase of the question that points at pictures of the conversation, and what it meant.

    ``pictures`` are their lasting numbers; when not ``sure``, those it might have meant. ``shown``
    are those of them whose pixels were put before the model. ``carried``: the phrase points at none
    ("it"), and they are those of the turn before, or of the last turn that was about pictures ("the
    left one", of one picture).
    """

    phrase: str
    pictures: tuple[int, ...]
    sure: bool = True
    shown: tuple[int, ...] = ()
    carried: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "phrase": self.phrase,
            "pictures": list(self.pictures),
            "sure": self.sure,
            "shown": list(self.shown),
            "carried": self.carried,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Referred":
        """Read what :meth:`to_json` wrote."""
        return cls(
            phrase=str(value["phrase"]),
            pictures=tuple(int(n) for n in value["pictures"]),
            sure=bool(value["sure"]),
            shown=tuple(int(n) for n in value["shown"]),
            carried=bool(value.get("carried", False)),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its words, what they rest on, and how it came about.

    ``evidence`` is the ledger: everything that was found, best first; ``references`` belongs to it
    and says which words of the question meant which pictures. ``timings`` are milliseconds
    by step of the turn, and ``"total"``. ``found`` is false when the answer says that nothing in
    the sources answers. ``searched`` is what was searched for where earlier turns were needed to
    understand the question, and who made that of it. ``usage`` are the model's tokens, where it
    says them: ``"input"``, ``"output"``, and of the input ``"cached"``. ``media`` fetches a cited
    picture while the bot is open; without it an answer shows its words only. ``finish`` is why the
    model ended, where it says so (``"stop"``, ``"length"``). These two are not in the JSON form.
    """

    text: str
    question: str = ""
    citations: tuple[Citation, ...] = ()
    evidence: tuple[LedgerEntry, ...] = ()
    references: tuple[Referred, ...] = ()
    notices: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    conversation: str = ""
    turn: str = ""
    model: str = ""
    found: bool = True
    searched: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    media: Callable[[Citation], bytes] | None = field(default=None, repr=False, compare=False)
    finish: str = field(default="", compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "text": self.text,
            "question": self.question,
            "searched": self.searched,
            "found": self.found,
            "citations": [c.to_json() for c in self.citations],
            "evidence": [e.to_json() for e in self.evidence],
            "references": [r.to_json() for r in self.references],
            "notices": list(self.notices),
            "timings": {k: round(v, 2) for k, v in self.timings.items()},
            "conversation": self.conversation,
            "turn": self.turn,
            "model": self.model,
            "usage": dict(self.usage),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Answer":
        """Read what :meth:`to_json` wrote, but for the evidence's text; it has no ``media``."""
        return cls(
            text=str(value["text"]),
            question=str(value["question"]),
            citations=tuple(Citation.from_json(one) for one in value["citations"]),
            evidence=tuple(LedgerEntry.from_json(one) for one in value["evidence"]),
            references=tuple(Referred.from_json(one) for one in value["references"]),
            notices=tuple(str(text) for text in value["notices"]),
            timings={str(name): float(ms) for name, ms in value["timings"].items()},
            conversation=str(value["conversation"]),
            turn=str(value["turn"]),
            model=str(value["model"]),
            found=bool(value["found"]),
            searched=str(value["searched"]),
            usage={str(name): int(count) for name, count in value["usage"].items()},
        )

    def _repr_html_(self) -> str:
        from bot.show import answer_html

        return answer_html(self)


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """The ranked evidence, before the model is asked."""

    type: ClassVar[str] = "evidence"
    evidence: tuple[Evidence, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        entries = [LedgerEntry(n, e).to_json() for n, e in enumerate(self.evidence, 1)]
        return {"type": self.type, "evidence": entries}


@dataclass(frozen=True, slots=True)
class Token:
    """The next piece of the answer's text."""

    type: ClassVar[str] = "token"
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": self.type, "text": self.text}


@dataclass(frozen=True, slots=True)
class Cited:
    """A mark of the answer was traced to what it rests on."""

    type: ClassVar[str] = "citation"
    citation: Citation

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": self.type, **self.citation.to_json()}


@dataclass(frozen=True, slots=True)
class Notice:
    """Something was left out, shrunk, refused or not understood."""

    type: ClassVar[str] = "notice"
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": self.type, "text": self.text}


@dataclass(frozen=True, slots=True)
class Done:
    """The turn is whole and saved."""

    type: ClassVar[str] = "done"
    answer: Answer

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": self.type, **self.answer.to_json()}


Event = EvidenceFound | Token | Cited | Notice | Done
