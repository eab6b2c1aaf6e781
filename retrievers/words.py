"""Words as the full-text index sees them: what is indexed of a text, and a safe query from a text.

Knows nothing of SQLite beyond FTS5's query syntax, nor of what is searched.

The index uses FTS5's ``porter unicode61``, which splits at what is neither letter nor digit. What
is written without spaces (Han, Kana), and Hangul, is indexed as single characters, and asked for
as pairs of neighbours (the bigrams of Lucene's CJKAnalyzer, as phrases of two characters).
"""

import itertools
import re
import unicodedata
from collections.abc import Sequence

MAX_TERMS = 64
MAX_READ = 20_000
"""Characters of a query that are read; what lies behind them is not searched for."""

_CJK = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_CJK_ALL = _CJK + "\U00020000-\U0003ffff"
_ONE_CJK = re.compile(f"([{_CJK_ALL}])")
_RUN = re.compile(f"[{_CJK_ALL}]+|[^\\W_{_CJK_ALL}]+")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

_STOP_WORDS = """
a about above after again all also an and any are as at be because been before being below between
both but by can could did do does doing during each either else ever for from further had has have
having he her here hers him his how i if in into is it its itself just ll me might more most must
my myself no nor not of off on once only or other our ours out over own please s same shall she
should so some such than that the their theirs them then there these they this those through to too
under until up upon ve very was we were what when where whether which while who whom whose why will
with within without would you your yours
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""English only, and without what is also a word of weight: May, US, vitamin D, T cell."""


def clean(text: str) -> str:
    """Return ``text`` without what a database of UTF-8 text cannot hold: controls, lone halves."""
    return _CONTROL.sub(" ", text)


def storable(name: str) -> str:
    """Return a source's name as it is stored: bytes that are not UTF-8 become ``\\udcff``."""
    return name.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def indexed(text: str) -> str:
    """Return the form of ``text`` that goes into the full-text index.

    Compatibility forms are folded (NFKC: the ligatures of PDF files, full-width digits).
    """
    return _ONE_CJK.sub(r" \1 ", unicodedata.normalize("NFKC", clean(text)))


def terms(text: str) -> list[str]:
    """Return the distinct terms of a query in their order, each one FTS5 phrase without its quotes.

    Stop words are dropped unless nothing else is left. Any text is safe: a term holds letters,
    digits and spaces only.
    """
    folded = unicodedata.normalize("NFKC", clean(text[:MAX_READ])).casefold()
    found: dict[str, None] = {}
    for match in _RUN.finditer(folded):
        run = match.group()
        if not _ONE_CJK.match(run) or len(run) == 1:
            found[run] = None
        else:
            found.update((f"{a} {b}", None) for a, b in itertools.pairwise(run))
    return [t for t in found if t not in STOP_WORDS] or list(found)


def match_any(phrases: Sequence[str]) -> str:
    """Return the FTS5 query that matches any of ``phrases`` (as :func:`terms` returns them)."""
    return " OR ".join(f'"{phrase}"' for phrase in phrases)
