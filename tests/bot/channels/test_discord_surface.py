"""What Discord asks of a bot beside answers: files at once, places, restarts, busy models."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from discord_double import Discord, File
from discord_story import LIGHTHOUSE, Play, calm_discord, player
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
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


class WaitingChat(GenericFakeChatModel):
    """A model that says nothing until it may."""

    messages: Any = iter(())
    go: ClassVar[asyncio.Event]

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        await self.go.wait()
        yield ChatGenerationChunk(message=AIMessageChunk(content="Aye."))


async def test_pictures_are_copied_while_their_question_waits(play: Play, discord: Discord) -> None:
    """A picture whose question waits behind another one is fetched at once: its address, which
    expires meanwhile, is not asked for again."""
    WaitingChat.go = asyncio.Event()
    direct, data = discord.direct(), io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(data, "PNG")
    async with play(WaitingChat()) as story:
        first = await discord.say("One?", channel=direct)
        await discord.say("And this?", channel=direct, files=[File("a.png", data.getvalue())])
        await discord.until(lambda: discord.downloads)
        assert not discord.to(first)
        discord.expire()
        WaitingChat.go.set()
        await discord.until(lambda: len(discord.answers(direct)) == 2)
        await story.channel.idle()
        conversation = await story.bot.conversation(f"discord:dm:{direct}")
    assert [picture.name for picture in conversation.pictures] == ["a.png"]
    assert discord.downloads == 1


async def test_a_command_is_acknowledged_while_the_model_is_busy(
    play: Play, discord: Discord
) -> None:
    """It is deferred before the model said a word, though no more questions are worked at."""
    WaitingChat.go = asyncio.Event()
    async with play(WaitingChat(), at_once=1) as story:
        tokens = [await discord.command("ask", question=f"Question {n}?") for n in range(4)]
        await discord.until(lambda: all(discord.interactions[t].get("type") == 5 for t in tokens))
        assert not discord.answers()
        WaitingChat.go.set()
        await discord.until(lambda: len(discord.answers()) == 4)
        await story.channel.idle()


async def test_a_message_delivered_again_after_a_restart_is_not_answered_again(
    play: Play, discord: Discord
) -> None:
    async with play() as story:
        asked = await discord.say(LIGHTHOUSE, mention=True)
        await story.asked(asked)
        await story.channel.idle()
    async with play() as story:
        await discord.repeat(asked)
        await story.asked(await discord.say(LIGHTHOUSE, mention=True), 2)
        await story.channel.idle()
    assert len(discord.to(asked)) == 1


async def test_a_place_is_answered_from_its_library(play: Play, discord: Discord) -> None:
    """The narrowest place counts: a channel before its server; direct messages are ``dm``."""
    discord.channel("201", "other")
    direct = discord.direct()
    places = {"100": "handbook", "100/200": "papers", "dm": "letters"}
    async with play(libraries=places) as story:
        for channel, count in (("200", 1), ("201", 2), (direct, 3)):
            asked = await discord.say(LIGHTHOUSE, channel=channel, mention=channel != direct)
            await story.asked(asked, count)
            await story.channel.idle()
        assert list(dict.fromkeys(story.opened)) == ["papers", "handbook", "letters"]
