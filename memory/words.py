"""How words are compared when past turns are searched: folding, terms, and where they stand.

Pure functions; knows nothing of Redis or of turns. Case, accents and width do not count: "CAFÉ" is
"cafe", "Straße" is "strasse", full-width letters are plain ones. German umlauts are also their
spelling: "Fähre", "Faehre" and "fahre" find "Fähre", the first two "Faehre". A run of Han or kana
is looked up as it stands, and parts from letters: "iPhone手机" is two terms.

A term is found anywhere in a word ("turm" in "Leuchtturm"), but one of up to three letters only at
the beginning of a word: "art" is not found in "part". In Han there are no words to begin.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

TERMS = 16  #: terms of a search that are looked up
SHORT = 3  #: letters of a term that must begin a word

_HAN = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_TERM = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")
_QUOTED = re.compile(r'["“”„«»]([^"“”„«»]+)["“”„«»]')
_MARKS = re.compile("[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u065f]")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})

_SPELLED = re.compile("[aou]e")


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that must be there. ``pattern`` finds it in folded text; without one of ``parts``
    (each a choice of folded words) it cannot be there."""

    text: str
    pattern: re.Pattern[str]
    parts: tuple[tuple[str, ...], ...]


def fold(text: str) -> str:
    """Return ``text`` without case, accents and differences of width."""
    if text.isascii():
        return text.lower()
    return _MARKS.sub("", unicodedata.normalize("NFKD", text).casefold())


def foldings(text: str) -> tuple[str, ...]:
    """Return every form in which ``text`` is searched: one, or two where there are umlauts."""
    composed = text if text.isascii() else unicodedata.normalize("NFC", text)
    spelled = composed.translate(_UMLAUTS)
    return (fold(text),) if spelled == composed else (fold(text), fold(spelled))


def terms(words: str) -> tuple[Term, ...]:
    """Return what a search looks for, each once; what stands in quotes is one term."""
    found: dict[str, Term] = {}
    for quoted in _QUOTED.findall(words):
        if parts := _TERM.findall(unicodedata.normalize("NFKC", quoted)):
            found.setdefault(" ".join(map(fold, parts)), _term(parts))
    for word in _TERM.findall(unicodedata.normalize("NFKC", _QUOTED.sub(" ", words))):
        found.setdefault(fold(word), _term([word]))
    return tuple(found.values())


def _term(words: Sequence[str]) -> Term:
    parts = tuple(foldings(word) for word in words)
    first = parts[0][0]
    short = len(first) <= SHORT and not re.match(f"[{_HAN}]", first)
    # a short word may follow Han, which has no spaces
    begins = rf"(?<![^\W_{_HAN}])" if short else ""
    inside = r"[\W_]*".join(f"(?:{'|'.join(map(re.escape, forms))})" for forms in parts)
    return Term(" ".join(words), re.compile(begins + inside), parts)


def may_hold(sought: Sequence[Term], text: str) -> bool:
    """Tell quickly whether all terms could be in a text that may still be written as JSON."""
    # the spelling of umlauts matters only to words that could be one
    spelled = any(_SPELLED.search(word) for t in sought for words in t.parts for word in words)
    forms = foldings(text) if spelled else (fold(text),)
    return all(
        any(word in form for word in choice for form in forms)
        for term in sought
        for choice in term.parts
    )


def holds(term: Term, forms: Sequence[str]) -> bool:
    """Tell whether a term is in one of the foldings of a text."""
    return any(term.pattern.search(form) for form in forms)


def places(sought: Sequence[Term], text: str) -> list[tuple[int, int]]:
    """Return where terms stand in ``text`` as spans of characters, in order, none overlapping."""
    spans: list[tuple[int, int]] = []
    for folded, origin in _aligned(text):
        for term in sought:
            for match in term.pattern.finditer(folded):
                spans.append((origin[match.start()], origin[match.end() - 1] + 1))
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _aligned(text: str) -> list[tuple[str, list[int]]]:
    """Return each folding with the place in ``text`` that each of its characters came from."""
    forms = []
    for spell in (False, True):
        folded: list[str] = []
        origin: list[int] = []
        for place, character in enumerate(text):
            piece = fold(character.translate(_UMLAUTS) if spell else character)
            folded.append(piece)
            origin += [place] * len(piece)
        forms.append(("".join(folded), origin))
    return forms if forms[0] != forms[1] else forms[:1]
