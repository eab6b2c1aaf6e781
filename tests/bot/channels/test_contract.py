"""What every channel must do, told as stories, run against each.

A channel joins by a fixture ``NAME_stage`` (see conftest.py) and its name in ``CHANNELS``. With
``beside`` in its name it runs over a served bot: one story (``BESIDE``), all of them with
``BIFOCAL_FULL=1``.
"""

import io
import os
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CHANNELS = ("webhook", "discord", "webhook_beside", "discord_beside")
FULL = bool(os.environ.get("BIFOCAL_FULL"))
#: What is told of a channel over a served bot in the ordinary run
BESIDE = "test_an_edited_question_is_answered_anew_and_a_deleted_one_forgotten"
TALL = "How tall is the lighthouse?"
ADDRESS = re.compile(r"https?://|www\.|\]\(|<[@!#]|@(?:everyone|here|channel)", re.IGNORECASE)


@pytest.fixture(params=CHANNELS)
def open_stage(request: pytest.FixtureRequest) -> Any:
    """Open the stage of each channel."""
    if "beside" in request.param and not FULL and request.node.originalname != BESIDE:
        pytest.skip("over a served bot only with BIFOCAL_FULL=1")
    return request.getfixturevalue(f"{request.param}_stage")


async def test_a_question_is_answered_with_what_it_rests_on(open_stage: Any) -> None:
    async with open_stage() as stage:
        message = await stage.say("c1", TALL, sender="Anna")
        (answer,) = await stage.answers(1)
        assert answer.of == message
        assert "34 metres" in answer.text
        assert ".md" in answer.text or ".html" in answer.text


async def test_a_picture_is_known_two_turns_later(open_stage: Any, demo_files: Path) -> None:
    left, right = (
        (demo_files / name).read_bytes() for name in ("receipt-cafe.jpg", "receipt-chandlery.png")
    )
    async with open_stage() as stage:
        await stage.say("c1", "What do these show?", pictures=[left, right], sender="Anna")
        await stage.answers(1)
        await stage.say("c1", TALL, sender="Ben")
        await stage.answers(2)
        await stage.say("c1", "And the first picture, what is the total?", sender="Anna")
        answers = await stage.answers(3)
        assert "picture 1" in answers[2].text
        assert "18.60" in answers[2].text


async def test_ten_people_in_one_place_get_an_answer_each(open_stage: Any) -> None:
    async with open_stage() as stage:
        said = {await stage.say("c1", f"{TALL} asks {n}", sender=f"P{n}") for n in range(10)}
        answers = await stage.answers(10)
        assert {answer.of for answer in answers} == said
        assert len(answers) == 10
        assert all("34 metres" in answer.text for answer in answers)


async def test_a_message_delivered_four_times_is_answered_once(open_stage: Any) -> None:
    async with open_stage() as stage:
        first = await stage.say("c1", TALL, times=4)
        second = await stage.say("c1", "When was it built?", times=4)
        answers = await stage.answers(2)
        third = await stage.say("c1", TALL)
        answers = await stage.answers(3)
        assert [answer.of for answer in answers] == [first, second, third]


async def test_an_edited_question_is_answered_anew_and_a_deleted_one_forgotten(
    open_stage: Any,
) -> None:
    async with open_stage() as stage:
        message = await stage.say("c1", "What does the ferry cost?")
        (first,) = await stage.answers(1)
        await stage.edit("c1", message, TALL)
        (_, second) = await stage.answers(2)
        assert "34 metres" in second.text
        assert "34 metres" not in first.text
        await stage.delete("c1", message)
        await stage.say("c1", "Who are you?")
        await stage.answers(3)
        assert await turns(stage, "c1") == ["Who are you?"]


async def test_a_question_whose_process_was_killed_is_answered_once(
    open_stage: Any, stalled: Any
) -> None:
    slow = {
        "BIFOCAL_MODEL": "openai:x",
        "BIFOCAL_MODEL_URL": stalled.url,
        "BIFOCAL_MODEL_KEY": "none",
    }
    async with open_stage(**slow) as stage:
        message = await stage.say("c1", TALL)
        await stalled.asked.wait()
        await stage.kill()
        await stage.start()
        (answer,) = await stage.answers(1)
        assert (answer.of, "34 metres" in answer.text) == (message, True)
        later = await stage.say("c1", TALL)
        assert [a.of for a in await stage.answers(2)] == [message, later]


async def test_the_librarys_picture_is_shown_where_the_answer_cites_it(
    open_stage: Any, demo_files: Path
) -> None:
    async with open_stage() as stage:
        await stage.say(
            "c1", "What is this?", pictures=[(demo_files / "lighthouse.jpg").read_bytes()]
        )
        (answer,) = await stage.answers(1)
        assert answer.pictures
        for data in answer.pictures:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                assert image.format in ("PNG", "JPEG")


async def test_nothing_of_a_source_is_a_live_link_or_calls_people(
    open_stage: Any, evil_library: Path
) -> None:
    async with open_stage() as stage:
        await stage.say("c1", "What is the password of the vault?")
        (answer,) = await stage.answers(1)
        assert "swordfish" in answer.text
        assert not ADDRESS.search(answer.text), answer.text


async def test_what_is_no_picture_is_refused_in_one_line(open_stage: Any) -> None:
    async with open_stage() as stage:
        await stage.say("c1", "What is this?", pictures=[b"<html>no picture</html>"])
        (answer,) = await stage.answers(1)
        assert "\n" not in answer.text
        assert "picture" in answer.text.lower()
        assert "Traceback" not in answer.text
        await stage.say("c1", TALL)
        assert "34 metres" in (await stage.answers(2))[1].text


async def turns(stage: Any, conversation: str) -> list[str]:
    """Return the questions that memory keeps of a conversation."""
    return list(await stage.remembered(conversation))
