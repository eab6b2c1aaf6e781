"""Words that name a side: "the left one", "in the middle", "das linke", "links oben", "左边那个".

Whether that is one picture of several or a part of one is not known here, nor is anything else of
conversations; ``memory/carrying_sides.py`` knows.
"""

import re
from dataclasses import dataclass
from typing import Literal

from memory import phrases_de as de
from memory import phrases_en as en
from memory import phrases_leaning as words
from memory.phrases import NOUNS, ORDINALS, language
from memory.phrases_things import THINGS
from memory.phrases_zh import number

Place = Literal["left", "right", "top", "bottom", "middle", ""]

MOST_CHARS = 400  #: of a question in which a side is looked for


@dataclass(frozen=True, slots=True)
class Side:
    """A group of words that names a side; ``start`` and ``end`` are its place in the text.

    ``place`` is ``""`` for a corner, the background and the like. ``nth`` counts from that side
    ("second from the left"). ``whole``: the words stand for a thing of their own ("the left one"),
    not for a part of something ("on the left"); ``picture``: they say that it is a picture.
    """

    start: int
    end: int
    place: Place
    nth: int = 1
    whole: bool = False
    picture: bool = False


def sides(text: str) -> list[Side]:
    """Return what names a side in ``text``, in its order; they do not overlap."""
    if len(text) > MOST_CHARS or not _SIDE.search(text):
        return []
    spoken = language(text)
    if spoken != "zh" and _GERMAN_ALONE.fullmatch(text):
        spoken = "de"
    clear = _IDIOMS.sub(lambda match: "\x00" * len(match.group()), text)
    found: list[Side] = []
    for whole, pattern in _PATTERNS[spoken]:
        for match in pattern.finditer(clear):
            taken = any(match.start() < one.end and one.start < match.end() for one in found)
            if not taken and (spoken == "zh" or _stands(match, clear, spoken == "de")):
                found.append(_side(match, whole))
    return sorted(found, key=lambda side: side.start)


def without_sides(text: str) -> str:
    """Return ``text`` without what names a side in it."""
    kept, at = "", 0
    for side in sides(text):
        kept, at = kept + text[at : side.start], side.end
    return " ".join((kept + text[at:]).split())


def _side(match: re.Match[str], whole: bool) -> Side:
    said = match.groupdict()
    places = {place for place, stems in _STEMS.items() if re.search(stems, said["side"].lower())}
    nth = (said.get("nth") or "first").lower()
    return Side(
        *match.span(),
        place=places.pop() if len(places) == 1 else "",
        nth=ORDINALS.get(nth) or number(nth),
        whole=whole,
        picture=bool(said.get("noun")),
    )


def _stands(match: re.Match[str], text: str, german: bool) -> bool:
    """Tell whether the words name a side where they stand: not so "on the right track"."""
    said = match.groupdict()
    if thing := said.get("thing"):
        return thing.lower() in THINGS or thing.lower() in words.SEEN
    if german and _party(match):
        return False
    after = _NEXT.match(text, match.end())
    if after is None:
        return True
    word = after[1].lower()
    if word in _OF:
        return _OF_PICTURE.match(text, match.end()) is not None
    if (where := _WHERE.match(text, match.end())) and not _on_picture(where[1].lower()):
        return False
    if word in _TELLS:
        return _WITH_ANOTHER.match(text, match.end()) is not None
    if said.get("noun") or said.get("one"):
        return True
    if german and after[1][0].isupper():
        return False
    return words.says_little(word) or (not german and word.endswith(("ing", "ed")))


def _on_picture(noun: str) -> bool:
    return noun in NOUNS or words.is_seen(noun) or words.says_little(noun)


def _party(match: re.Match[str]) -> bool:
    """Tell whether "die Linke" or "die Rechte" is a noun."""
    article, noun = match.group().split()[0].lower(), match["side"].split()[-1]
    return noun[0] in "LR" and (article == "die" or noun.endswith("n"))


#: One of these is in whatever names a side
_SIDE = re.compile(
    r"left|right|top|bottom|middle|cent|upper|lower|back|front|foreground|corner|link|recht|mitt"
    r"|oben|ober|unte|vorn|vord|hint|ecke|rand|[左右中上下角背前]",
    re.IGNORECASE,
)
_STEMS: dict[Place, str] = {
    "left": "left|link|左",
    "right": "right|recht|右",
    "top": "top|upper|oben|ober|上",
    "bottom": "bottom|lower|unten|unter|下",
    "middle": "middle|cent|mitte|mittl|中",
}
_NEXT = re.compile(r"['’]?\s*(?<!\w)([^\W\d_]+)")
_OF = frozenset("of von vom der des".split())
#: What follows them tells more of a thing than its side: "the right one for you"
_TELLS = frozenset("with showing that which for mit genannt genannte genannten".split())
_NOUN = "|".join(sorted({*en.NOUNS, *de.NOUNS} - en.PLURALS - de.PLURALS, key=len, reverse=True))
_OF_PICTURE = re.compile(
    r"\s+(?:of|von|vom|des|der)\s+(?:(?:it|them|these|those|ihm|ihnen|the two|the three|beiden)\b|"
    rf"(?:(?:the|this|that|my|your|dem|den|diesem|beiden)\s+)*(?:{_NOUN})e?s?\b)",
    re.IGNORECASE,
)
_WHERE = re.compile(
    r"\s+(?:in|on|at|inside|im|am|auf|aus)\s+(?:(?:the|this|that|my|your|der|dem|den|diesem)\s+)*(\w+)",
    re.IGNORECASE,
)
#: "right" and "left" that are no sides
_IDIOMS = re.compile(
    r"\b(?:which|what)(?:\s+one)?(?:['’]s|\s+(?:is|was|would\s+be))\s+the\s+right\s+one\b"
    r"|\b(?:is|was|are)\s+(?:this|that|it|these|those)\s+the\s+right\s+\w+"
    r"|\A\W*(?:all\s+)?right\b"
    r"|\bthe\s+right\s+ones?\s+to\b|\bbottom\s+line\b|\b(?:siehe|wie)\s+(?:oben|unten|links|rechts)\b",
    re.IGNORECASE,
)
_NTH = rf"(?P<nth>{'|'.join(ORDINALS)})"

# -- English

_DEGREE = r"(?:far|very|extreme|upper|lower|top|bottom)"
_ADJECTIVE = (
    rf"(?:{_DEGREE}[ -])?(?:left|right)(?:most|[ -]hand)?|(?:very )?(?:middle|cent(?:er|re|ral)|"
    r"topmost|uppermost|upper|top|bottom|lower)"
)
_ON = (
    r"(?:(?:on|to|at|in)\s+(?:the|its)\s+(?:far\s+|very\s+)?(?:(?:top|bottom|upper|lower)[ -]?)?"
    r"(?:left|right|top|bottom|middle|cent(?:er|re)|back|front|background|foreground|corner)"
    r"(?:[ -]hand)?(?:\s+(?:side|corner|part|half|edge|row))?|on\s+top)"
)
_THE = r"\b(?:the|that|this)\s+"
_ENGLISH = (
    (True, rf"{_THE}(?P<side>{_ADJECTIVE})\s+(?:(?P<one>one)|(?P<noun>{_NOUN}))\b"),
    (True, rf"{_THE}(?:(?P<one>one)|(?P<noun>{_NOUN}))\s+(?:that\s+is\s+)?(?P<side>{_ON})\b"),
    (
        True,
        rf"{_THE}{_NTH}\s+(?:one\s+|(?P<noun>{_NOUN})\s+)?from\s+(?:the\s+)?"
        r"(?P<side>left|right|top|bottom)\b",
    ),
    (
        True,
        rf"{_THE}(?P<side>{_ADJECTIVE})(?P<one>)(?=\s+(?:and|or|with)\s+(?:the\s+)?"
        rf"(?:{_ADJECTIVE})\s+(?:one|{_NOUN})\b)",
    ),
    (True, r"\bthe\s+(?P<side>(?:left|right|upper|top)most)(?P<one>)(?=\W*\Z)"),
    (False, rf"\b{_NTH}\s+from\s+(?:the\s+)?(?P<side>left|right|top|bottom)\b"),
    (False, rf"\b(?P<side>{_ON})\b"),
    (False, rf"{_THE}(?P<side>{_ADJECTIVE})\s+(?:side|corner|half|edge|part|row|(?P<thing>\w+))\b"),
    (False, r"\b(?P<side>(?:top|bottom|upper|lower)[ -](?:left|right))(?:[ -]hand)?(?: corner)?\b"),
    (
        False,
        r"\A\s*(?:(?:and|but|or|so|what\s+about|how\s+about)\s+)?(?:the\s+)?"
        r"(?P<side>right|left|top|bottom|middle)(?=\W*\Z)",
    ),
)

# -- German

_DE_EXACTLY = r"(?:ganz\s+|da\s+|dort\s+|hier\s+)*"
_DE_ON = (
    rf"{_DE_EXACTLY}(?:(?:links|rechts|oben|unten|vorne?|hinten)(?:\s+(?:links|rechts|oben|unten|"
    r"außen))?|(?:in|an|auf)\s+der\s+(?:linken\s+|rechten\s+|oberen\s+|unteren\s+){0,2}"
    r"(?:mitte|ecke|seite|hälfte)|im\s+(?:hintergrund|vordergrund)|am\s+(?:linken|rechten|oberen|"
    r"unteren)\s+rand)"
)
_DE_INFLECTED = (
    r"(?:link|recht|mittler|mittelst|oberst|unterst|ober|unter|vorder|hinter)(?:e|en|er|es|em)"
)
_DE_ADJECTIVE = rf"(?:ganz\s+)?(?:ober\w{{1,2}}\s+|unter\w{{1,2}}\s+)?{_DE_INFLECTED}"
_DE_THE = r"\b(?:der|die|das|den|dem|diese[rsmn]?|zum|beim|vom|im)\s+(?:da\s+)?"
_GERMAN = (
    (True, rf"{_DE_THE}(?P<side>{_DE_ADJECTIVE})\s+(?P<noun>{_NOUN})\b"),
    (True, rf"{_DE_THE}(?:(?P<noun>{_NOUN})\s+)?(?P<side>{_DE_ON})\b"),
    (
        True,
        rf"{_DE_THE}{_NTH}\s+(?:(?P<noun>{_NOUN})\s+)?von\s+(?P<side>links|rechts|oben|unten)\b",
    ),
    (False, rf"{_DE_THE}(?P<side>{_DE_ADJECTIVE})\s+(?:seite|ecke|hälfte|(?P<thing>\w+(?<!en)))\b"),
    (True, rf"{_DE_THE}(?P<side>{_DE_ADJECTIVE})\b"),
    (False, rf"\b(?P<side>{_DE_ON})\b"),
)
#: A fragment that has no other German word; "links?" alone is English as well
_GERMAN_ALONE = re.compile(
    r"\s*(?:und\s+(?:ganz\s+)?links|(?:und\s+)?(?:ganz\s+)?(?:rechts|oben|unten|hinten|"
    r"links\s+(?:oben|unten))(?:\s+(?:links|rechts|oben|unten))?)\W*",
    re.IGNORECASE,
)

# -- Chinese

_AT = r"(?:\A|(?<=[\s，。？！,.?!在那这有是和最跟与把看比较述译绍释说讲大于问么后]))"
_HAN_SIDE = (
    r"最?(?:[左右](?:手边|边|侧|面|方)|[左右][上下][角方]?|正?中间|正中央?|[上下][面方边])"
    r"|最[左右上下]|角落|背景|前景"
)
HAN_MEASURE = r"[个只位条辆座名棵朵栋间匹架件块]"
_GOES_ON = r"(?=[\s，。？！,.?!、呢是有在叫多几什怎哪吗和跟与比好贵更也写为谁能可]|\Z)"
_HAN_NOUN = r"(?P<noun>[张幅](?:图片|照片|相片|图)?|图片|照片|相片|图表?|截图|发票|收据)"
_CHINESE = (
    (
        True,
        rf"{_AT}(?:从)?(?P<side>{_HAN_SIDE}|左|右)(?:数|起|边数)?的?第(?P<nth>[一二三四五六七八九十])"
        rf"(?:{_HAN_NOUN}|{HAN_MEASURE}){_GOES_ON}",
    ),
    (True, rf"{_AT}(?P<side>{_HAN_SIDE})的?[那这]?一?{_HAN_NOUN}"),
    (True, rf"{_AT}(?P<side>[左右])(?P<noun>图)"),
    (True, rf"{_AT}(?P<side>{_HAN_SIDE})(?:的?[那这]一?{HAN_MEASURE}|的){_GOES_ON}"),
    (True, rf"{_AT}(?P<side>[左右]边)(?=[和跟与][左右]边的?[那这]?[张幅个]|[和跟与][左右]边的)"),
    (False, rf"{_AT}(?P<side>(?![上下][面方边]){_HAN_SIDE})"),
)
_WITH_ANOTHER = re.compile(
    rf"\s+with\s+the\s+(?:{_ADJECTIVE})\b|\s+mit\s+de[mnr]\s+(?:{_DE_ADJECTIVE})\b"
    rf"|\s+(?:with|mit)\s+(?:{_NOUN})\s+\d",
    re.IGNORECASE,
)
_PATTERNS = {
    spoken: tuple((whole, re.compile(pattern, re.IGNORECASE)) for whole, pattern in patterns)
    for spoken, patterns in (("en", _ENGLISH), ("de", _GERMAN), ("zh", _CHINESE))
}
