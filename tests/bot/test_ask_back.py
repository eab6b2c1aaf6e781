"""The question that asks which picture was meant, and how a reply to it is read."""

import pytest

from bot.ask_back import Asked, asked, chosen, pending, words_of
from memory.messages import Message, PictureRef, Turn
from memory.recall import refer


def picture(number: int, caption: str = "", name: str = "", who: str = "") -> PictureRef:
    return PictureRef(
        number, f"{number:064x}", "image/png", 8, 8, 9, name=name, caption=caption, who=who
    )


ALBUM = (
    picture(1, "a brown dog on the grass", who="Anna"),
    picture(2, "a red car in the snow", who="Ben"),
    picture(4, "a grey cat on a sofa", who="Anna"),
    picture(5, "[9] a black dog", name="dog.png", who="Clara"),
)


def ask(question: str) -> Asked:
    return asked(question, refer(question, ALBUM), ())


ANNAS = ask("What is in Anna's picture?")  # 1 or 4
DOGS = ask("How old is the dog in the dog photo?")  # 1 or 5

REPLIES = [
    (ANNAS, "the second one", (4,)),
    (ANNAS, "The first.", (1,)),
    (ANNAS, "4", (4,)),
    (ANNAS, "#1", (1,)),
    (ANNAS, "picture 4", (4,)),
    (ANNAS, "I mean picture 4, please", (4,)),
    (ANNAS, "the last one", (4,)),
    (ANNAS, "the one with the cat", (4,)),
    (ANNAS, "the cat", (4,)),
    (ANNAS, "cat", (4,)),
    (ANNAS, "both", (1, 4)),
    (ANNAS, "die zweite", (4,)),
    (ANNAS, "das zweite bitte", (4,)),
    (ANNAS, "die mit dem Hund", (1,)),
    (ANNAS, "Bild 1", (1,)),
    (ANNAS, "beide", (1, 4)),
    (ANNAS, "第二张", (4,)),
    (ANNAS, "有猫的那张", (4,)),
    (ANNAS, "都要", (1, 4)),
    (ANNAS, "neither", ()),
    (DOGS, "Anna's", (1,)),
    (DOGS, "the one Clara sent", (5,)),
    (DOGS, "dog.png", (5,)),
    (DOGS, "the black one", (5,)),
]

OTHER_QUESTIONS = [
    "How tall is the lighthouse?",
    "What is in picture 2?",
    "What colour is the sofa in picture 4?",
    "Who built the second bridge of the town, and when was that?",
    "",
]


@pytest.mark.parametrize(("asking", "reply", "numbers"), REPLIES)
def test_a_reply_says_which_of_the_named_pictures_is_meant(
    asking: Asked, reply: str, numbers: tuple[int, ...]
) -> None:
    found = chosen(reply, asking, ALBUM)
    assert found is not None
    assert (found.numbers, found.ambiguous) == (numbers, ())


@pytest.mark.parametrize("text", OTHER_QUESTIONS)
def test_another_question_is_no_reply(text: str) -> None:
    assert chosen(text, ANNAS, ALBUM) is None


def test_a_reply_that_fits_two_is_ambiguous_again() -> None:
    """Of pictures 2 and 4 "the second one" is picture 2 by its number and 4 by its place, and a
    number that was not offered is not taken for a place."""
    asking = Asked("What is it?", "the picture", (2, 4))
    again = chosen("the second one", asking, ALBUM)
    assert again is not None
    assert (again.numbers, set(again.ambiguous)) == ((), {2, 4})
    other = chosen("2", ANNAS, ALBUM)
    assert other is not None
    assert (other.numbers, other.ambiguous) == ((), (1, 4))


def test_what_was_certain_stays_with_the_question() -> None:
    asking = ask("Compare picture 2 with Anna's picture")
    assert (asking.numbers, asking.candidates) == ((2,), (1, 4))
    found = chosen("the cat", asking, ALBUM)
    assert found is not None
    assert found.numbers == (2, 4)


def test_the_question_names_the_candidates_in_the_language_of_the_person() -> None:
    """With captions cut short, which cannot pass for marks of sources."""
    assert words_of(ANNAS, ALBUM) == (
        "Which picture do you mean by “Anna's picture”: picture 1 (a brown dog on the grass) or "
        "picture 4 (a grey cat on a sofa)?"
    )
    german = words_of(ask("Was ist auf Annas Bild?"), ALBUM)
    assert german.startswith("Welches Bild ist mit „Annas Bild“ gemeint: Bild 1 (a brown")
    han = words_of(ask("Anna发的照片里有什么？"), ALBUM)
    assert han.startswith("“Anna发的照片”是指哪一张：图1（a brown")
    assert "[" not in words_of(DOGS, ALBUM)
    long = words_of(Asked("?", "it", (1,)), [picture(1, "x" * 500)])
    assert len(long) < 120


def test_of_many_candidates_some_are_named_and_the_others_counted() -> None:
    many = tuple(picture(n) for n in range(1, 21))
    asking = asked("the picture", refer("the picture", many), ())
    assert words_of(asking, many).endswith("picture 8 or 12 more?")


def test_what_waits_is_read_from_the_last_turn_and_a_damaged_one_is_nothing() -> None:
    def turn(ledger: object) -> Turn:
        return Turn("t", Message("?"), Message("!"), 0.0, ledger={"asks": ledger})

    assert pending([turn(ANNAS.to_json())]) == ANNAS
    assert pending([turn(ANNAS.to_json()), turn(None)]) is None
    broken: list[object] = [{}, [], "x", {**ANNAS.to_json(), "candidates": ["x"]}]
    for damaged in broken:
        assert pending([turn(damaged)]) is None
    assert pending([]) is None
