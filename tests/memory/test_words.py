"""How words are compared: the table of what finds what, and where it is marked."""

import pytest

from memory.words import foldings, holds, may_hold, places, terms


def found(words: str, text: str) -> bool:
    forms = foldings(text)
    return all(holds(term, forms) for term in terms(words))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("LIGHTHOUSE tall", "How tall is the lighthouse?"),
        ("cafe", "Das CAFÉ am Hafen"),
        ("café", "the cafe"),
        ("strasse", "Lange Straße 5"),
        ("STRAßE", "lange strasse"),
        ("faehre", "die Fähre"),
        ("fahre", "die Fähre"),
        ("Fähre", "die Faehre"),
        ("Fähre", "die FA\u0308HRE"),
        ("turm", "Leuchtturm"),
        ("灯塔", "这座灯塔有多高？"),
        ("塔有", "这座灯塔有多高？"),
        ("iPhone手机", "新的手机 iPhone"),
        ("full 42", "ｆｕｌｌ　４２"),
        ("no", "Not at all"),
        ("ab", "手机ab"),
        ('"how tall"', "and how, tall is it"),
        ("73.40", "over 73.40 euros"),
        ("写真", "この写真は何ですか"),
    ],
)
def test_words_find_what_a_person_means(words: str, text: str) -> None:
    """Case, accents, umlauts, width, Han and words inside words."""
    assert found(words, text)
    assert may_hold(terms(words), text)
    assert places(terms(words), text)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("art", "a part of it"),
        ("harbour", "the harbor"),
        ("塔灯", "灯塔"),
        ('"how tall"', "tall and how"),
        ("tall ship", "how tall is it"),
        ("a.c", "abc"),
    ],
)
def test_words_do_not_find_what_is_not_there(words: str, text: str) -> None:
    """Short words inside words, other spellings, another order, half of the words, patterns."""
    assert not found(words, text)


@pytest.mark.parametrize(
    ("words", "text", "marked"),
    [
        ("strasse cafe", "Das CAFÉ, Lange Straße", ["CAFÉ", "Straße"]),
        ("faehre", "Eine Fähre.", ["Fähre"]),
        ("fähre", "Eine FA\u0308HRE.", ["FA\u0308HRE"]),
        ("灯塔 多高", "灯塔有多高", ["灯塔", "多高"]),
        ("tall talls", "the tallship", ["talls"]),
        ('"how tall"', "And how\ntall?", ["how\ntall"]),
    ],
)
def test_marks_are_spans_of_the_text_as_it_was_written(
    words: str, text: str, marked: list[str]
) -> None:
    """Folding changes lengths (ß, ä, combining accents); the spans are those of the original."""
    assert [text[a:b] for a, b in places(terms(words), text)] == marked


def test_a_search_for_nothing_has_no_terms() -> None:
    """Signs and quotes alone are nothing to look for."""
    assert terms(' "?!" … _') == ()
