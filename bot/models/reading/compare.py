"""Questions that compare amounts: "which receipt is over 50", "the cheapest of …".

Knows nothing of how amounts were found: they are the totals of pictures and the cells of tables.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath

from bot.models.reading import forms
from bot.models.reading.amounts import MONEY, PRICE, figures, limit_of, number
from bot.models.reading.answer import Quote, Reading, fill, quote, quote_field
from bot.models.reading.question import Question, Wants
from bot.models.reading.shorten import SEPARATOR, shorten
from bot.models.reading.units import Unit
from bot.models.reading.words import content_stems
from retrievers.evidence import Evidence

_BILLS = re.compile(
    r"\b(?:receipt|bill|invoice|ticket|total|rechnung|quittung|beleg|kassenzettel)(?:s|en|e)?\b",
    re.IGNORECASE,
)
_HIGHEST = re.compile(
    r"\b(?:highest|largest|biggest|most expensive|greatest|maximum|höchste\w*|größte\w*"
    r"|teuerste\w*)\b",
    re.IGNORECASE,
)
_LOWEST = re.compile(
    r"\b(?:lowest|smallest|cheapest|least expensive|minimum|niedrigste\w*|kleinste\w*|billigste\w*"
    r"|günstigste\w*)\b",
    re.IGNORECASE,
)
_CELL = re.compile(r"^(?:[$€£¥]|RM|USD|EUR|GBP)?\s*-?\d[\d.,]*\s*(?:%|[A-Za-z€$£²³/]{0,6})$")

_CHOOSES = re.compile(
    r"\W*(?:(?:and|so|please|then)\W+)*(?:which|what|who|list|show|name|find|give|welche[rsmn]?|wer|was)\b",
    re.IGNORECASE,
)
#: What is chosen by a limit: things, not how many there are or why
_THINGS = frozenset(Wants) - {Wants.NUMBER, Wants.MONEY, Wants.TIME, Wants.REASON}
#: The part of the question's rarity that a table must hold for its rows to be compared
ABOUT = 0.4

Amount = tuple[float, Quote]


def compare(
    question: Question, evidence: Sequence[Evidence], units: Sequence[Unit], limit: int
) -> Reading | None:
    """Return the amounts that a question's limit or superlative picks out, each cited; ``None``
    when it has neither, or nothing that could be compared.
    """
    if not (question.limit or _HIGHEST.search(question.text) or _LOWEST.search(question.text)):
        return None
    amounts = _totals(evidence, units, limit) if _BILLS.search(question.text) else []
    if question.limit:
        picked = [q for value, q in amounts if question.limit.holds(value)]
        cells = [] if picked else _cells(question, evidence, units, limit)
        picked = picked or [q for value, q in cells if question.limit.holds(value)]
    else:
        amounts = amounts or _cells(question, evidence, units, limit)
        pick = max if _HIGHEST.search(question.text) else min
        extreme = pick((value for value, _ in amounts), default=0.0)
        picked = [q for value, q in amounts if value == extreme] if len(amounts) > 1 else []
    return Reading(True, fill(picked, limit)) if picked else None


def limits(question: Question) -> bool:
    """Say whether ``question`` chooses by its limit: "which … over 50", not "how many …"."""
    chooses = _CHOOSES.match(question.text) is not None
    return question.limit is not None and chooses and question.wants in _THINGS


def within(question: Question, units: Sequence[Unit]) -> list[Unit]:
    """Return the units that may answer a question that chooses by a limit: those that hold an
    amount within it, or say the same limit themselves.

    Of bills it must be money, in words about bills: what the writing in a picture and the rows of
    tables come to, :func:`compare` has told.
    """
    limit = question.limit
    if limit is None:
        return list(units)
    bills = content_stems(" ".join(_BILLS.findall(question.text)))
    kept = []
    for unit in units:
        if bills:
            known = unit.form in ("writing", "row") or not bills & unit.stems
            held = [] if known else [v for kind in (PRICE, MONEY) for v in figures(unit.text, kind)]
        else:
            cell = _number_in(unit.text, question) if unit.form == "row" else None
            held = figures(unit.text) if cell is None else [cell]
        same = not bills and limit_of(unit.text) == limit
        if same or any(limit.holds(value) for value in held):
            kept.append(unit)
    return kept


def _totals(evidence: Sequence[Evidence], units: Sequence[Unit], limit: int) -> list[Amount]:
    """Return what each picture says is to be paid."""
    found = []
    for n, item in enumerate(evidence, 1):
        rows = [u for u in units if u.number == n and u.form == "writing"]
        field = forms.total(rows) if item.kind == "picture" else None
        if field is not None and field.value is not None:
            name = PurePath(item.source).name
            found.append((field.value, quote_field(field, limit, name)))
    return found


def _cells(
    question: Question, evidence: Sequence[Evidence], units: Sequence[Unit], limit: int
) -> list[Amount]:
    """Return the rows of the table that shares most of the question's words, each with the number
    in the column that the question names, else in its last column of numbers.
    """
    compared = content_stems(
        " ".join(_HIGHEST.findall(question.text) + _LOWEST.findall(question.text))
    )
    topic = {s: w for s, w in question.weights.items() if s not in compared and not s[0].isdigit()}
    about = sum(topic.values())
    bills = _BILLS.search(question.text) is not None
    by_table: dict[int, list[Unit]] = {}
    for unit in units:
        if unit.form == "row" and (not bills or _lists_bills(unit, evidence)):
            by_table.setdefault(unit.number, []).append(unit)

    def shared(number: int) -> float:
        item = evidence[number - 1]
        stems = content_stems(item.heading).union(*(u.stems for u in by_table[number]))
        return sum(w for s, w in topic.items() if s in stems)

    best = max(by_table, key=shared, default=None)
    if best is None or not _CHOOSES.match(question.text) or shared(best) < ABOUT * about:
        return []
    found = []
    for row in by_table[best]:
        value = _number_in(row.text, question)
        if value is not None:
            found.append((value, quote(shorten(row, question, limit))))
    return found


def _lists_bills(row: Unit, evidence: Sequence[Evidence]) -> bool:
    """Say whether a row's table is one of bills: by its heading or the name of a column."""
    columns = [cell.partition(": ")[0] for cell in row.text.split(SEPARATOR) if ": " in cell]
    return any(map(_BILLS.search, [evidence[row.number - 1].heading, *columns]))


def _number_in(row: str, question: Question) -> float | None:
    """Return the number in the column that the question names, or in the only one with numbers."""
    numbers: list[tuple[int, float]] = []
    for cell in row.split(SEPARATOR):
        column, _, text = cell.partition(": ")
        if not text or not _CELL.match(text.strip()):
            continue
        value = number(text)
        if value is not None:
            numbers.append((len(content_stems(column) & question.weights.keys()), value))
    named, value = max(numbers, key=lambda pair: pair[0], default=(0, 0.0))
    return value if named or len(numbers) == 1 else None
