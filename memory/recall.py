"""Which pictures of a conversation a question speaks of: "the second picture", "the dog photo".

Pure functions over words and references. Knows nothing of models, of what pictures look like, or
of pictures that come with the question itself: ``pictures`` are those the conversation had before.

What a phrase means:

- *A number is lasting.* "picture 2" and "the second picture" are the picture numbered 2, whoever
  sent it and whatever was dropped since.
- *A kind or a sender narrows.* "the second chart" and "the second picture I sent" count among
  those. Where that is another picture than number 2 and both fit, both are ambiguous.
- *Last* is the highest number, *previous* the same (the question's own pictures do not count),
  *the one before that* the next lower.
- *A description* ("the photo of the red car") is looked up in captions and file names; all of its
  content words must be there.
- "the picture" alone is the only one there is, or ambiguous.

A phrase that names a picture that is not there gives no numbers, but is returned as ``phrase``, so
that the caller can say so. An ordinal without a word for a picture ("the second law") is nothing,
and so is a picture of a document ("image 3 on page 5").

English in full; German and Chinese ordinals, numbers, "last", "previous" and "all" by tables.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memory.messages import PictureRef
from memory.phrases import (
    BARE_NUMBER,
    CARDINALS,
    COMPOUND,
    DEFINITE,
    EVERY,
    GROUP,
    HAN,
    HAN_ALL,
    HAN_GROUP,
    HAN_LAST,
    HAN_NUMBERED,
    HAN_ORDINAL,
    IDLE,
    KIND_OF,
    KINDS,
    LATEST,
    LATEST_ONE,
    NOUN,
    NUMBERED,
    ORD,
    ORDINAL,
    ORDINAL_ONE,
    ORDINALS,
    PENULTIMATE,
    SPELLED,
    TOLD,
    rule,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a question refers to: ``numbers`` for certain, ``ambiguous`` are to be asked about.

    Both are lasting numbers. ``phrase`` is the words that were understood, ``""`` when there were
    none; with a phrase and no number, what it names is not in this conversation.
    """

    numbers: tuple[int, ...] = ()
    ambiguous: tuple[int, ...] = ()
    phrase: str = ""


def refer(text: str, pictures: Sequence[PictureRef]) -> Reference:
    """Return the pictures that ``text`` refers to, in the order in which it names them."""
    return _Reading(text, pictures).result()


class _Reading:
    """One question being read: what is found is struck out, so that no word counts twice."""

    def __init__(self, text: str, pictures: Sequence[PictureRef]) -> None:
        self.text = text
        self.pictures = sorted(pictures, key=lambda picture: picture.number)
        self.found: list[tuple[int, str, tuple[int, ...], bool]] = []  # place, words, numbers, sure
        self.speaks = re.search(rf"\b{NOUN}\b", text, re.IGNORECASE) is not None

    def result(self) -> Reference:
        rules: tuple[Callable[[], None], ...] = (
            self._names,
            self._numbers,
            self._groups,
            self._places,
            self._han,
            self._told,
            self._bare,
        )
        for apply in rules:
            apply()
        self.found.sort(key=lambda item: item[0])
        sure = dict.fromkeys(n for _, _, numbers, is_sure in self.found if is_sure for n in numbers)
        unsure = dict.fromkeys(
            n for _, _, numbers, is_sure in self.found if not is_sure for n in numbers
        )
        phrase = ", ".join(words for _, words, _, _ in self.found if words)
        return Reference(tuple(sure), tuple(n for n in unsure if n not in sure), phrase)

    # -- finding and noting

    def _matches(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        return list(pattern.finditer(self.text))

    def _note(self, match: re.Match[str], numbers: Sequence[int], sure: bool = True) -> None:
        self.found.append((match.start(), match.group().strip(), tuple(numbers), sure))
        blank = "\x00" * (match.end() - match.start())
        self.text = self.text[: match.start()] + blank + self.text[match.end() :]

    def _there(self, numbers: Sequence[int]) -> list[int]:
        known = {picture.number for picture in self.pictures}
        return [number for number in numbers if number in known]

    def _narrow(self, match: re.Match[str]) -> tuple[list[PictureRef], bool, bool]:
        """Return the pictures of the kind and sender asked for.

        Also whether the words ask for a kind or a sender at all, and whether the kind is certain
        (when no caption tells it, every picture may be of it).
        """
        said = match.groupdict()
        chosen, narrowed, certain = self.pictures, False, True
        sender = {"i": "user", "ich": "user", "you": "bot", "du": "bot"}.get(
            (said.get("who") or "").lower()
        ) or {"my": "user", "mein": "user", "your": "bot", "dein": "bot"}.get(
            (said.get("mine") or "").strip().lower()
        )
        if sender is not None:
            chosen, narrowed = [p for p in chosen if p.sender == sender], True
        kind = _kind(said.get("noun") or "")
        if kind:
            words = {_stem(word) for word in KINDS[kind]}
            fitting = [p for p in chosen if words & _words(p)]
            chosen, narrowed, certain = fitting or chosen, True, bool(fitting)
        return chosen, narrowed, certain

    # -- the rules, surest first

    def _names(self) -> None:
        by_name: dict[str, list[int]] = {}
        for picture in self.pictures:
            name = picture.name.lower()
            stem = name.rpartition(".")[0]
            for known in (name, stem if re.search(r"[\d_-]", stem) and len(stem) > 4 else ""):
                if len(known) > 2:
                    by_name.setdefault(known, []).append(picture.number)
        for name in sorted(by_name, key=len, reverse=True):
            for match in self._matches(rule(rf"{re.escape(name)}(?![\w-])")):
                self._note(match, by_name[name], sure=len(by_name[name]) == 1)

    def _numbers(self) -> None:
        for match in self._matches(NUMBERED):
            numbers = _listed(match["list"])
            if _kind(match["noun"]):  # "chart 2" may well be a document's
                fitting = {picture.number for picture in self._narrow(match)[0]}
                if not (self._narrow(match)[2] and fitting.issuperset(numbers)):
                    continue
            self._note(match, self._there(numbers))
        for match in self._matches(SPELLED):
            self._note(match, self._there([CARDINALS.get(match["word"].lower(), 1)]))
        if self.speaks:
            for match in self._matches(BARE_NUMBER):
                self._note(match, self._there(_listed(match["list"])))

    def _groups(self) -> None:
        for match in self._matches(PENULTIMATE):
            self._note(match, [picture.number for picture in self.pictures[-2:-1]])
        for match in self._matches(GROUP):
            count = _cardinal(match["count"])
            chosen, _, certain = self._narrow(match)
            first = match["end"].lower() in ("first", "ersten")
            part = chosen[:count] if first else chosen[-count:]
            self._note(match, [picture.number for picture in part], sure=certain)
        for match in self._matches(EVERY):
            chosen, _, certain = self._narrow(match)
            stated = _cardinal(match["count"]) if match["count"] else None
            if match["all"].lower() in ("both", "beide", "beiden"):
                stated = 2
            fits = stated is None or stated == len(chosen)
            self._note(match, [picture.number for picture in chosen], sure=certain and fits)

    def _places(self) -> None:
        for match in self._matches(ORDINAL):
            self._ordinals(match)
        for match in self._matches(LATEST):
            chosen, _, certain = self._narrow(match)
            chosen = chosen[-1:] if certain else chosen
            self._note(match, [p.number for p in chosen], sure=certain or len(chosen) == 1)
        for match in self._matches(LATEST_ONE):
            self._note(match, [picture.number for picture in self.pictures[-1:]])
        if self.speaks:
            for match in self._matches(ORDINAL_ONE):
                self._ordinals(match)

    def _ordinals(self, match: re.Match[str]) -> None:
        chosen, narrowed, certain = self._narrow(match)
        sure: list[int] = []
        doubtful: list[int] = []
        for word in re.findall(ORD, match["list"], re.IGNORECASE):
            place = _ordinal(word)
            lasting = [p.number for p in chosen if p.number == place]
            counted = [p.number for p in chosen[place - 1 : place]] if narrowed else []
            both = list(dict.fromkeys(lasting + counted))
            (sure if certain and len(both) == 1 else doubtful).extend(both)
        self._note(match, sure)
        if doubtful:
            self.found.append((match.start(), "", tuple(doubtful), False))

    def _han(self) -> None:
        every = [picture.number for picture in self.pictures]
        for match in self._matches(HAN_ORDINAL) + self._matches(HAN_NUMBERED):
            self._note(match, self._there([_han_number(match["list"])]))
        for match in self._matches(HAN_LAST):
            self._note(match, every[-1:])
        for match in self._matches(HAN_GROUP):
            count = _han_number(match["count"])
            self._note(match, every[:count] if match["end"] == "前" else every[-count:])
        for match in self._matches(HAN_ALL):
            self._note(match, every)

    def _told(self) -> None:
        for pattern in (TOLD, COMPOUND):
            for match in self._matches(pattern):
                words = [_stem(word) for word in re.findall(r"[^\W_]+", _phrase(match["told"]))]
                words = [word for word in words if word not in IDLE]
                if not words:
                    continue
                narrowed = self._narrow(match)[0]
                fitting = [p.number for p in narrowed if _words(p).issuperset(words)]
                if fitting:
                    self._note(match, fitting, sure=len(fitting) == 1)
                    continue
                some = [p.number for p in narrowed if words[0] in _words(p)]
                if some and pattern is TOLD:
                    self._note(match, some, sure=False)

    def _bare(self) -> None:
        for match in self._matches(DEFINITE):
            chosen, _, certain = self._narrow(match)
            if not chosen or not certain:
                continue
            several = re.search(r"(?:s|er|ern)$", match["noun"].lower()) is not None
            numbers = [picture.number for picture in chosen]
            self._note(match, numbers, sure=several or len(numbers) == 1)


def _kind(noun: str) -> str:
    """Return the kind of picture a noun names, ``""`` for a picture of any kind."""
    word = noun.lower()
    word = word if word in KINDS or word in KIND_OF else word.removesuffix("s")
    word = KIND_OF.get(word, word)
    return word if word in KINDS else ""


def _stem(word: str) -> str:
    word = word.lower()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _words(picture: PictureRef) -> set[str]:
    """Return the words of a picture's caption and file name, without plural endings."""
    return {_stem(w) for w in re.findall(r"[^\W_]+", f"{picture.caption} {picture.name}")}


def _phrase(told: str) -> str:
    """Return a description up to where another clause begins."""
    return re.split(
        r"(?i)\b(?:and|or|but|is|are|was|were|has|have|do|does|did|can|could|what|which|who|where|"
        r"when|how|why|than|then|again|please|compared?|und|oder|ist|war|hat|was)\b",
        told,
        maxsplit=1,
    )[0]


def _listed(words: str) -> list[int]:
    """Return the numbers of "3, 5 and 7" or "2 to 4"."""
    numbers: list[int] = []
    through = False
    for token in re.findall(r"\d+|-|–|to|bis|through", words.lower()):
        if not token.isdigit():
            through = True
        elif through:
            numbers.extend(range(numbers[-1] + 1, int(token) + 1))
            through = False
        else:
            numbers.append(int(token))
    return numbers


def _ordinal(word: str) -> int:
    digits = re.match(r"\d+", word)
    return int(digits[0]) if digits else ORDINALS[word.lower()]


def _cardinal(word: str) -> int:
    word = word.strip().lower()
    return int(word) if word.isdigit() else CARDINALS[word]


def _han_number(word: str) -> int:
    if word.isdigit():
        return int(word)
    tens, ten, ones = word.rpartition("十")
    if not ten:
        return HAN[ones]
    return 10 * HAN.get(tens, 1) + HAN.get(ones, 0)
