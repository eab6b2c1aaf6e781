"""Porter's stemmer, step by step, as SQLite's full-text index runs it.

M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980. The reader then means by
"the same word" what the index means by it. Knows nothing of stop words or of other languages.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

SHORTEST = 3  #: letters: shorter words are left as they are
_VOWELS = "aeiou"


def _is_vowel(word: str, i: int) -> bool:
    if word[i] == "y":
        return i > 0 and not _is_vowel(word, i - 1)
    return word[i] in _VOWELS


def measure(word: str) -> int:
    """Return Porter's m: how often a run of vowels is followed by a run of consonants."""
    kinds = [_is_vowel(word, i) for i in range(len(word))]
    return sum(a and not b for a, b in pairwise(kinds))


def _has_vowel(word: str) -> bool:
    return any(_is_vowel(word, i) for i in range(len(word)))


def _ends_double(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and not _is_vowel(word, len(word) - 1)


def _ends_cvc(word: str) -> bool:
    if len(word) < 3 or word[-1] in "wxy":
        return False
    first, vowel, last = (_is_vowel(word, len(word) - n) for n in (3, 2, 1))
    return not first and vowel and not last


_STEP_2 = MappingProxyType({
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize",
    "logi": "log", "bli": "ble", "alli": "al", "entli": "ent", "eli": "e", "ousli": "ous",
    "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al", "iveness": "ive",
    "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
})  # fmt: skip
_STEP_3 = MappingProxyType({
    "icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": "",
})  # fmt: skip
_STEP_4 = MappingProxyType(dict.fromkeys(
    "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize".split(), ""
))  # fmt: skip


def porter(word: str) -> str:
    """Return the stem of ``word``, which is in lower case."""
    if len(word) < SHORTEST or not (word.isascii() and word.isalpha()):
        return word
    word = _step_1(word)
    word = _replace(word, _STEP_2, lambda rest, _: measure(rest) > 0)
    word = _replace(word, _STEP_3, lambda rest, _: measure(rest) > 0)
    word = _replace(word, _STEP_4, _allows_step_4)
    return _step_5(word)


def _step_1(word: str) -> str:
    """Plurals, -ed and -ing, and a final y."""
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        if measure(word[:-3]) > 0:
            word = word[:-1]
    else:
        for suffix in ("ed", "ing"):
            rest = word[: -len(suffix)]
            if word.endswith(suffix) and _has_vowel(rest):
                word = _mend(rest)
                break
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    return word


def _mend(rest: str) -> str:
    """Return what is left of a word without -ed or -ing as the word it came from."""
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if _ends_double(rest) and rest[-1] not in "lsz":
        return rest[:-1]
    return rest + "e" if measure(rest) == 1 and _ends_cvc(rest) else rest


def _replace(word: str, endings: Mapping[str, str], allows: Callable[[str, str], bool]) -> str:
    """Replace the longest of ``endings`` that ``word`` has, where ``allows`` says so."""
    for length in range(min(7, len(word) - 1), 1, -1):
        suffix = word[-length:]
        if suffix in endings:
            rest = word[:-length]
            return rest + endings[suffix] if allows(rest, suffix) else word
    return word


def _allows_step_4(rest: str, suffix: str) -> bool:
    return measure(rest) > 1 and (suffix != "ion" or rest.endswith(("s", "t")))


def _step_5(word: str) -> str:
    """A final e, and a double l."""
    if word.endswith("e"):
        rest = word[:-1]
        if measure(rest) > 1 or (measure(rest) == 1 and not _ends_cvc(rest)):
            word = rest
    if word.endswith("ll") and measure(word[:-1]) > 1:
        word = word[:-1]
    return word
