"""A question that names nothing leans on the pictures of the last turn: "What colour is it?".

Pure functions over words and numbers; the tables are in ``memory/phrases_leaning.py``. Knows
nothing of turns, nor of words that do point at pictures: they are read first, by
``memory/recall.py``.

What is expected of it:

- *Leaning is a word that stands for something unnamed* ("it", "them", "this", "darauf", "上面"), or
  a question that names nothing but a side of a thing ("and the colour?", "how many?", "left?").
  A pronoun whose noun stands before it in the same question leans on that ("I bought a bike, is it
  worth 300?"), and so does "is there …" with a place of its own ("… a train from Bergen to Oslo").
- *All pictures of the last turn are carried on*, also by "it", which is one of them. Someone who
  sends two pictures and asks "where was it taken?" expects an answer, not to be asked back for a
  mere pronoun; with all of them before it, the model can say of each. That is no choice, so nothing
  is chosen wrong. The reference is ``sure`` where there is one picture, or where the words speak of
  several ("they", "which one is larger?").
- *Carrying too much costs room in the prompt, carrying too little loses the picture*: where words
  leave it open, it is carried. A long question says what it is about, and leans on nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memory import phrases_leaning as words
from memory.messages import PictureRef
from memory.phrases import CARDINALS, language
from memory.recall import Found, Reference, joined

MOST_CHARS, MOST_WORDS = 400, 40  #: of a question that may lean

_TOKEN = re.compile(r"[^\W_]+")
_BREAK = re.compile(r"[,;:.?!()\n–—]")
_FRAGMENT = re.compile(
    r"(?:(?:and|but|so|or|what about|how about|und|aber|was ist mit)\s+)?"
    r"(?:the|der|die|das|den|dem)\s+\w+(?:\s+\w+)?\W*",
    re.IGNORECASE,
)
_ASKED_ALONE = re.compile(
    r"(?:(?:and|but|so|und|aber)\s+)?"
    r"(?:what|which|how(?: many| much)?|welche[nrsm]?|wie(?: ?viele?)?)\s+\w+\W*",
    re.IGNORECASE,
)
_SEVERAL = CARDINALS.keys() - {"one"}
_HOW_MANY = re.compile(r"\b(?:how many|wie ?viele)\b", re.IGNORECASE)


def carried(text: str, spoken: Sequence[int], pictures: Sequence[PictureRef]) -> Reference:
    """Return the pictures that ``text`` carries on from the last turn, which was about those
    numbered ``spoken``; ``pictures`` are all that the conversation has."""
    phrase = leans_on(text) if spoken else ""
    if not phrase:
        return Reference()
    known = {picture.number for picture in pictures}
    numbers = tuple(number for number in dict.fromkeys(spoken) if number in known)
    several = words.SEVERAL.search(text) and (len(numbers) == 2 or not words.BOTH.search(text))
    sure = len(numbers) < 2 or bool(several)
    return joined([Found(phrase, numbers, sure, named=tuple(spoken), carried=True)])


def leans_on(text: str) -> str:
    """Return the words of a question that lean on something unnamed, ``""`` when none do."""
    text = text.strip()
    if not text or len(text) > MOST_CHARS:
        return ""
    if language(text) == "zh":
        return _leaning_in_han(text)
    clear = words.EXPLETIVES.sub(lambda match: " " * len(match.group()), text)
    question = Question(clear)
    if len(question.tokens) > MOST_WORDS:
        return ""
    for at in range(len(question.tokens)):
        if question.stands_for_something(at) and not question.has_noun_before(at):
            return question.tokens[at].text
    return text if question.names_nothing(clear) else ""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    word: str  #: in lower case
    clause: int  #: counts from 0
    start: int  #: its place in the text


class Question:
    """The words of an English or German question."""

    def __init__(self, text: str) -> None:
        self.tokens: list[_Token] = []
        clause, end = 0, 0
        for match in _TOKEN.finditer(text):
            word = match.group().lower()
            clause += bool(_BREAK.search(text, end, match.start())) or word in words.JOINS
            self.tokens.append(_Token(match.group(), word, clause, match.start()))
            end = match.end()

    def word(self, at: int) -> str:
        """Return the word at a place, ``""`` outside of the question."""
        return self.tokens[at].word if 0 <= at < len(self.tokens) else ""

    def next_in_clause(self, at: int) -> _Token | None:
        """Return the word after a place, if it is of the same clause or joined to it."""
        after = self.tokens[at + 1] if at + 1 < len(self.tokens) else None
        if after is None or (
            after.clause != self.tokens[at].clause and after.word not in words.JOINS
        ):
            return None
        return after

    def stands_for_something(self, at: int) -> bool:
        """Tell whether the word at a place is a pronoun without a noun."""
        token, after = self.tokens[at], self.next_in_clause(at)
        capital = token.text[0].isupper() and at > 0
        if token.word in words.PRONOUNS:
            return not (capital and token.word.startswith("ihr"))
        if token.word == "sie":  # "Sie" is the person who is spoken to
            return not token.text[0].isupper() or (at == 0 and self.word(1) in ("ist", "hat"))
        if token.word in ("ihr", "sein"):
            return not capital and after is not None and after.text[0].isupper()
        if token.word in words.DEMONSTRATIVES:
            return self._is_alone(at, after)
        if token.word in words.AT_THE_END:
            return at > 0 and (after is None or after.word in ("da", "dort", "hier"))
        if token.word in words.PLACES:
            joins = token.word == "da" and at > 0 and self.tokens[at - 1].clause != token.clause
            return not joins and not self.has_place()
        return False

    def _is_alone(self, at: int, after: _Token | None) -> bool:
        """Tell whether "this" or "das" at a place has no noun, or one of a thing that is seen."""
        token, ahead = self.tokens[at], self.word(at - 1)
        starts = at == 0 or self.tokens[at - 1].clause != token.clause
        if token.word == "das" and starts and at > 0:
            return False  # it relates: "das Haus, das …"
        if token.word == "that" and not starts and ahead not in words.BEFORE_THAT:
            return False
        if after is None or after.word in words.FOLLOWS:
            return True
        if words.is_seen(after.word) and token.word != "das":
            return True
        further = self.next_in_clause(at + 1)
        ends = further is None or further.word in words.GOES_ON
        if not ends or not after.text.islower():
            return False
        if token.word == "das":
            return ahead in words.AUXILIARIES or after.word.endswith("en")  # "kann man das essen"
        return ahead in words.AUXILIARIES and not after.word.endswith("s")

    def has_place(self) -> bool:
        """Tell whether the question says where, other than on a picture: "in Norway"."""
        for at, token in enumerate(self.tokens):
            if token.word in words.PREPOSITIONS:
                rest = [t.word for t in self.tokens[at + 1 :] if t.word not in words.DETERMINERS]
                if rest and not (words.is_seen(rest[0]) or words.says_little(rest[0])):
                    return True
        return False

    def has_noun_before(self, at: int) -> bool:
        """Tell whether an earlier clause names what a pronoun at a place can stand for."""
        clause = self.tokens[at].clause
        for place, token in enumerate(self.tokens[:at]):
            if token.clause == clause or words.says_little(token.word):
                continue
            if token.word in words.PREPOSITIONS:
                continue
            ahead = {self.word(place - 1), self.word(place - 2)}
            if ahead & (words.DETERMINERS | _SEVERAL) or (token.text[0].isupper() and place > 0):
                return True
        return False

    def names_before(self, start: int) -> bool:
        """Tell whether an earlier clause names what words from ``start`` on can stand for."""
        at = next((n for n, token in enumerate(self.tokens) if token.start >= start), None)
        return at is not None and self.has_noun_before(at)

    def names_someone(self, text: str) -> bool:
        """Tell whether a question has a name in it, or speaks of what belongs to who is asked."""
        if {token.word for token in self.tokens} & words.YOURS:
            return True
        return language(text) != "de" and any(t.text[0].isupper() for t in self.tokens[1:])

    def names_nothing(self, text: str) -> bool:
        """Tell whether a question names no topic of its own."""
        said = {token.word for token in self.tokens}
        own = [token.word for token in self.tokens if not words.says_little(token.word)]
        if said & words.YOURS:
            return False
        if not own:
            spoken_to = bool(said & words.YOU) and not said & (words.LOOKS | {"sure", "sicher"})
            return bool(said & (words.ASKS | words.SIDES)) and not spoken_to
        if all(word in words.SEEN for word in own):  # "what does the sign say?"
            return True
        if _HOW_MANY.search(text) and all(words.is_seen(word) for word in own):
            return True
        if language(text) != "de" and any(t.text[0].isupper() for t in self.tokens[1:]):
            return False  # a name
        return bool(_FRAGMENT.fullmatch(text) or _ASKED_ALONE.fullmatch(text))


def _leaning_in_han(text: str) -> str:
    match = words.HAN_LEANS.search(text)
    if match is not None:
        return match.group().strip()
    rest = words.HAN_LITTLE.sub("", text)
    if rest and words.HAN_COUNTS.search(text):
        rest = words.HAN_LITTLE.sub("", words.HAN_THING.sub("", text))
    spoken_to = "你" in text and not words.HAN_LOOKS.search(text)
    return text if not rest and words.HAN_ASKS.search(text) and not spoken_to else ""
