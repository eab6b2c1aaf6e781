"""Which pictures fit a kind or a description, by the words of their captions and file names.

Words are compared without their endings and by what they mean (``memory/phrases_things.py``), so
that "Hund" finds "a dog". Knows nothing of places, senders or what pictures look like.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from memory.messages import PictureRef
from memory.phrases import IDLE, KINDS, Language, Pointer
from memory.phrases_things import HAN_THINGS, THINGS

_NO_DESCRIPTION = re.compile(
    r"(?:请|再|看|一下|比较|对比|描述|说说|说|讲|我|你|想|要|给|让|把|和|与|跟|里|在|那|这|张|下|是|问|"
    r"关于|放大|打开|显示|介绍|分析|翻译|解释|帮|刚才|之前|能|可以|吗|呢|，|的)*"
)


def of_kind(
    kind: str, chosen: Sequence[PictureRef], new: Sequence[int]
) -> tuple[list[PictureRef], bool]:
    """Return the pictures of a kind; when no caption tells it, those without a caption."""
    words = KINDS[kind]
    fitting = [
        p
        for p in chosen
        if words & _forms_of(p, "en") or _has_han(p, words) or (p.number in new and not p.caption)
    ]
    if fitting:
        return fitting, True
    return [p for p in chosen if not p.caption], False


def described(
    pointer: Pointer, chosen: list[PictureRef], spoken: Language
) -> tuple[list[PictureRef], bool, bool] | None:
    """Return the pictures that fit the description, whether there was one, and whether all of
    it fits; ``None`` when none fits."""
    if spoken == "zh" and pointer.after:
        return _described_in_han(pointer, chosen)
    before, after = _content(pointer.before, spoken), _content(pointer.after, spoken)
    words = [*before, *after]
    if not words:
        return chosen, False, True
    fitting = [p for p in chosen if _fits(p, words, spoken)]
    if not fitting and pointer.names and after and not before:
        return None
    if fitting:
        return fitting, True, True
    some = [p for p in chosen if after and _fits(p, after[:1], spoken)]
    return (some, True, False) if some else None


def _content(words: Sequence[str], spoken: Language) -> list[str]:
    return [word for word in words if word not in IDLE[spoken] and re.match(r"\w", word)]


def _fits(picture: PictureRef, words: Sequence[str], spoken: Language) -> bool:
    known = _forms_of(picture, spoken)
    return all(
        _forms(word, spoken) & known
        or (spoken == "de" and len(word) > 2 and any(w.endswith(word) for w in known))
        for word in words
    )


def _described_in_han(
    pointer: Pointer, chosen: list[PictureRef]
) -> tuple[list[PictureRef], bool, bool] | None:
    whole = True
    for told in pointer.after:
        explicit = told.rfind("有")
        told = told[explicit + 1 :] if explicit >= 0 else told
        for start in range(len(told) if explicit < 0 else 1):
            fitting = [p for p in chosen if _fits_han(p, told[start:])]
            if fitting:
                # what is left out says nothing of a picture, or else the picture is not certain
                whole = whole and _NO_DESCRIPTION.fullmatch(told[:start]) is not None
                chosen = fitting
                break
        else:
            if explicit >= 0 or not pointer.place or pointer.bare:
                return None
    return chosen, True, whole


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


@lru_cache(maxsize=4096)
def _forms(word: str, spoken: str) -> frozenset[str]:
    """Return what a word is compared by: without its ending, and what it means."""
    word = word.lower().removesuffix("'s")
    forms = {_stem(word), *(f"={thing}" for thing in THINGS.get(word, ()))}
    if spoken == "de" and len(word) > 4:
        forms.add(re.sub(r"(?:en|er|es|em|e|n|s)$", "", word))
    return frozenset(forms)


def _forms_of(picture: PictureRef, spoken: str) -> set[str]:
    """Return the forms of the words of a picture's caption and file name."""
    about = f"{picture.caption} {picture.name}"
    forms: set[str] = set()
    for word in re.findall(r"[^\W_]+", about):
        forms |= _forms(word, spoken)
    return forms | {f"={thing}" for word in HAN_THINGS if word in about for thing in THINGS[word]}


def _has_han(picture: PictureRef, words: frozenset[str]) -> bool:
    return any(word in picture.caption for word in words if word[0] >= "\u4e00")


def _fits_han(picture: PictureRef, told: str) -> bool:
    """Tell whether a caption has what Chinese words say: as they stand, or thing by thing."""
    if told in picture.caption:
        return True
    known = _forms_of(picture, "en")
    rest = told
    for word in HAN_THINGS:
        if word in rest and any(f"={thing}" in known for thing in THINGS[word]):
            rest = rest.replace(word, "")
    rest = re.sub(r"[的了着在和与只个一两]", "", rest)
    return rest != told and (not rest or rest in picture.caption)
