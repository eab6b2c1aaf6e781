"""Questions that pictures answer: what is this, the value of a field, when and where was it taken.

Knows nothing of passages. Each function returns a reading, or ``None`` when the question is not
of its kind or the pictures do not answer it.
"""

import re
from collections.abc import Mapping, Sequence

from bot.models.reading import forms
from bot.models.reading.amounts import DATE, days
from bot.models.reading.answer import Reading, fill, quote, quote_field
from bot.models.reading.question import Question, Wants
from bot.models.reading.shorten import shorten
from bot.models.reading.units import Unit
from bot.models.reading.wording import wording
from bot.models.reading.words import content_stems
from retrievers.evidence import Evidence

#: Two pictures are one and the same, changed a little, from this cosine of their looks on: of 72
#: photographs no two different ones come nearer (``tests/benchmarks/bench_descriptor.py``)
SAME_LOOK = 0.93
#: ... or from this one on, which changed copies reach, when the next picture is this much farther
ALIKE_LOOK, APART = 0.86, 0.03
#: The part of the question's rarity, without the field's name, that the picture's words must hold
NAMED = 0.5

_THIS = re.compile(
    r"\b(?:this|these|that|it|here|dies\w*|das|hier|attached|my|picture|photo|image|bild|foto)\b",
    re.IGNORECASE,
)
_TOTAL = re.compile(
    r"\btotal|\bsum\b|\bamount (?:due|paid|payable)|\bhow much .*\b(?:receipt|bill|invoice|paid?"
    r"|spen[dt])"
    r"|\b(?:cost|price|amount) (?:of|on) (?:the|this|that|my) .{0,40}\b(?:receipt|bill|invoice)\b"
    r"|gesamt|\bsumme\b|betrag|wie ?viel .*\b(?:rechnung|quittung|bezahlt)",
    re.IGNORECASE,
)
_PAPERS = re.compile(
    r"\b(?:receipt|bill|invoice|ticket|form|sign|label|notice|poster|picture|photo|image|scan"
    r"|screenshot|rechnung|quittung|beleg|bild|foto|schild)s?\b",
    re.IGNORECASE,
)
#: What is asked for: "what is the [date] of …", "[who] was the [cashier] on …"
_FIELD = re.compile(
    r"\b(?:what(?:'s| is| was| are| were)?|which|who (?:is|was)|give me|tell me|find|wie|was|wer)\b"
    r"(?: (?:ist|war|lautet))?(?: (?:the|das|die|der))? (.{2,40}?)"
    r" (?:of|on|in|from|for|at|auf|der|des|von|vom|im)\b",
    re.IGNORECASE,
)
_TAKEN = re.compile(
    r"\b(?:taken|shot|photographed|captured|aufgenommen|fotografiert)\b", re.IGNORECASE
)
_COORDINATES = re.compile(r"-?\d{1,3}\.\d{2,}°?\s*[NS]?,?\s*-?\d{1,3}\.\d{2,}")


def what_is_this(
    question: Question, evidence: Sequence[Evidence], units: Sequence[Unit], limit: int
) -> Reading | None:
    """Answer "What is this?" about a picture that was shown: with what the library says of the
    picture that looks like it, else with the writing in it, else that nothing is known.
    """
    shown = [n for n, item in enumerate(evidence, 1) if is_shown(item)]
    if question.wants is not Wants.LOOK or not shown:
        return None
    twin = look_alike(evidence)
    if twin:
        said = [u for u in units if u.number == twin and u.form == "caption"]
        said = said or [u for u in units if u.number == twin]
        if said:
            about = fill([quote(shorten(u, question, limit)) for u in _new(said)], limit)
            return Reading(True, (wording(question.text).looks_like, *about))
    written = [u for u in units if u.number in shown]
    if written:
        return Reading(True, fill([quote(shorten(u, question, limit)) for u in written], limit))
    return Reading(False, (wording(question.text).unknown_picture,))


def _new(units: Sequence[Unit]) -> list[Unit]:
    """Return ``units`` without those that only repeat words of the ones before."""
    said: frozenset[str] = frozenset()
    kept = []
    for unit in units:
        if not unit.stems <= said:
            kept.append(unit)
        said |= unit.stems
    return kept


def field_value(
    question: Question,
    evidence: Sequence[Evidence],
    units: Sequence[Unit],
    limit: int,
    nowhere: float,
) -> Reading | None:
    """Answer "What is the total of the receipt from …": the value of a field in a picture."""
    total = _TOTAL.search(question.text) is not None
    asked = _FIELD.search(question.text)
    stems = content_stems(asked.group(1)) if asked else frozenset()
    if not (total or (stems and _PAPERS.search(question.text))):
        return None
    number = which(question, evidence, units, stems, nowhere)
    if number is None:
        return None
    rows = [u for u in units if u.number == number and u.form == "writing"]
    field = forms.total(rows) if total else forms.labelled(rows, stems)
    if field is None and not total and question.wants is Wants.TIME:
        dated = [u for u in rows if DATE.search(u.text)]
        return Reading(True, (quote(shorten(dated[0], question, limit)),)) if dated else None
    return Reading(True, (quote_field(field, limit),)) if field else None


def which(
    question: Question,
    evidence: Sequence[Evidence],
    units: Sequence[Unit],
    field: frozenset[str],
    nowhere: float,
) -> int | None:
    """Return the number of the picture with writing that the question is about, or ``None``.

    It is the one that holds most of the rarity of the question's words, the field's name and words
    like "receipt" apart; a date counts as a word that is nowhere else, however it is written.
    """
    common = field | content_stems(" ".join(_PAPERS.findall(question.text)))
    common |= content_stems(" ".join(m.group() for m in _TOTAL.finditer(question.text)))
    dated = days(question.text)
    dates = (
        content_stems(" ".join(m.group() for m in DATE.finditer(question.text)))
        if dated
        else frozenset()
    )
    weights = {s: w for s, w in question.weights.items() if s not in common | dates}
    whole = sum(weights.values()) + (nowhere if dated else 0.0)
    best, best_share, best_passage = None, -1.0, -1.0
    for number, item in enumerate(evidence, 1):
        own = [u for u in units if u.number == number]
        if item.lines and is_shown(item) and (not weights or _THIS.search(question.text)):
            return number
        share = _share(weights, dated, nowhere, whole, own)
        if item.kind == "passage":
            best_passage = max(best_passage, share)
        elif item.lines and share > best_share:
            best, best_share = number, share
    if best_passage > best_share and not _PAPERS.search(question.text):
        return None
    return best if best_share >= NAMED else None


def _share(
    weights: Mapping[str, float],
    dated: frozenset[tuple[int, int, int]],
    nowhere: float,
    whole: float,
    own: Sequence[Unit],
) -> float:
    if not whole:
        return 1.0
    stems = frozenset().union(*(u.stems for u in own))
    held = sum(w for s, w in weights.items() if s in stems)
    if dated and any(dated & days(u.text) for u in own):
        held += nowhere
    return held / whole


def taken(
    question: Question, evidence: Sequence[Evidence], units: Sequence[Unit], limit: int
) -> Reading | None:
    """Answer when or where a photograph was taken, from the words that came with it."""
    if not _TAKEN.search(question.text) or question.wants not in (Wants.TIME, Wants.PLACE):
        return None
    number = look_alike(evidence)
    if number is None:
        scored = []
        for n, item in enumerate(evidence, 1):
            own = frozenset().union(*(u.stems for u in units if u.number == n))
            if item.kind == "picture":
                scored.append((sum(w for s, w in question.weights.items() if s in own), -n))
        number = -max(scored)[1] if scored and max(scored)[0] > 0 else None
    said = [u for u in units if u.number == number and u.form == "caption"]
    dates = [i for i, u in enumerate(said) if days(u.text)]
    if question.wants is Wants.TIME:
        places = dates
    else:  # the place comes after the date among a picture's words, with coordinates or without
        places = [i for i, u in enumerate(said) if _COORDINATES.search(u.text)]
        places += [i + 1 for i in dates if i + 1 < len(said)]
    if not places:
        return None
    return Reading(True, (quote(shorten(said[places[0]], question, limit)),))


def look_alike(evidence: Sequence[Evidence]) -> int | None:
    """Return the number of the library's picture that looks the same as one that was shown."""
    looks = sorted(
        (
            (item.scores["look"], -number)
            for number, item in enumerate(evidence, 1)
            if item.kind == "picture" and not is_shown(item) and "look" in item.scores
        ),
        reverse=True,
    )
    if not looks:
        return None
    next_best = looks[1][0] if len(looks) > 1 else 0.0
    best, number = looks[0]
    if best >= SAME_LOOK or (best >= ALIKE_LOOK and best - next_best >= APART):
        return -number
    return None


def is_shown(item: Evidence) -> bool:
    """Say whether a picture was shown by the user, and is not the library's."""
    return item.id.startswith("shown:")
