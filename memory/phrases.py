"""The words by which people point at a picture, in English, German, Chinese: tables, patterns.

Knows nothing of conversations; ``memory/recall.py`` says what each pattern means.
"""

import re

ORDINALS = {
    word: number
    for number, words in enumerate(
        (
            "first erste ersten erstes",
            "second zweite zweiten zweites",
            "third dritte dritten drittes",
            "fourth vierte vierten viertes",
            "fifth fünfte fünften fünftes",
            "sixth sechste sechsten sechstes",
            "seventh siebte siebten siebtes",
            "eighth achte achten achtes",
            "ninth neunte neunten neuntes",
            "tenth zehnte zehnten zehntes",
            "eleventh elfte elften elftes",
            "twelfth zwölfte zwölften zwölftes",
        ),
        start=1,
    )
    for word in words.split()
}
CARDINALS = {
    word: number
    for number, words in enumerate(
        (
            "two zwei beiden couple",
            "three drei",
            "four vier",
            "five fünf",
            "six sechs",
            "seven sieben",
            "eight acht",
            "nine neun",
            "ten zehn",
            "eleven elf",
            "twelve zwölf",
        ),
        start=2,
    )
    for word in words.split()
}
HAN = {han: number for number, han in enumerate("一二三四五六七八九十", start=1)} | {"两": 2}
KINDS = {
    "chart": ("chart", "graph", "plot", "diagram", "diagramm"),
    "diagram": ("diagram", "diagramm", "schema", "chart"),
    "screenshot": ("screenshot", "screen"),
    "drawing": ("drawing", "sketch", "zeichnung"),
    "painting": ("painting",),
    "receipt": ("receipt", "invoice", "quittung"),
    "map": ("map", "karte"),
    "logo": ("logo",),
    "scan": ("scan",),
}
KIND_OF = {"graph": "chart", "plot": "chart", "sketch": "drawing", "diagramm": "diagram"}
IDLE = frozenset(
    "a an and any are as at be by can do does did for from had has have he her here his i in is it "
    "its me my no not of on one or our she so some than that the their them then there they this "
    "those to was we were what when where which who will with you your please tell about show "
    "shows showing shown see look looks say says again just".split()
)

ANY = r"(?:picture|photograph|photo|image|pic|snapshot|bild|bildes|foto|aufnahme|attachment)"
KIND = r"(?:chart|graph|plot|diagramm?|screenshot|drawing|sketch|painting|receipt|map|logo|scan)"
NOUN = rf"(?P<noun>{ANY}(?:s|er|ern)?|{KIND}s?)"
SENT = r"(?:attached |uploaded |sent |shared |posted )?"
ORD = rf"(?:\d{{1,3}}(?:st|nd|rd|th|\.(?= ?{ANY}))|{'|'.join(ORDINALS)})"
CARD = rf"(?:\d{{1,2}}|{'|'.join(CARDINALS)})"
LAST = (
    r"(?:very last|last|latest|newest|most recent|final|previous|preceding|prior|letzte[ns]?|"
    r"neueste[ns]?|vorige[ns]?|vorherige[ns]?|vorhergehende[ns]?)"
)
BEFORE = r"(?:penultimate|second[- ]to[- ]last|next[- ]to[- ]last|second[- ]last|vorletzte[ns]?)"
JOIN = r"(?:\s*(?:,|&|\+)\s*|\s*,?\s+(?:and|or|und|oder|with|mit)\s+)"
# a picture of a document, which is evidence, not part of the conversation
ELSEWHERE = (
    r"(?!\s+(?:of|in|on|from|auf|in|aus)\s+(?:(?:the|this|that|my|your|each|every|der|dem|den|jeder)"
    r"\s+)?(?:\w+\s+)?(?:page|pages|paper|report|document|pdf|article|book|manual|slide|slides|"
    r"section|chapter|website|deck|seite|bericht|dokument|kapitel)s?\b)"
)
SENDER = r"(?:\s+(?:that |which )?(?P<who>i|you|ich|du)\s+(?:have |had |just |'ve )?(?:\w+))?"


def rule(pattern: str) -> re.Pattern[str]:
    """Return a pattern that begins a word; case does not matter."""
    return re.compile(rf"(?<![\w.-]){pattern}", re.IGNORECASE)


NUMBERED = rule(
    rf"{NOUN}\s*(?:no\.?|nr\.?|number|nummer|#|№)?\s*(?P<list>#?\d{{1,3}}"
    rf"(?:(?:{JOIN}|\s*(?:-|–|to|bis|through)\s*)#?\d{{1,3}})*)"
    rf"(?!\w|\s*[:.,×%/-]\d|\s*%){ELSEWHERE}"
)
SPELLED = rule(rf"{NOUN}\s+(?:no\.?|number|nummer)\s+(?P<word>one|eins|{CARD})\b")
BARE_NUMBER = rule(r"#(?P<list>\d{1,3})(?!\w)")
GROUP = rule(
    rf"(?P<end>first|last|latest|ersten|letzten|previous)\s+(?P<count>{CARD})\s+"
    rf"{SENT}{NOUN}\b{ELSEWHERE}{SENDER}"
)
PENULTIMATE = rule(
    rf"(?:{BEFORE}\s+(?:{NOUN}|one\b)|(?:{ANY}|one)\s+before\s+(?:last|that|the last)\b)"
)
ORDINAL = rule(
    rf"(?P<list>{ORD}(?:{JOIN}(?:the |das )?{ORD})*)\s+{SENT}{NOUN}\b{ELSEWHERE}{SENDER}"
)
ORDINAL_ONE = rule(rf"(?:the|das)\s+(?P<list>{ORD})(?:\s+one)?(?=\s*(?:[.,;:!?)]|$))")
LATEST = rule(rf"(?P<mine>my |your |mein |meine |dein )?{LAST}\s+{SENT}{NOUN}\b{ELSEWHERE}{SENDER}")
LATEST_ONE = rule(rf"(?:the|das)\s+{LAST}(?:\s+one)?(?=\s*(?:[.,;:!?)]|$))")
EVERY = rule(
    rf"(?P<all>all|every|each|both|alle|allen|jedes|beide|beiden)\s+(?:of\s+)?(?:the |these |those "
    rf"|my |your |den |diese |meine )?(?P<count>{CARD}\s+)?{SENT}{NOUN}\b{ELSEWHERE}{SENDER}"
)
TOLD = rule(
    rf"(?:the|that|this|das|dem|my|your)\s+(?:{NOUN}|one)\s+(?:of|with|showing|that shows|"
    r"which shows|that has|that had|where|from|depicting|mit|von)\s+(?P<told>[^.,;:!?\n]+)"
)
COMPOUND = rule(rf"(?:the|that|this|my|your)\s+(?P<told>(?:[\w'-]+\s+){{1,3}}){NOUN}\b{ELSEWHERE}")
DEFINITE = rule(
    rf"(?P<mine>the|that|this|my|your|das|dem|dieses|diesem|mein|dein)\s+{SENT}{NOUN}\b(?!\s+(?:of|"
    rf"with|showing)\b){ELSEWHERE}{SENDER}"
)

HAN_NOUN = r"(?:图片|照片|相片|图像|图|截图)"
HAN_NUM = r"(?:\d{1,3}|[一二三四五六七八九]?十[一二三四五六七八九]?|[一二三四五六七八九两])"
HAN_ORDINAL = re.compile(
    rf"第\s*(?P<list>{HAN_NUM})\s*(?:[张幅]\s*(?:{HAN_NOUN}|(?![表桌纸床牌票]))|个?{HAN_NOUN})"
)
HAN_NUMBERED = re.compile(r"(?:图片|照片)\s*(?:#|号)?\s*(?P<list>\d{1,3})(?!\d)")
HAN_GROUP = re.compile(rf"(?P<end>前|最后|后)\s*(?P<count>{HAN_NUM})\s*[张幅]\s*{HAN_NOUN}?")
HAN_LAST = re.compile(
    r"(?:最后一?|最新的?一?|上一|前一|刚才那)\s*[张幅]\s*(?:图片|照片|相片|图像|图)?"
)
HAN_ALL = re.compile(rf"(?:所有的?|全部的?|每[张幅])\s*{HAN_NOUN}")
