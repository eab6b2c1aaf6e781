"""What every channel must do, told as stories, run against each.

A channel joins by a fixture ``NAME_stage`` (see conftest.py) and its name in ``CHANNELS``. With
``beside`` in its name it runs over a served bot: one story (``BESIDE``), all of them with
``BIFOCAL_FULL=1``.
"""

import asyncio
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.service.stores.shared_redis import SharedRedis

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
        assert ".\u200bmd" in answer.text or ".html" in answer.text


async def test_a_picture_then_another_thing_and_then_the_left_one(
    open_stage: Any, seeing: Any, paint: Callable[[str, str], bytes]
) -> None:
    """Two turns later the model has the picture's pixels before it again, and cites them."""
    async with open_stage(**seeing.environment) as stage:
        boats = [paint("red", "blue")]
        await stage.say("c1", "Which boat is the faster one?", pictures=boats, sender="Anna")
        (first,) = await stage.answers(1)
        await stage.say("c1", TALL, sender="Ben")
        await stage.answers(2)
        await stage.say("c1", "and the left one?", sender="Anna")
        answers = await stage.answers(3)
    assert seeing.shown == [["red-blue"], [], ["red-blue"]]
    for answer in (first, answers[2]):
        assert "I see red-blue" in answer.text
        assert "picture 1" in answer.text
    assert "picture 1" not in answers[1].text


async def test_of_two_pictures_in_one_message_the_left_one_is_the_first(
    open_stage: Any, seeing: Any, paint: Callable[[str, str], bytes]
) -> None:
    """Two turns later, too; "and the right one?" then goes on to the other."""
    pair = [paint("red", "blue"), paint("green", "yellow")]
    async with open_stage(**seeing.environment) as stage:
        for count, text in enumerate(
            ("Which is older?", TALL, "and the left one?", "And the right one?"), 1
        ):
            await stage.say("c1", text, pictures=pair if count == 1 else [], sender="Anna")
            answers = await stage.answers(count)
    assert seeing.shown == [["red-blue", "green-yellow"], [], ["red-blue"], ["green-yellow"]]
    assert "picture 1" in answers[2].text
    assert "picture 2" in answers[3].text


async def test_a_picture_is_read_again_two_turns_later(open_stage: Any, demo_files: Path) -> None:
    left, right = (
        (demo_files / name).read_bytes() for name in ("receipt-cafe.jpg", "receipt-chandlery.png")
    )
    async with open_stage() as stage:
        await stage.say("c1", "What do these show?", pictures=[left, right], sender="Anna")
        await stage.answers(1)
        await stage.say("c1", TALL, sender="Ben")
        await stage.answers(2)
        await stage.say("c1", "And the left one, what is the total?", sender="Anna")
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
    async with open_stage(**asks(stalled)) as stage:
        message = await stage.say("c1", TALL)
        await stalled.asked.wait()
        await stage.kill()
        await stage.start()
        (answer,) = await stage.answers(1)
        assert (answer.of, "34 metres" in answer.text) == (message, True)
        later = await stage.say("c1", TALL)
        assert [a.of for a in await stage.answers(2)] == [message, later]


async def test_a_question_that_is_deleted_while_it_is_answered_leaves_nothing(
    open_stage: Any, stalled: Any, demo_library: Path
) -> None:
    """Another process than the one that answers may be told of it."""
    async with open_stage(**asks(stalled)) as stage:
        message = await stage.say("c1", TALL)
        await stalled.asked.wait()
        await stage.start()
        await stage.delete("c1", message)
        async with asyncio.timeout(60):
            await stalled.left.wait()
        await idle(demo_library)
        assert await turns(stage, "c1") == []
        await stage.kill()  # the one whose model says nothing
        await stage.say("c1", "Who are you?")
        (answer,) = await stage.answers(1)
        assert answer.of != message
        assert await turns(stage, "c1") == ["Who are you?"]


async def test_an_edit_is_answered_once_when_the_process_that_answers_dies(
    open_stage: Any, stalled: Any
) -> None:
    """One process answers a question, another one may be told of its edit, the first one dies."""
    async with open_stage(**asks(stalled)) as stage:
        message = await stage.say("c1", "What does the ferry cost?")
        await stalled.asked.wait()
        stalled.asked.clear()
        await stage.start()
        await stage.edit("c1", message, TALL)
        async with asyncio.timeout(60):
            await stalled.asked.wait()  # the first process goes on with the edit
        await stage.kill()
        (answer,) = await stage.answers(1)
        assert "34 metres" in answer.text
        assert await turns(stage, "c1") == [TALL]


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
        await stage.say("c1", "", pictures=[b"<html>no picture</html>", b"GIF89a"])
        (answer,) = await stage.answers(1)
        assert "\n" not in answer.text
        assert answer.text.lower().count("left out") == 2
        assert "Traceback" not in answer.text
        await stage.say("c1", TALL)
        assert "34 metres" in (await stage.answers(2))[1].text


async def test_one_bad_picture_among_several_is_left_out_and_named(
    open_stage: Any, demo_files: Path
) -> None:
    good = (demo_files / "receipt-cafe.jpg").read_bytes()
    async with open_stage() as stage:
        await stage.say("c1", "What is the total?", pictures=[b"<html>no</html>", good, b"BM"])
        (answer,) = await stage.answers(1)
        assert "18.60" in answer.text
        assert answer.text.count("left out") == 2
        assert "not a picture in one of the formats" in answer.text
        await stage.say("c1", TALL, pictures=[b"<html>no</html>"])
        answers = await stage.answers(2)
        assert "34 metres" in answers[1].text
        assert answers[1].text.count("left out") == 1


async def turns(stage: Any, conversation: str) -> list[str]:
    """Return the questions that memory keeps of a conversation."""
    return list(await stage.remembered(conversation))


def asks(stalled: Any) -> dict[str, str]:
    """Return the settings of a process whose model never answers."""
    return {
        "BIFOCAL_MODEL": "openai:x",
        "BIFOCAL_MODEL_URL": stalled.url,
        "BIFOCAL_MODEL_KEY": "none",
    }


async def idle(library: Path) -> None:
    """Wait until nothing waits to be done, in whatever process."""

    async def left(client: Any) -> list[bytes]:
        return list(await client.keys("bifocal:x:*:messages"))

    async with await SharedRedis.open(folder=library / "redis") as redis, asyncio.timeout(60):
        while await redis.read(left):  # noqa: ASYNC110 - another process's work
            await asyncio.sleep(0.05)
