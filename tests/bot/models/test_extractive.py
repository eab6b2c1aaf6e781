"""The extractive writer as a LangChain model, and what it answers from evidence made by hand."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate

from bot.citations import cite
from bot.models.extractive import ExtractiveChat
from retrievers.evidence import Box, Evidence, Line

HARBOUR = (
    "The harbour of Skerrin was built in 1874 by the engineer Thomas Stevenson. "
    "It has two quays. The north quay is 140 metres long. "
    "Herring boats used it until the fishery closed in 1931."
)
FERRY = "The ferry to Skerrin sails every morning at 9:15. A return ticket costs 12 euros."


def passage(text: str, n: int = 1, form: str = "prose") -> Evidence:
    """Return a passage as evidence, with the scores a retriever would give it."""
    item = Evidence(f"passage:{n}", "passage", f"text-{n}.md", text, form=form, score=1 / n)
    return replace(item, scores={"bm25": 8.0 / n, "dense": 0.5 / n})


def written(rows: Iterable[Iterable[str]], n: int = 1, name: str = "receipt.jpg") -> Evidence:
    """Return a picture with writing: each row's pieces stand side by side."""
    lines = []
    for i, row in enumerate(rows):
        pieces = list(row)
        for j, text in enumerate(pieces):
            box = Box(j / len(pieces), i / 20, (j + 0.8) / len(pieces), i / 20 + 0.03)
            lines.append(Line(text, box))
    text = "\n".join(line.text for line in lines)
    return Evidence(f"picture:{n}", "picture", name, text, lines=tuple(lines), score=1 / n)


def photo(words: str, n: int = 1, caption: str = "", **scores: float) -> Evidence:
    """Return a photograph whose own words are the lines of ``words``."""
    text = f"{caption}\n{words}".strip()
    item = Evidence(f"picture:{n}", "picture", f"photo-{n}.jpg", text, caption=caption)
    return replace(item, scores=scores)


SHOWN = Evidence("shown:1", "picture", "query.jpg", "", score=1.0, scores={"shown": 1.0})
CAFE = written(
    [
        ["CAFE MARIT"],
        ["12 MAR 2024"],
        ["Soup", "6.50"],
        ["SUBTOTAL", "16.00"],
        ["VAT 6%", "0.96"],
        ["TOTAL", "16.96"],
        ["CASH", "20.00"],
        ["CHANGE", "3.04"],
    ],
    1,
    "cafe.jpg",
)
SHOP = written(
    [
        ["HOLM SHIP CHANDLERY"],
        ["Date", "05/02/2024"],
        ["Invoice No", "A-1177"],
        ["Rope 12 mm", "31.00"],
        ["Anchor chain", "42.40"],
        ["TOTAL QTY", "2"],
        ["GRAND TOTAL"],
        ["73.40"],
    ],
    2,
    "shop.png",
)


def ask(question: str, *evidence: Evidence, **options: int) -> AIMessage:
    """Ask the writer and return its message."""
    return ExtractiveChat(**options).invoke(
        [HumanMessage(question)], question=question, evidence=evidence
    )


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was the harbour of Skerrin built?", "1874"),
        ("Who built the harbour of Skerrin?", "Thomas Stevenson"),
        ("How long is the north quay?", "140 metres"),
        ("When does the ferry sail?", "9:15"),
        ("How much does a return ticket for the ferry cost?", "12 euros"),
        ("Why did herring boats stop using the harbour?", "the fishery closed"),
    ],
)
def test_the_answer_is_the_sentence_that_answers(question: str, answer: str) -> None:
    reply = ask(question, passage(HARBOUR, 1), passage(FERRY, 2))
    assert answer in reply.text
    assert reply.response_metadata["found"] is True


def test_each_quotation_is_followed_by_the_mark_of_its_own_evidence() -> None:
    reply = ask("When does the ferry to Skerrin sail?", passage(HARBOUR, 1), passage(FERRY, 2))
    assert reply.text.startswith("The ferry to Skerrin sails every morning at 9:15. [2]")


def test_what_no_source_mentions_is_not_answered() -> None:
    reply = ask("Which pilots flew the airship over Zanzibar?", passage(HARBOUR), passage(FERRY, 2))
    assert reply.response_metadata["found"] is False
    assert "found nothing" in reply.text


def test_a_refusal_may_cite_the_closest_and_still_says_that_nothing_was_found() -> None:
    reply = ask(
        "What did the queen of Denmark wear on her visit to the north quay theatre premiere?",
        passage(HARBOUR, 1),
        passage(FERRY, 2),
    )
    assert reply.response_metadata["found"] is False
    assert "The closest" in reply.text
    assert "[1]" in reply.text


def test_a_german_question_is_refused_in_german() -> None:
    reply = ask("Wann wurde die Universität von Bologna gegründet?", passage(FERRY))
    assert "nichts gefunden" in reply.text


def test_quotations_keep_within_the_limit_marks_not_counted() -> None:
    long = (
        "In the spring the council, which had met in the old customs house since the fire, decided"
        " after a long debate about money, boats and the weather that the lighthouse lamp would be"
        " replaced by the Danish firm Lumen at a price of 9,400 euros, and that the two keepers,"
        " who had asked for it, would be given new coats, a stove and a second dog."
    )
    for limit in (80, 120, 200, 500):
        reply = ask("Which firm replaced the lighthouse lamp?", passage(long), max_chars=limit)
        shown = reply.text.replace(" [1]", "")
        assert len(shown) <= limit
        assert "Lumen" in shown


def test_a_second_source_is_quoted_when_it_adds_to_the_first() -> None:
    one = passage("The museum opens at ten on weekdays.", 1)
    two = passage("On Sundays the museum opens at noon.", 2)
    reply = ask("When does the museum open?", one, two)
    assert "[1]" in reply.text
    assert "[2]" in reply.text


def test_the_same_words_in_two_sources_are_quoted_once() -> None:
    reply = ask("Who built the harbour?", passage(HARBOUR, 1), passage(HARBOUR, 2))
    assert "[2]" not in reply.text


def test_spans_hold_the_sources_own_words_and_make_the_citations() -> None:
    evidence = [passage(HARBOUR, 1), passage(FERRY, 2)]
    reply = ask("Who built the harbour of Skerrin?", *evidence)
    spans = reply.response_metadata["spans"]
    assert all(span["text"] in HARBOUR for span in spans[1])
    citations, unknown = cite(str(reply.text), evidence, spans)
    assert unknown == []
    assert citations[0].evidence_id == "passage:1"


def test_of_a_table_only_the_cells_that_matter_are_quoted() -> None:
    rows = "\n".join(
        f"Boat: {name} | Kind: ketch | Length (m): {length} | Owner: {owner}"
        for name, length, owner in [
            ("Guillemot", "14.8", "Petra Holm"),
            ("Marit", "11.4", "Ingrid Sollund"),
            ("Tern", "9.2", "Jon Aske"),
        ]
    )
    for question in ("Who is the owner of Marit?", "Who owns Marit?"):
        reply = ask(question, passage(rows, form="table"))
        assert reply.text == "Boat: Marit | Owner: Ingrid Sollund [1]"


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("Which boats are longer than 10 m, over 10?", {"Guillemot", "Marit"}),
        ("Which boat has the smallest length?", {"Tern"}),
        ("Which boat has a length between 11 and 12?", {"Marit"}),
    ],
)
def test_a_tables_numbers_are_compared(question: str, names: set[str]) -> None:
    rows = "Boat: Guillemot | Length: 14.8\nBoat: Marit | Length: 11.4\nBoat: Tern | Length: 9.2"
    reply = ask(question, passage(rows, form="table"))
    assert {n for n in ("Guillemot", "Marit", "Tern") if n in reply.text} == names


def test_the_total_of_a_receipt_is_the_amount_to_be_paid() -> None:
    reply = ask("What is the total on the CAFE MARIT receipt?", CAFE, SHOP)
    assert reply.text == "TOTAL 16.96 [1]"


def test_a_total_below_its_label_is_read_with_it() -> None:
    reply = ask("How much is the total of the receipt from Holm Ship Chandlery?", CAFE, SHOP)
    assert reply.text == "GRAND TOTAL 73.40 [2]"


def test_a_receipt_is_told_by_its_date_however_that_is_written() -> None:
    reply = ask("What is the total of the receipt of 5 February 2024?", CAFE, SHOP)
    assert "73.40 [2]" in reply.text
    reply = ask("What is the total of the receipt of 12/03/2024?", CAFE, SHOP)
    assert "16.96 [1]" in reply.text


def test_the_total_of_a_receipt_that_is_not_there_is_not_made_up() -> None:
    reply = ask("What is the total of the receipt from Zanzibar Airship Company?", CAFE, SHOP)
    assert reply.response_metadata["found"] is False


def test_a_total_in_prose_is_not_taken_from_a_receipt() -> None:
    text = passage("The total length of all quays of Skerrin is 310 metres.", 2)
    reply = ask("What is the total length of all quays of Skerrin?", CAFE, text)
    assert "310 metres. [2]" in reply.text


def test_a_limit_in_a_question_that_chooses_nothing_compares_nothing() -> None:
    rows = "Boat: Guillemot | Crew: 60\nBoat: Marit | Crew: 4"
    text = passage("The boat left since over 50 barrels had to be in Bergen by May.", 2)
    reply = ask("Why did the boat leave with over 50 barrels?", passage(rows, form="table"), text)
    assert "Bergen by May. [2]" in reply.text


def test_a_field_of_a_form_is_read_by_its_label() -> None:
    reply = ask("What is the invoice number of the Holm Ship Chandlery receipt?", CAFE, SHOP)
    assert "A-1177 [2]" in reply.text


def test_the_spans_of_a_picture_are_the_lines_with_label_and_value() -> None:
    reply = ask("What is the total on the CAFE MARIT receipt?", CAFE, SHOP)
    (span,) = reply.response_metadata["spans"][1]
    assert [CAFE.lines[i].text for i in span["lines"]] == ["TOTAL", "16.96"]
    (citation,), _ = cite(str(reply.text), [CAFE, SHOP], reply.response_metadata["spans"])
    assert citation.box is not None
    assert citation.box.top == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("question", "marks"),
    [
        ("Which receipt is over 50?", {"[2]"}),
        ("Which receipts are under 50 euros?", {"[1]"}),
        ("Which receipts are at least 16.96?", {"[1]", "[2]"}),
        ("Which receipt is the most expensive?", {"[2]"}),
    ],
)
def test_receipts_are_compared_by_their_totals(question: str, marks: set[str]) -> None:
    reply = ask(question, CAFE, SHOP)
    assert {mark for mark in ("[1]", "[2]") if mark in reply.text} == marks
    assert reply.response_metadata["found"] is True


def test_no_receipt_within_the_limit_means_that_nothing_was_found() -> None:
    reply = ask("Which receipt is over 5000?", CAFE, SHOP)
    assert reply.response_metadata["found"] is False


def test_what_is_this_is_answered_by_the_picture_that_looks_the_same() -> None:
    puffin = photo("puffin, bird\n9 June 2023", 1, "A puffin on Tammel's Rock", look=0.97)
    other = photo("boat", 2, "A boat", look=0.80)
    reply = ask("What is this?", SHOWN, other, puffin)
    assert "A puffin on Tammel's Rock [3]" in reply.text
    assert reply.response_metadata["found"] is True


def test_a_picture_that_only_resembles_others_is_not_named() -> None:
    one, two = photo("", 1, "A puffin", look=0.86), photo("", 2, "A boat", look=0.85)
    reply = ask("What is this?", SHOWN, one, two)
    assert reply.response_metadata["found"] is False
    assert "Nothing is known of this picture" in reply.text


def test_what_is_this_quotes_the_writing_in_a_picture_that_nothing_resembles() -> None:
    shown = replace(CAFE, id="shown:1", scores={"shown": 1.0})
    reply = ask("What is this?", shown, photo("", 2, "A boat", look=0.5))
    assert reply.text.startswith("CAFE MARIT [1]")


def test_a_question_about_this_receipt_is_about_the_one_that_was_shown() -> None:
    shown = replace(SHOP, id="shown:1", scores={"shown": 1.0})
    reply = ask("What is the total on this receipt?", shown, CAFE)
    assert reply.text == "GRAND TOTAL 73.40 [1]"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was the photo of the puffin taken?", "9 June 2023"),
        ("Where was the photo of the puffin taken?", "Tammel's Rock, Skerrin"),
    ],
)
def test_date_and_place_of_a_photograph_come_from_its_words(question: str, answer: str) -> None:
    words = "puffin, bird\n9 June 2023 (2023-06-09 16:20)\nTammel's Rock, Skerrin\nimg 20"
    puffin = photo(words, 1, "A puffin among the thrift")
    boat = photo("boat, quay\n1 May 2020 (2020-05-01)\nNorth quay", 2, "A boat")
    assert f"{answer}" in ask(question, boat, puffin).text


def test_the_question_before_says_what_a_follow_up_is_about() -> None:
    evidence = [passage(HARBOUR, 1), passage(FERRY, 2)]
    model = ExtractiveChat()
    history = [HumanMessage("Tell me about the ferry to Skerrin."), AIMessage("It sails daily.")]
    reply = model.invoke([*history, HumanMessage("How much is a ticket?")], evidence=evidence)
    assert "12 euros. [2]" in reply.text


def test_rarity_of_the_library_is_asked_for_and_used() -> None:
    asked: list[str] = []

    def rarity(words: Iterable[str]) -> dict[str, float]:
        found = {word: 5.0 if word == "quay" else 0.1 for word in words}
        asked.extend(found)
        return found

    question = "Does the ferry have a quay?"
    reply = ExtractiveChat().invoke(
        question,
        question=question,
        evidence=[passage(FERRY, 1), passage(HARBOUR, 2)],
        rarity=rarity,
    )
    assert "quay" in asked
    assert reply.text.split(" [")[0].count("quay") == 1


@pytest.mark.parametrize("text", ["", " ", "?", "…", "\x00", "東京の人口は?", "🙂", "a" * 20_000])
def test_any_question_gets_some_answer(text: str) -> None:
    reply = ask(text, passage(HARBOUR), CAFE, photo("", 3))
    assert reply.text


def test_evidence_without_words_is_no_answer() -> None:
    empty = Evidence("picture:1", "picture", "blank.png", "")
    reply = ask("When was the harbour built?", empty, passage("", 2))
    assert reply.response_metadata["found"] is False


def test_chinese_is_read_by_its_characters() -> None:
    reply = ask(
        "东京的人口是多少?", passage("大阪是一个城市。东京的人口是1400万。"), passage(FERRY, 2)
    )
    assert "1400万" in reply.text


def test_without_evidence_it_says_that_it_has_no_sources() -> None:
    reply = ExtractiveChat().invoke("When was the harbour built?")
    assert reply.text == "I have no sources to answer from."
    assert reply.response_metadata["found"] is False


def test_stream_and_invoke_give_the_same_message() -> None:
    model, question = ExtractiveChat(), "When does the museum open?"
    evidence = [
        passage("The museum opens at ten.", 1),
        passage("On Sundays the museum opens late.", 2),
    ]
    whole = model.invoke(question, evidence=evidence)
    chunks = list(model.stream(question, evidence=evidence))
    assert len([c for c in chunks if c.text]) == 2
    joined = chunks[0]
    for chunk in chunks[1:]:
        joined = joined + chunk
    assert joined.text == whole.text
    assert joined.response_metadata["spans"] == whole.response_metadata["spans"]
    assert joined.response_metadata["found"] is True
    assert joined.usage_metadata == whole.usage_metadata


async def test_the_async_twins_give_the_same_text() -> None:
    model, question, evidence = ExtractiveChat(), "Who built the harbour?", [passage(HARBOUR)]
    whole = model.invoke(question, evidence=evidence)
    again = await model.ainvoke(question, evidence=evidence)
    streamed = [chunk.text async for chunk in model.astream(question, evidence=evidence)]
    assert whole.text == again.text == "".join(streamed)


async def test_many_questions_at_once_do_not_mix() -> None:
    model, evidence = ExtractiveChat(), [passage(HARBOUR, 1), passage(FERRY, 2)]
    replies = await asyncio.gather(
        *(
            model.ainvoke(q, question=q, evidence=evidence)
            for q in ["Who built the harbour of Skerrin?", "When does the ferry sail?"] * 10
        )
    )
    assert all("Stevenson" in r.text for r in replies[::2])
    assert all("9:15" in r.text for r in replies[1::2])


def test_batch_answers_each_and_works_in_a_chain() -> None:
    model = ExtractiveChat().bind(evidence=[passage(HARBOUR)])
    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | model
    replies = chain.batch(
        [{"question": "Who built the harbour?"}, {"question": "How long is the north quay?"}]
    )
    assert "Stevenson" in replies[0].text
    assert "140 metres" in replies[1].text


def test_the_last_human_message_is_the_question_when_none_is_named() -> None:
    messages = [SystemMessage("Answer."), HumanMessage("Who built the harbour of Skerrin?")]
    assert "Stevenson" in ExtractiveChat().invoke(messages, evidence=[passage(HARBOUR)]).text


def test_it_says_what_it_is() -> None:
    model = ExtractiveChat()
    assert model._llm_type == "extractive"
    assert model.reads_evidence is True
    usage = ask("Who built the harbour?", passage(HARBOUR)).usage_metadata
    assert usage is not None
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
