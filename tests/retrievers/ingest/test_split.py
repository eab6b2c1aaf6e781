"""Passages are cut where a reader would cut them."""

import pytest

from retrievers.ingest.options import ParseOptions
from retrievers.ingest.split import Block, clean, one_line, passages, sentences

OPTIONS = ParseOptions()
SENTENCE = "The harbour of Marn was dredged in 1931 by a crew of nine."


def test_passages_hold_whole_sentences_of_about_the_aimed_size() -> None:
    text = " ".join(f"{SENTENCE[:-1]} and a half number {n}." for n in range(60))
    cut = passages([Block("prose", text)], OPTIONS)
    assert all(350 <= len(p.text) <= 1000 for p in cut)
    assert all(p.text.endswith(".") for p in cut)
    assert " ".join(p.text for p in cut) == text


def test_short_paragraphs_under_one_heading_share_a_passage() -> None:
    cut = passages([Block("prose", SENTENCE)] * 3, OPTIONS)
    assert [p.text for p in cut] == ["\n\n".join([SENTENCE] * 3)]


def test_a_heading_ends_a_passage_and_the_chain_names_all_above() -> None:
    cut = passages(
        [
            Block("heading", "Report", level=1),
            Block("prose", "One."),
            Block("heading", "Results", level=2),
            Block("prose", "Two."),
            Block("heading", "Annex", level=1),
            Block("prose", "Three."),
        ],
        OPTIONS,
    )
    assert [(p.heading, p.text) for p in cut] == [
        ("Report", "One."),
        ("Report > Results", "Two."),
        ("Annex", "Three."),
    ]


def test_a_passage_never_crosses_a_page() -> None:
    cut = passages([Block("prose", "One.", page=1), Block("prose", "Two.", page=2)], OPTIONS)
    assert [(p.page, p.text) for p in cut] == [(1, "One."), (2, "Two.")]


def test_a_table_is_cut_between_rows_and_repeats_its_header() -> None:
    rows = "\n".join(f"Item {n} | {n * 3}.50 of something costly" for n in range(100))
    cut = passages([Block("table", rows, header="Name | Price")], OPTIONS)
    assert len(cut) > 2
    assert all(p.text.startswith("Name | Price\nItem ") for p in cut)
    assert all(len(p.text) <= 1000 and p.form == "table" for p in cut)
    assert sum(p.text.count("Item ") for p in cut) == 100


def test_what_has_no_sentences_is_cut_at_words() -> None:
    cut = passages([Block("prose", "word " * 2000)], OPTIONS)
    assert all(len(p.text) <= 1000 for p in cut)
    assert " ".join(p.text for p in cut).split() == ["word"] * 2000


def test_a_word_of_a_million_letters_is_cut() -> None:
    cut = passages([Block("prose", "x" * 1_000_000)], OPTIONS)
    assert sum(len(p.text) for p in cut) == 1_000_000
    assert max(len(p.text) for p in cut) <= 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rained. We left.", ["It rained.", "We left."]),
        ("Dr. Ames met Mr. Bo. They spoke.", ["Dr. Ames met Mr. Bo.", "They spoke."]),
        ("It cost 3.50 in all. Cheap!", ["It cost 3.50 in all.", "Cheap!"]),
        ("See Fig. 3 for J. Smith. Done.", ["See Fig. 3 for J. Smith.", "Done."]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("最初の文。次の文。", ["最初の文。", "次の文。"]),
        ("", []),
    ],
)
def test_sentences_end_at_their_marks_and_not_at_abbreviations(
    text: str, expected: list[str]
) -> None:
    assert sentences(text) == expected


def test_unseen_characters_are_removed() -> None:
    dirty = "a\x00b\u202ec\u200bd\ud800e\ufefff\U000e0041g\x1b[31mh soft\u00adhyphen ﬁne"
    assert clean(dirty) == "abcdefg[31mh softhyphen fine"
    clean(dirty).encode("utf-8")


def test_one_line_cuts_at_a_words_end() -> None:
    assert one_line("one\n two   three", 9) == "one two …"
