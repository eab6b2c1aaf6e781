"""What stands around a noun for a picture, in English and German: read word by word.

Before it, from right to left: words that describe it, how many, which place, whose. Behind it, from
left to right: numbers, who sent it, what it shows. Knows nothing of which words are such nouns'
pointers in the end; ``memory/pointing.py`` does.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from memory import phrases_de as de
from memory import phrases_en as en
from memory.phrases import (
    BOTH,
    CARDINALS,
    EACH,
    LAST,
    MINE,
    NOUNS,
    ORDINALS,
    PENULTIMATE,
    PREVIOUS,
    SENT,
    THE,
    Place,
    listed,
)

_ANY = "|".join(noun for nouns in (en.NOUNS, de.NOUNS) for noun, kind in nouns.items() if not kind)
_TOKEN = re.compile(
    r"\d+(?:[.,:/×x%]\d+)+|\d{1,3}(?:st|nd|rd|th)\b"
    rf"|\d{{1,3}}\.(?= ?(?:{_ANY})\b)|\d+(?![\w%])"
    r"|second[- ]to[- ]last|next[- ]to[- ]last|second[- ]last|most recent|very last"
    r"|(?:(?![\u4e00-\u9fff])[\w'’])+(?:[.-](?:(?![\u4e00-\u9fff])\w)+)*|[^\w\s]",
    re.IGNORECASE,
)
_WHO = {**en.WHO, **de.WHO}
_GAVE = en.GAVE | de.GAVE
_IDIOM = re.compile(r"\b(?:get|got) the picture\b|\bthe big(?:ger)? picture\b", re.IGNORECASE)
_NUMBER = en.NUMBER | de.NUMBER
_JOINS = en.AND | de.AND | en.THROUGH | de.THROUGH
_AND = frozenset(("and", "or", ",", "&", "und", "oder"))
_OF, _FROM = en.OF | de.OF, en.FROM | de.FROM
_BEFORE = en.BEFORE | de.BEFORE
_MOST_BEFORE = 4  # words that may describe a picture ahead of its noun
_MOST_AFTER = 12  # and behind it
_MOST_LEFT = 24  # words that are read ahead of a noun
_WHERE = frozenset("you we i one man can could see there is are sieht".split())


@dataclass(slots=True)
class Found:
    """What was read so far of one pointer; ``first`` and ``after`` are places of tokens."""

    first: int
    after: int
    place: Place = ""
    numbers: tuple[int, ...] = ()
    count: int = 0
    owner: str = ""
    names: set[str] = field(default_factory=set)
    before: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    definite: bool = False
    shows: bool = False
    either: bool = False
    soft: int = 0  # where a description begins that may as well be another picture


class Sides:
    """A text: its tokens, where each stands, and how what stands around a noun is read."""

    def __init__(self, text: str, names: Collection[str], german: bool) -> None:
        self.text = _IDIOM.sub(lambda match: "\x00" * len(match.group()), text)
        self.names = names
        words = de if german else en
        self.ends, self.goes_on, self.helpers = words.ENDS, words.GOES_ON, words.HELPERS
        found = list(_TOKEN.finditer(self.text))
        self.words = [match.group().lower().replace("’", "'") for match in found]
        self.spans = [match.span() for match in found]

    def word(self, at: int) -> str:
        return self.words[at] if 0 <= at < len(self.words) else ""

    def ends_bare(self, at: int) -> bool:
        """Tell whether a clause ends behind ``at``, so that no other noun follows."""
        after = self.word(at + 1)
        return not re.match(r"\w", after) or after in self.goes_on or after in _BEFORE

    # -- leftwards

    def left(self, at: int, taken: int) -> Found:
        """Read what stands before the noun at ``at``, no further than ``taken``."""
        found = Found(at, at)
        place = at - 1
        while place >= max(taken, at - _MOST_LEFT):
            word = self.words[place]
            if (word in SENT and not found.place and not found.definite) or self._takes_place(
                found, word, place
            ):
                pass
            elif word in THE and not found.definite:
                found.definite = True
            elif word in MINE and not found.definite:
                found.owner, found.definite = MINE[word], True
            elif self._named(word) and (not found.definite or found.names):
                found.names.add(self._named(word))
                found.definite = True
            elif word in EACH or word in BOTH:
                found.place, found.definite = found.place or "all", True
                found.count = 2 if word in BOTH else found.count
            elif word in ("of", "von") and self.word(place - 1) in EACH | BOTH | {"two", "three"}:
                pass
            elif not found.definite and not found.place and self._describes(found, word):
                found.before.insert(0, word.removesuffix("'s"))
            else:
                break
            found.first = place
            place -= 1
        if not found.definite and found.before:  # nothing says that the words belong to it
            if not found.place:
                found.first, found.count = at, 0
            found.before = []
        if found.place == "ordinal" and found.count and found.numbers == (1,):
            found.place, found.numbers = "first", ()
        return found

    def _takes_place(self, found: Found, word: str, at: int) -> bool:
        """Take a word that says how many, or which place."""
        if found.definite and found.place != "ordinal":
            return False
        if (word in CARDINALS or re.fullmatch(r"\d{1,2}", word)) and not found.place:
            found.count = CARDINALS.get(word) or int(word)
            return not found.before or True
        if (
            word in BOTH
            and not found.place
            and self.word(at - 1) in {*ORDINALS, *LAST, *PREVIOUS, *THE, *MINE}
        ):
            found.count = 2
            if self.word(at - 1) in {*THE, *MINE}:
                found.place = "all"
            return True
        ordinal = ordinal_of(word)
        if (
            ordinal
            and found.place in ("", "ordinal")
            and not (found.definite and not self._joined(found))
        ):
            found.place = "ordinal"
            found.numbers = (ordinal, *found.numbers)
            return True
        if word in _AND and found.place == "ordinal" and self._reaches_ordinal(at - 1):
            found.definite = False
            return True
        if found.place:
            return False
        for words, place in ((LAST, "last"), (PREVIOUS, "previous"), (PENULTIMATE, "penultimate")):
            if word in words:
                found.place = place  # type: ignore[assignment]
                return True
        return False

    def _joined(self, found: Found) -> bool:
        return self.words[found.first] in _AND

    def _reaches_ordinal(self, at: int) -> bool:
        word = self.word(at)
        return bool(ordinal_of(word)) or (word in THE and bool(ordinal_of(self.word(at - 1))))

    def _describes(self, found: Found, word: str) -> bool:
        return (
            len(found.before) < _MOST_BEFORE
            and re.match(r"\w", word) is not None
            and word not in self.ends
            and word not in _OF
            and word not in ("a", "an", "one", "ein", "eine", "einem", "einen", "no", "which")
            and word not in NOUNS
        ) or (word in NOUNS and len(found.before) < 2 and not found.before)

    def _named(self, word: str) -> str:
        """Return the name in "Anna's", "Annas" or "Hans'", ``""`` when there is none."""
        for end in ("'s", "'", "s"):
            if word.endswith(end) and word.removesuffix(end) in self.names:
                return word.removesuffix(end)
        return ""

    # -- rightwards

    def right(self, found: Found, *, bare: bool) -> None:
        if not bare:
            self._numbers(found)
            if found.place == "number":
                return
        self._sender(found)
        if self._goes_before(found):
            return
        if self.word(found.after) in _OF and not found.told:
            self._description(found)

    def _numbers(self, found: Found) -> None:
        at = found.after
        said = self.word(at) in _NUMBER
        while self.word(at) in _NUMBER or (said and self.word(at) == "."):
            at += 1
        if said and self.word(at) in CARDINALS:
            found.place, found.numbers, found.after = "number", (CARDINALS[self.word(at)],), at + 1
            return
        tokens: list[str] = []
        end = at
        while True:
            if self.word(at) == "#":
                at += 1
            if not re.fullmatch(r"\d{1,3}", self.word(at)):
                break
            tokens.append(self.word(at))
            end = at = at + 1
            while self.word(at) in _JOINS:
                tokens.append(self.word(at))
                at += 1
        if tokens and self.word(end) != "%" and found.place in ("", "all"):
            found.first = found.after - 1
            found.place, found.numbers, found.after = "number", listed(tokens), end
            found.before, found.count = [], 0

    def _sender(self, found: Found) -> None:
        at = found.after
        if self.word(at) in _FROM and self._name_at(at + 1):
            found.shows = self.word(at) == "von"
            found.names.add(self._name_at(at + 1))
            found.after = at + 2
            return
        if self.word(at) == "," and self.word(at + 1) in THE:  # das Bild, das Anna …
            at += 2
        elif self.word(at) in ("that", "which"):
            at += 1
        owner, name = _WHO.get(self.word(at), ""), self._name_at(at)
        if not owner and not name:
            return
        at += 1
        others: set[str] = set()
        while name:
            joined = self.word(at) in _AND and self._name_at(at + 1)
            if not joined and not self._name_at(at):
                break
            others.add(self._name_at(at + 1) if joined else self._name_at(at))
            found.either = found.either or bool(joined)
            at += 2 if joined else 1
        helped = at
        while helped < at + 8 and self.word(helped) not in _GAVE:
            word = self.word(helped)
            known = word in self.helpers or word in LAST or ordinal_of(word)
            german = re.match(r"\w", word) and self.word(found.after) == ","
            if not (known or german):
                return
            if word == "zuletzt" and not found.place:
                found.place = "last"
            helped += 1
        if self.word(helped) not in _GAVE:
            return
        found.owner = owner
        if name:
            found.names |= {name} | others
        found.after = helped + 1
        while self.word(found.after) in ("hat", "hast", "habe", "haben", "me", "us", "you"):
            found.after += 1
        if self.word(found.after) == "last" and not found.place:
            found.place, found.after = "last", found.after + 1

    def _name_at(self, at: int) -> str:
        return self.word(at) if self.word(at) in self.names else ""

    def _goes_before(self, found: Found) -> bool:
        """Take "before that", "davor", "before the last one"."""
        at = found.after
        if self.word(at) not in _BEFORE or found.place:
            return False
        found.place, found.after = "before", at + 1
        after = self.word(at + 1)
        if after in ("that", "this", "it", "dem", "diesem"):
            found.after = at + 2
        rest = self.words[at + 1 : at + 4]
        if rest[:1] == ["the"]:
            rest = rest[1:]
        if rest and rest[0] in LAST:
            found.place = "penultimate"
            found.after = self.words.index(rest[0], at) + 1
            if self.word(found.after) == "one" or self.word(found.after) in NOUNS:
                found.after += 1
        return True

    def _description(self, found: Found) -> None:
        begin = found.after
        at, joint = begin + 1, self.word(begin)
        while joint in ("where", "wo") and self.word(at) in _WHERE:
            at += 1
        while at < min(len(self.words), begin + 1 + _MOST_AFTER):
            word = self.words[at]
            first = at == begin + 1
            if not re.match(r"\w", word) or (word in self.ends and not (first and word in THE)):
                break
            if word in ("one", "ones") or (word in ("that", "which") and not first):
                break
            if word in ("with", "mit") and not NOUNS.keys().isdisjoint(self.words[at : at + 4]):
                break
            found.told.append(word)
            at += 1
        if self.word(at) in ("one", "ones"):
            found.told.clear()
        if found.told:
            found.after = at
            found.soft = begin if joint in ("with", "mit") else 0
            self._sender(found)


def ordinal_of(word: str) -> int:
    digits = re.fullmatch(r"(\d{1,3})(?:st|nd|rd|th|\.)", word)
    return int(digits[1]) if digits else ORDINALS.get(word, 0)
