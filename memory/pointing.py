"""English and German words that point at pictures are found and taken apart.

A noun ("picture", "Foto", "chart"), or its place where it was left out ("the second one", "das
davor"), is looked for first; then what stands before it is read from right to left (words that
describe it, how many, which place, whose), and what stands behind it from left to right (numbers,
who sent it, what it shows). Knows nothing of the pictures that there are, but for the names of
those who sent them.
"""

import re
from collections.abc import Collection, Iterator

from memory import phrases_de as de
from memory.phrases import (
    BOTH,
    CARDINALS,
    LAST,
    NOUNS,
    ORDINALS,
    PENULTIMATE,
    PLURALS,
    PREVIOUS,
    Pointer,
)
from memory.pointing_sides import Found, Sides

_PLACES = LAST | PREVIOUS | PENULTIMATE | frozenset(ORDINALS)
_NOT_ONE = frozenset(("", "no", "any", "number", "each"))  #: before "one" that is no picture
_ANY_ONE = frozenset("a an ein eine einen einem no kein which welches".split())
#: a picture of a document, which is evidence, not part of the conversation
_ELSEWHERE = re.compile(
    r"\s+(?:of|in|on|from|auf|im|aus)\s+(?:(?:the|this|that|my|your|each|every|der|dem|den|jeder|"
    r"\w+['’]s)\s+)?(?:\w+\s+)?(?:page|pages|paper|report|document|pdf|article|book|manual|slides?|"
    r"section|chapter|website|deck|seite|bericht|dokument|kapitel)s?\b",
    re.IGNORECASE,
)


def pointers(text: str, names: Collection[str], *, german: bool = False) -> list[Pointer]:
    """Return what may point at pictures in ``text``, in its order; they may overlap.

    ``names`` are the lower-case words of the names of those who sent pictures.
    """
    return list(_Reader(text, names, german).read())


class _Reader(Sides):
    """One text being read for its pointers."""

    def read(self) -> Iterator[Pointer]:
        taken = 0  # tokens before this one belong to another pointer
        at = 0
        while at < len(self.words):
            found = self._head(at, taken)
            if found is not None:
                yield found[0]
                taken = found[1]
            at = max(at + 1, taken)

    def _head(self, at: int, taken: int) -> tuple[Pointer, int] | None:
        """Return the pointer whose noun, or missing noun, is at ``at``, and where it ends."""
        word = self.words[at]
        noun, own = self._noun(at)
        if noun:
            found = self.left(at, taken)
            found.before.extend(own)
            found.after = at + 1
            self.right(found, bare=False)
            if self._elsewhere(found) or not self._points(found, at):
                return None
            kind, plural = NOUNS[noun], noun in PLURALS
            return self._pointer(found, kind=kind, plural=plural), found.soft or found.after
        if word in ("one", "ones") and self.word(at - 1) not in _NOT_ONE:
            found = self.left(at, taken)
            found.after = at + 1
            return self._bare(found, plural=word == "ones")
        if self.ends_bare(at) and (word in _PLACES or self._counts(at)):
            found = self.left(at + 1, taken)
            found.after = at + 1
            return self._bare(found) if found.definite and found.place else None
        german = word in ("das", "die", "der", "den", "dem")
        if german and (self.word(at + 1) in ("mit", "von") or self.word(at + 1) in de.BEFORE):
            return self._bare(Found(at, at + 1, definite=True))
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
        word, ahead = self.words[at], self.word(at - 1)
        return (word in CARDINALS or word in BOTH) and (
            ORDINALS.get(ahead) == 1 or ahead in LAST | PREVIOUS
        )

    # -- what counts

    def _elsewhere(self, found: Found) -> bool:
        if found.told and _ELSEWHERE.match(self.text, self._end(self._noun_before(found))):
            return True
        return _ELSEWHERE.match(self.text, self._end(found.after - 1)) is not None

    def _noun_before(self, found: Found) -> int:
        at = found.after - 1
        while at > found.first and self.words[at] not in NOUNS:
            at -= 1
        return at

    def _points(self, found: Found, at: int) -> bool:
        """Tell whether a noun points at pictures at all: "crop pictures" does not."""
        ahead = self.word(found.first - 1)
        if found.place and found.place != "before":
            return True
        if ahead in _ANY_ONE:
            return False
        return found.definite

    def _bare(self, found: Found, plural: bool = False) -> tuple[Pointer, int] | None:
        """Finish a pointer without a noun, where something is said of it."""
        end = found.after
        self.right(found, bare=True)
        said = found.owner or found.names or found.told or found.place == "before"
        if not found.definite or not (said or found.place or found.before):
            return None
        if found.after == end and not self.ends_bare(end - 1):
            return None
        if self._elsewhere(found):
            return None
        return self._pointer(found, bare=True, plural=plural), found.soft or found.after

    def _end(self, at: int) -> int:
        return self.spans[at][1]

    def _pointer(
        self, found: Found, kind: str = "", *, bare: bool = False, plural: bool = False
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
            either=found.either,
            before=tuple(found.before),
            after=tuple(found.told),
            joint=self.spans[found.soft - 1][1] if found.soft else 0,
        )
