"""Words that point at pictures: what they have in common in every language, and which it is.

The tables of a language are in ``memory/phrases_en.py``, ``phrases_de.py`` and ``phrases_zh.py``,
names of things in ``phrases_things.py``. Knows nothing of conversations.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from memory import phrases_de as de
from memory import phrases_en as en

Place = Literal[
    "", "number", "ordinal", "first", "last", "back", "previous", "before", "penultimate", "all"
]
Language = Literal["en", "de", "zh"]


@dataclass(frozen=True, slots=True)
class Pointer:
    """A group of words that may point at pictures, taken apart.

    ``start`` and ``end`` are its place in the text. ``kind`` is the kind of picture that its noun
    names, ``bare`` that it has no noun ("the second one"). ``owner`` is ``"user"`` or ``"bot"``
    for "I sent" and "you showed", ``names`` are names of who sent it. ``before`` and ``after`` are
    words that describe it, ahead of and behind the noun. ``numbers`` belong to the places
    ``number``, ``ordinal`` and ``back`` (from the end); ``count`` is how many ("the last two"), 0
    when that was not said. A ``weak`` pointer may as well be no pointer. ``shows``: the names may
    also be of who is in the picture ("das Foto von Anna"); ``either``: they are of several people
    ("Anna and Ben sent"), otherwise of one. From ``joint`` on, when it is not 0, the
    text may describe the picture or name another ("the photo with the dog", "… with the map").
    """

    start: int
    end: int
    kind: str = ""
    bare: bool = False
    plural: bool = False
    weak: bool = False
    place: Place = ""
    numbers: tuple[int, ...] = ()
    count: int = 0
    owner: str = ""
    names: frozenset[str] = frozenset()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    shows: bool = False
    either: bool = False
    joint: int = 0


ORDINALS: Mapping[str, int] = {**en.ORDINALS, **de.ORDINALS}
CARDINALS: Mapping[str, int] = {**en.CARDINALS, **de.CARDINALS}
NOUNS: Mapping[str, str] = {**en.NOUNS, **de.NOUNS}  #: noun -> kind, "" for any picture
PLURALS: frozenset[str] = en.PLURALS | de.PLURALS
THE: frozenset[str] = en.THE | de.THE
MINE: Mapping[str, str] = {**en.MINE, **de.MINE}
EACH: frozenset[str] = en.EACH | de.EACH
BOTH: frozenset[str] = en.BOTH | de.BOTH
LAST: frozenset[str] = en.LAST | de.LAST
PREVIOUS: frozenset[str] = en.PREVIOUS | de.PREVIOUS
PENULTIMATE: frozenset[str] = en.PENULTIMATE | de.PENULTIMATE
SENT: frozenset[str] = en.SENT | de.SENT
IDLE = {"en": en.IDLE, "de": de.IDLE, "zh": en.IDLE}
KINDS: Mapping[str, frozenset[str]] = {k: frozenset(v.split()) for k, v in en.KINDS.items()}

_HAN = re.compile(r"[\u4e00-\u9fff]")
_WORD = re.compile(r"[^\W\d_]+")


def language(text: str) -> Language:
    """Return the language of a question, as far as its function words tell; English otherwise."""
    if _HAN.search(text):
        return "zh"
    words = [word.lower() for word in _WORD.findall(text)]
    german = sum(word in de.COMMON or bool(set(word) & set("äöüß")) for word in words)
    return "de" if german > sum(word in en.COMMON for word in words) else "en"


def listed(tokens: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of "3, 5 and 7" or "2 to 4"; a range of more than 100 is cut there."""
    numbers: list[int] = []
    through = False
    for token in tokens[:200]:
        if token in en.THROUGH or token in de.THROUGH:
            through = True
        elif token.isdigit():
            if through and numbers:
                numbers.extend(range(numbers[-1] + 1, min(int(token), numbers[-1] + 100) + 1))
            else:
                numbers.append(int(token))
            through = False
    return tuple(numbers)
