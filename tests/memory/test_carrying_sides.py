"""What a question that names a side means, given what was last spoken of."""

import pytest

from memory.carrying_sides import Before, unnamed
from memory.messages import PictureRef
from memory.phrases_sides import MOST_CHARS, sides, without_sides
from memory.recall import Reference, refer

ALBUM = [PictureRef(n, f"{n:064x}", "image/png", 64, 48, 100) for n in (1, 2, 3)]
PAIR = Before((1, 2), (1, 2), ago=3)


def test_a_part_of_one_picture_carries_it_on_and_a_side_of_several_chooses() -> None:
    """The one is ``carried``, and so are all of which none is chosen."""
    (part,) = unnamed("and the left one?", Before((3,), (3,), ago=2), ALBUM).found
    assert (part.phrase, part.numbers, part.sure, part.carried) == (
        "the left one",
        (3,),
        True,
        True,
    )
    (chosen,) = unnamed("and the left one?", PAIR, ALBUM).found
    assert (chosen.numbers, chosen.sure, chosen.carried) == ((1,), True, False)
    every = unnamed("who is on the left?", PAIR, ALBUM)
    assert (every.numbers, every.ambiguous, every.carried) == ((1, 2), (), True)


def test_where_a_neighbour_or_a_part_may_be_meant_it_is_asked_which() -> None:
    """Not where the words say that it is a picture, or a side was chosen before."""
    asked = unnamed("and the right one?", Before((1,), (1, 2)), ALBUM)
    assert (asked.numbers, asked.ambiguous) == ((), (1, 2))
    assert unnamed("and the right picture?", Before((1,), (1, 2)), ALBUM).numbers == (2,)
    assert unnamed("and the right one?", Before((1,), (1, 2), chosen=True), ALBUM).numbers == (2,)


@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ("the second from the left?", (2,)),
        ("the third one from the right?", (1,)),
        ("der zweite von rechts?", (2,)),
        ("左边第三张呢？", (3,)),
        ("the fourth from the left?", (1, 2, 3)),
        ("and the middle one?", (2,)),
    ],
)
def test_a_place_is_counted_from_its_side(question: str, numbers: tuple[int, ...]) -> None:
    """One that is not there is a part of the pictures, if anything: none is chosen."""
    meant = unnamed(question, Before((1, 2, 3), (1, 2, 3), ago=2), ALBUM)
    assert (meant.numbers, meant.ambiguous) == (numbers, ())


def test_a_side_is_compared_with_what_else_is_named() -> None:
    """Otherwise what is named is all that is meant: "the left one in picture 3" is a part."""
    for question, numbers in (
        ("compare the left one with picture 3", (1, 3)),
        ("is the right one older than picture 3?", (2, 3)),
        ("what is the left one in picture 3?", (3,)),
    ):
        meant = refer(question, ALBUM)
        assert unnamed(question, PAIR, ALBUM, meant).numbers == numbers


def test_a_picture_that_was_dropped_is_named_and_no_other_takes_its_place() -> None:
    """So that the caller can say so."""
    (found,) = unnamed("and the right one?", PAIR, ALBUM[:1]).found
    assert (found.numbers, found.named) == ((), (2,))
    (part,) = unnamed("and the right one?", Before((2,), (2,), ago=2), ALBUM[:1]).found
    assert (part.numbers, part.named, part.carried) == ((), (2,), True)


def test_without_a_picture_that_was_spoken_of_a_side_means_nothing() -> None:
    assert unnamed("and the left one?", Before(), ALBUM) == Reference()


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("and the left one, what is the total?", "and , what is the total?"),
        ("Was steht unten rechts?", "Was steht ?"),
        ("左边那个呢？", "呢？"),
        ("is that right?", "is that right?"),
    ],
)
def test_what_is_asked_beside_a_side_is_left(text: str, rest: str) -> None:
    assert without_sides(text) == rest


@pytest.mark.parametrize("filler", ["the left ", "the ", "das linke ", "左边", "in the ", "ganz "])
def test_in_a_long_question_no_side_is_looked_for(filler: str) -> None:
    """However it is made; one that is just short enough is read, too."""
    assert sides(filler * MOST_CHARS) == []
    assert len(sides((filler * MOST_CHARS)[:MOST_CHARS])) <= MOST_CHARS
