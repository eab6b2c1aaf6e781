"""Chinese words that point at pictures are found and taken apart.

First the core: a place ("第二张"), a noun ("照片") or both; then what stands before it, or between
the two, and ends with 的: who sent it ("小明发的"), what it shows ("有狗的"). Chinese has no
spaces, so a description is returned as all the characters up to its 的: whoever knows the captions
sees where it begins. Knows nothing of the pictures that there are, but for the names of who sent
them.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from memory.phrases import Place, Pointer

DIGITS = {han: number for number, han in enumerate("一二三四五六七八九十", start=1)} | {"两": 2}
NOUNS = {
    **dict.fromkeys("图片 照片 相片 图像 图".split(), ""),
    **dict.fromkeys("图表 柱状图 饼图 折线图 曲线图".split(), "chart"),
    **dict.fromkeys("示意图".split(), "diagram"),
    **dict.fromkeys("截图 截屏".split(), "screenshot"),
    **dict.fromkeys("地图".split(), "map"),
    **dict.fromkeys("发票 收据 账单".split(), "receipt"),
}
#: Nouns that say more than their kind
_MORE = {"柱状图": "柱状", "饼图": "饼", "折线图": "折线"}
_NOUN = "|".join(sorted(NOUNS, key=len, reverse=True)) + r"(?![书章])"
_NUM = r"(?:\d{1,3}|[一二三四五六七八九]?十[一二三四五六七八九]?|[一二三四五六七八九两])"
_THIS = r"[张幅个]"
_WHEN = r"(?:刚才|刚刚|昨天|今天|之前|早上|最近)?"
_GAVE = r"(?:发|传|上传|分享|展示|贴|画|找到|给[我你大家]*看|寄)[了过来给我你大家看]*"
_MOST = 12  # characters of a description
_LISTED = rf"{_NUM}(?:\s*[、,，和与到至-]\s*第?\s*{_NUM})*"
_DIGITS = r"\d{1,3}(?![\d%.])(?:\s*[、,，和与到至-]\s*\d{1,3}(?!\d))*"
_PLACE = (
    rf"第\s*(?P<ordinal>{_LISTED})\s*{_THIS}"
    rf"|倒数第(?P<back>{_NUM}){_THIS}"
    rf"|(?P<previous>上一|前一|刚才那){_THIS}"
    rf"|(?P<end>前|最后|后|最近)(?P<count>{_NUM}){_THIS}"
    rf"|(?P<before>再上一|再前一|再前面那|再前面一|前面那|之前那){_THIS}"
    rf"|(?P<last>最后一?|最新的?一?|最近的?一?){_THIS}?"
    rf"|(?P<all>所有的?|全部的?|每{_THIS})"
    r"|(?P<label>\d{1,3})号"
    rf"|(?P<the>[这那])(?:(?P<these>{_NUM})?{_THIS}|(?P<several>些))"
    rf"|(?<!第)(?P<some>[二三四五六七八九十两]){_THIS}"
)
_CORE = re.compile(
    rf"(?P<place>{_PLACE})(?:(?P<noun1>{_NOUN})|(?P<between>[^\s，。？！；：,.?!;:]{{1,{_MOST}}}?的)"
    rf"(?P<noun2>{_NOUN})|(?=(?P<alone>))(?![表桌纸床牌票世]))"
    rf"|(?P<noun3>{_NOUN})\s*(?:[#号]\s*)?(?P<numbers>{_DIGITS})?"
)


@dataclass(slots=True)
class _Said:
    """What the words before a 的 say."""

    owner: str = ""
    names: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)


def pointers(text: str, names: Collection[str]) -> list[Pointer]:
    """Return what may point at pictures in ``text``, in its order; ``names`` are lower-case."""
    found: list[Pointer] = []
    for match in _CORE.finditer(text):
        taken = found[-1].end if found else 0
        pointer = _pointer(
            match, text[max(taken, match.start() - 2 * _MOST - 1) : match.start()], names
        )
        if pointer is not None:
            alone = match.group().strip() == text.strip(" \n。？！?!.")
            found.append(replace(pointer, weak=False) if alone else pointer)
    return found


def number(word: str) -> int:
    """Return the number of 三, 十二, 二十 or 7."""
    if word.isdigit():
        return int(word)
    tens, ten, ones = word.rpartition("十")
    return 10 * DIGITS.get(tens, 1) + DIGITS.get(ones, 0) if ten else DIGITS[ones]


def _pointer(match: re.Match[str], ahead: str, names: Collection[str]) -> Pointer | None:
    words = match.groupdict()
    noun = words["noun1"] or words["noun2"] or words["noun3"] or ""
    if not noun and not (words["place"] or "").endswith(("张", "幅")):
        return None
    place, numbers, count = _place(words)
    if words["numbers"]:
        place, numbers = "number", _listed(words["numbers"])
    said = _Said()
    lead = re.search(rf"[^\s，。？！；：,.?!;:]{{1,{2 * _MOST}}}的$", ahead)
    if lead and not words["numbers"]:
        _read(lead.group(), names, said)
    if words["between"]:
        _read(words["between"], names, said)
    bare = not (said.told or said.names or said.owner)
    if noun in _MORE:
        said.told.append(_MORE[noun])
    spoken = bool(said.told or said.names or said.owner)
    if not spoken and not place and not (noun and (words["the"] or NOUNS[noun])):
        return None
    return Pointer(
        start=match.start() - (len(lead.group()) if lead and spoken else 0),
        end=match.end(),
        kind=NOUNS.get(noun, ""),
        bare=not noun,
        plural=bool(words["several"]),
        weak=bool(bare and noun and not place and not words["the"]),
        place=place,
        numbers=numbers,
        count=count,
        owner=said.owner,
        names=frozenset(said.names),
        after=tuple(said.told),
    )


def _read(lead: str, names: Collection[str], said: _Said) -> None:
    """Read "小明发的狗的" into ``said``."""
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or r"(?!)"
    sender = re.compile(rf"(?P<who>{known}|[我你您]){_WHEN}(?:{_GAVE})?$", re.IGNORECASE)
    for part in lead.removesuffix("的").split("的"):
        found = sender.search(part)
        if found is None:
            said.told.append(part)
            continue
        said.told.clear()  # what came before speaks of something else
        owner = {"我": "user", "你": "bot", "您": "bot"}.get(found["who"], "")
        said.owner = owner or said.owner
        if not owner:
            said.names.add(found["who"].lower())


def _place(words: dict[str, str | None]) -> tuple[Place, tuple[int, ...], int]:
    if words["ordinal"]:
        return "ordinal", _listed(words["ordinal"]), 0
    if words["back"]:
        back = number(words["back"])
        return ("penultimate" if back == 2 else "last" if back == 1 else "back"), (back,), 0
    if words["count"]:
        return ("first" if words["end"] == "前" else "last"), (), number(words["count"])
    if words["label"]:
        return "number", (int(words["label"]),), 0
    if words["last"]:
        return "last", (), 0
    if words["before"]:
        return "before", (), 0
    if words["previous"]:
        return "previous", (), 0
    counted = number(words["these"] or words["some"] or "一")
    return (
        ("all", (), counted if counted > 1 else 0) if words["all"] or counted > 1 else ("", (), 0)
    )


def _listed(words: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in re.finditer(rf"(?P<join>[到至-])?\s*第?\s*(?P<number>{_NUM})", words):
        value = number(part["number"])
        if part["join"] and numbers:
            numbers.extend(range(numbers[-1] + 1, min(value, numbers[-1] + 100) + 1))
        else:
            numbers.append(value)
    return tuple(numbers)
