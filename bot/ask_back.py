"""Where a question may mean one of several pictures, the answer asks which; the next says it.

The question that asks back, in the language of the person, needs neither retrieval nor a model.
What is waited for stands in its turn's ledger, under ``asks``; a following "the second one", "2",
"die mit dem Hund" is then read against the pictures that were named. Pure functions; knows nothing
of how turns run or are stored.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memory.messages import PictureRef, Turn
from memory.phrases import CARDINALS, ORDINALS, language
from memory.recall import Found, Reference, refer

#: Pictures that are named when asking back; of more only the count is said
MOST_NAMED = 8
_CAPTION = 60  # characters of a caption
_LONG_REPLY = 12  # words from which on a reply is another question
_ALL = re.compile(
    r"^(?:i mean(?:t)? |ich meine )?(?:both|all|all of them|both of them|everything|beide|alle|"
    r"beide bitte|alle beide|两张都要|两张都是|两张|都要|都是|都|全部|所有)\W*$",
    re.IGNORECASE,
)
_NEITHER = re.compile(
    r"^(?:no|none|neither|none of them|neither of them|nein|keins|keines|keines davon|keins davon|"
    r"都不是|不是|没有)\W*$",
    re.IGNORECASE,
)
_YES = re.compile(r"^(?:yes|yeah|yep|right|exactly|ja|genau|是|是的|对|对的)\W*$", re.IGNORECASE)
_PLACE = re.compile(
    r"^(?:i mean(?:t)? |ich meine )?(?:the |das |die |den |der )?(?P<word>\w+)(?: one| eine[ns]?)?"
    r"(?: please| bitte)?\W*$",
    re.IGNORECASE,
)
_FILLER = frozenset(
    "i mean meant think it is it's its was that s the please bitte ich meine das ist es war ja yes "
    "no nein and und also auch natürlich".split()
)
_HAN_FILLER = re.compile(r"[我说的是指想问那张和跟啊吧呢\W]")
_LAST = frozenset("last latest letzte letzter letztes letzten".split())
_HAN_PLACE = re.compile(r"^第([一二三四五六七八九十\d])[张个幅]?\W*$")
_HAN_DIGITS = {han: n for n, han in enumerate("一二三四五六七八九十", start=1)}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked back: the ``question`` that waits, its unclear ``phrase``, the pictures that
    this may mean, and the ``numbers`` of those that the question is about in any case."""

    question: str
    phrase: str
    candidates: tuple[int, ...]
    numbers: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the form that the ledger keeps."""
        return {
            "question": self.question,
            "phrase": self.phrase,
            "candidates": list(self.candidates),
            "numbers": list(self.numbers),
        }


def asked(question: str, reference: Reference, sent: Sequence[int]) -> Asked:
    """Return what is to be asked back of an ambiguous reference; ``sent`` came with it."""
    phrase = ", ".join(one.phrase for one in reference.found if not one.sure and one.phrase)
    numbers = tuple(dict.fromkeys([*sent, *reference.numbers]))
    return Asked(question, phrase, reference.ambiguous, numbers)


def pending(turns: Sequence[Turn]) -> Asked | None:
    """Return what the last turn asked back, ``None`` when it did not or that cannot be read."""
    value = turns[-1].ledger.get("asks") if turns else None
    if not isinstance(value, Mapping):
        return None
    try:
        return Asked(
            question=str(value["question"]),
            phrase=str(value["phrase"]),
            candidates=tuple(int(n) for n in value["candidates"]),
            numbers=tuple(int(n) for n in value["numbers"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def question_of(turn: Turn) -> str:
    """Return what a turn asked: the question that had waited, where a person only said "2"."""
    waited = turn.ledger.get("question")
    return waited if isinstance(waited, str) and waited else turn.question.text


def said_in(turn: Turn) -> str:
    """Return what a turn answered: nothing, where it asked back which picture was meant."""
    return "" if turn.ledger.get("asks") else turn.answer.text


def words_of(asking: Asked, pictures: Sequence[PictureRef]) -> str:
    """Return the question that asks back, in the language of the one that waits."""
    known = {picture.number: picture for picture in pictures}
    named = asking.candidates[:MOST_NAMED]
    spoken = language(asking.question)
    noun = {"en": "picture ", "de": "Bild ", "zh": "图"}[spoken]
    items = [f"{noun}{n}{_about(known.get(n), spoken)}" for n in named]
    more = len(asking.candidates) - len(named)
    said = " ".join(asking.phrase.split())[:80]
    if len(items) == 1:
        return {
            "en": f"By “{said}”, do you mean {items[0]}?",
            "de": f"Ist mit „{said}“ {items[0]} gemeint?",
            "zh": f"“{said}”是指{items[0]}吗？",
        }[spoken]
    if more:
        items.append({"en": f"{more} more", "de": f"{more} weitere", "zh": f"另外{more}张"}[spoken])
    either = {"en": " or ", "de": " oder ", "zh": "，还是"}[spoken]
    listed = ("、" if spoken == "zh" else ", ").join(items[:-1]) + either + items[-1]
    return {
        "en": f"Which picture do you mean by “{said}”: {listed}?",
        "de": f"Welches Bild ist mit „{said}“ gemeint: {listed}?",
        "zh": f"“{said}”是指哪一张：{listed}？",
    }[spoken]


def chosen(text: str, asking: Asked, pictures: Sequence[PictureRef]) -> Reference | None:
    """Return what a reply says of the pictures that were named; ``None`` when it is no reply.

    A number is a picture's lasting number, or else a place among those named; "the second one" is
    a place among them. Where the two differ and both fit, the reply is ambiguous again. "Neither"
    leaves the question with the pictures that were certain.
    """
    known = [picture for picture in pictures if picture.number in asking.candidates]
    candidates = [picture.number for picture in known]
    text = text.strip()
    if not candidates or not text or len(text.split()) > _LONG_REPLY:
        return None
    if _NEITHER.match(text):
        return _reference(asking, ())
    if _ALL.match(text) or (len(candidates) == 1 and _YES.match(text)):
        return _reference(asking, candidates)
    place = _place(text, len(candidates))
    if place:
        lasting = [place] if place in candidates else []
        if re.fullmatch(r"#?\d+\W*", text):
            if lasting:
                return _reference(asking, lasting)
            if any(picture.number == place for picture in pictures):
                return _reference(asking, candidates, sure=False)
        both = list(dict.fromkeys([*lasting, *candidates[place - 1 : place]]))
        return _reference(asking, both, sure=len(both) == 1) if both else None
    return _described(text, asking, pictures, known)


def _described(
    text: str, asking: Asked, pictures: Sequence[PictureRef], known: Sequence[PictureRef]
) -> Reference | None:
    """Read a reply such as "the one with the dog", "Anna's", "picture 3" or "dog"."""
    candidates = {picture.number for picture in known}
    everywhere = refer(text, pictures)
    if everywhere.numbers and not candidates.issuperset(everywhere.numbers):
        return None
    among = refer(text, known)
    if not _only(text, among):
        return None
    if among.numbers or among.ambiguous:
        return _reference(asking, among.numbers or among.ambiguous, sure=bool(among.numbers))
    if len(text.split()) > 4 and language(text) != "zh":
        return None
    bare = re.sub(r"^(?:the|das|die|der|den|一?张?)\s*|\W+$", "", text, flags=re.IGNORECASE)
    tried = (f"the {bare} picture", f"das Bild mit {bare}", f"{bare} picture", f"{bare}的图片")
    for phrase in tried:
        found = refer(phrase, known)
        if len(found.numbers) == 1:
            return _reference(asking, found.numbers)
    return None


def _only(text: str, reference: Reference) -> bool:
    """Tell whether a reply says nothing beside the pictures that it points at."""
    for one in reference.found:
        text = text.replace(one.phrase, " ")
    if language(text) == "zh":
        return len(_HAN_FILLER.sub("", text)) == 0 or not reference.found
    words = re.findall(r"[^\W_]+", text.lower())
    return not reference.found or all(word in _FILLER for word in words)


def _place(text: str, most: int) -> int:
    """Return the place that "the second one", "2", "die zweite" or "第二张" names, else 0."""
    han = _HAN_PLACE.match(text)
    if han:
        return _HAN_DIGITS.get(han[1]) or int(han[1])
    said = _PLACE.match(text)
    if said is None:
        return 0
    word = said["word"].lower()
    if word in _LAST:
        return most
    digits = re.fullmatch(r"(\d{1,3})(?:st|nd|rd|th)?", word)
    return int(digits[1]) if digits else ORDINALS.get(word) or CARDINALS.get(word, 0)


def _reference(asking: Asked, numbers: Sequence[int], sure: bool | None = None) -> Reference:
    several = len(numbers) > 1 and sure is False
    found = (Found(asking.phrase, tuple(numbers), not several),)
    if several:
        return Reference(asking.numbers, tuple(numbers), asking.phrase, found)
    numbers = tuple(dict.fromkeys([*asking.numbers, *numbers]))
    return Reference(numbers, (), asking.phrase, found)


def _about(picture: PictureRef | None, spoken: str) -> str:
    about = " ".join((picture.caption or picture.name).split()) if picture else ""
    if len(about) > _CAPTION:
        about = about[: _CAPTION - 1].rstrip() + "…"
    about = about.replace("[", "(").replace("]", ")")
    return "" if not about else f"（{about}）" if spoken == "zh" else f" ({about})"
