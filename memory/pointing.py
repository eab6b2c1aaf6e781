"""English and German words that point at pictures are found and taken apart.

A noun ("picture", "Foto", "chart"), or its place where it was left out ("the second one", "das
davor"), is looked for first; then what stands before it is read from right to left (words that
describe it, how many, which place, whose), and what stands behind it from left to right (numbers,
who sent it, what it shows). Knows nothing of the pictures that there are, but for the names of
those who sent them.
"""

import re
from collections.abc import Collection, Iterator
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
    PLURALS,
    PREVIOUS,
    SENT,
    THE,
    Place,
    Pointer,
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
#: a picture of a document, which is evidence, not part of the conversation
_ELSEWHERE = re.compile(
    r"\s+(?:of|in|on|from|auf|im|aus)\s+(?:(?:the|this|that|my|your|each|every|der|dem|den|jeder|"
    r"\w+['’]s)\s+)?(?:\w+\s+)?(?:page|pages|paper|report|document|pdf|article|book|manual|slides?|"
    r"section|chapter|website|deck|seite|bericht|dokument|kapitel)s?\b",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Found:
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
    soft: int = 0  # where a description begins that may as well be another picture


def pointers(text: str, names: Collection[str], *, german: bool = False) -> list[Pointer]:
    """Return what may point at pictures in ``text``, in its order; they may overlap.

    ``names`` are the lower-case words of the names of those who sent pictures.
    """
    return list(_Reader(text, names, german).read())


class _Reader:
    """One text being read: its tokens, and where each stands."""

    def __init__(self, text: str, names: Collection[str], german: bool) -> None:
        self.text = _IDIOM.sub(lambda match: "\x00" * len(match.group()), text)
        self.names = names
        words = de if german else en
        self.ends, self.goes_on, self.helpers = words.ENDS, words.GOES_ON, words.HELPERS
        found = list(_TOKEN.finditer(self.text))
        self.words = [match.group().lower().replace("’", "'") for match in found]
        self.spans = [match.span() for match in found]

    def read(self) -> Iterator[Pointer]:
        taken = 0  # tokens before this one belong to another pointer
        at = 0
        while at < len(self.words):
            found = self._head(at, taken)
            if found is not None:
                yield found[0]
                taken = found[1]
            at = max(at + 1, taken)

    def _word(self, at: int) -> str:
        return self.words[at] if 0 <= at < len(self.words) else ""

    def _head(self, at: int, taken: int) -> tuple[Pointer, int] | None:
        """Return the pointer whose noun, or missing noun, is at ``at``, and where it ends."""
        word = self.words[at]
        noun, own = self._noun(at)
        if noun:
            found = self._left(at, taken)
            found.before.extend(own)
            found.after = at + 1
            self._right(found, bare=False)
            if self._elsewhere(found) or not self._points(found, at):
                return None
            kind, plural = NOUNS[noun], noun in PLURALS
            return self._pointer(found, kind=kind, plural=plural), found.soft or found.after
        if word in ("one", "ones") and self._word(at - 1) not in (
            "",
            "no",
            "any",
            "number",
            "each",
        ):
            found = self._left(at, taken)
            found.after = at + 1
            return self._bare(found, plural=word == "ones")
        if self._ends_bare(at) and (
            word in ORDINALS or word in LAST | PREVIOUS | PENULTIMATE or self._counts(at)
        ):
            found = self._left(at + 1, taken)
            found.after = at + 1
            return self._bare(found) if found.definite and found.place else None
        german = word in ("das", "die", "der", "den", "dem")
        if german and (self._word(at + 1) in ("mit", "von") or self._word(at + 1) in de.BEFORE):
            return self._bare(_Found(at, at + 1, definite=True))
        return None

    def _noun(self, at: int) -> tuple[str, list[str]]:
        """Return the noun at ``at``, and the front of a compound as a word that describes it."""
        word = self.words[at]
        if word in NOUNS:
            return word, []
        for tail in de.TAILS:
            if word.endswith(tail) and len(word) - len(tail) >= 3:
                return tail, [word.removesuffix(tail).rstrip("-")]
        return "", []

    def _counts(self, at: int) -> bool:
        """Tell whether "two" at ``at`` ends "the first two"."""
        word, ahead = self.words[at], self._word(at - 1)
        return (word in CARDINALS or word in BOTH) and (
            ORDINALS.get(ahead) == 1 or ahead in LAST | PREVIOUS
        )

    def _ends_bare(self, at: int) -> bool:
        """Tell whether a clause ends behind ``at``, so that no other noun follows."""
        after = self._word(at + 1)
        return not re.match(r"\w", after) or after in self.goes_on or after in _BEFORE

    # -- leftwards

    def _left(self, at: int, taken: int) -> _Found:
        """Read what stands before the noun at ``at``, no further than ``taken``."""
        found = _Found(at, at)
        place = at - 1
        while place >= max(taken, at - _MOST_LEFT):
            word = self.words[place]
            if (word in SENT and not found.place) or self._takes_place(found, word, place):
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
            elif word in ("of", "von") and self._word(place - 1) in EACH | BOTH | {"two", "three"}:
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

    def _takes_place(self, found: _Found, word: str, at: int) -> bool:
        """Take a word that says how many, or which place."""
        if found.definite and found.place != "ordinal":
            return False
        if (word in CARDINALS or re.fullmatch(r"\d{1,2}", word)) and not found.place:
            found.count = CARDINALS.get(word) or int(word)
            return not found.before or True
        if (
            word in BOTH
            and not found.place
            and self._word(at - 1) in {*ORDINALS, *LAST, *PREVIOUS, *THE, *MINE}
        ):
            found.count = 2
            if self._word(at - 1) in {*THE, *MINE}:
                found.place = "all"
            return True
        ordinal = _ordinal(word)
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

    def _joined(self, found: _Found) -> bool:
        return self.words[found.first] in _AND

    def _reaches_ordinal(self, at: int) -> bool:
        word = self._word(at)
        return bool(_ordinal(word)) or (word in THE and bool(_ordinal(self._word(at - 1))))

    def _describes(self, found: _Found, word: str) -> bool:
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

    def _right(self, found: _Found, *, bare: bool) -> None:
        if not bare:
            self._numbers(found)
            if found.place == "number":
                return
        self._sender(found)
        if self._goes_before(found):
            return
        if self._word(found.after) in _OF and not found.told:
            self._description(found)

    def _numbers(self, found: _Found) -> None:
        at = found.after
        said = self._word(at) in _NUMBER
        while self._word(at) in _NUMBER or (said and self._word(at) == "."):
            at += 1
        if said and self._word(at) in CARDINALS:
            found.place, found.numbers, found.after = "number", (CARDINALS[self._word(at)],), at + 1
            return
        tokens: list[str] = []
        end = at
        while True:
            if self._word(at) == "#":
                at += 1
            if not re.fullmatch(r"\d{1,3}", self._word(at)):
                break
            tokens.append(self._word(at))
            end = at = at + 1
            while self._word(at) in _JOINS:
                tokens.append(self._word(at))
                at += 1
        if tokens and self._word(end) != "%" and found.place in ("", "all"):
            found.place, found.numbers, found.after = "number", listed(tokens), end
            found.before, found.count = [], 0

    def _sender(self, found: _Found) -> None:
        at = found.after
        if self._word(at) in _FROM and self._name_at(at + 1):
            found.shows = self._word(at) == "von"
            found.names.add(self._name_at(at + 1))
            found.after = at + 2
            return
        if self._word(at) == "," and self._word(at + 1) in THE:  # das Bild, das Anna …
            at += 2
        elif self._word(at) in ("that", "which"):
            at += 1
        owner, name = _WHO.get(self._word(at), ""), self._name_at(at)
        if not owner and not name:
            return
        at += 1
        while name and self._name_at(at):
            at += 1
        helped = at
        while helped < at + 8 and self._word(helped) not in _GAVE:
            word = self._word(helped)
            known = word in self.helpers or word in LAST or _ordinal(word)
            german = re.match(r"\w", word) and self._word(found.after) == ","
            if not (known or german):
                return
            if word == "zuletzt" and not found.place:
                found.place = "last"
            helped += 1
        if self._word(helped) not in _GAVE:
            return
        found.owner = owner
        if name:
            found.names.add(name)
        found.after = helped + 1
        while self._word(found.after) in ("hat", "hast", "habe", "haben", "me", "us", "you"):
            found.after += 1
        if self._word(found.after) == "last" and not found.place:
            found.place, found.after = "last", found.after + 1

    def _name_at(self, at: int) -> str:
        return self._word(at) if self._word(at) in self.names else ""

    def _goes_before(self, found: _Found) -> bool:
        """Take "before that", "davor", "before the last one"."""
        at = found.after
        if self._word(at) not in _BEFORE or found.place:
            return False
        found.place, found.after = "before", at + 1
        after = self._word(at + 1)
        if after in ("that", "this", "it", "dem", "diesem"):
            found.after = at + 2
        rest = self.words[at + 1 : at + 4]
        if rest[:1] == ["the"]:
            rest = rest[1:]
        if rest and rest[0] in LAST:
            found.place = "penultimate"
            found.after = self.words.index(rest[0], at) + 1
            if self._word(found.after) == "one" or self._word(found.after) in NOUNS:
                found.after += 1
        return True

    def _description(self, found: _Found) -> None:
        begin = found.after
        at, joint = begin + 1, self._word(begin)
        while joint in ("where", "wo") and self._word(at) in _WHERE:
            at += 1
        while at < min(len(self.words), begin + 1 + _MOST_AFTER):
            word = self.words[at]
            first = at == begin + 1
            if not re.match(r"\w", word) or (word in self.ends and not (first and word in THE)):
                break
            if word in ("one", "ones") or (word in ("that", "which") and not first):
                break
            found.told.append(word)
            at += 1
        if self._word(at) in ("one", "ones"):
            found.told.clear()
        if found.told:
            found.after = at
            found.soft = begin if joint in ("with", "mit") else 0
            self._sender(found)

    # -- what counts

    def _elsewhere(self, found: _Found) -> bool:
        if found.told and _ELSEWHERE.match(self.text, self._end(self._noun_before(found))):
            return True
        return _ELSEWHERE.match(self.text, self._end(found.after - 1)) is not None

    def _noun_before(self, found: _Found) -> int:
        at = found.after - 1
        while at > found.first and self.words[at] not in NOUNS:
            at -= 1
        return at

    def _points(self, found: _Found, at: int) -> bool:
        """Tell whether a noun points at pictures at all: "crop pictures" does not."""
        ahead = self._word(found.first - 1)
        if found.place and found.place != "before":
            return True
        if ahead in ("a", "an", "ein", "eine", "einen", "einem", "no", "kein", "which", "welches"):
            return False
        return found.definite

    def _bare(self, found: _Found, plural: bool = False) -> tuple[Pointer, int] | None:
        """Finish a pointer without a noun, where something is said of it."""
        end = found.after
        self._right(found, bare=True)
        said = found.owner or found.names or found.told or found.place == "before"
        if not found.definite or not (said or found.place or found.before):
            return None
        if found.after == end and not self._ends_bare(end - 1):
            return None
        if self._elsewhere(found):
            return None
        return self._pointer(found, bare=True, plural=plural), found.soft or found.after

    def _end(self, at: int) -> int:
        return self.spans[at][1]

    def _pointer(
        self, found: _Found, kind: str = "", *, bare: bool = False, plural: bool = False
    ) -> Pointer:
        return Pointer(
            start=self.spans[found.first][0],
            end=self._end(found.after - 1),
            kind=kind,
            bare=bare,
            plural=plural,
            place=found.place,
            numbers=found.numbers,
            count=found.count,
            owner=found.owner,
            names=frozenset(found.names),
            shows=found.shows,
            before=tuple(found.before),
            after=tuple(found.told),
            joint=self.spans[found.soft - 1][1] if found.soft else 0,
        )


def _ordinal(word: str) -> int:
    digits = re.fullmatch(r"(\d{1,3})(?:st|nd|rd|th|\.)", word)
    return int(digits[1]) if digits else ORDINALS.get(word, 0)
