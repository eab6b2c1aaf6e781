"""Which pictures of a conversation a question speaks of: "the second picture", "Anna's dog photo".

Pure functions over words and references. Knows nothing of models, of what pictures look like, or
of grammar: ``memory/pointing.py`` (English, German) and ``memory/phrases_zh.py`` (Chinese) take
the words apart. ``pictures`` are those the conversation had before.

What a phrase means:

- *A number is lasting.* "picture 2" and "the second picture" are the picture numbered 2, whoever
  sent it and whatever was dropped since.
- *A kind or a sender narrows.* "the second chart" and "Anna's second picture" count among those.
  Where that is another picture than number 2 and both fit, both are ambiguous.
- *Last* is the highest number. *Previous* is the one before the picture that the last turn was
  about, or the highest number where it was about none; so is *the one before that*, which without
  such a turn is the last but one.
- *A description* ("the photo of the red car") is looked up in captions and file names; all of its
  content words must be there. "Hund" finds "dog" for what ``memory/phrases_things.py`` lists.
- "the picture" alone is the one the last turn was about, or the only one there is, or ambiguous.

A phrase that names a picture that is not there gives no numbers, but is returned as ``phrase``, so
that the caller can say so. An ordinal without a word for a picture ("the second law") is nothing,
and so is a picture of a document ("image 3 on page 5").
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from memory import phrases_zh, pointing
from memory.captions import described, of_kind
from memory.messages import PictureRef
from memory.phrases import IDLE, Pointer, language
from memory.phrases_sides import sides


@dataclass(frozen=True, slots=True)
class Found:
    """One phrase, and the numbers that it names; when not ``sure``, those it may name.

    ``named`` are the lasting numbers that its words say, whether or not there are such pictures;
    of one that was ``carried`` on from an earlier turn (``memory/carrying.py``), those of that.
    """

    phrase: str
    numbers: tuple[int, ...]
    sure: bool = True
    named: tuple[int, ...] = ()
    carried: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """What a question refers to: ``numbers`` for certain, ``ambiguous`` are to be asked about.

    Both are lasting numbers. ``phrase`` is the words that were understood, ``""`` when there were
    none; with a phrase and no number, what it names is not in this conversation. ``found`` says
    which phrase named what.
    """

    numbers: tuple[int, ...] = ()
    ambiguous: tuple[int, ...] = ()
    phrase: str = ""
    found: tuple[Found, ...] = ()

    @property
    def carried(self) -> bool:
        """Whether nothing points at these pictures, and they are an earlier turn's."""
        return any(one.carried for one in self.found)


def refer(
    text: str,
    pictures: Sequence[PictureRef],
    *,
    spoken: Sequence[int] = (),
    new: Sequence[int] = (),
    offered: Sequence[PictureRef] = (),
    asker: str = "",
) -> Reference:
    """Return the pictures that ``text`` refers to, in the order in which it names them.

    ``spoken`` are the numbers of the pictures that the last turn was about, ``new`` those of the
    ones that came with ``text``: "this picture" is one of these, "the last picture" is not.
    ``offered`` were shown by the bot and are meant only where the words say so ("the chart you
    showed"). ``asker`` is the name of the person who asks, ``""`` when not known.
    """
    return _Reading(text, pictures, spoken, new, offered, asker).result()


class _Reading:
    """One question being read: what was understood is struck out, so that nothing counts twice."""

    def __init__(
        self,
        text: str,
        pictures: Sequence[PictureRef],
        spoken: Sequence[int],
        new: Sequence[int],
        offered: Sequence[PictureRef],
        asker: str,
    ) -> None:
        self.text = text
        self.pictures = sorted(pictures, key=lambda picture: picture.number)
        self.new = sorted(new)
        self.offered = offered
        self.spoken = self.new or [p.number for p in self.pictures if p.number in set(spoken)]
        self.asker = asker.casefold()
        self.language = language(text)
        self.found: list[tuple[int, Found]] = []
        self.sender_words = {p.number: set(_NAME.findall(p.who.lower())) for p in self.pictures}
        self.names = set().union(*self.sender_words.values()) - _NO_NAMES

    def result(self) -> Reference:
        self._file_names()
        said = self.text
        self._counted(_NUMBER_OF, said)
        for side in sides(self.text):  # "the left one" is no description
            if side.whole:
                self._strike(side.start, side.end)
        pointers = pointing.pointers(self.text, self.names, german=self.language == "de")
        if self.language == "zh":
            pointers += phrases_zh.pointers(self.text, self.names)
            pointers.sort(key=lambda pointer: pointer.start)
        says = any(not pointer.bare for pointer in pointers) or bool(self.found)
        kind, end = "", 0
        for pointer in pointers[:_MOST]:
            if pointer.start < end or (pointer.bare and not self._may_be_bare(pointer, says)):
                continue
            found = self._find(pointer, kind)
            if pointer.joint and _COMPARES.search(said) and not (found and found[1] and found[0]):
                pointer = replace(pointer, after=(), joint=0, end=pointer.joint)
                found = self._find(pointer, kind)
            if found is not None:
                words = self.text[pointer.start : pointer.end].strip(" \t\n\x00")
                named = pointer.numbers if self._says_numbers(pointer) else ()
                self.found.append((pointer.start, Found(words, *found, named)))
                kind, end = pointer.kind or kind, pointer.end
                self._strike(pointer.start, pointer.end)
        self._counted(_HASH, said)
        self.found.sort(key=lambda item: item[0])
        return joined([found for _, found in self.found])

    def _says_numbers(self, pointer: Pointer) -> bool:
        """Tell whether the numbers of a pointer are lasting ones, not places among some."""
        counted = pointer.kind or pointer.owner or pointer.names or pointer.before or pointer.after
        return pointer.place == "number" or (pointer.place == "ordinal" and not counted)

    def _may_be_bare(self, pointer: Pointer, says: bool) -> bool:
        """Tell whether "the second one" may be a picture: where pictures are spoken of."""
        if pointer.names or pointer.owner or pointer.after or pointer.before:
            return True
        if pointer.place == "ordinal":
            return says or bool(self.spoken) or self.language == "zh"
        return says or bool(self.spoken) or len(self.text.split()) <= _SHORT or _is_last(pointer)

    # -- what is found by looks of the text alone

    def _file_names(self) -> None:
        by_name: dict[str, list[int]] = {}
        for picture in self.pictures:
            name = picture.name.lower()
            stem = name.rpartition(".")[0]
            for known in (name, stem if re.search(r"[\d_-]", stem) and len(stem) > 4 else ""):
                if len(known) > 2:
                    by_name.setdefault(known, []).append(picture.number)
        for name in sorted(by_name, key=len, reverse=True):
            pattern = rf"(?<![a-zA-Z0-9_.-]){re.escape(name)}(?![a-zA-Z0-9_-])"
            for match in list(re.finditer(pattern, self.text, re.IGNORECASE)):
                self._note(match, by_name[name], sure=len(by_name[name]) == 1)

    def _counted(self, pattern: re.Pattern[str], text: str) -> None:
        """Find "No. 2 of the pictures", and "#4" where ``text`` speaks of pictures."""
        if _OF_PICTURES.search(text):
            for match in list(pattern.finditer(self.text)):
                self._note(match, self._there([int(match[1])]), named=int(match[1]))

    def _note(
        self, match: re.Match[str], numbers: Sequence[int], sure: bool = True, named: int = 0
    ) -> None:
        found = Found(match.group().strip(), tuple(numbers), sure, named=(named,) if named else ())
        self.found.append((match.start(), found))
        self._strike(*match.span())

    def _strike(self, start: int, end: int) -> None:
        self.text = self.text[:start] + "\x00" * (end - start) + self.text[end:]

    def _there(self, numbers: Sequence[int]) -> list[int]:
        known = {picture.number for picture in self.pictures}
        return [number for number in numbers if number in known]

    # -- what is found by taking the words apart

    def _find(self, pointer: Pointer, kind: str) -> tuple[tuple[int, ...], bool] | None:
        """Return the numbers and whether they are sure; ``None`` when it is no reference."""
        if pointer.place == "number":
            return self._numbered(pointer)
        chosen = self._of_sender(pointer)
        certain = True
        wanted = pointer.kind or (kind if pointer.bare and pointer.owner else "")
        if wanted:
            chosen, certain = of_kind(wanted, chosen, self.new)
        fitting = described(pointer, chosen, self.language)
        if fitting is None:
            return None
        chosen, told, whole = fitting
        certain = certain and whole
        numbers = [picture.number for picture in chosen]
        narrowed = bool(pointer.owner or pointer.names or wanted or told)
        if not numbers:
            return ((), True) if pointer.place or pointer.names else None
        if pointer.weak and (len(numbers) != 1 or not certain):
            return None
        if pointer.place == "ordinal":
            return self._ordinals(pointer, numbers, narrowed, certain)
        picked, sure = self._placed(pointer, numbers, told)
        if not certain:
            return tuple(numbers), False
        return tuple(picked), sure

    def _numbered(self, pointer: Pointer) -> tuple[tuple[int, ...], bool] | None:
        if pointer.kind:  # "chart 2" may well be a document's
            chosen, certain = of_kind(pointer.kind, self.pictures, self.new)
            if not certain or not {p.number for p in chosen}.issuperset(pointer.numbers):
                return None
        return tuple(self._there(pointer.numbers)), True

    def _of_sender(self, pointer: Pointer) -> list[PictureRef]:
        chosen = self.pictures
        if pointer.owner:
            offered = self.offered if pointer.owner == "bot" else ()
            chosen = [p for p in [*chosen, *offered] if p.sender == pointer.owner]
        if pointer.owner == "user" and any(p.who.casefold() == self.asker for p in chosen):
            chosen = [p for p in chosen if p.who.casefold() == self.asker] if self.asker else chosen
        if pointer.names:
            chosen = [
                p
                for p in chosen
                if self.sender_words[p.number] >= pointer.names
                or (pointer.either and self.sender_words[p.number] & pointer.names)
                or (pointer.shows and pointer.names <= set(_NAME.findall(p.caption.lower())))
            ]
        return chosen

    # -- places

    def _placed(
        self, pointer: Pointer, numbers: list[int], told: bool
    ) -> tuple[Sequence[int], bool]:
        count = pointer.count
        before = [n for n in numbers if n not in self.new] or numbers
        if pointer.place == "first":
            return numbers[: count or 1], True
        if pointer.place == "last":
            return before[-(count or 1) :], True
        if pointer.place == "penultimate":
            return before[-2:-1], True
        if pointer.place == "back":
            back = pointer.numbers[0]
            return before[-back : len(before) - back + 1 or None], True
        if pointer.place in ("previous", "before"):
            return self._earlier(pointer, before)
        about = [n for n in numbers if n in self.spoken]
        if pointer.place == "all" or count or pointer.plural:
            if count and count != len(numbers):
                return (about, True) if len(about) == count else (numbers, False)
            only_new = pointer.plural and not pointer.place and len(self.new) > 1 and not told
            return (about, True) if only_new and about else (numbers, True)
        if len(numbers) > 1 and not pointer.names and (len(about) == 1 or (about and self.new)):
            return about, True
        return numbers, len(numbers) == 1

    def _earlier(self, pointer: Pointer, numbers: list[int]) -> tuple[Sequence[int], bool]:
        """Return the picture before the one that was spoken of, or before those just sent."""
        if pointer.count and pointer.count > 1:
            return numbers[-pointer.count :], True
        if self.new:
            return numbers[-1:], True
        if len(self.spoken) != 1:
            return (numbers[-1:] if pointer.place == "previous" else numbers[-2:-1]), True
        before = [n for n in numbers if n < self.spoken[0]][-1:]
        if pointer.place == "previous" and not pointer.bare and before:
            return [*before, self.spoken[0]], False
        return before, True

    def _ordinals(
        self, pointer: Pointer, numbers: list[int], narrowed: bool, certain: bool
    ) -> tuple[tuple[int, ...], bool]:
        sure: list[int] = []
        doubtful: list[int] = []
        for place in pointer.numbers:
            lasting = [number for number in numbers if number == place]
            counted = numbers[place - 1 : place] if narrowed else []
            if len(self.new) > 1:  # the second of the three that came, or of all
                counted = counted + self.new[place - 1 : place]
            both = list(dict.fromkeys(lasting + counted))
            (sure if certain and len(both) == 1 else doubtful).extend(both)
        if not doubtful:
            return tuple(sure), True
        if sure:  # "the first and second": of one it is certain which it is
            self.found.append((pointer.start, Found("", tuple(sure))))
        return tuple(doubtful), False


_MOST = 64  # groups of words that are looked at in one question
_SHORT = 6  # words of a question in which "the last two" may stand alone
_NAME = re.compile(r"[^\W_]+")
_NO_NAMES = IDLE["en"] | IDLE["de"] | {"me", "one", "it"}
_COMPARES = re.compile(r"\bcompar|\bvergleich|\bdifferen|\bunterschied", re.IGNORECASE)
_OF_PICTURES = re.compile(r"\b(?:picture|photo|image|pic|bild|foto)", re.IGNORECASE)
_NUMBER_OF = re.compile(
    r"(?<!\w)(?:#|(?:no|nr|number|nummer)\.? ?)(\d{1,3})"
    r" (?:of|von) (?:the|den) (?:pictures|photos|images|bildern|fotos)",
    re.IGNORECASE,
)
_HASH = re.compile(r"(?<!\w)#(\d{1,3})(?!\w)")


def _is_last(pointer: Pointer) -> bool:
    return pointer.place in ("last", "previous", "before", "penultimate") and not pointer.count


def joined(found: Sequence[Found]) -> Reference:
    """Return what phrases name together; of what was carried on there is nothing to ask."""
    certain = dict.fromkeys(n for one in found if one.sure or one.carried for n in one.numbers)
    unsure = dict.fromkeys(n for one in found if not one.sure for n in one.numbers)
    return Reference(
        numbers=tuple(certain),
        ambiguous=tuple(n for n in unsure if n not in certain),
        phrase=", ".join(one.phrase for one in found if one.phrase),
        found=tuple(found),
    )
