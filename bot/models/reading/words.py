"""Words as the reader compares them: lower case, without accents, stemmed, stop words known.

Knows nothing of questions or evidence. The stemmer is lighter in rules and heavier in hand than
Porter's: it is only used to say that two words are forms of one ("published", "publication"), and
both sides go through it.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

Rarity = Callable[[Iterable[str]], Mapping[str, float]]

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
#: A number with its separators, one CJK character, or a run of letters and digits
_TOKEN = re.compile(rf"\d+(?:[.,:/-]\d+)*|[{_CJK}]|[^\W\d_{_CJK}]+(?:['’][^\W\d_{_CJK}]+)?")
_LONGEST = 60  #: a longer "word" is data, not a word

STOP_WORDS = frozenset(
    """
    a about above after again all along also am among an and any are as at be because been
    before being below between both but by can could did do does doing don during each either
    else ever for from had has have having he her here hers him his how i if in into is it its
    itself just kind less let like ll many may me might more most much must my name named no nor
    not of off often on once one only or other our ours out over own please re said same say
    shall she should so some such tell than that the their theirs them then there these they
    this those through to too type under until up upon us used using ve very via was we were
    what when where whether which while who whom whose why will with within without would yes
    you your yours s t d m called call known know found find give show ask want need get got
    aber alle als am an auch auf aus bei bis da das dass dem den der des die dies diese dieser
    durch ein eine einem einen einer eines er es für gab gibt hat hatte hatten haben ihr ihre
    ihren im in ist kann können man mit nach nicht noch nur oder ohne sein seine seinen seit
    sich sie sind über um und unter viel viele vom von vor war waren was welche welchem welchen
    welcher welches wann warum wem wen wer werden wessen wie wird wo woher wohin worden wurde
    wurden zu zum zur zwischen
    """.split()
)

#: Past forms that no suffix rule reaches; the commonest ones of encyclopedic and business prose
_IRREGULAR = {
    past: base
    for base, pasts in {
        "win": "won", "begin": "began begun", "write": "wrote written", "lead": "led",
        "build": "built", "buy": "bought", "sell": "sold sale sales", "make": "made",
        "take": "took taken", "become": "became", "choose": "chose chosen choice",
        "lose": "lost loss losses", "hold": "held", "fight": "fought", "die": "death deaths dead",
        "bear": "born birth", "grow": "grew grown growth", "speak": "spoke spoken speech",
        "think": "thought", "teach": "taught", "leave": "left", "bring": "brought",
        "send": "sent", "spend": "spent", "pay": "paid", "keep": "kept", "meet": "met",
        "rise": "rose risen", "fall": "fell fallen", "run": "ran", "draw": "drew drawn",
        "drive": "drove driven", "break": "broke broken", "steal": "stole stolen",
        "sing": "sang sung song songs",
        "throw": "threw thrown", "come": "came", "see": "saw seen", "go": "went gone",
        "live": "life lives", "man": "men", "woman": "women", "child": "children",
        "foot": "feet", "person": "people persons", "high": "height", "long": "length",
        "deep": "depth", "wide": "width", "strong": "strength",
    }.items()
    for past in pasts.split()
}  # fmt: skip

_SUFFIXES = """
    ization isation ational iveness fulness ousness ibility ability ation ition ment ness tion
    sion ance ence ities ity ically ingly edly ally ings ing ical ious eous able ible ions ion
    ives ive ism ist ers ors ed er or al ly ic ous ies ied es en s e y i
    """.split()
_SHORTEST = 3  #: letters of a stem that must be left


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return the stem of one word; any case, accents and a possessive ``'s`` are dropped."""
    folded = fold(word)
    folded = re.sub(r"['’]s?$", "", folded)
    if not folded.isalpha() or len(folded) <= _SHORTEST or not folded.isascii():
        return folded
    folded = _IRREGULAR.get(folded, folded)
    for _ in range(2):  # a plural or past ending, then what it stood on: "nation-al-ity"
        for suffix in _SUFFIXES:
            rest = folded[: -len(suffix)]
            if folded.endswith(suffix) and len(rest) >= max(_SHORTEST, 5 - len(suffix)):
                folded = rest
                break
        else:
            break
    if len(folded) > _SHORTEST and folded[-1] == folded[-2] and folded[-1] not in "s":
        folded = folded[:-1]
    return folded


@lru_cache(maxsize=50_000)
def fold(word: str) -> str:
    """Return ``word`` in lower case, compatibility forms and accents folded."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a text: where it stands, and its stem. ``stop`` words carry no meaning alone."""

    text: str
    start: int
    end: int
    stem: str
    stop: bool


def tokens(text: str) -> list[Token]:
    """Return the words of ``text`` in their order."""
    found = []
    for match in _TOKEN.finditer(text):
        word = match.group()
        if len(word) > _LONGEST:
            continue
        lower = word.casefold()
        stop = lower in STOP_WORDS or (lower[-2:] in ("'s", "’s") and lower[:-2] in STOP_WORDS)
        found.append(Token(word, match.start(), match.end(), stem(word), stop))
    return found


def content_stems(text: str) -> frozenset[str]:
    """Return the stems of the words of ``text`` that are not stop words."""
    return frozenset(t.stem for t in tokens(text) if not t.stop)
