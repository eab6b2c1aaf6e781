"""The German words by which people point at a picture: tables.

Knows nothing of grammar; ``memory/pointing.py`` does.
"""

_ENDINGS = ("e", "en", "es", "em", "er")


def _inflected(*stems: str) -> frozenset[str]:
    return frozenset(stem + ending for stem in stems for ending in _ENDINGS)


ORDINALS = {
    word: number
    for number, stem in enumerate(
        "erst zweit dritt viert fünft sechst siebt acht neunt zehnt elft zwölft".split(), start=1
    )
    for word in _inflected(stem)
}
CARDINALS = {
    word: number
    for number, word in enumerate(
        "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split(), start=1
    )
}
#: A noun for a picture, and the kind of picture it names
NOUNS = {
    **dict.fromkeys("bild bilder bildes bildern foto fotos aufnahme aufnahmen".split(), ""),
    **dict.fromkeys("diagramm diagramme diagrammen diagramms grafik grafiken".split(), "chart"),
    **dict.fromkeys("bildschirmfoto bildschirmfotos".split(), "screenshot"),
    **dict.fromkeys("zeichnung zeichnungen skizze skizzen".split(), "drawing"),
    **dict.fromkeys("gemälde gemälden".split(), "painting"),
    **dict.fromkeys("rechnung rechnungen quittung quittungen beleg kassenbon".split(), "receipt"),
    **dict.fromkeys("karte karten landkarte stadtplan".split(), "map"),
}
#: Endings of compounds: "Katzenbild", "Balkendiagramm"
TAILS = ("bilder", "bild", "fotos", "foto", "diagramme", "diagramm")
PLURALS = frozenset(
    "bilder bildern fotos aufnahmen diagramme diagrammen grafiken zeichnungen skizzen rechnungen "
    "quittungen karten bildschirmfotos".split()
)
THE = frozenset(
    "das dem den die der des dieses diesem diesen diese dieser jenes jenem zum im vom am".split()
)
MINE = {
    **dict.fromkeys(_inflected("mein", "unser") | {"mein", "unser"}, "user"),
    **dict.fromkeys(_inflected("dein") | {"dein"}, "bot"),
}
WHO = {"ich": "user", "wir": "user", "du": "bot"}
EACH = frozenset("alle allen aller jedes jede jedem jeden sämtliche".split())
BOTH = frozenset("beide beiden beider".split())
LAST = _inflected("letzt", "neuest", "allerletzt", "jüngst")
PREVIOUS = _inflected("vorig", "vorherig", "vorhergehend", "vorangegangen")
PENULTIMATE = _inflected("vorletzt", "zweitletzt")
BEFORE = frozenset("davor vorher".split())
SENT = _inflected("geschickt", "gesendet", "hochgeladen", "angehängt", "geteilt")
#: Verbs by which a picture comes: "das Foto, das Anna GESCHICKT hat"
GAVE = frozenset(
    "geschickt gesendet gepostet geteilt hochgeladen gezeigt gegeben gefunden angehängt gemalt "
    "gemacht gezeichnet schickte zeigte sendete zeigtest schicktest".split()
)
HELPERS = frozenset(
    "mir uns dir euch gerade eben vorhin schon heute gestern hier zuletzt als".split()
)
OF = frozenset("mit von vom zum zur zu wo der des".split())
FROM = frozenset(["von"])
NUMBER = frozenset("nr nummer".split())
THROUGH = frozenset(["bis"])
AND = frozenset("und oder mit".split())
GOES_ON = frozenset("ist sind war und oder nochmal bitte auch noch zeigt hat sieht mit".split())
ENDS = frozenset(
    "und oder aber ist sind war hat haben was wer wo wie wann bitte nochmal noch zeigen sehen zu "
    "das die auf".split()
)
IDLE = frozenset(
    "ein eine einem einen einer eines das dem den die der des ist im in am an auf mit von vom und "
    "oder zu zum zur es er sie ich du wir ihr mir uns bitte nochmal noch mal da hier so".split()
)
COMMON = frozenset(
    "auf aus bei bild bilder bitte das dem den der des die du ein eine es foto für hat ich im ist "
    "mit nicht noch nochmal oder sind und vom von war welche welches wer wie wo zeig zu zum "
    "davor beide beiden alle letzte letzten rote roten rechts oben unten hinten steht".split()
)
