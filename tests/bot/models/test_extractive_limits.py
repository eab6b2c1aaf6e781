"""Questions that choose by a limit, and pictures that are shown without a word."""

from collections.abc import Sequence

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from bot.models.extractive import ExtractiveChat
from retrievers.evidence import Box, Evidence, Line

#: A table of a report in which the word "receipt" stands, and numbers within and outside limits
COMPLAINTS = (
    "Nature of Complaints: Non-receipt of Dividend | Nos.%: 5 | 38\n"
    "Nature of Complaints: Non-receipt of Certificate | Nos.%: 146 | 62"
)


def passage(text: str, n: int = 1, form: str = "prose") -> Evidence:
    """Return a passage as evidence."""
    return Evidence(f"passage:{n}", "passage", f"text-{n}.pdf", text, form=form, score=1 / n)


def receipt(rows: Sequence[str], n: int = 1) -> Evidence:
    """Return the picture of a receipt, a row of writing for each of ``rows``."""
    lines = tuple(Line(row, Box(0, i / 20, 1, i / 20 + 0.03)) for i, row in enumerate(rows))
    return Evidence(f"picture:{n}", "picture", f"r-{n}.jpg", "\n".join(rows), lines=lines)


def photo(identity: str, caption: str = "", **scores: float) -> Evidence:
    """Return a photograph without writing."""
    return Evidence(identity, "picture", "p.jpg", caption, caption=caption, scores=scores)


def ask(question: str, *evidence: Evidence) -> AIMessage:
    """Ask the writer and return its message."""
    message = HumanMessage(question)
    return ExtractiveChat().invoke([message], question=question, evidence=evidence)


SMALL = receipt(["CAFE MARIT", "TOTAL 16.96", "CASH 120.00", "CHANGE 103.04"], 1)
LARGE = receipt(["HOLM CHANDLERY", "Rope 31.00", "TOTAL 131.00"], 2)


@pytest.mark.parametrize(
    "question",
    ["Which receipt is over 100?", "Which receipts have a total over 100?", "List bills over 100"],
)
class TestBills:
    def test_a_table_in_which_the_word_receipt_stands_is_no_receipt(self, question: str) -> None:
        """Neither a row outside the limit answers, nor one within it that counts complaints."""
        reply = ask(question, passage(COMPLAINTS, form="table"))
        assert reply.response_metadata["found"] is False
        assert "Dividend" not in reply.text

    def test_the_receipt_within_the_limit_is_preferred_to_the_table(self, question: str) -> None:
        """What a receipt comes to decides, wherever it ranks."""
        reply = ask(question, passage(COMPLAINTS, 1, "table"), SMALL, LARGE)
        assert reply.text == "r-2.jpg: TOTAL 131.00 [3]"

    def test_what_was_given_in_cash_is_not_the_total(self, question: str) -> None:
        """A receipt of 16.96 that was paid with 120 is not over 100."""
        reply = ask(question, SMALL, passage(COMPLAINTS, 2, "table"))
        assert reply.response_metadata["found"] is False


def test_a_table_of_invoices_is_compared_when_no_picture_is_within_the_limit() -> None:
    rows = "Invoice: A-17 | Amount: 420.00\nInvoice: A-18 | Amount: 12.00"
    reply = ask("Which invoice is over 100?", SMALL, passage(rows, 2, "table"))
    assert "A-17" in reply.text
    assert "A-18" not in reply.text


def test_a_sentence_that_states_the_price_of_a_receipt_answers() -> None:
    text = "The receipt for the anchor was 140 euros. The receipt for the soup was 6 euros."
    reply = ask("Which receipt is over 100 euros?", passage(text))
    assert "anchor" in reply.text
    assert "soup" not in reply.text


def test_another_number_of_a_row_is_not_taken_for_the_one_that_was_asked_for() -> None:
    question = "Which ports have more than 100 boats?"
    reply = ask(question, passage("Port: Skerrin | Boats: 42 | Depth: 150", form="table"))
    assert reply.response_metadata["found"] is False


def test_only_sentences_with_a_number_within_the_limit_answer() -> None:
    text = "The harbour of Holm has 42 boats. The harbour of Skerrin has 180 boats."
    reply = ask("Which harbour has more than 100 boats?", passage(text))
    assert "Skerrin" in reply.text
    assert "Holm" not in reply.text


def test_a_sentence_that_says_the_limit_itself_answers() -> None:
    text = "The senior law covers fishermen over 65. The junior law covers boys."
    reply = ask("Which law covers fishermen over 65?", passage(text))
    assert "senior law" in reply.text
    assert reply.response_metadata["found"] is True


class TestLooking:
    def test_a_picture_without_a_word_is_asked_what_it_is(self) -> None:
        """The answer is the one to "What is this?"."""
        evidence = photo("shown:1", shown=1.0), photo("picture:1", "A puffin", look=0.97)
        assert "A puffin [2]" in ask("", *evidence).text
        assert ask(" \n", *evidence).text == ask("What is this?", *evidence).text

    def test_an_unknown_picture_without_a_word_is_said_to_be_unknown(self) -> None:
        """It is not called a question that nothing answers."""
        assert "Nothing is known of this picture" in ask("", photo("shown:1", shown=1.0)).text

    def test_no_word_and_no_picture_finds_nothing(self) -> None:
        """A library's picture alone was not shown by anybody."""
        reply = ask("", photo("picture:1", "A puffin", look=0.97))
        assert reply.response_metadata["found"] is False

    @pytest.mark.parametrize(
        ("question", "words"),
        [
            ("What does this look like?", "This looks like a picture"),
            ("What do these pictures show?", "This looks like a picture"),
            ("Was sieht man hier?", "Das sieht aus wie ein Bild"),
        ],
    )
    def test_ways_to_ask_what_a_picture_shows(self, question: str, words: str) -> None:
        """Each is answered by the picture that looks the same, in its language."""
        evidence = photo("shown:1", shown=1.0), photo("picture:1", "A puffin", look=0.97)
        assert ask(question, *evidence).text.startswith(words)
        assert "A puffin [2]" in ask(question, *evidence).text
