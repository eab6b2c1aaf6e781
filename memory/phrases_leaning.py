"""The words by which a question leans on what was spoken of, in three languages: tables.

Pronouns ("it", "darauf"), words that name nothing but a side of a thing ("colour", "Hintergrund"),
and turns of phrase in which "it" stands for nothing ("is it true that …"). Knows nothing of
pictures or grammar; ``memory/carrying.py`` does.
"""

import re

from memory.phrases_things import HAN_THINGS, THINGS


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


#: Stand for a thing or a person wherever they are
PRONOUNS = _words(
    "it its itself they their theirs them he him his she her hers",
    "es er ihn ihm ihnen seine seinen seinem seiner seines ihre ihren ihrem ihrer dies",
    "darauf drauf darin drin daran dran davon dahinter daneben darunter drunter darüber dazu dabei",
)
#: Stand for a thing where no noun follows: "this", not "this year"
DEMONSTRATIVES = _words("this that these those das dieses dieser diese diesen diesem")
#: Stand for a place, or say that something is there
PLACES = _words("there here dort hier da")
#: Stand for a thing at the end only: "Was macht die?", "Where can I buy one?"
AT_THE_END = _words("der die den dem one")
#: Before and after these "this" and "that" have no noun
AUXILIARIES = _words(
    "is s are was were has have had does do did can could will would should must may might",
    "ist sind war waren hat haben wird kann soll muss",
)
FOLLOWS = AUXILIARIES | _words(
    "a an the in on at to from of for with by and or but not mean means show shows say says",
    "look looks made taken called supposed really actually exactly still all too also there here",
    "ein eine einen einer eines kein keine in auf im am an aus von für mit und oder nicht denn da",
    "dort hier wirklich eigentlich genau noch alles auch sein bedeuten zeigen heißen gemacht",
)
#: Before these a word that could be an adjective ends a question: "is that gold or brass"
GOES_ON = _words("and or but to enough for in und oder aber zu genug für")
#: Before "that" as a pronoun; after anything else it is a conjunction, or it relates
BEFORE_THAT = AUXILIARIES | _words(
    "and or but of in on at from with about like as to for what who where when why how which whose",
    "describe explain read translate compare",
)
PREPOSITIONS = _words(
    "in on at from to between near about over under of within inside for",
    "im am bei nach von aus zwischen über auf unter zu zum zur für",
)
DETERMINERS = _words(
    "the a an my our your this that these those some any",
    "der die das den dem des ein eine einen einem einer mein meine unser dein deine diese dieses",
)
JOINS = _words("and or but und oder aber")
#: Say nothing of a topic
LITTLE = _words(
    "a an and any are as at be been by can could did do does for from has have had how i if in",
    "into is just let me more most much many my no not of on one ones or our s so some than that",
    "the then there these this those to too was we were what when where which who whom whose why",
    "will with would you your please now again also still exactly really else other anything",
    "something someone anyone anybody everything about ok okay hmm well further bit actually sure",
    "question think know",
    "aber alles als am an auch auf aus bei beim bitte da das dass dem den denn der des die du ein",
    "eine einem einen einer eines etwas für genau haben hat hier ich im in ist kann kannst man mal",
    "mehr mir mit nach nicht noch nochmal nun nur oder ob sind so sonst und uns viel viele vom von",
    "war waren warum was welche welchem welchen welcher welches wann wem wen wer wessen wie wieso",
    "weshalb wird wo woher wohin worauf woraus womit wurde zu zum zur eigentlich weitere denn",
    "frage bist sicher jemand",
)
#: Of these there must be one where a question names nothing: "thank you" leans on nothing
ASKS = _words(
    "what which who whom whose where when why how else more describe explain translate compare",
    "zoom read look again try summarise summarize sure anyone someone",
    "was welche welchem welchen welcher welches wer wem wen wessen wo woher wohin wann warum wieso",
    "weshalb wie worauf woraus sonst noch mehr beschreibe beschreib erkläre übersetze übersetz",
    "vergleiche vergleich lies zeige schau guck nochmal sicher jemand",
)
#: Who is spoken to: "who are you?" names someone, "what do you see?" does not
YOU = _words("you du dir dich")
YOURS = _words("your yours dein deine deinen")
#: Sides of a thing that do not say which thing
SIDES = _words(
    "colour color colours colors size shape age breed brand kind type sort model style species",
    "name price cost total amount sum title text writing words letters caption date number numbers",
    "material season weather background foreground left right top bottom middle centre center",
    "corner corners edge side front back detail details difference differences common same similar",
    "meaning expression mood time day place location big small bigger smaller biggest large larger",
    "largest old older oldest new newer newest tall taller long longer wide high heavy fast better",
    "best worse expensive cheaper bright brighter dark german english chinese french",
    "farbe farben größe form alter rasse marke art sorte modell stil name preis kosten summe",
    "betrag titel text schrift wörter wort buchstaben datum zahl zahlen material jahreszeit wetter",
    "hintergrund vordergrund links rechts oben unten mitte ecke rand seite detail details",
    "unterschied unterschiede gemeinsam gleich ähnlich bedeutung ausdruck stimmung ort groß größer",
    "klein kleiner alt älter neu neuer hoch lang schwer teuer teurer besser genauer ausführlicher",
    "deutsch englisch deutsche englische chinesisch ausführlich genau linke rechte linken rechten",
)
#: Ways of looking at a thing
LOOKS = _words(
    "see seen look looks looking show shows shown read reads describe explain translate compare",
    "zoom try tell say says said written visible made taken happening happened called mean means",
    "summarise summarize wrong stand stands wear wears wearing doing standing sitting holding cost",
    "costs going recognise recognize identify guess",
    "schau guck sehen sieht siehst seht zeigt zeigen zeige lesen lies steht stehen geschrieben",
    "beschreibe beschreib beschreiben erkläre übersetze übersetz übersetzen vergleiche vergleich",
    "sag sagt gemacht aufgenommen erkennen erkennst sichtbar heißt bedeutet passiert kostet macht",
    "trägt hält",
)
#: Things that a picture is full of, and that ``phrases_things`` does not list
SEEN = _words(
    "thing things guy girl boy lady animal animals object objects sign building room wall window",
    "windows sky street road roof hat shirt hand face hair eyes glasses beard",
    "ding dinge junge mädchen dame tier tiere gegenstand schild gebäude raum wand fenster himmel",
    "straße dach hut hemd hand gesicht haare augen personen brille bart",
)
#: Names among ``phrases_things.THINGS`` that are colours
COLOURS = _words("red blue green yellow orange purple grey black white brown pink")

_IT_IS = (
    r"(?:it(?:['’]s|\s+(?:is|was|will\s+be|would\s+be))|(?:is|was|isn['’]?t|would)\s+it(?:\s+be)?)"
)
_ES_IST = r"(?:es\s+(?:ist|war|wäre)|(?:ist|war|wäre)\s+es)"
#: "it" and "es" that stand for nothing
EXPLETIVES = re.compile(
    rf"\b{_IT_IS}\s+(?:\w+\s+)?(?:true|right|correct|likely|possible|known|clear|certain|sad|good|"
    r"important|said|a\s+fact|a\s+pity)\s+that\b"
    rf"|\b{_IT_IS}\s+(?:\w+\s+)?(?:possible|necessary|important|allowed|legal|illegal|better|best|"
    r"time|ok|okay|worth|usual|common|normal|customary|mandatory)\s+(?:for\s+\w+\s+)?to\b"
    rf"|\b{_IT_IS}\s+(?:\w+\s+)?(?:raining|snowing|sunny|cloudy|foggy|windy)\b"
    rf"|\b{_IT_IS}\s+(?:\w+\s+)?(?:warm|cold|hot|late|early|dark)\s+(?:in|at|outside|today|now)\b"
    r"|\bwhat\s+(?:time|day|date|year)\s+is\s+it\b|\bhow(?:['’]s|\s+is)\s+it\s+going\b"
    r"|\bwhat(?:['’]s|\s+is)\s+it\s+like\s+to\b|\bhow\s+far\s+is\s+it\s+(?:from|to)\b"
    r"|\bhow\s+(?:long|much|many\s+\w+)\s+(?:does|did|will|would)\s+it\s+take\b"
    r"|\b(?:does|did|will)\s+it\s+(?:\w+\s+)?(?:rain|snow)\b|\bwhen\s+it\s+comes\s+to\b"
    r"|\bit\s+(?:\w+\s+)?(?:rains|rained|snows|snowed|takes|took|seems|seemed|turns\s+out|depends)\b"
    r"|\b(?:es\s+(?:gibt|gab)|(?:gibt|gab)\s+es)\b|\bwie\s+geht\s+es\b|\bwie\s+spät\s+ist\s+es\b"
    r"|\b(?:es\s+)?(?:regnet|schneit|dauert|scheint|handelt)\s+es\b"
    r"|\bes\s+(?:regnet|schneit|dauert|scheint|handelt|heißt)\b"
    rf"|\b{_ES_IST}\s+(?:\w+\s+)?(?:wahr|möglich|richtig|erlaubt|nötig|wichtig|bekannt|klar|schade|"
    r"besser|üblich|verboten|warm|kalt|spät|früh)\b"
    r"|\bthat(?:['’]s|\s+is|\s+was)\s+(?:\w+\s+)?(?:great|nice|good|helpful|interesting|all|fine)\b"
    r"|\bdas\s+(?:ist|war)\s+(?:\w+\s+)?(?:gut|toll|schön|nett|hilfreich|interessant|alles)\b"
    r"|\bworum\s+geht\s+es\s+(?:in|bei)\b|\bdas\s+heißt\b",
    re.IGNORECASE,
)
#: A question that speaks of all pictures that there are, not of one
SEVERAL = re.compile(
    r"\b(?:they|them|their|these|those|both|compare|in\s+common|the\s+same|differen\w+|which\s+ones?"
    r"|which\s+(?:is|was|has|looks)|ihnen|beide\w*|vergleich\w*|gemeinsam\w*|unterschied\w*|gleich"
    r"|(?:sind|haben|waren|stehen|zeigen)\s+sie|sie\s+(?:sind|haben|waren|beide)"
    r"|welche[sr]?\s+(?:ist|war|hat))\b"
    r"|们|这些|那些|比较|一样|不同|共同|都|哪一?[个张只]",
    re.IGNORECASE,
)
BOTH = re.compile(r"\b(?:both|beide[nr]?)\b|两", re.IGNORECASE)

# -- Chinese

_END = r"(?=[\s，。？！,.?!吗呢]|$)"
_MEASURE = r"[个只位条辆座名棵朵]"
HAN_SIDE = (
    "左上角|右上角|左下角|右下角|左边|右边|上面|下面|里面|前面|后面|旁边|中间|角落|背景里?|前景"
)
#: "它", "这是", "那个人", "上面": what stands for a thing, and places with no thing of their own
HAN_LEANS = re.compile(
    r"(?<![其吉排维])(?:它们?|他们?|她们?)(?![人国乡命])"
    r"|这(?:是|里(?!程)|儿|上面|里面|叫|代表|说明|意味|写|值)|那(?:是(?!因为|不是)|里|儿|上面|里面|叫)"
    rf"|[这那](?:些|个)?{_END}|[这那]些(?=是|有|都|叫|看)|[这那]个(?=是|有|多|叫|怎|能|可|值|在|好|贵)"
    rf"|[这那](?:一?{_MEASURE})?(?:{'|'.join(HAN_THINGS)})"
    rf"|(?:(?<=[\s，。？！,.?!在那这有是和最])|^)(?:{HAN_SIDE})"
)
#: What names no thing
HAN_LITTLE = re.compile(
    rf"{HAN_SIDE}|为什么|什么|怎么样|怎么|多少|哪里|哪儿|哪一?[个只张]|哪|谁|时候|颜色|大小|形状|品种|"
    r"牌子|品牌|种类|价格|总价|总额|总共|名字|标题|日期|文字|意思|材料|季节|区别|不同|共同点?|一样|"
    r"详细|描述|翻译|比较|对比|介绍|解释|说明|看到|看见|看得出|可以|能|请|再|还|别的|其他|其它|更|"
    r"一下|一点|一些|没有|有|吗|呢|吧|啊|的|得|地|是|了|在|和|都|也|最|很|几|钱|块|元|字|写|拍|做|叫|"
    r"说|看|读|多|大|小|新|旧|老|贵|高|长|重|好|个|只|条|张|位|辆|座|种|中文|英文|德文|成|我|你|你们|"
    r"给|把|那|这|吃|喝|用|买|卖|画|穿|戴|拿|住|坐|站|笑|图案|内容|东西|东|西|上|里|下|\W|\d"
)
HAN_COUNTS = re.compile(r"几|多少")
#: Of these there must be one where a question names nothing
HAN_ASKS = re.compile(
    rf"{HAN_SIDE}|什么|怎么|多少|哪|谁|几|颜色|大小|还有|多[大高长重]|详细|描述|翻译|比较|对比|解释|"
    r"价格|名字|标题|日期|文字|意思|区别|不同|一样|呢|(?<!你好)吗"
)
#: Of these, too, where the question speaks to someone
HAN_LOOKS = re.compile("看|读|描述|翻译|比较|对比|解释|说明")
HAN_THING = re.compile("|".join(HAN_THINGS))


def says_little(word: str) -> bool:
    """Tell whether a lower-case word names no topic: "the", "colour", "it"."""
    little = word in LITTLE or word in SIDES or word in LOOKS
    return little or word in PRONOUNS or bool(THINGS.get(word, frozenset()) & COLOURS)


def is_seen(word: str) -> bool:
    """Tell whether a word names what pictures often show, or a part of a picture."""
    return word in THINGS or word in SEEN or word in SIDES
