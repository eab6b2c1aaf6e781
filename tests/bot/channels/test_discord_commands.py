"""Answers to commands in Discord whose fifteen minutes are over before they come."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from discord_double import Discord, File
from discord_story import LIGHTHOUSE, HalfChat, Play, calm_discord, half_chat, player


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """A Discord in which nobody is called and nothing previewed."""
    async with calm_discord() as made:
        yield made


@pytest.fixture
def play(open_bot: Any, discord: Discord) -> Play:
    """Put a bot over the demo's library into Discord."""
    return player(open_bot, discord)


async def test_an_answer_goes_on_when_the_time_of_its_command_is_over(
    play: Play, discord: Discord
) -> None:
    """Its first half was the command's response; the rest comes by the bot's own rights."""
    discord.responses = 1
    async with play(half_chat()) as story:
        await discord.command("ask", question=LIGHTHOUSE)
        await discord.until(lambda: "The first half" in discord.answers())
        HalfChat.half.set()
        await discord.until(lambda: discord.mine()[0]["components"])
        await story.channel.idle()
        assert discord.answers() == ["The first half and the second."]


async def test_an_answer_that_comes_too_late_is_a_message_of_the_channel(
    play: Play, discord: Discord
) -> None:
    """It says whom it answers; it can be replied to."""
    discord.responses = 0
    async with play() as story:
        await discord.command("ask", question=LIGHTHOUSE)
        await discord.until(lambda: any(m["components"] for m in discord.mine()))
        await story.channel.idle()
        asked, answer = discord.answers()
        assert asked == f"-# Person1 asked: {LIGHTHOUSE}"
        assert "34 metres" in answer
        again = await discord.say("When was it built?", to=discord.mine()[2]["id"])
        await story.asked(again, 2)


async def test_cited_pictures_are_shown_when_it_is_too_late_for_them(
    play: Play, discord: Discord, demo_files: Path
) -> None:
    discord.responses = 1
    async with play() as story:
        picture = File("q.webp", (demo_files / "puffin.webp").read_bytes(), "image/webp")
        await discord.command("ask", question="What is this?", picture=picture)
        await discord.until(lambda: any(m["components"] for m in discord.mine()))
        await story.channel.idle()
        rests = discord.mine()[-1]
        assert rests["attachments"]
        assert discord.pixels[rests["id"]][0]


async def test_who_asks_where_it_may_not_write_is_told_before_the_time_is_over(
    play: Play, discord: Discord
) -> None:
    discord.denied.add("send")
    async with play(half_chat()) as story:
        await discord.command("ask", question=LIGHTHOUSE, age=14 * 60)
        await discord.until(lambda: any("15 minutes" in text for text in discord.answers()))
        await story.channel.idle()
        assert len(discord.mine()) == 1
