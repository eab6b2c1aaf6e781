"""Numbers, money and dates in a text, by rule.

Knows nothing of questions or of where a text came from.
"""

import re
from dataclasses import dataclass

_MONTHS = (
    r"jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|may|mai|june?|juni|july?|juli|"
    r"aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|okt(?:ober)?|nov(?:ember)?|de[cz](?:ember)?"
)
#: A day, a month, a year, a century, a part of a century, or a weekday
DATE = re.compile(
    rf"\b(?:\d{{1,2}}[./-]\d{{1,2}}[./-]\d{{2,4}}|\d{{4}}-\d{{2}}-\d{{2}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?\s*(?:of\s+)?(?:{_MONTHS})\b\.?,?(?:\s*\d{{4}}|'?\d\d\b)?"
    rf"|(?:{_MONTHS})\b\.?\s*\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s*\d{{4}})?"
    rf"|(?:{_MONTHS})\b\.?,?\s*(?:of\s+)?\d{{4}}"
    r"|(?:1\d|20)\d\d(?:s\b|\s*[–-]\s*\d{2,4}\b|\b)|\d{3,4}\s*(?:BCE?|AD|CE|v\. ?Chr)\b"
    r"|(?:\d{1,2}(?:st|nd|rd|th|\.)|\w+(?:th|first|second))[\s-]+(?:centur(?:y|ies)|jahrhunderts?|millennium)"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)days?)\b",
    re.IGNORECASE,
)
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
    " hundred hundreds thousand thousands million millions billion billions trillion dozen half"
    " third quarter once twice none single zwei drei vier fünf sechs sieben acht neun zehn elf"
    " zwölf hundert tausend million millionen milliarden"
)
#: A number in digits or in words
NUMBER = re.compile(
    r"(?<![\w.,])[$€£]?\d+(?:[.,   ]\d{3})*(?:[.,]\d+)?(?:\s?[%½]|\b)|½"
    r"|\b(?:" + "|".join(sorted(_WORDS.split(), key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)
_CURRENCY = r"(?:[$€£¥₹]|\b(?:RM|USD|EUR|GBP|MYR|SGD|CHF|JPY|Rs)\.?)"
#: An amount as receipts print it: two decimals, with or without a currency
PRICE = re.compile(
    rf"(?:{_CURRENCY}\s?)?-?\(?(?<![\d.,/:-])\d{{1,3}}(?:[,.]\d{{3}})*\s?[.,]\s?\d{{2}}(?![\d/:%]|[.,-]\d)\)?"
    rf"|(?:{_CURRENCY}\s?)?(?<![\d.,/:-])\d{{1,6}}[.,]\d{{2}}(?![\d/:%]|[.,-]\d)"
    rf"|{_CURRENCY}\s?\d[\d,]*(?:\.\d+)?(?![\d/])",
    re.IGNORECASE,
)
#: Money in prose: a currency sign or name next to a number
MONEY = re.compile(
    rf"{_CURRENCY}\s?\d[\d.,]*(?:\s(?:thousand|million|billion|trillion))?|\d[\d.,]*\s?"
    r"(?:(?:thousand|million|billion|trillion)\s)?(?:dollars?|euros?|pounds?|cents?|€|\$|ringgit)",
    re.IGNORECASE,
)


def number(text: str) -> float | None:
    """Return the value of an amount such as ``RM 1,234.50``, ``1.234,50`` or ``54``.

    The last separator is the decimal one when one or two digits follow it; all others group.
    """
    digits = re.sub(r"[^\d.,]", "", text).strip(".,")
    if not digits:
        return None
    head, last, tail = digits, "", ""
    for position in range(len(digits) - 1, -1, -1):
        if digits[position] in ".,":
            head, last, tail = digits[:position], digits[position], digits[position + 1 :]
            break
    whole = re.sub(r"[.,]", "", head)
    decimal = bool(last) and (len(tail) != 3 or (last == "." and whole == "0"))
    value = float(f"{whole or '0'}.{tail}") if decimal else float(whole + tail)
    negative = re.search(r"-\s*[$€£RM]*\s*\d", text) is not None or text.strip().startswith("(")
    return -value if negative else value


_DAY_FIRST = re.compile(
    r"(?<![\d.])(\d{1,2})\s?[./-]\s?(\d{1,2})\s?[./-]\s?(\d{4}|\d{2})(?!\d{0,3}[./-]\d)"
)
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})[./-](\d{1,2})[./-](\d{1,2})(?!\d)")
_DAY_MONTH = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th|\.)?[\s-]*({_MONTHS})\b[.,']?[\s-]*(\d{{4}}|\d{{2}})(?!\d)",
    re.IGNORECASE,
)
_MONTH_DAY = re.compile(
    rf"\b({_MONTHS})\b\.?\s*(\d{{1,2}})(?:st|nd|rd|th)?,?\s*(\d{{4}})(?!\d)", re.IGNORECASE
)
_ORDER = {m: i for i, m in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_ORDER |= {"mär": 3, "mai": 5, "okt": 10, "dez": 12}


def days(text: str) -> frozenset[tuple[int, int, int]]:
    """Return the days (year, month, day) in ``text``. ``10/03/2018`` may be either of two."""
    found: set[tuple[int, int, int]] = set()
    for match in _DAY_FIRST.finditer(text):
        first, second, year = (int(group) for group in match.groups())
        found |= {(year, second, first), (year, first, second)}
    for match in _YEAR_FIRST.finditer(text):
        year, month, day = (int(group) for group in match.groups())
        found.add((year, month, day))
    for match in _DAY_MONTH.finditer(text):
        found.add((int(match[3]), _ORDER[match[2][:3].lower()], int(match[1])))
    for match in _MONTH_DAY.finditer(text):
        found.add((int(match[3]), _ORDER[match[1][:3].lower()], int(match[2])))
    return frozenset(
        (year if year > 99 else 2000 + year, month, day)
        for year, month, day in found
        if 1 <= month <= 12 and 1 <= day <= 31
    )


_ABOVE = (
    r"over|above|more than|greater than|exceed(?:s|ing)?|higher than|larger than|at least|über"
    r"|mehr als|mindestens|>=?|≥"
)
_BELOW = (
    r"under|below|less than|lower than|smaller than|cheaper than|at most|up to|unter|weniger als"
    r"|höchstens|<=?|≤"
)
_SCALES = {
    "hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12,
    "hundert": 1e2, "tausend": 1e3, "millionen": 1e6, "milliarden": 1e9,
}  # fmt: skip
_SCALE = re.compile(rf"\s?({'|'.join(_SCALES)})\b", re.IGNORECASE)
_FIGURE = rf"(?:[$€£¥]|rm|usd|eur|gbp|myr)?\s*(\d[\d.,]*(?:\s(?:{'|'.join(_SCALES)})\b)?)"
_LIMIT = re.compile(rf"(?<!\w)(?:({_ABOVE})|({_BELOW}))\s*{_FIGURE}")
_BETWEEN = re.compile(rf"\b(?:between|zwischen)\s*{_FIGURE}\s*(?:and|und|-)\s*{_FIGURE}")
_INCLUSIVE = re.compile(r"at least|mindestens|at most|up to|höchstens|[≥≤=]")


@dataclass(frozen=True, slots=True)
class Limit:
    """An interval of amounts; ``inclusive`` says whether its ends belong to it."""

    low: float = float("-inf")
    high: float = float("inf")
    inclusive: bool = False

    def holds(self, value: float) -> bool:
        """Say whether ``value`` lies inside."""
        if self.inclusive:
            return self.low <= value <= self.high
        return self.low < value < self.high


def figures(text: str, kind: re.Pattern[str] = NUMBER) -> list[float]:
    """Return the values of what ``kind`` finds in ``text``, scales ("2 million") reckoned in.

    Dates are left out, and so are numbers in words.
    """
    text = DATE.sub(";", text)
    found = []
    for match in kind.finditer(text):
        value = number(match.group())
        if value is not None:
            scale = _SCALE.search(match.group()) or _SCALE.match(text, match.end())
            found.append(value * (_SCALES[scale.group(1).lower()] if scale else 1.0))
    return found


def limit_of(text: str) -> Limit | None:
    """Return the limit in ``text`` ("over 50", "between 10 and 20"), or ``None``."""
    lower = text.casefold()
    if match := _BETWEEN.search(lower):
        low, high = sorted((figures(group) or [0.0])[0] for group in match.groups())
        return Limit(low, high, inclusive=True)
    if match := _LIMIT.search(lower):
        value = (figures(match.group(3)) or [0.0])[0]
        inclusive = _INCLUSIVE.match(match.group(1) or match.group(2)) is not None
        if match.group(1):
            return Limit(low=value, inclusive=inclusive)
        return Limit(high=value, inclusive=inclusive)
    return None
