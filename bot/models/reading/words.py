"""Words as the reader compares them: lower case, without accents, stemmed, stop words known.

Knows nothing of questions or evidence.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from bot.models.reading.stems import porter

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
#: Words by which a follow-up names nothing of its own: stop words, and how people speak of turns
#: and of pictures that they have just sent
FOLLOW_UP_WORDS = STOP_WORDS | frozenset(
    """
    first second third last previous ones look see shown similar image images photo photos pic
    picture pictures what's bild bilder foto fotos bitte dieses du ich ihm uns mein mir ja nein
    mehr wenn wieviel zeig
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
        "foot": "feet", "person": "people persons",
        "high": "height higher highest", "long": "length longer longest",
        "deep": "depth deeper deepest", "wide": "width wider widest", "old": "older oldest",
        "large": "larger largest", "own": "owner owners ownership", "big": "bigger biggest",
        "strong": "strength",
    }.items()
    for past in pasts.split()
}  # fmt: skip


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return the stem of one word; any case, accents and a possessive ``'s`` are dropped."""
    folded = re.sub(r"['’]s?$", "", fold(word))
    return porter(_IRREGULAR.get(folded, folded))


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
