"""Questions that compare amounts: "which receipt is over 50", "the cheapest of …".

Knows nothing of how amounts were found: they are the totals of pictures and the cells of tables.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath

from bot.models.reading import forms
from bot.models.reading.amounts import number
from bot.models.reading.answer import Quote, Reading, fill, quote, quote_field
from bot.models.reading.question import Question
from bot.models.reading.shorten import SEPARATOR, shorten
from bot.models.reading.units import Unit
from bot.models.reading.words import content_stems
from retrievers.evidence import Evidence

_BILLS = re.compile(
    r"\b(?:receipt|bill|invoice|total|rechnung|quittung|beleg|kassenzettel)(?:s|en|e)?\b",
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
    amounts = amounts or _cells(question, evidence, units, limit)
    if question.limit:
        picked = [q for value, q in amounts if question.limit.holds(value)]
    else:
        pick = max if _HIGHEST.search(question.text) else min
        extreme = pick((value for value, _ in amounts), default=0.0)
        picked = [q for value, q in amounts if value == extreme] if len(amounts) > 1 else []
    return Reading(True, fill(picked, limit)) if picked else None


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
    by_table: dict[int, list[Unit]] = {}
    for unit in units:
        if unit.form == "row":
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
