"""Questions in Discord that are edited or deleted, also while they are being answered."""

import io
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from discord_double import Discord, File
from discord_story import LIGHTHOUSE, HalfChat, Play, calm_discord, half_chat, player
from PIL import Image


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """A Discord in which nobody is called and nothing previewed."""
    async with calm_discord() as made:
        yield made


@pytest.fixture
def play(open_bot: Any, discord: Discord) -> Play:
    """Put a bot over the demo's library into Discord."""
    return player(open_bot, discord)


def picture(colour: str) -> bytes:
    """Return a small picture."""
    data = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(data, "PNG")
    return data.getvalue()


async def test_a_deletion_ends_the_writing_and_takes_the_draft_away(play: Play) -> None:
    """The model is never let go on; what it had said disappears, and nothing is remembered."""
    async with play(half_chat()) as story:
        discord = story.discord
        asked = await discord.say(LIGHTHOUSE, mention=True)
        await discord.until(lambda: discord.to(asked))
        await discord.delete(asked)
        await discord.until(lambda: not discord.mine())
        await story.channel.idle()
        assert await story.turns(f"discord:100:{asked}") == []


async def test_an_edit_ends_the_writing_and_is_answered_in_the_same_message(play: Play) -> None:
    async with play(half_chat()) as story:
        discord = story.discord
        asked = await discord.say("How tall is the mast?", mention=True)
        (half,) = await discord.until(lambda: discord.to(asked))
        await discord.edit(asked, LIGHTHOUSE)
        await discord.until(lambda: HalfChat.asked == 2)
        HalfChat.half.set()
        (answer,) = await story.asked(asked)
        await story.channel.idle()
        assert answer["id"] == half["id"]
        assert answer["content"] == "The first half and the second."
        assert await story.turns(f"discord:100:{asked}") == [LIGHTHOUSE]


async def test_two_edits_while_it_is_written_leave_the_last_one(play: Play) -> None:
    """An edit's own answer is ended by the next edit; then the question is deleted."""
    async with play(half_chat()) as story:
        discord = story.discord
        HalfChat.half.set()
        asked = await discord.say("One?", mention=True)
        await story.asked(asked)
        await story.channel.idle()
        HalfChat.half.clear()
        await discord.edit(asked, "Two?")
        await discord.until(lambda: HalfChat.asked == 2)
        await discord.edit(asked, "Three?")
        await discord.until(lambda: HalfChat.asked == 3)
        HalfChat.half.set()
        await story.channel.idle()
        assert await story.turns(f"discord:100:{asked}") == ["Three?"]
        await discord.delete(asked)
        await discord.until(lambda: not discord.mine())
        await story.channel.idle()
        assert await story.turns(f"discord:100:{asked}") == []


async def test_of_two_processes_the_one_that_answers_is_told(play: Play) -> None:
    """Both hear of the question and of its deletion; either may have stored it."""
    async with play(half_chat()) as one, play(HalfChat()) as two:
        discord = one.discord
        await discord.until(lambda: discord.gateway.connected == 2)
        asked = await discord.say(LIGHTHOUSE, mention=True)
        await discord.until(lambda: discord.to(asked))
        await discord.delete(asked)
        await discord.until(lambda: not discord.mine())
        await one.channel.idle()
        await two.channel.idle()
        assert HalfChat.asked == 1
        assert await one.turns(f"discord:100:{asked}") == []


async def test_a_picture_that_is_taken_away_is_not_asked_about(play: Play, aside_chat: Any) -> None:
    """A message with two pictures is edited to have one, then none: it is asked again each time, in
    the place of its answer, and memory keeps what is left."""
    model = aside_chat(says="A picture.", pictures=True)
    async with play(model) as story:
        discord = story.discord
        files = [File("left.png", picture("red")), File("b.png", picture("blue"))]
        asked = await discord.say("What is this?", mention=True, files=files)
        (answer,) = await story.asked(asked)
        await story.channel.idle()
        for left in (1, 0):
            await discord.edit(asked, "What is this?", files=left)
            await discord.until(partial(lambda left: len(model.answered) == 3 - left, left))
            await story.channel.idle()
            conversation = await story.bot.conversation(f"discord:100:{asked}")
            (turn,) = conversation.turns
            assert len(turn.question.pictures) == left
            names = {p.number: p.name for p in conversation.pictures}
            assert [names[n] for n in turn.question.pictures] == ["left.png"][:left]
            assert [m["id"] for m in discord.to(asked)] == [answer["id"]]
        assert len(model.answered) == 3


async def test_words_of_a_question_with_pictures_are_edited_alone(
    play: Play, aside_chat: Any
) -> None:
    """Its pictures stay, and are not sent again."""
    model = aside_chat(says="A picture.", pictures=True)
    async with play(model) as story:
        discord = story.discord
        asked = await discord.say("This?", mention=True, files=[File("a.png", picture("red"))])
        await story.asked(asked)
        await story.channel.idle()
        await discord.edit(asked, "What is this?")
        await discord.until(lambda: len(model.answered) == 2)
        await story.channel.idle()
        conversation = await story.bot.conversation(f"discord:100:{asked}")
        (turn,) = conversation.turns
        assert (turn.question.text, turn.question.pictures) == ("What is this?", (1,))
        assert discord.downloads == 1


async def test_a_failed_question_is_answered_in_the_place_of_its_error(play: Play) -> None:
    async with play() as story:
        discord = story.discord
        files = [File("song.mp3", b"la", "audio/mpeg")]
        asked = await discord.say(mention=True, files=files)
        (line,) = await discord.until(lambda: discord.to(asked))
        await story.channel.idle()
        await discord.edit(asked, LIGHTHOUSE)
        await discord.until(lambda: "34 metres" in discord.to(asked)[0]["content"])
        await story.channel.idle()
        (answer,) = discord.to(asked)
        assert answer["id"] == line["id"]


async def test_a_question_without_its_words(play: Play, aside_chat: Any) -> None:
    """With a picture that is asked about alone; without one nothing is asked, and it is said."""
    model = aside_chat(says="A picture.", pictures=True)
    async with play(model) as story:
        discord = story.discord
        files = [File("a.png", picture("red"))]
        asked = await discord.say("What is this?", mention=True, files=files)
        words = await discord.say(LIGHTHOUSE, mention=True)
        for one in (asked, words):
            await story.asked(one, 2)
        await story.channel.idle()
        await discord.edit(words, "")
        await discord.until(lambda: "Nothing was asked" in discord.to(words)[0]["content"])
        await discord.edit(asked, "")
        await discord.until(lambda: len(model.answered) == 3)
        await story.channel.idle()
        assert await story.turns(f"discord:100:{asked}") == [""]
        assert await story.turns(f"discord:100:{words}") == [LIGHTHOUSE]
