"""Long answers become messages that lose nothing and break nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.splitting import split

PIECES = st.sampled_from(
    [
        "The tower is 31 m tall [1].",
        "- an item of a list with some words",
        "  - an inner item",
        "1. first of all, this",
        "| a | table | row |",
        "# A heading",
        "> quoted words",
        "```python",
        "```",
        "~~~",
        "    x = [1, 2]",
        "[a link](https://example.org/with/a/path)",
        "**bold words that belong together**",
        "`inline code here`",
        "灯塔高三十一米。它建于一八五四年[2]。",
        "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen",
        "",
        "x" * 90,
        "🙂 é [3] [4]",
    ]
)
TEXTS = st.one_of(st.lists(PIECES, max_size=30).map("\n".join), st.text(max_size=600))


def without_fences(text: str) -> str:
    lines = [line for line in text.split("\n") if not re.match(r"\s*(`{3,}|~{3,})[^`]*$", line)]
    return "".join("\n".join(lines).split())


@given(TEXTS, st.integers(40, 300))
def test_the_messages_joined_hold_the_same_words_and_none_is_too_long(text: str, most: int) -> None:
    messages = split(text, most)
    assert all(0 < len(message) <= most for message in messages)
    joined = "".join(without_fences(message) for message in messages)
    assert joined == without_fences(text)


@given(st.lists(st.text("abc `*[]", max_size=200), max_size=20), st.integers(60, 300))
def test_code_is_cut_between_lines_and_every_part_has_its_language(
    lines: list[str], most: int
) -> None:
    code = [line for line in lines if len(line) < most - 40 and "```" not in line] or ["x"]
    messages = split("Before.\n\n```python\n" + "\n".join(code) + "\n```\n\nAfter.", most)
    found: list[str] = []
    for message in messages:
        fences = re.findall(r"^```.*$", message, re.MULTILINE)
        assert fences in ([], ["```python", "```"])
        if fences:
            found += message.split("```python\n")[1].split("\n```")[0].split("\n")
    assert found == code


def test_a_message_ends_between_paragraphs_where_it_can() -> None:
    one, two, three = ("a" * 50 + " b", "c" * 50, "d" * 50)
    assert split(f"{one}\n\n{two}\n\n{three}", 110) == [f"{one}\n\n{two}", three]


@pytest.mark.parametrize(
    "whole",
    [
        "- an item with several words in it",
        "| a row | of a table |",
        "[a link with words](https://example.org/)",
        "**bold words that belong together**",
        "`code with several words in it`",
        "it is 31 m tall [1] [2]",
    ],
)
def test_what_belongs_together_is_in_one_message(whole: str) -> None:
    for before in range(1, 60):
        messages = split("w " * before + "\n" * (whole[0] in "-|") + whole, 60)
        part = whole if whole[0] != "i" else "tall [1] [2]"
        assert any(part in message for message in messages), messages


def test_a_long_paragraph_is_cut_between_sentences_also_where_there_are_no_spaces() -> None:
    messages = split("A first sentence stands here. And here stands a second one.", 45)
    assert messages == ["A first sentence stands here.", "And here stands a second one."]
    sentence = "灯塔高三十一米，它建于一八五四年。"
    assert split(sentence * 5, 40) == [sentence * 2, sentence * 2, sentence]


def test_a_code_block_that_is_still_being_written_is_closed() -> None:
    assert split("See:\n```sh\nls", 100) == ["See:\n```sh\nls\n```"]


def test_hostile_text_is_cut_in_time_that_grows_with_its_length() -> None:
    for text in ("[" * 20_000, "[a](" * 10_000, "**a" * 10_000, "`" * 20_001, "<a" * 10_000):
        assert "".join(split(text, 2000)).replace("\n", "")[:1000] == text[:1000]


def test_a_limit_that_nothing_fits_into_is_refused() -> None:
    with pytest.raises(ValueError, match="give 40 or more"):
        split("x", 10)
