"""What Discord and its people do when they are not kind."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from discord_double import Discord, File
from discord_story import LIGHTHOUSE, Play, calm_discord, player
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

PERSON = {"id": "2", "username": "ben", "discriminator": "0", "avatar": None, "bot": False}
LONG_AGO = "2024-01-01T00:00:00+00:00"


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """A Discord in which nobody is called and nothing previewed."""
    async with calm_discord() as made:
        yield made


@pytest.fixture
def play(open_bot: Any, discord: Discord) -> Play:
    """Put a bot over the demo's library into Discord."""
    return player(open_bot, discord)


async def post(discord: Discord, channel: str, **of: Any) -> str:
    """Have a person post a message that has what ``of`` says; return its id."""
    message = discord._new(channel, {**PERSON, "global_name": "Ben"}, "")
    message.update(of)
    discord.messages[message["id"]] = message
    await discord.repeat(message["id"])
    return str(message["id"])


def poll(expiry: str | None) -> dict[str, Any]:
    """Return a poll; without a time it never ends."""
    answers: list[Any] = [{"answer_id": 1, "poll_media": {"text": "Yes"}}]
    asked: dict[str, Any] = {"question": {"text": "Pizza?"}, "answers": answers, "layout_type": 1}
    return {**asked, "expiry": expiry, "allow_multiselect": False}


def forward(**of: Any) -> dict[str, Any]:
    """Return what a message has that forwards another one."""
    kept: dict[str, Any] = {
        "type": 0,
        "content": "",
        "timestamp": LONG_AGO,
        "edited_timestamp": None,
        "flags": 0,
    }
    kept |= {name: [] for name in ("embeds", "attachments", "mentions", "mention_roles")}
    reference = {"type": 1, "message_id": "55", "channel_id": "200", "guild_id": "100"}
    return {"message_snapshots": [{"message": {**kept, **of}}], "message_reference": reference}


async def test_an_event_that_cannot_be_read_ends_nothing(play: Play, discord: Discord) -> None:
    """A poll that never ends is more than discord.py can read: the bot connects anew, and goes on
    with the question that was under way."""
    async with play() as story:
        direct = discord.direct()
        discord.held.clear()
        held = await discord.say(LIGHTHOUSE, mention=True)
        await discord.until(lambda: discord.waiting)
        await post(discord, direct, poll=poll(None))
        await discord.until(lambda: discord.gateway.seen.count("identify") == 2)
        await discord.until(lambda: discord.gateway.connected)
        discord.held.set()
        await story.asked(held)
        await story.asked(await discord.say(LIGHTHOUSE, channel=direct), 2)
        await story.channel.idle()
        assert len(discord.to(held)) == 1


class WaitingChat(GenericFakeChatModel):
    """A model that says half of its answer, and the rest when it may."""

    messages: Any = iter(())
    more: ClassVar[asyncio.Event]

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="One, "))
        await self.more.wait()
        yield ChatGenerationChunk(message=AIMessageChunk(content="two."))


async def test_redis_killed_while_an_answer_is_written_costs_no_answer(
    play: Play, discord: Discord
) -> None:
    WaitingChat.more = asyncio.Event()
    async with play(WaitingChat()) as story:
        told: Any = await story.redis.read(lambda client: client.info("server"))
        asked = await discord.say("Count.", mention=True)
        await discord.until(lambda: discord.to(asked))
        os.kill(told["process_id"], signal.SIGKILL)
        WaitingChat.more.set()
        (answer,) = await story.asked(asked)
        await story.channel.idle()
        assert answer["content"] == "One, two."
        assert await story.turns(f"discord:100:{asked}") == ["Count."]


async def test_what_is_forwarded_is_read(play: Play, discord: Discord) -> None:
    """Words and pictures of a forwarded message are a question, as if they were its own."""
    async with play() as story:
        direct = discord.direct()
        asked = await post(discord, direct, **forward(content=LIGHTHOUSE))
        (answer,) = await story.asked(asked)
        assert "34 metres" in answer["content"]
        file = discord._attach("9", 0, File("a.png", b"no picture"))
        asked = await post(discord, direct, **forward(attachments=[file]))
        (line,) = await discord.until(lambda: discord.to(asked))
        assert "a.png" in line["content"].lower()
        await story.channel.idle()


async def test_the_bots_answer_forwarded_in_its_channel_is_no_question(
    play: Play, discord: Discord
) -> None:
    async with play(message_content=True) as story:
        (answer,) = await story.asked(await discord.say(LIGHTHOUSE, mention=True))
        given = forward(content=answer["content"])
        given["message_reference"]["message_id"] = answer["id"]
        forwarded = await post(discord, "200", **given)
        await story.asked(await discord.say("When was it built?", mention=True), 2)
        await story.channel.idle()
        assert discord.to(forwarded) == []


async def test_what_cannot_be_read_is_named(play: Play, discord: Discord) -> None:
    """A poll, a sticker and a voice message are named."""
    async with play() as story:
        direct = discord.direct()
        voice = discord._attach("9", 0, File("voice-message.ogg", b"OggS", "audio/ogg"))
        said: dict[str, dict[str, Any]] = {
            "a poll": {"poll": poll("2090-01-01T00:00:00+00:00")},
            "wave": {"sticker_items": [{"id": "7", "name": "wave", "format_type": 1}]},
            "voice-message.ogg": {"attachments": [voice], "flags": 1 << 13},
        }
        for name, given in said.items():
            asked = await post(discord, direct, **given)
            (line,) = await discord.until(lambda one=asked: discord.to(one))  # type: ignore[misc]
            assert line["content"] == f"{name} cannot be read here"
        await story.channel.idle()


async def test_what_is_said_to_others_in_a_thread_of_the_bot_is_left_to_them(
    play: Play, discord: Discord
) -> None:
    async with play(message_content=True) as story:
        await discord.thread("7001", "talk")
        others = await post(discord, "7001", content="<@2> and you?", mentions=[PERSON])
        asked = await discord.say(LIGHTHOUSE, channel="7001")
        await story.asked(asked)
        await story.channel.idle()
        assert discord.to(others) == []


async def test_the_words_that_are_replied_to_are_part_of_the_question(
    play: Play, discord: Discord
) -> None:
    """ "@Bifocal is this right?" in reply to somebody's words is about those."""
    async with play(message_content=True) as story:
        said = await discord.say("The lighthouse is 40 metres tall.", by="2")
        asked = await discord.say("Is this right?", mention=True, to=said)
        await story.asked(asked)
        (question,) = await story.turns(f"discord:100:{asked}")
        assert question == "Is this right?\n\nPerson2 wrote: “The lighthouse is 40 metres tall.”"
        again = await discord.say("And this?", mention=True, to=asked)
        await story.asked(again, 2)
        assert (await story.turns(f"discord:100:{asked}"))[1] == "And this?"
        await story.channel.idle()


async def test_a_pin_of_a_message_that_was_edited_long_ago_is_no_edit(
    play: Play, discord: Discord, aside_chat: Any
) -> None:
    model = aside_chat(says="Aye.")
    async with play(model) as story:
        asked = await discord.say("One?", mention=True)
        await story.asked(asked)
        message = discord.messages[asked]
        message.update(pinned=True, edited_timestamp=LONG_AGO)
        await discord.gateway.dispatch("MESSAGE_UPDATE", lambda seen: discord._seen(message, seen))
        await story.asked(await discord.say("Two?", mention=True), 2)
        await asyncio.gather(story.channel.idle())
        assert len(model.answered) == 2


async def test_a_command_that_fails_unexpectedly_says_so(play: Play, discord: Discord) -> None:
    """Nobody is left with a message that says that the bot is thinking."""
    async with play(error=RuntimeError("secret /tmp/path")):
        token = await discord.command("forget", channel=discord.direct())
        asked = discord.interactions[token]
        told = await discord.until(
            lambda: discord.messages.get(asked["answer"] or "", {}).get("content")
        )
        assert told.startswith("Something went wrong")
        assert "secret" not in told


async def test_a_command_whose_time_is_over_before_it_is_acknowledged_is_let_go(
    play: Play, discord: Discord
) -> None:
    """The log says so, and nothing is left undone behind it."""
    async with play() as story:
        direct = discord.direct()
        await story.asked(await discord.say(LIGHTHOUSE, channel=direct))
        await story.channel.idle()
        discord.late = True
        await discord.command("forget", channel=direct)
        await discord.until(lambda: not discord.late)
        await story.asked(await discord.say(LIGHTHOUSE, channel=direct), 2)
        await story.channel.idle()
        assert len(await story.turns(f"discord:dm:{direct}")) == 2


async def test_where_commands_cannot_be_registered_mentions_are_answered(
    play: Play, discord: Discord, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says so, in place of a Discord that cannot be reached."""
    discord.denied.add("commands")
    async with play() as story:
        (answer,) = await story.asked(await discord.say(LIGHTHOUSE, mention=True))
        assert "34 metres" in answer["content"]
        await story.channel.idle()
    told = capsys.readouterr().out
    assert "commands cannot be registered" in told
    assert "cannot be reached" not in told
