"""Follow-ups that lean on the last turn's pictures, through whole turns: what a model is shown."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from PIL import Image
from pydantic import Field

from bot.demo import questions
from bot.mentions import LOOKED_BACK, last_spoken, spoken_of
from memory.carrying_sides import Before
from memory.messages import Message, Turn

SIZE = (24, 16)
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 128, 0)}


class SeeingChat(BaseChatModel):
    """A real chat model with eyes that answers alike and keeps which pictures it was shown."""

    reads_evidence: ClassVar[bool] = False
    pictures: bool = True
    max_pictures: int = 4
    context_tokens: int = 8192
    #: of each prompt, the colours of those of its pictures that are as small as the painted ones
    shown: list[list[str]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "seeing"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        parts = [p for p in messages[-1].content_blocks if p["type"] == "image"]
        colours = [_colour(base64.b64decode(str(p.get("base64")))) for p in parts]
        self.shown.append([colour for colour in colours if colour])
        yield ChatGenerationChunk(message=AIMessageChunk(content="Seen."))


def _colour(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        if image.size != SIZE:
            return ""  # of the library
        red, green, blue = image.convert("RGB").getpixel((4, 4))  # type: ignore[misc]
    return min(
        COLOURS,
        key=lambda name: sum(
            abs(a - b) for a, b in zip(COLOURS[name], (red, green, blue), strict=True)
        ),
    )


@pytest.fixture
def paint(tmp_path: Path) -> dict[str, Path]:
    """Plain pictures, by their colour; their names do not say it."""
    found = {}
    for number, (name, colour) in enumerate(COLOURS.items(), 1):
        found[name] = tmp_path / f"IMG_{number}.png"
        Image.new("RGB", SIZE, colour).save(found[name])
    return found


@pytest.mark.parametrize(
    ("question", "phrase"),
    [
        ("What colour is it?", "it"),
        ("and how many people are there?", "there"),
        ("Welche Farbe hat es?", "es"),
        ("Was steht darauf?", "darauf"),
        ("它是什么颜色？", "它"),
        ("上面写了什么？", "上面"),
        ("and the colour?", "and the colour?"),
    ],
)
async def test_a_follow_up_without_a_word_for_a_picture_shows_the_last_one_to_the_model_again(
    open_bot: Any, paint: dict[str, Path], question: str, phrase: str
) -> None:
    """In all three languages; the answer says which words carried it on, and on which picture."""
    model = SeeingChat()
    async with open_bot(model) as bot:
        await bot.ask("Look.", images=[paint["red"]], conversation="c")
        await bot.ask("Look.", images=[paint["blue"]], conversation="c")
        answer = await bot.ask(question, conversation="c")
        turns = (await bot.conversation("c")).turns
    assert model.shown[-1] == ["blue"]
    (referred,) = answer.references
    assert (referred.phrase, referred.pictures, referred.shown) == (phrase, (2,), (2,))
    assert referred.sure
    assert referred.carried
    assert turns[-1].ledger["references"] == [referred.to_json()]
    assert answer.evidence[0].evidence.id == "shown:2"


async def test_what_was_carried_on_is_carried_on_again_until_another_thing_is_spoken_of(
    open_bot: Any, paint: dict[str, Path]
) -> None:
    model = SeeingChat()
    async with open_bot(model) as bot:
        await bot.ask("Look.", images=[paint["red"]], conversation="c")
        for question in ("What colour is it?", "And how old is it?", "Why?"):
            answer = await bot.ask(question, conversation="c")
            assert answer.references[0].pictures == (1,)
            assert model.shown[-1] == ["red"]
        other = await bot.ask("How tall is the lighthouse?", conversation="c")
        after = await bot.ask("What colour is it?", conversation="c")
    assert other.references == ()
    assert after.references == ()
    assert model.shown[-1] == []


async def test_a_picture_comes_back_by_its_name_and_is_then_what_is_spoken_of(
    open_bot: Any, paint: dict[str, Path]
) -> None:
    """A picture, a question to the library, "and the picture?", and then "what colour is it?"."""
    model = SeeingChat()
    async with open_bot(model) as bot:
        await bot.ask("Look.", images=[paint["green"]], conversation="c")
        library = await bot.ask("How tall is the lighthouse?", conversation="c")
        named = await bot.ask("and the picture?", conversation="c")
        answer = await bot.ask("what colour is it?", conversation="c")
    assert library.references == ()
    assert [(r.pictures, r.carried) for r in named.references] == [((1,), False)]
    assert [(r.pictures, r.carried) for r in answer.references] == [((1,), True)]
    assert model.shown[-1] == ["green"]


@pytest.mark.parametrize(
    ("question", "phrase"),
    [
        ("and the left one?", "the left one"),
        ("und das linke?", "das linke"),
        ("der linke?", "der linke"),
        ("左边那个呢？", "左边那个"),
        ("who is on the right?", "on the right"),
    ],
)
async def test_a_question_for_a_side_shows_a_picture_to_the_model_again_turns_later(
    open_bot: Any, paint: dict[str, Path], question: str, phrase: str
) -> None:
    """The turns in between were about no picture; the answer says which words brought it back."""
    model = SeeingChat()
    async with open_bot(model, condense_seconds=0) as bot:
        await bot.ask("Look.", images=[paint["red"]], conversation="c")
        await bot.ask("Look.", images=[paint["blue"]], conversation="c")
        for other in ("How tall is the lighthouse?", "What does the ferry cost?"):
            await bot.ask(other, conversation="c")
            assert model.shown[-1] == []
        answer = await bot.ask(question, conversation="c")
        nothing = await bot.ask("How tall is the lighthouse?", conversation="c")
        unnamed = await bot.ask("and in 2019?", conversation="c")
    assert model.shown[-3:] == [["blue"], [], []]
    (referred,) = answer.references
    assert (referred.phrase, referred.pictures, referred.shown) == (phrase, (2,), (2,))
    assert referred.sure
    assert referred.carried
    assert answer.question == question
    assert answer.evidence[0].evidence.id == "shown:2"
    assert nothing.references == unnamed.references == ()


async def test_pictures_are_not_looked_for_further_back_than_a_few_turns(
    open_bot: Any, paint: dict[str, Path]
) -> None:
    model = SeeingChat()
    async with open_bot(model, condense_seconds=0) as bot:
        for pause in (LOOKED_BACK - 1, LOOKED_BACK):
            await bot.ask("Look.", images=[paint["red"]], conversation=f"c{pause}")
            for _ in range(pause):
                await bot.ask("How tall is the lighthouse?", conversation=f"c{pause}")
            await bot.ask("and the left one?", conversation=f"c{pause}")
            assert model.shown[-1] == (["red"] if pause < LOOKED_BACK else [])


async def test_the_left_one_of_two_pictures_is_the_first_and_where_it_may_be_a_part_it_is_asked(
    open_bot: Any, paint: dict[str, Path]
) -> None:
    """And "the right one" is an answer to that."""
    model = SeeingChat()
    async with open_bot(model, condense_seconds=0) as bot:
        await bot.ask("Look.", images=[paint["red"], paint["blue"]], conversation="c")
        await bot.ask("How tall is the lighthouse?", conversation="c")
        left = await bot.ask("and the left one?", conversation="c")
        await bot.ask("What is in picture 1?", conversation="c")
        asked = await bot.ask("and how old is the right one?", conversation="c")
        right = await bot.ask("the right one", conversation="c")
    assert [(r.pictures, r.sure, r.carried) for r in left.references] == [((1,), True, False)]
    assert asked.text.startswith("Which picture do you mean by “the right one”: picture 1")
    assert right.question == "and how old is the right one?"
    assert model.shown == [["red", "blue"], [], ["red"], ["red"], ["blue"]]


async def test_a_question_for_a_side_is_searched_with_what_its_picture_was_asked_before(
    open_bot: Any, demo_files: Path
) -> None:
    """Not with what the turn in between was about, nor with the word "left"."""
    receipts = [demo_files / "receipt-cafe.jpg", demo_files / "receipt-chandlery.png"]
    async with open_bot() as bot:
        await bot.ask("What is the total of each?", images=receipts, conversation="c")
        await bot.ask("How tall is the lighthouse?", conversation="c")
        left = await bot.ask("and the left one?", conversation="c")
        right = await bot.ask("und das rechte?", conversation="c")
    for answer, number, total in ((left, 1, "18.60"), (right, 2, "73.40")):
        assert total in answer.text
        assert answer.citations[0].picture == number
        assert answer.searched.startswith("total (and, counting less: ")
        assert "lighthouse" not in answer.searched


async def test_all_pictures_of_the_last_turn_ride_along_and_a_mere_pronoun_asks_nothing_back(
    open_bot: Any, paint: dict[str, Path]
) -> None:
    """The word "it" is one of them, which is not sure; "they" are all of them, which is."""
    model = SeeingChat()
    async with open_bot(model, condense_seconds=0) as bot:
        await bot.ask("Look.", images=[paint["red"], paint["blue"]], conversation="c")
        one = await bot.ask("What colour is it?", conversation="c")
        several = await bot.ask("Are they old?", conversation="c")
    for answer, sure in ((one, False), (several, True)):
        assert [(r.pictures, r.shown, r.sure) for r in answer.references] == [
            ((1, 2), (1, 2), sure)
        ]
        assert answer.model != "no model"
    assert model.shown[-2] == model.shown[-1] == ["red", "blue"]


async def test_no_more_pictures_are_carried_on_than_a_turn_and_a_model_may_have(
    open_bot: Any, paint: dict[str, Path]
) -> None:
    model = SeeingChat()
    async with open_bot(model, pictures_shown=1) as bot:
        await bot.ask("Look.", images=[paint["red"], paint["blue"]], conversation="c")
        answer = await bot.ask("What colour are they?", conversation="c")
    assert model.shown[-1] == ["red"]
    assert answer.references[0].pictures == (1, 2)
    assert answer.references[0].shown == (1,)


async def test_a_picture_that_was_sent_with_the_question_is_what_it_is_about(
    open_bot: Any, paint: dict[str, Path]
) -> None:
    model = SeeingChat()
    async with open_bot(model) as bot:
        await bot.ask("Look.", images=[paint["red"]], conversation="c")
        answer = await bot.ask("What colour is it?", images=[paint["blue"]], conversation="c")
    assert answer.references == ()
    assert model.shown[-1] == ["blue"]


async def test_of_a_carried_picture_that_was_dropped_it_is_said(
    open_bot: Any, paint: dict[str, Path]
) -> None:
    async with open_bot(SeeingChat()) as bot:
        await bot.ask("Look.", images=[paint["red"]], conversation="c")
        await bot.drop("c", 1)
        answer = await bot.ask("What colour is it?", conversation="c")
    assert "“it”: picture 1 was dropped" in answer.notices
    assert answer.references[0].pictures == ()


async def test_a_follow_up_that_is_answered_again_carries_the_same_picture(
    open_bot: Any, paint: dict[str, Path]
) -> None:
    model = SeeingChat()
    async with open_bot(model) as bot:
        await bot.ask("Look.", images=[paint["red"]], conversation="c")
        first = await bot.ask("What colour is it?", conversation="c")
        again = await bot.regenerate("c")
        turns = (await bot.conversation("c")).turns
    assert again.references == first.references
    assert model.shown[-1] == ["red"]
    assert turns[-1].question.pictures == (1,)


@pytest.mark.parametrize(
    ("first", "word"), [("How tall is this?", "lighthouse"), ("What is this?", "tower")]
)
async def test_a_follow_up_about_the_topic_of_a_picture_still_finds_its_passages(
    open_bot: Any, first: str, word: str
) -> None:
    """The carried picture is searched with, beside the rare words of the turn before."""
    async with open_bot() as bot:
        picture = next(q.picture for q in questions() if q.text == "How tall is this?")
        await bot.ask(first, images=[picture], conversation="c")
        answer = await bot.ask("And when was it built?", conversation="c")
    assert answer.references[0].pictures == (1,)
    assert word in answer.searched
    assert "between 1868 and 1871" in answer.text
    assert answer.citations[0].source.endswith("skerrin-guide.md")


def _turn(ledger: dict[str, Any], citations: tuple[dict[str, Any], ...] = ()) -> Turn:
    return Turn("t", Message("And?"), Message("Yes."), 1.0, citations, ledger)


def test_a_turn_was_about_what_its_words_meant_or_else_what_its_answer_rests_on() -> None:
    """What was not sure counts only where it was carried on; what cannot be read does not count."""
    sure = {"references": [{"pictures": [2, 1], "sure": True}, {"pictures": [4], "sure": False}]}
    assert spoken_of([_turn(sure)]) == (2, 1)
    assert spoken_of([_turn({"references": [{"pictures": [3, 4], "carried": True}]})]) == (3, 4)
    assert spoken_of([_turn({}, ({"picture": 3}, {"picture": None}, {"picture": 3}))]) == (3,)
    assert (
        spoken_of([_turn({"references": "x"}), _turn({"references": [7, {"pictures": "1"}]})]) == ()
    )


def test_what_came_in_one_message_is_known_turns_later_and_what_came_apart_is_not() -> None:
    """Pictures that were looked at again did not come with that turn; what cannot be read is not
    about any."""
    sent = Turn("t1", Message("Look.", (1, 2)), Message("Yes."), 1.0)
    more = Turn("t2", Message("Look.", (3,)), Message("Yes."), 2.0)
    again = {"references": [{"phrase": "the left one", "pictures": [1], "sure": True}]}
    looked = Turn("t3", Message("And the left one?", (1,)), Message("Yes."), 3.0, (), again)
    both = {"references": [{"phrase": "pictures 2 and 3", "pictures": [2, 3], "sure": True}]}
    compared = Turn("t4", Message("Compare.", (2, 3)), Message("Yes."), 4.0, (), both)
    other = _turn({"references": [{"phrase": 7, "pictures": "x", "sure": True}]})
    assert last_spoken([sent, other, other]) == Before((1, 2), (1, 2), ago=3)
    assert last_spoken([sent, looked, other]) == Before((1,), (1, 2), ago=2, chosen=True)
    assert last_spoken([sent, more]) == Before((3,), (3,), ago=1)
    assert last_spoken([sent, more, compared]) == Before((2, 3), (), ago=1)
    assert last_spoken([other]) == last_spoken([]) == Before()
