"""The parts of reading: words, amounts, dates, sentences, rows, and what a question asks for."""

import sqlite3
from collections.abc import Iterable

import pytest

from bot.models.reading.amounts import DATE, PRICE, days, figures, limit_of, number
from bot.models.reading.forms import total
from bot.models.reading.question import Wants, analyse, wanted
from bot.models.reading.score import rank
from bot.models.reading.shorten import shorten
from bot.models.reading.stems import porter
from bot.models.reading.units import Unit, cut, sentences
from bot.models.reading.words import FOLLOW_UP_WORDS, STOP_WORDS, content_stems, stem, tokens
from retrievers.evidence import Box, Evidence, Line


def even(words: Iterable[str]) -> dict[str, float]:
    """Give every word the same rarity."""
    return dict.fromkeys(words, 1.0)


def receipt(text: str) -> list[Unit]:
    """Return the rows of a receipt; each line of ``text`` is a row, ``  `` parts its pieces."""
    lines = []
    for i, row in enumerate(text.strip().splitlines()):
        pieces = [p.strip() for p in row.split("  ") if p.strip()]
        for j, piece in enumerate(pieces):
            box = Box(j / len(pieces), i / 30, (j + 0.8) / len(pieces), i / 30 + 0.02)
            lines.append(Line(piece, box))
    return cut([Evidence("picture:1", "picture", "r.jpg", "", lines=tuple(lines))])


@pytest.mark.parametrize(
    "words",
    [
        "publish published publishing publishes",
        "long longer length",
        "invade invaded invading",
        "win won",
        "run running ran",
        "city cities",
        "national nationally",
        "Stevenson Stevenson's Stevenson’s",
        "café cafe CAFÉ",
    ],
)
def test_forms_of_a_word_have_one_stem(words: str) -> None:
    assert len({stem(word) for word in words.split()}) == 1


def test_stems_are_those_of_the_full_text_index() -> None:
    words = """caresses ponies ties cats feed agreed plastered motoring sing conflated troubling
        sized hopping falling hissing failing filing happy sky relational conditional valency
        digitizer conformably radically differently vilely analogously vietnamization predication
        operator feudalism decisiveness hopefulness callousness formality sensitivity sensibility
        triplicate formative formalize electricity electrical hopeful goodness revival allowance
        inference airliner gyroscopic adjustable defensible irritant replacement adjustment
        dependent adoption homologous communism activate angularity effective bowdlerize probate
        rate cease controlling roll quay university archaeology by a is""".split()
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE f USING fts5(t, tokenize='porter unicode61')")
    database.executemany("INSERT INTO f (rowid, t) VALUES (?, ?)", list(enumerate(words)))
    database.execute("CREATE VIRTUAL TABLE v USING fts5vocab(f, 'instance')")
    found = dict(database.execute("SELECT doc, term FROM v"))
    assert {w: porter(w) for w in words} == {w: found[i] for i, w in enumerate(words)}


@pytest.mark.parametrize("words", ["north south", "1874 1875", "boat boot", "house horse"])
def test_different_words_keep_different_stems(words: str) -> None:
    assert len({stem(word) for word in words.split()}) == 2


def test_words_about_pictures_are_no_topic_of_a_follow_up_but_of_a_passage() -> None:
    assert STOP_WORDS < FOLLOW_UP_WORDS
    assert {"picture", "bild", "shown"} <= FOLLOW_UP_WORDS - STOP_WORDS
    assert content_stems("the picture") == {stem("picture")}


def test_tokens_stand_where_they_say() -> None:
    text = "In 1,200 B.C. the café's 50% — 東京 x_y 3.5-4"
    assert all(text[t.start : t.end] == t.text for t in tokens(text))
    assert {"1,200", "東", "京"} <= {t.text for t in tokens(text)}


def test_a_word_without_end_is_left_out() -> None:
    assert content_stems("a" * 500 + " quay") == {stem("quay")}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("RM 1,234.50", 1234.5),
        ("1.234,50 €", 1234.5),
        ("54", 54.0),
        ("1,007", 1007.0),
        ("0.125", 0.125),
        ("12,5", 12.5),
        ("-0.03", -0.03),
        ("(5.00)", -5.0),
        ("$8.20", 8.2),
        ("none", None),
    ],
)
def test_an_amount_has_its_value(text: str, value: float | None) -> None:
    assert number(text) == value


def test_prices_are_told_from_dates_times_and_rates() -> None:
    text = "12.03.2018 10:15 GST 6.00% 16.96 RM20 1,007.50"
    assert [m.group() for m in PRICE.finditer(text)] == ["16.96", "RM20", "1,007.50"]


@pytest.mark.parametrize(
    "text",
    [
        "10/03/2018", "10-03-18", "10.03.2018 18:22", "2018-03-10", "10 MAR 2018", "10 March 2018",
        "March 10, 2018", "10th March 2018", "10. März 2018", "Date:10-Mar-2018",
    ],
)  # fmt: skip
def test_a_day_is_the_same_however_it_is_written(text: str) -> None:
    assert (2018, 3, 10) in days(text)


@pytest.mark.parametrize("text", ["99/99/2018", "TEL 07-5547360", "1/2", "", "3.14.15.92"])
def test_what_is_no_day_is_none(text: str) -> None:
    assert not days(text)


def test_years_centuries_and_weekdays_are_dates() -> None:
    for text in ("1874", "in the 1990s", "the 19th century", "on Monday", "3 May", "400 BC"):
        assert DATE.search(text), text
    assert not DATE.search("42 boats and 7 masters")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("over 50", [50.01], [50, 49]),
        ("at least RM 50", [50, 51], [49.99]),
        ("under $1,000", [999], [1000]),
        ("zwischen 10 und 20", [10, 20], [9, 21]),
        ("mehr als 12,50 €", [12.51], [12.5]),
        ("over 2 million", [2_000_001], [2, 3, 2e6]),
    ],
)
def test_a_limit_holds_what_its_words_say(
    text: str, inside: list[float], outside: list[float]
) -> None:
    limit = limit_of(f"Which receipt is {text}?")
    assert limit is not None
    assert all(limit.holds(value) for value in inside)
    assert not any(limit.holds(value) for value in outside)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("It cost 1.2 million and 3 boats", [1.2e6, 3]),
        ("On 12 March 2018 it rained", []),
        ("three boats", []),
    ],
)
def test_figures_are_read_with_their_scale_and_without_dates(
    text: str, values: list[float]
) -> None:
    assert figures(text) == values


def test_a_question_without_a_limit_has_none() -> None:
    assert limit_of("When was the bridge over the river built?") is None


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who built the harbour?", Wants.PERSON),
        ("What type of beings does Doctor Who take along?", Wants.ANYTHING),
        ("In which year did it open?", Wants.TIME),
        ("When did the queen arrive?", Wants.TIME),
        ("What did the queen wear?", Wants.ANYTHING),
        ("Which northern English city has a castle?", Wants.PLACE),
        ("How many quays are there?", Wants.NUMBER),
        ("How much does a ticket cost?", Wants.MONEY),
        ("Why did it close?", Wants.REASON),
        ("What is a puffin?", Wants.DEFINITION),
        ("Is the museum open?", Wants.YES_NO),
        ("What is this?", Wants.LOOK),
        ("What's in this picture?", Wants.LOOK),
        ("What does this look like?", Wants.LOOK),
        ("What does this show?", Wants.LOOK),
        ("What do these pictures show?", Wants.LOOK),
        ("What does my photo show?", Wants.LOOK),
        ("Describe this picture", Wants.LOOK),
        ("Was sieht man hier?", Wants.LOOK),
        ("Was ist auf diesem Bild zu sehen?", Wants.LOOK),
        ("Beschreibe dieses Foto", Wants.LOOK),
        ("What does the law look like?", Wants.ANYTHING),
        ("What do the results show?", Wants.ANYTHING),
        ("Wann wurde der Hafen gebaut?", Wants.TIME),
        ("Wer hat den Hafen gebaut?", Wants.PERSON),
        ("Wie viele Boote gibt es?", Wants.NUMBER),
        ("Wo liegt die Insel?", Wants.PLACE),
        ("", Wants.ANYTHING),
    ],
)
def test_a_question_asks_for_its_kind_of_answer(question: str, kind: Wants) -> None:
    assert wanted(question) is kind


def test_sentences_end_where_they_end() -> None:
    text = "Dr. Holm paid 3.50 euros. He left at 5 p.m. and J. Aske followed! Why? No one knows."
    assert sentences(text) == (
        "Dr. Holm paid 3.50 euros.",
        "He left at 5 p.m. and J. Aske followed!",
        "Why?",
        "No one knows.",
    )


def test_lists_paragraphs_and_chinese_are_cut_too() -> None:
    assert sentences("Needs:\n* rope\n* a long\nchain\n\n东京很大。大阪也是。") == (
        "Needs:",
        "rope",
        "a long chain",
        "东京很大。",
        "大阪也是。",
    )


def test_pieces_on_one_row_of_a_picture_are_one_unit() -> None:
    units = receipt("SHOP\nTOTAL    327.00\nTHANK YOU")
    assert [u.text for u in units] == ["SHOP", "TOTAL 327.00", "THANK YOU"]
    assert [u.lines for u in units] == [(0,), (1, 2), (3,)]


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        ("TOTAL  10.00\nCASH  50.00\nCHANGE  40.00", 10.0),
        ("SUB TOTAL  9.40\nGST 6%  0.60\nGRAND TOTAL  10.00", 10.0),
        ("TOTAL QTY:  3.00\nTOTAL  10.00", 10.0),
        ("TOTAL  10.00\nTOTAL GST  0.60", 10.0),
        ("TOTAL (EXCL. GST)  9.40\nTOTAL (INCL. GST)  10.00\nGST SUMMARY  9.40", 10.0),
        ("TOTAL SALES  10.02\nROUNDING  -0.02\nROUNDED TOTAL  10.00", 10.0),
        ("TOTAL SALES  10.02\nTOTAL  10.00\nCASH  20.00\nCHANGE  10.00", 10.0),
        ("AMOUNT DUE\nRM 10.00\nTHANK YOU", 10.0),
        ("T0TAL  RM10.00", 10.0),
        ("TOTAL  0.00\nTOTAL SALES  10.00", 10.0),
        ("ROPE  7.00\nPAINT  3.00\nCASH  10.00", 10.0),
        ("SUMME  10,00 EUR\nGEGEBEN  20,00", 10.0),
    ],
)
def test_the_total_of_a_receipt_is_what_is_to_be_paid(rows: str, value: float) -> None:
    field = total(receipt(rows))
    assert field is not None
    assert field.value == value


def test_a_picture_without_amounts_has_no_total() -> None:
    assert total(receipt("TOTAL ECLIPSE\nOF THE HEART")) is None
    assert total([]) is None


def test_a_word_in_the_sentence_before_counts_less_than_in_the_sentence() -> None:
    text = "The Fram is a ship. It is 39 metres long. The Gjoa is 21 metres long."
    item = Evidence("passage:1", "passage", "a.md", text)
    question = analyse("How long is the Fram?", even)
    ranked = rank(question, cut([item]), [item])
    assert ranked[0].unit.text == "It is 39 metres long."


def test_a_long_sentence_is_cut_around_the_kind_of_thing_that_is_asked_for() -> None:
    filler = "and so on without end as such reports do, "
    text = f"The report says {filler * 8}the lamp was lit in 1874 by a keeper, {filler * 8}it ends."
    (unit,) = cut([Evidence("passage:1", "passage", "a.md", text)])
    stretch = shorten(unit, analyse("When was the lamp lit?", even), 120)
    assert "the lamp was lit in 1874" in stretch.text
    assert len(stretch.text) <= 120
    assert stretch.text.startswith("…")
    assert stretch.text.endswith("…")
    assert stretch.text.strip("…") in text


def test_every_limit_is_kept_for_every_text() -> None:
    question = analyse("When was the lamp lit?", even)
    for text in ("lamp " * 90, "x" * 500, "1874, " * 80, "東京" * 200, "…" * 300):
        (unit,) = cut([Evidence("passage:1", "passage", "a.md", text)])
        for limit in (3, 40, 200):
            assert len(shorten(unit, question, limit).text) <= limit
