"""A follow-up question is made to stand alone before anything is searched."""

from bot.condense import condense
from memory.messages import Message, Turn


def turn(text: str) -> Turn:
    return Turn("1", Message(text), Message("!"), at=0)


def test_a_question_with_words_of_its_own_is_left_as_it_is() -> None:
    question = "When was the lighthouse built?"
    assert condense(question, [turn("Who owns the Petrel?")]) == question


def test_a_question_without_words_of_its_own_takes_those_of_the_one_before() -> None:
    condensed = condense("And how long is it?", [turn("Who owns the boat Petrel?")])
    assert condensed.startswith("owns boat Petrel")


def test_an_empty_earlier_question_is_passed_over() -> None:
    turns = [turn("Who owns the boat Petrel?"), turn("What is this?")]
    assert "Petrel" in condense("Why?", turns)


def test_with_a_picture_a_question_without_words_asks_about_the_picture_alone() -> None:
    assert condense("What is this?", [turn("Who owns the Petrel?")], has_picture=True) == ""


def test_with_a_picture_words_of_its_own_are_kept() -> None:
    assert condense("How tall is it?", [], has_picture=True) == "How tall is it?"
