"""Reads the writing in pictures as one reads a receipt or a form: labels, and values beside them.

Knows nothing of how a picture was found or of wording.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.models.reading.amounts import PRICE, number
from bot.models.reading.units import Unit


@dataclass(frozen=True, slots=True)
class Field:
    """A value that was read: the rows of writing that say so, and for an amount its value."""

    text: str
    number: int
    lines: tuple[int, ...]
    value: float | None = None


#: OCR confuses o and 0, l and 1
_TOTAL = r"t[o0]ta[l1i]"
#: What is asked to be paid, then what may be it, then what is nearly it; the best label wins
_LABELS = (
    re.compile(
        rf"grand\s*{_TOTAL}|nett?\s*{_TOTAL}|nett?\s*am(?:oun)?t|{_TOTAL}\s*(?:amt|amount)?\s*(?:due"
        rf"|payable|incl|rounded|after|with|nett?\b)|rounded\s*{_TOTAL}|{_TOTAL}.{{0,16}}\bincl"
        r"|(?:amount|balance)\s*due|amount\s*payable|to\s*pay\b|gesamtbetrag|endbetrag"
        r"|zu\s*zahlen|zahlbetrag",
        re.IGNORECASE,
    ),
    re.compile(rf"{_TOTAL}|gesamt|summe|betrag", re.IGNORECASE),
    re.compile(r"\bam(?:oun)?t\b|sub\s*-?\s*total|zwischensumme", re.IGNORECASE),
)
#: Totals of something else than what is to be paid
_OTHER_TOTAL = re.compile(
    rf"sub\s*-?\s*{_TOTAL}|{_TOTAL}\s*(?:qty|quantity|items?|disc|savings?|saved|no\b|points|pcs|unit"
    rf"|(?:gst|tax|sst|vat|mwst)\b|rounding)|(?:qty|items?|gst|tax|discount|savings?)\s*{_TOTAL}"
    rf"|(?:exc?l\w*|before|without)\b.{{0,12}}(?:gst|tax|sst|vat|discount|rounding)|tax\s*invoice",
    re.IGNORECASE,
)
_CASH = re.compile(
    r"\bcash\b(?!\s*(?:ier|sales|bill))|\btender|\bpaid\b|\bbar\b|gegeben", re.IGNORECASE
)
_CHANGE = re.compile(r"\bchange\b|rückgeld", re.IGNORECASE)
#: Labels are ranked by kind; being confirmed by cash less change is worth more than one kind
_KIND, _CONFIRMED, _LATER = 1.0, 1.5, 0.01


def total(rows: Sequence[Unit]) -> Field | None:
    """Return what a receipt says is to be paid, or ``None``.

    ``rows`` are the rows of writing of one picture, top to bottom. The amount stands on the row of
    its label or, in a narrow column, on the row below it. Amounts of zero are no totals.
    """
    prices = [_prices(row.text) for row in rows]
    paid = _paid(rows, prices)
    best: tuple[float, Field] | None = None
    for i, row in enumerate(rows):
        kind = _kind(row.text)
        value, last = _value_of(rows, prices, i)
        if kind is None and value == paid and re.search(r"round|cash|tender", row.text, re.I):
            kind = 0.0 if _CASH.search(row.text) else _KIND  # no label at all, but it fits
        if kind is None or not value:
            continue
        score = (
            _KIND * kind + _LATER * i + (_CONFIRMED if paid is not None and value == paid else 0)
        )
        if best is None or score > best[0]:
            best = score, _field(rows[i : last + 1], value)
    return best[1] if best else None


def _kind(text: str) -> float | None:
    """Return how good a label ``text`` is for a total, or ``None`` when it is none."""
    for place, label in enumerate(_LABELS):
        if label.search(text):
            better = place == 0 and not re.search(rf"sub\s*-?\s*{_TOTAL}", text, re.IGNORECASE)
            if not better and _OTHER_TOTAL.search(text):
                return 0.0 if re.search(r"exc?l|before|sub", text, re.IGNORECASE) else None
            return float(len(_LABELS) - place)
    return None


def _value_of(
    rows: Sequence[Unit], prices: Sequence[Sequence[float]], i: int
) -> tuple[float | None, int]:
    """Return the rightmost amount of row ``i`` and that row, or those of the row below it."""
    if prices[i]:
        return prices[i][-1], i
    if i + 1 < len(rows) and prices[i + 1] and not re.search(r"[^\W\d_]{3}", rows[i + 1].text):
        return prices[i + 1][-1], i + 1
    return None, i


def _paid(rows: Sequence[Unit], prices: Sequence[Sequence[float]]) -> float | None:
    """Return cash less change; where a receipt tells no change, cash."""
    cash = change = None
    for i, row in enumerate(rows):
        value, _ = _value_of(rows, prices, i)
        if value is None:
            continue
        if _CHANGE.search(row.text):
            change = value
        elif _CASH.search(row.text) and _kind(row.text) is None:
            cash = value
    return None if cash is None else round(cash - abs(change or 0.0), 2)


def _prices(text: str) -> list[float]:
    found = (number(match.group()) for match in PRICE.finditer(text))
    return [value for value in found if value is not None]


def labelled(rows: Sequence[Unit], stems: frozenset[str]) -> Field | None:
    """Return the row whose label shares most of ``stems``, with the row below it when it holds
    nothing but the label; ``None`` when no row has any of them.
    """
    scored = [(len(stems & row.stems), -i) for i, row in enumerate(rows)]
    shared, place = max(scored, default=(0, 0))
    if not shared:
        return None
    first = -place
    alone = rows[first].stems <= stems and first + 1 < len(rows)
    return _field(rows[first : first + 2 if alone else first + 1])


def _field(rows: Sequence[Unit], value: float | None = None) -> Field:
    text = " ".join(row.text for row in rows)
    return Field(text, rows[0].number, tuple(n for row in rows for n in row.lines), value)
