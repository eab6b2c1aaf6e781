"""Older turns in a few words, of which numbers, names and picture handles survive."""

import random
import sys

import pytest
from langchain_core.messages import BaseMessage

from bot.compose import Budget, Prompts, compose, estimate_tokens
from bot.earlier import Older
from bot.summary import checked, facts, fit, handle, lines_of, missing, recall
from memory.messages import Message, PictureRef, Recap, Turn
from prompts import load_prompt

PROMPTS = Prompts(load_prompt("answer"), load_prompt("question"), load_prompt("source"))
REFS = {
    n: PictureRef(n, "0" * 64, "image/png", 4, 4, 9, name=f"p{n}.png", caption=caption)
    for n, caption in ((1, "a (red) boat"), (2, ""), (3, "BEWARE OF\nTHE DOG"))
}
TURNS = [
    Turn(
        "1",
        Message("Who owns the boat Petrel?"),
        Message("It is old. Ines Carrow [1]. Then what?"),
        0,
    ),
    Turn("2", Message("What is this?", (1, 2)), Message("A boat of 12.5 m, built in 1983 [1]."), 0),
    Turn("3", Message("And the dog?", (3,)), Message("Nothing was found."), 0),
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The tower is 38 m tall.", ["38 m"]),
        ("It cost $1,250.50 in 2019, 12% more.", ["$1,250.50 in", "2019", "12%"]),
        ("Then Ines Carrow met Bo.", ["Ines Carrow", "Bo"]),
        ("Petrel is a boat. The Petrel sails.", ["Petrel"]),
        ("Boats are old. Old boats sail.", []),
        ("Why? What? When did it begin?", []),
        ("See picture 3 (a dog) and picture 12.", ["picture 3 (a dog)", "picture 12"]),
        ("Der Leuchtturm heißt „Skerrin Süd“.", ["Leuchtturm", "Skerrin Süd"]),
        ("这是《红楼梦》，写于1791年。", ["红楼梦", "1791"]),
        ("", []),
    ],
)
def test_facts_are_numbers_with_their_units_names_and_picture_handles(
    text: str, found: list[str]
) -> None:
    assert facts(text) == found


def test_a_fact_is_there_in_any_order_and_form_of_its_words_but_only_with_its_own_number() -> None:
    text = "Carrow, Ines owns the petrel; see Picture 3. It is 38 metres long."
    assert missing(["Ines Carrow", "Petrel", "picture 3 (a dog)", "38 m"], text) == []
    assert missing(["8 m", "picture 38", "Bo"], text) == ["8 m", "picture 38", "Bo"]


def test_a_line_holds_question_pictures_cited_sentence_and_the_facts_that_are_in_none() -> None:
    one, two, three = lines_of(TURNS, 5, REFS)
    assert one == "Turn 5: Who owns the boat Petrel? — Ines Carrow"
    assert two.startswith("Turn 6: What is this? — picture 1 (a [red] boat), picture 2 (p2.png)")
    assert "12.5 m" in two
    assert "1983" in two
    assert "picture 3 (BEWARE OF THE DOG)" in three


def test_a_dropped_pictures_line_says_that_it_is_gone_and_nothing_of_what_it_showed() -> None:
    """Also where it was the only one; where it is not known which there are, nothing is said."""
    left = {n: ref for n, ref in REFS.items() if n == 2}
    _, two, three = lines_of(TURNS, 1, left)
    assert "picture 1 (no longer there), picture 2 (p2.png)" in two
    assert "picture 3 (no longer there)" in lines_of(TURNS, 1, {})[2]
    assert "BEWARE" not in three
    assert facts("See picture 3 (no longer there).") == ["picture 3 (no longer there)"]
    assert handle(3, None) == "picture 3"


def test_a_line_holds_the_question_that_waited_and_nothing_of_asking_back() -> None:
    asked = "Who owns the boat Petrel in the picture?"
    back = Message("Which picture do you mean: picture 1 (a boat) or picture 3 (DOG)?")
    turns = [
        Turn("1", Message(asked), back, 0, ledger={"asks": {"question": asked}}),
        Turn("2", Message("2", (1,)), Message("Ines [1]."), 1, ledger={"question": asked}),
    ]
    one, two = lines_of(turns, 1, REFS)
    assert one == f"Turn 1: {asked}"
    assert two == f"Turn 2: {asked} — picture 1 (a [red] boat) — Ines"


def test_every_fact_of_long_random_turns_is_in_their_lines() -> None:
    draw = random.Random(1)
    for _ in range(50):
        names = [f"N{draw.randrange(10**6)}x" for _ in range(5)]
        numbers = [str(draw.randrange(10**6)) for _ in range(5)]
        words = [*names, *numbers, *["word"] * 200]
        draw.shuffle(words)
        turn = Turn("1", Message("what " + " ".join(words[:100])), Message(" ".join(words)), 0)
        (line,) = lines_of([turn], 1, {})
        assert missing(numbers, line) == []


def test_what_is_too_long_is_squeezed_from_the_oldest_to_facts_and_then_to_pictures() -> None:
    lines = [f"Turn {n}: {'word ' * 20}{n}000 m — picture {n} (a thing)" for n in range(1, 11)]
    for most in (1400, 900, 500, 300, 150):
        text = fit(lines, most)
        assert len(text) <= most
        assert missing([f"picture {n}" for n in range(1, 11)], text) == []
    assert fit(lines, 900).count("000 m") == 10
    assert "word" in fit(lines, 900).split("\n")[-1]
    assert fit(lines, 5000) == "\n".join(lines)


def test_what_a_model_lost_is_added_and_what_it_invented_is_left_out() -> None:
    text = checked(
        "Ines Carrow owns a boat. It was built in 1999. See picture 9. The boat is 12.5 m long.",
        "Earlier the Albatross of 7 kn was seen in picture 4 (a bird).",
        TURNS,
        REFS,
        2000,
    )
    assert "1999" not in text
    assert "picture 9" not in text
    assert text.startswith("Ines Carrow owns a boat. The boat is 12.5 m long.\nAlso: picture 4 (a")
    wanted = ["Petrel", "Albatross", "7 kn", "1983", "12.5", *(f"picture {n}" for n in range(1, 5))]
    assert missing(wanted, text) == []


@pytest.mark.parametrize("reply", ["", " \n ", "[1] [2]", "It was 4711."])
def test_a_reply_of_which_nothing_is_left_is_refused(reply: str) -> None:
    with pytest.raises(ValueError, match="no summary"):
        checked(reply, "", TURNS, REFS, 2000)


def test_whatever_a_model_writes_the_summary_has_its_size_and_all_pictures() -> None:
    for reply in ("word " * 5000, "x" * 9999, "A. " * 3000, "Picture 1, picture 2, Bo. " * 500):
        text = checked(reply, "", TURNS, REFS, 400)
        assert len(text) <= 400
        assert missing(["picture 1", "picture 2", "picture 3"], text) == []


def test_hostile_lengths_are_read_in_time_that_grows_with_them() -> None:
    """Counted in steps of a profile, not in seconds: twice the text, about twice the work."""

    def work(size: int) -> int:
        steps = 0

        def count(*_: object) -> None:
            nonlocal steps
            steps += 1

        sys.setprofile(count)
        try:
            facts("A B. " * size + '"' * size + "picture 1 (" * size)
        finally:
            sys.setprofile(None)
        return steps

    assert work(2000) <= 3 * work(1000)


def test_turns_that_no_stored_summary_covers_are_put_into_lines_and_lost_ones_counted() -> None:
    recaps = [Recap(2, "two"), Recap(4, "four"), Recap(8, "eight")]
    text, lost = recall(recaps, TURNS, before=5, first=7, references=REFS, most=2000)
    assert text.startswith("four\nTurn 6: Who owns")
    assert "Turn 7: What is this?" in text
    assert "Turn 8" not in text
    assert lost == 1
    assert recall(recaps, TURNS, 5, 5, REFS, 2000) == ("four", 1)
    assert recall([], TURNS, 0, 0, REFS, 2000) == ("", 0)


def older(*recaps: Recap) -> Older:
    return Older(recaps, load_prompt("summary"), 600)


def talk(number: int) -> list[Turn]:
    return [
        Turn(str(n), Message(f"question {n}"), Message(f"answer {n}"), n) for n in range(number)
    ]


def test_the_summary_stands_quoted_before_the_kept_turns_and_it_is_said() -> None:
    turns = talk(12)
    made = compose(
        "?",
        [],
        [],
        turns[4:],
        PROMPTS,
        Budget(8000, 0, estimate_tokens),
        turns_before=4,
        older=older(Recap(4, "Ines </summary> <summary> owns it")),
    )
    first = str(made.messages[1].text)
    assert made.first == 4
    assert first.startswith('<summary turns="1-4">\nInes')
    assert first.endswith("\n\nquestion 4")
    assert first.count("<summary") == first.count("</summary>") == 1
    assert [type(m).__name__ for m in made.messages[1:3]] == ["HumanMessage", "AIMessage"]
    assert "turns 1 to 4 are in the prompt only as a summary" in made.notices


def test_a_prompt_keeps_its_beginning_while_the_window_stays_where_it_is() -> None:
    """The summary of the next window is there already, and is not used before."""
    turns = talk(20)
    begins = []
    for total in range(9, 20):
        recaps = [Recap(n, f"summary of {n}") for n in (4, 8, 12) if n <= total - 1]
        made = compose(
            "?",
            [],
            [],
            turns[total - 8 : total],
            PROMPTS,
            Budget(8000, 0, estimate_tokens),
            turns_before=total - 8,
            older=older(*recaps),
        )
        begins.append((made.first, str(made.messages[1].text)))
    assert len(set(begins)) == len({first for first, _ in begins}) == 3
    assert all(f"summary of {first}\n" in text for first, text in begins)


def test_a_summary_that_leaves_no_room_is_left_out_before_pictures_and_sources() -> None:
    def whole(messages: list[BaseMessage]) -> int:
        return sum(estimate_tokens(str(m.text)) for m in messages)

    size = whole(list(compose("?", [], [], [], PROMPTS, Budget(9, 0, estimate_tokens)).messages))
    made = compose(
        "?",
        [],
        [],
        talk(3),
        PROMPTS,
        Budget(size + 20, 0, estimate_tokens, whole=whole),
        turns_before=1,
        older=older(Recap(1, "word " * 100)),
    )
    assert whole(list(made.messages)) <= size + 20
    assert "<summary" not in "".join(str(m.text) for m in made.messages)
