"""A question that names a side means one of several pictures, or a part of one: "the left one?".

Pure functions over words and numbers; the words are in ``memory/phrases_sides.py``. Knows nothing
of turns.

What is expected of it:

- *Of pictures that came in one message*, left and top are the first, right and bottom the last, and
  the middle is the middle one. "The left one" chooses; "who is on the left?" may be a part of each,
  and chooses none.
- *Of one picture* it is a part: the picture is carried on (``memory/carrying.py``).
- *Where one of several was spoken of*, "the right one" is another of these or a part of that one,
  which is asked. It is no part where a side was chosen before ("the left one?", "and the right
  one?"), where two sides are named, or where the words say that it is a picture.
- *Pictures that did not come together have no sides*: which of them is meant is asked.
- *A side brings pictures back* over turns that were about none, as far as the caller looks back.
  "The left one" stands for something unnamed, as "it" does. "On the left" does so only where the
  question names nothing else: "is there parking on the left?" brings none back.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memory import phrases_leaning as words
from memory.carrying import Question, carried
from memory.messages import PictureRef
from memory.phrases import NOUNS, language
from memory.phrases_sides import HAN_MEASURE, Side, sides
from memory.recall import Found, Reference, joined

_NOTHING = Reference()
_COMPARES = re.compile(
    r"\b(?:compar|vergleich|differen|unterschied|than\b|als\b|same\b)|比|不同|区别|一样",
    re.IGNORECASE,
)
#: What is at a side that was blanked out: "右上角的标志是什么？"
_HAN_THING = re.compile(
    rf"(?<= )(?:的|[那这]{HAN_MEASURE})\w{{1,3}}?(?=[是叫有在多呢怎写做？?]|\Z)"
)


@dataclass(frozen=True, slots=True)
class Before:
    """What was last spoken of: the ``numbers`` of pictures, ``ago`` turns back (1 is the last).

    ``together`` are all that came in one message with them, in their order, none where they did not
    come in one. ``chosen``: a side chose the picture then.
    """

    numbers: tuple[int, ...] = ()
    together: tuple[int, ...] = ()
    ago: int = 1
    chosen: bool = False


def unnamed(
    text: str, before: Before, pictures: Sequence[PictureRef], meant: Reference = _NOTHING
) -> Reference:
    """Return the pictures that a question means which points at none: those of its side, else of
    the last turn what it leans on. Where it points at some, which are ``meant``, a side is added
    that it compares them with. ``pictures`` are all that the conversation has."""
    found = sides(text) if before.numbers else []
    chosen = _whole(text, found)
    if meant.found and not (chosen and _COMPARES.search(text)):
        return meant
    known = {picture.number for picture in pictures}
    if chosen:
        several = before.chosen or len({side.place for side in chosen}) > 1
        read = [_meant(text, side, before, several, known) for side in chosen]
        return joined([*read, *meant.found])
    if before.ago == 1 and (leaning := carried(text, before.numbers, pictures)).found:
        return leaning
    if not (found and _names_nothing_else(text, found)):
        return _NOTHING
    return joined([_carried(text, found[0], before.numbers, known)])


def _whole(text: str, found: Sequence[Side]) -> list[Side]:
    """Return the sides that stand for something which the question does not name itself."""
    whole = [side for side in found if side.whole]
    if not whole or language(text) == "zh":
        return whole
    question = Question(text)
    return [side for side in whole if side.picture or not question.names_before(side.start)]


def _names_nothing_else(text: str, found: Sequence[Side]) -> bool:
    """Tell whether a question names no topic beside its sides, but for the thing that is there:
    "the statue on the left"."""
    rest = text
    for side in found:
        rest = rest[: side.start] + " " * (side.end - side.start) + rest[side.end :]
    if language(text) == "zh":
        rest = _HAN_THING.sub("", rest, count=1)
        little = words.HAN_LITTLE.sub("", words.HAN_THING.sub("", words.HAN_LITTLE.sub("", rest)))
        return not little and ("你" not in text or words.HAN_LOOKS.search(text) is not None)
    question = Question(rest)
    own = [
        at
        for at, token in enumerate(question.tokens)
        if not (words.says_little(token.word) or words.is_seen(token.word) or token.word in NOUNS)
    ]
    if question.names_someone(text) or question.has_place():
        return False
    if len(own) == 1:
        thing = question.tokens[own[0]]
        there = rest[thing.start + len(thing.text) : found[0].start].strip() == ""
        return there and question.word(own[0] - 1) in words.DETERMINERS - {"a", "an", "ein", "eine"}
    return not own


def _carried(text: str, side: Side, numbers: Sequence[int], known: set[int]) -> Found:
    there = tuple(number for number in numbers if number in known)
    phrase = text[side.start : side.end].strip()
    return Found(phrase, there, len(there) < 2, named=tuple(numbers), carried=True)


def _meant(text: str, side: Side, before: Before, several: bool, known: set[int]) -> Found:
    """Return which of the pictures a side means, or all of them where it is a part."""
    numbers = sorted(before.numbers)
    rows = [before.together] if len(numbers) == 1 else [tuple(numbers), before.together]
    if len(numbers) == 2 and several:
        rows = [tuple(numbers)]  # "the left or the right one?"
    if not all(rows):
        if len(numbers) > 1 and side.place:
            return _asked(text, side, [n for n in numbers if n in known])
        return _carried(text, side, before.numbers, known)
    picked = dict.fromkeys(number for row in rows for number in _of_row(side, row))
    if len(numbers) == 1 and len(before.together) > 1 and not (side.picture or several):
        picked = dict.fromkeys([*numbers, *picked])  # a part of it, or its neighbour
    if not picked or list(picked) == numbers:
        return _carried(text, side, before.numbers, known)
    if len(picked) > 1:
        return _asked(text, side, [n for n in picked if n in known])
    there = tuple(number for number in picked if number in known)
    return Found(text[side.start : side.end].strip(), there, named=tuple(picked))


def _asked(text: str, side: Side, numbers: Sequence[int]) -> Found:
    return Found(text[side.start : side.end].strip(), tuple(sorted(numbers)), sure=len(numbers) < 2)


def _of_row(side: Side, row: Sequence[int]) -> Sequence[int]:
    """Return the pictures of a row that are at a side: none, or two where it has no middle one."""
    if side.nth > len(row) or not side.place:
        return ()
    if side.place == "middle":
        half = (len(row) - 1) // 2
        return row[half : len(row) - half] if len(row) > 2 else ()
    return (row[side.nth - 1],) if side.place in ("left", "top") else (row[-side.nth],)
