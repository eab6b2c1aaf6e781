"""What a question that names nothing carries on from the last turn."""

import pytest

from memory.carrying import MOST_CHARS, carried, leans_on
from memory.messages import PictureRef
from memory.recall import Reference

ALBUM = [PictureRef(n, f"{n:064x}", "image/png", 64, 48, 100) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("question", "spoken", "sure"),
    [
        ("What colour is it?", (2,), True),
        ("What colour are they?", (2,), True),
        ("What colour is it?", (1, 2), False),
        ("How many people are there?", (1, 2), False),
        ("What colour are they?", (1, 2), True),
        ("Which one is older?", (1, 2, 3), True),
        ("Are both of them old?", (1, 2), True),
        ("Are both of them old?", (1, 2, 3), False),
        ("Sind sie gleich?", (1, 3), True),
        ("它们一样吗？", (1, 3), True),
        ("它是什么颜色？", (1, 3), False),
    ],
)
def test_all_pictures_are_carried_and_it_is_sure_where_the_words_speak_of_as_many(
    question: str, spoken: tuple[int, ...], sure: bool
) -> None:
    """None of several is chosen, and it is never asked which."""
    meant = carried(question, spoken, ALBUM)
    assert (meant.numbers, meant.ambiguous, meant.carried) == (spoken, (), True)
    assert [(one.numbers, one.sure) for one in meant.found] == [(spoken, sure)]


def test_pictures_that_are_not_there_any_more_are_named_but_not_carried() -> None:
    """So that the caller can say so."""
    (found,) = carried("What colour is it?", (2, 7), ALBUM).found
    assert (found.numbers, found.named) == ((2,), (2, 7))


def test_a_question_that_leans_carries_nothing_when_no_picture_was_spoken_of() -> None:
    assert carried("What colour is it?", (), ALBUM) == Reference()


@pytest.mark.parametrize("filler", ["it ", "is it x ", "这左边", "how many ", "und die "])
def test_a_long_question_leans_on_nothing(filler: str) -> None:
    """However it is made: what it is about stands in it."""
    assert leans_on(filler * MOST_CHARS) == ""


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Is the sky in it blue?", "it"),
        ("I bought a bike. Is it worth 300?", ""),
        ("Is it true that it is old?", "it"),
        ("Is it true that Paris is old?", ""),
        ("Was sagt Ihr Bericht?", ""),
        ("Wie heißt ihr Hund?", "ihr"),
        ("Können Sie lesen?", ""),
        ("Können sie lesen?", "sie"),
        ("the house that Jack built", ""),
        ("What does that mean?", "that"),
        ("其他的呢？", "其他的呢？"),
        ("吉他多少钱？", ""),
        ("", ""),
        ("?!", ""),
    ],
)
def test_a_pronoun_leans_only_where_nothing_in_its_question_is_what_it_stands_for(
    question: str, words: str
) -> None:
    assert leans_on(question) == words
