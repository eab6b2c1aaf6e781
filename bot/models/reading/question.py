"""What a question asks for: its kind of answer, its words and how rare each is.

Rules over question words, English first and German beside it. Knows nothing of evidence.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from math import log

from bot.models.reading.amounts import Limit, limit_of
from bot.models.reading.words import Rarity, Token, tokens


class Wants(Enum):
    """The kind of answer that a question asks for."""

    PERSON = "person"
    PLACE = "place"
    TIME = "time"
    NUMBER = "number"
    MONEY = "money"
    REASON = "reason"
    DEFINITION = "definition"
    YES_NO = "yes or no"
    LOOK = "what a picture shows"
    ANYTHING = "anything"


#: Where a question begins: its first question word. "Who" inside a name (The Who) is none.
_ASKS = re.compile(
    r"\b(?:what|which|when|where|why|how|who|whom|whose|[Ww]er|[Ww]em|[Ww]en|[Ww]essen|[Ww]ann"
    r"|[Ww]oher|[Ww]ohin|[Ww]o|[Ww]ie|[Ww]arum|[Ww]eshalb|[Ww]ieso|[Ww]elche[rsmn]?"
    r"|(?:^|(?<=[.!?,] ))(?:What|Which|When|Where|Why|How|Who|Whom|Whose))\b"
)
#: A noun phrase before the noun that is meant: "which [northern English] city"
_VERBS = "did|does|do|is|was|are|were|has|have|had|can|could|will|would|should|ist|war|hat"
_SOME = rf"(?:what|which|welche[rsmn]?)\s(?:(?!(?:{_VERBS})\b)[\w'-]+\s){{0,2}}?"

#: The first rule that matches where the question begins; all in lower case, spaces single
_RULES: tuple[tuple[Wants, str], ...] = (
    (
        Wants.MONEY,
        r"how much .*\b(?:cost|costs|pay|paid|price|total|bill|spend|spent|charged?|worth|owed?)\b"
        r"|(?:what|how much) (?:is|was|are|were) the (?:\w+ )?(?:price|cost|total|fee|fare|bill)\b"
        rf"|{_SOME}(?:price|cost|total|fee|fare|revenue|salary|sum of money)\b"
        r"|(?:wie ?viel|was) .*\b(?:kostet|kosten|bezahlt|preis|betrag)\b",
    ),
    (
        Wants.TIME,
        rf"when\b|wann\b|how long ago\b|(?:in )?{_SOME}(?:years?|dates?|days?|months?|century"
        r"|centuries|decades?|period|era|season|jahre?|datum|tag|monat|jahrhundert|zeit)\b"
        r"|(?:what|was) (?:is|was|ist) (?:the|das) (?:\w+ )?(?:date|year|day|month|datum|jahr)\b",
    ),
    (
        Wants.NUMBER,
        r"how (?:many|much|old|tall|high|long|far|fast|large|big|deep|wide|often|heavy|hot|cold)\b"
        rf"|{_SOME}(?:percent|percentage|number|amount|proportion|fraction|rate|population"
        r"|temperature|size|speed|score|distance|ratio|length|height|weight|age|area"
        r"|anteil|prozentsatz|anzahl|zahl)\b"
        r"|what (?:is|was|are|were) the (?:\w+ )?(?:percentage|number|amount|population|age|rate"
        r"|temperature|size|speed|score|distance|ratio|length|height|weight|area)\b"
        r"|wie ?(?:viele?|groß|gross|lange?|hoch|alt|weit|tief|oft|schnell)\b",
    ),
    (
        Wants.PERSON,
        r"(?:who|whom|whose|wer|wem|wen|wessen)\b"
        rf"|{_SOME}(?:person|man|woman|king|queen|emperor|president|author|leader|player|scientist"
        r"|artist|actor|singer|team|company|organi[sz]ation|group|university|historian|general"
        r"|spieler|könig|kaiser|präsident|autor|mannschaft|firma|universität)\b",
    ),
    (
        Wants.PLACE,
        rf"where\b|(?:wo|woher|wohin)\b|{_SOME}(?:country|countries|city|cities|town|state|place"
        r"|location|county|region|continent|river|street|province|venue|stadium|address|area"
        r"|land|länder|stadt|städte|ort|staat|fluss|kontinent|bundesland)\b",
    ),
    (
        Wants.REASON,
        r"why\b|(?:warum|weshalb|wieso)\b|what (?:caused?|causes)\b|what (?:is|was) the reason\b"
        r"|what reason\b",
    ),
    (
        Wants.DEFINITION,
        r"(?:what|who) (?:is|are|was|were) (?:(?:an?|the) )?[\w'-]+(?: [\w'-]+){0,2}\W*$"
        r"|what does .{1,30} mean\b|was (?:ist|sind) (?:ein|eine|der|die|das)? ?[\w-]+\W*$",
    ),
)
_COMPILED = tuple((wants, re.compile(pattern)) for wants, pattern in _RULES)
_YES_NO = re.compile(
    r"\W*(?:(?:so|and|but|ok|okay|then)[, ]+)*(?:is|are|was|were|do|does|did|can|could|will|would"
    r"|should|has|have|had|may|might|ist|sind|war|waren|hat|haben|kann|können|wird|darf"
    r"|gibt es)(?:n't)?\b"
)
_LOOK = re.compile(
    r"\W*(?:what|who)(?:'s| is| are) (?:this|these|that|it|shown|depicted)(?: here)?\W*$"
    r"|.*\b(?:what|describe|identify|explain)\b.{0,30}\b(?:this|these|the|that) (?:\w+ )?"
    r"(?:picture|photo|image|photograph)s?\b(?: \w+)?\W*$"
    r"|\W*describe (?:this|it)\b|\W*what (?:do|can) you see"
    r"|\W*what (?:does|do) (?:this|these|that|it|they)\W+(?:look like|show|depict)\W*$"
    r"|\W*what (?:does|do) (?:this|these|the|that|my) (?:\w+ )?(?:picture|photo|image|photograph)s?"
    r" (?:look like|show|depict)\W*$"
    r"|\W*was (?:ist|zeigt|zeigen) (?:das|dies|dieses bild|das bild|diese bilder)\W*$"
    r"|\W*was (?:sieht man|sehe ich|siehst du|ist(?= hier| auf| in))(?: hier)?"
    r"(?: (?:auf|in) (?:dem|diesem|den|diesen)"
    r" (?:bild|foto)(?:ern|s)?)?(?: zu sehen)?\W*$"
    r"|\W*beschreibe? (?:bitte )?(?:das|dies|dieses|diese) (?:bild(?:er)?|fotos?)\W*$"
)


@dataclass(frozen=True, slots=True)
class Question:
    """A question that was analysed.

    ``words`` are its content words, ``weights`` the rarity of each of their stems, ``names`` the
    stems that are names or numbers. ``limit`` is what "over 50" says.
    """

    text: str
    wants: Wants
    words: tuple[Token, ...]
    weights: Mapping[str, float]
    names: frozenset[str]
    limit: Limit | None = None

    @property
    def mass(self) -> float:
        """The sum of all weights: what a perfect match would score."""
        return sum(self.weights.values())

    def among(self, texts: Iterable[frozenset[str]]) -> "Question":
        """Return the question with its words weighed for ranking ``texts`` (sets of stems).

        A word's weight is the mean of its rarity in the library and of its idf over ``texts``,
        ln(1 + (N - n + 0.5) / (n + 0.5)): what tells passages apart need not tell their sentences
        apart.
        """
        sets = list(texts)
        mixed = {}
        for stem, rarity in self.weights.items():
            n = sum(stem in have for have in sets)
            mixed[stem] = (rarity + log(1 + (len(sets) - n + 0.5) / (n + 0.5))) / 2
        return replace(self, weights=mixed)


def wanted(text: str) -> Wants:
    """Return the kind of answer that ``text`` asks for."""
    text = " ".join(text.replace("’", "'").split())
    lower = text.lower()
    if _LOOK.match(lower):
        return Wants.LOOK
    if _YES_NO.match(lower):
        return Wants.YES_NO
    match = _ASKS.search(text)
    asked = lower[match.start() :] if match else lower
    return next((wants for wants, rule in _COMPILED if rule.match(asked)), Wants.ANYTHING)


def analyse(text: str, rarity: Rarity) -> Question:
    """Return ``text`` analysed, its words weighed by ``rarity``."""
    found = tokens(text)
    content = [t for t in found if not t.stop] or found
    rare = rarity([t.text for t in content])
    weights: dict[str, float] = {}
    for token in content:
        weights[token.stem] = max(weights.get(token.stem, 0.0), rare[token.text])
    names = frozenset(
        t.stem
        for t in content
        if t.text[0].isdigit() or (t.text[0].isupper() and t.start != found[0].start)
    )
    return Question(text, wanted(text), tuple(content), weights, names, limit_of(text))
