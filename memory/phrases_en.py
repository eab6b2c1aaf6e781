"""The English words by which people point at a picture: tables.

Knows nothing of grammar; ``memory/pointing.py`` does.
"""

ORDINALS = {
    word: number
    for number, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(),
        start=1,
    )
}
CARDINALS = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), start=1
    )
} | {"couple": 2}
#: A noun for a picture, and the kind of picture it names
NOUNS = {
    **dict.fromkeys("picture photograph photo image pic snapshot attachment".split(), ""),
    **dict.fromkeys("pictures photographs photos images pics snapshots attachments".split(), ""),
    **dict.fromkeys("chart charts graph graphs plot plots".split(), "chart"),
    **dict.fromkeys("diagram diagrams".split(), "diagram"),
    **dict.fromkeys("screenshot screenshots".split(), "screenshot"),
    **dict.fromkeys("drawing drawings sketch sketches".split(), "drawing"),
    **dict.fromkeys("painting paintings".split(), "painting"),
    **dict.fromkeys("receipt receipts invoice invoices".split(), "receipt"),
    **dict.fromkeys("map maps".split(), "map"),
    **dict.fromkeys("logo logos".split(), "logo"),
    **dict.fromkeys("scan scans".split(), "scan"),
}
#: Words of a caption that tell a kind of picture, in any language
KINDS = {
    "chart": "chart graph plot diagram diagramm diagramms diagramme 图表 柱状图 饼图 折线图",
    "diagram": "diagram diagramm diagramme schema chart 示意图 图表",
    "screenshot": "screenshot screen bildschirmfoto 截图 截屏",
    "drawing": "drawing sketch zeichnung skizze 素描",
    "painting": "painting gemälde 油画",
    "receipt": "receipt invoice quittung rechnung beleg kassenbon 发票 收据 账单",
    "map": "map karte landkarte stadtplan 地图",
    "logo": "logo 标志",
    "scan": "scan scanned 扫描",
}
PLURALS = frozenset(word for word in NOUNS if word.endswith("s")) | {"ones"}
THE = frozenset("the that this these those".split())
MINE = {"my": "user", "our": "user", "your": "bot"}
WHO = {"i": "user", "we": "user", "you": "bot"}
EACH = frozenset("all every each".split())
BOTH = frozenset(["both"])
LAST = frozenset(("last", "latest", "newest", "most recent", "final", "very last"))
PREVIOUS = frozenset("previous preceding prior".split())
PENULTIMATE = frozenset(
    f"{one}{gap}{two}"
    for one, two in (("second", "last"), ("next", "last"))
    for gap in (" to ", "-to-", "-", " ")
) | {"penultimate"}
BEFORE = frozenset(["before"])
SENT = frozenset("attached uploaded sent shared posted".split())
#: Verbs by which a picture comes: "the photo that Anna SENT"
GAVE = frozenset(
    "sent send sends posted shared uploaded attached showed shown show gave took drew made found "
    "forwarded provided mailed".split()
)
HELPERS = frozenset("have had has just 've already also did that which has".split())
OF = frozenset("of with showing about depicting containing where has from".split())
FROM = frozenset("from by".split())
NUMBER = frozenset("no number nr # №".split())
THROUGH = frozenset(("-", "–", "to", "through", "till"))
AND = frozenset(("and", "or", ",", "&", "+", "with"))
#: What may follow "the last one" when a picture is meant
GOES_ON = frozenset(
    "is are was were and or with again please too then has have looks look shows show says say "
    "compared what who where how why versus vs".split()
)
#: Where a description ends
ENDS = frozenset(
    "and or but is are was were has have do does did can could what which who where when how why "
    "than then again please compared compare that i you more less sent send posted".split()
)
IDLE = frozenset(
    "a an and any are as at be by can do does did for from had has have he her here his i in is it "
    "its me my no not of on one or our she so some than that the their them then there they this "
    "those to was we were what when where which who will with you your please tell about show "
    "shows showing shown see look looks say says again just".split()
)
COMMON = frozenset(
    "a an and are as at be can did do does for from has have how i in is it me my of on one or "
    "picture pictures photo photos please sent she he that the there they this to was what "
    "when where which who why with you your".split()
)
