"""Marks in an answer are traced to passages and to boxes on pictures."""

from bot.citations import cite, find_marks
from retrievers.evidence import Box, Evidence, Line

PASSAGE = Evidence(
    "passage:1",
    "passage",
    "/docs/tower.md",
    "The tower was built in 1874. It is 38 metres tall. A keeper lived there.",
    page=2,
)
RECEIPT = Evidence(
    "picture:7",
    "picture",
    "/photos/receipt.png",
    "HARBOUR CAFE\nTOTAL\n61.50",
    media="ab" * 32,
    caption="receipt",
    lines=(
        Line("HARBOUR CAFE", Box(0.2, 0.1, 0.8, 0.15)),
        Line("TOTAL", Box(0.1, 0.8, 0.3, 0.85)),
        Line("61.50", Box(0.7, 0.8, 0.9, 0.85)),
    ),
)
SHOWN = Evidence("shown:3", "picture", "dog.png", "", caption="", media="cd" * 32)


def test_a_mark_cites_the_sentence_that_shares_most_words_with_the_statement() -> None:
    citations, unknown = cite("It is 38 metres tall [1].", [PASSAGE])
    assert unknown == []
    assert citations[0].quote == "It is 38 metres tall."
    assert (citations[0].source, citations[0].page) == ("/docs/tower.md", 2)


def test_a_mark_on_a_picture_has_the_box_of_the_line_it_quotes() -> None:
    citations, _ = cite("The bill came to 61.50 [1].", [RECEIPT])
    assert citations[0].box == RECEIPT.lines[2].box
    assert citations[0].media == "ab" * 32


def test_a_picture_without_a_matching_line_is_cited_whole() -> None:
    citations, _ = cite("A sunny day [1].", [RECEIPT])
    assert citations[0].box is None
    assert citations[0].quote == "receipt"


def test_a_picture_of_the_conversation_is_cited_by_its_number() -> None:
    citations, _ = cite("It is a dog [1].", [SHOWN])
    assert citations[0].picture == 3


def test_a_mark_that_names_no_evidence_is_reported_once_and_not_cited() -> None:
    citations, unknown = cite("So [4]. And so [4], or [0].", [PASSAGE])
    assert citations == []
    assert unknown == [4, 0]


def test_several_marks_behind_one_statement_share_it() -> None:
    assert find_marks("Tall tower [1][2].") == [(1, "Tall tower"), (2, "Tall tower")]


def test_what_the_writer_says_it_quotes_is_taken_and_lines_are_joined_to_one_box() -> None:
    spans = {1: [{"text": "TOTAL 61.50", "lines": [1, 2]}]}
    citations, _ = cite("TOTAL 61.50 [1]", [RECEIPT], spans)
    assert citations[0].quote == "TOTAL 61.50"
    assert citations[0].box == Box(0.1, 0.8, 0.9, 0.85)


def test_two_statements_on_one_source_are_two_citations_and_a_repeated_one_is_one() -> None:
    text = "Built in 1874 [1]. It is 38 metres tall [1]. It is 38 metres tall [1]."
    citations, _ = cite(text, [PASSAGE])
    assert [c.quote for c in citations] == ["The tower was built in 1874.", "It is 38 metres tall."]


def test_a_span_with_lines_that_are_not_there_is_cited_without_a_box() -> None:
    citations, _ = cite("x [1]", [RECEIPT], {1: [{"text": "x", "lines": [99, -1]}]})
    assert citations[0].box is None
