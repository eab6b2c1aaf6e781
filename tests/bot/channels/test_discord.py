"""Stories in Discord: the real discord.py and a small real Discord, a real bot, a real Redis."""

import io
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from discord_double import EPHEMERAL, Discord, File
from discord_story import LIGHTHOUSE, HalfChat, Play, calm_discord, half_chat, player
from PIL import Image

from memory.feedback import Feedback


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """A Discord in which nobody is called and nothing previewed."""
    async with calm_discord() as made:
        yield made


@pytest.fixture
def play(open_bot: Any, discord: Discord) -> Play:
    """Put a bot over the demo's library into Discord."""
    return player(open_bot, discord)


def picture(colour: str, kind: str = "PNG") -> bytes:
    """Return a small picture."""
    data = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(data, kind)
    return data.getvalue()


async def test_a_mention_is_answered_in_reply_with_its_sources(play: Play) -> None:
    async with play() as story:
        asked = await story.discord.say(LIGHTHOUSE, mention=True)
        (answer,) = await story.asked(asked)
        assert "34 metres" in answer["content"]
        sources = story.discord.mine()[-1]
        mark = re.findall(r"\[\d+\]", answer["content"])[0]
        assert mark in sources["embeds"][0]["description"]
        assert await story.turns(f"discord:100:{asked}") == [LIGHTHOUSE]
        typing = [c for c in story.discord.transcript if c.path.endswith("/typing")]
        assert typing


async def test_what_is_not_for_it_is_left_alone(play: Play) -> None:
    """Neither others' talk, nor bots, nor replies to others are answered."""
    async with play(message_content=True) as story:
        said = await story.discord.say("Shall we have lunch?")
        await story.discord.say("Yes.", by="2", to=said)
        asked = await story.discord.say(LIGHTHOUSE, mention=True)
        await story.asked(asked)
        assert {
            m["message_reference"]["message_id"]
            for m in story.discord.mine()
            if m.get("message_reference")
        } == {int(asked)}


async def test_a_reply_goes_on_with_its_conversation(play: Play) -> None:
    """A chain of replies is one conversation; another mention begins another."""
    async with play() as story:
        first = await story.discord.say(LIGHTHOUSE, mention=True)
        (answer,) = await story.asked(first)
        second = await story.discord.say("When was it built?", to=answer["id"])
        await story.asked(second, 2)
        third = await story.discord.say("And who are the keepers?", mention=True)
        await story.asked(third, 3)
        assert await story.turns(f"discord:100:{first}") == [LIGHTHOUSE, "When was it built?"]
        assert len(await story.turns(f"discord:100:{third}")) == 1


async def test_a_reply_to_half_an_answer_belongs_to_its_conversation(play: Play) -> None:
    """The first words are shown while the model writes, and whoever replies to them goes on."""
    async with play(half_chat()) as story:
        first = await story.discord.say("One?", mention=True)
        (half,) = await story.discord.until(lambda: story.discord.to(first))
        assert half["content"] == "The first half"
        second = await story.discord.say("Two?", to=half["id"])
        third = await story.discord.say("Three?", mention=True)
        await story.discord.until(lambda: story.discord.to(third))
        assert story.discord.to(second) == []  # it waits for the first
        HalfChat.half.set()
        await story.asked(second, 3)
        await story.channel.idle()
        assert story.discord.messages[half["id"]]["content"] == "The first half and the second."
        assert await story.turns(f"discord:100:{first}") == ["One?", "Two?"]


async def test_several_deletions_at_once_are_followed(play: Play) -> None:
    async with play() as story:
        discord = story.discord
        asked = [await discord.say(LIGHTHOUSE, mention=True) for _ in range(2)]
        await story.asked(asked[1], 2)
        await story.channel.idle()
        gone = {"ids": asked, "channel_id": "200", "guild_id": "100"}
        await discord.gateway.dispatch("MESSAGE_DELETE_BULK", lambda _: gone)
        await discord.until(lambda: not discord.mine())
        await story.channel.idle()
        assert [await story.turns(f"discord:100:{one}") for one in asked] == [[], []]


async def test_the_picture_that_is_replied_to_is_what_is_asked_about(play: Play) -> None:
    """ "@Bifocal what is this?" in reply to somebody's picture is about that picture."""
    async with play() as story:
        shown = await story.discord.say(by="2", files=[File("a.png", picture("red"))])
        asked = await story.discord.say("What is this?", mention=True, to=shown)
        await story.asked(asked)
        await story.channel.idle()
        conversation = await story.bot.conversation(f"discord:100:{asked}")
        assert [p.name for p in conversation.pictures] == ["a.png"]


async def test_files_come_from_discords_hosts_only(play: Play, discord: Discord) -> None:
    """A file that is elsewhere is not fetched, though a message names it."""
    async with play(file_hosts=("cdn.discordapp.com",)) as story:
        asked = await discord.say(
            "What is this?", mention=True, files=[File("a.png", picture("red"))]
        )
        await story.asked(asked)
        await story.channel.idle()
        assert any("a.png cannot be read here" in text for text in discord.answers())
        assert discord.downloads == 0


async def test_a_direct_message_needs_no_mention(play: Play, discord: Discord) -> None:
    direct = discord.direct()
    async with play() as story:
        asked = await discord.say(LIGHTHOUSE, channel=direct)
        (answer,) = await story.asked(asked)
        assert "34 metres" in answer["content"]
        assert await story.turns("discord:dm:300") == [LIGHTHOUSE]


async def test_a_picture_is_known_two_turns_later(play: Play, aside_chat: Any) -> None:
    """Several pictures, then other talk, then "the left one": it is shown to the model again."""
    model = aside_chat(says="A picture.", pictures=True)
    files = [File("left.png", picture("red"), alt="a red square"), File("b.png", picture("blue"))]
    direct = ""
    async with play(model) as story:
        direct = story.discord.direct()
        await story.asked(await story.discord.say(files=files, channel=direct))
        await story.asked(await story.discord.say("Thanks.", channel=direct), 2)
        await story.asked(await story.discord.say("What is in picture 1?", channel=direct), 3)
        conversation = await story.bot.conversation("discord:dm:300")
        assert [p.number for p in conversation.pictures] == [1, 2]
        assert conversation.pictures[0].caption == "a red square"
        assert conversation.turns[2].question.pictures == (1,)
        shown = [p for m in model.answered[-1] for p in m.content if isinstance(p, dict)]
        assert any(p.get("type") != "text" for p in shown)


async def test_files_that_cannot_be_read_are_said(play: Play) -> None:
    """An unsupported file beside a picture is named in the answer, alone as its error."""
    files = [File("song.mp3", b"la", "audio/mpeg"), File("a.png", picture("red"))]
    async with play() as story:
        asked = await story.discord.say("What is this?", mention=True, files=files)
        await story.asked(asked)
        assert any("song.mp3 cannot be read here" in text for text in story.discord.answers())
        alone = await story.discord.say(mention=True, files=files[:1])
        (line,) = await story.discord.until(lambda: story.discord.to(alone))
        assert line["content"] == "song.mp3 cannot be read here"


async def test_a_bad_picture_is_one_line(play: Play) -> None:
    """Row 8: bytes that are no picture, and one that claims gigapixels, are refused in a line."""
    bomb = bytearray(picture("red"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    async with play() as story:
        for data in (b"\x89PNG\r\n\x1a\nrubbish", bytes(bomb), b"", picture("red")[:60]):
            files = [File("evil.png", data)]
            asked = await story.discord.say(mention=True, files=files)
            (line,) = await story.discord.until(partial(story.discord.to, asked))
            assert "\n" not in line["content"]
            assert "evil.png" in line["content"].lower()
            assert "Traceback" not in line["content"]


async def test_a_bad_picture_among_good_ones_is_left_out(play: Play) -> None:
    """The question is asked with those that can be read, up to the most; the others are named."""
    files = [File("evil.png", b"BM")] + [File(f"{n}.png", picture("red")) for n in range(9)]
    async with play() as story:
        asked = await story.discord.say("What is this?", mention=True, files=files)
        await story.asked(asked)
        await story.channel.idle()
        told = "\n".join(story.discord.answers())
        assert "left out evil.png: " in told
        assert "8.png (only 8 pictures are looked at) cannot be read here" in told
        conversation = await story.bot.conversation(f"discord:100:{asked}")
        assert [p.name for p in conversation.pictures] == [f"{n}.png" for n in range(7)]


async def test_an_address_that_expired_is_renewed(play: Play, open_bot: Any) -> None:
    """A file whose address expired meanwhile is fetched from the one that Discord gives anew."""
    async with play() as story:
        discord = story.discord
        held = discord.gateway.sessions
        quiet = dict(held)
        held.clear()  # nobody hears of it yet
        files = [File("a.png", picture("red"))]
        asked = await discord.say("What is this?", mention=True, files=files)
        discord.expire()
        held.update(quiet)
        await discord.repeat(asked)
        await story.asked(asked)
        conversation = await story.bot.conversation(f"discord:100:{asked}")
        assert len(conversation.pictures) == 1


async def test_the_librarys_figure_is_shown_back(play: Play, demo_files: Path) -> None:
    """A picture of the library is in the embed of its citation."""
    async with play() as story:
        files = [File("query.webp", (demo_files / "puffin.webp").read_bytes(), "image/webp")]
        asked = await story.discord.say("What is this?", mention=True, files=files)
        await story.asked(asked)
        rests = story.discord.mine()[-1]
        shown = [e for e in rests["embeds"] if "image" in e]
        assert shown
        assert shown[0]["image"]["url"] == f"attachment://{rests['attachments'][0]['filename']}"
        assert Image.open(io.BytesIO(story.discord.pixels[rests["id"]][0])).size[0] > 10


async def test_memory_follows_an_edit_and_a_deletion(play: Play) -> None:
    async with play() as story:
        discord = story.discord
        asked = await discord.say("How tall is the mast?", mention=True)
        (answer,) = await story.asked(asked)
        await discord.edit(asked, LIGHTHOUSE)
        await discord.until(lambda: "34 metres" in discord.messages[answer["id"]]["content"])
        await discord.until(lambda: any(m["embeds"] for m in discord.mine()))
        await story.channel.idle()
        assert await story.turns(f"discord:100:{asked}") == [LIGHTHOUSE]
        await discord.delete(asked)
        await discord.until(lambda: not discord.mine())
        await story.channel.idle()
        assert await story.turns(f"discord:100:{asked}") == []


async def test_a_message_that_comes_four_times_is_answered_once(play: Play) -> None:
    async with play() as story:
        asked = await story.discord.say(LIGHTHOUSE, mention=True)
        for _ in range(3):
            await story.discord.repeat(asked)
        await story.asked(asked)
        other = await story.discord.say(LIGHTHOUSE, mention=True)
        await story.asked(other, 2)
        await story.channel.idle()
        assert len(story.discord.to(asked)) == 1


async def test_ten_people_in_one_channel_are_answered_each(play: Play) -> None:
    async with play() as story:
        asked = [
            await story.discord.say(LIGHTHOUSE, mention=True, by=str(number))
            for number in range(10, 20)
        ]
        await story.asked(asked[0], 10)
        assert [len(story.discord.to(one)) for one in asked] == [1] * 10


async def test_a_long_answer_is_split_and_grows_by_edits(play: Play, aside_chat: Any) -> None:
    """5,000 characters are three messages or more, none over 2,000, a code block whole in each."""
    code = "```python\n" + "\n".join(f"line_{n} = {n}" for n in range(150)) + "\n```"
    prose = " ".join(f"Sentence {n} is here." for n in range(150))
    async with play(aside_chat(says=f"{prose}\n\n{code}")) as story:
        asked = await story.discord.say("Tell me all.", mention=True)
        await story.asked(asked)
        texts = story.discord.answers()
        assert len(texts) >= 3
        assert max(map(len, texts)) <= 2000
        assert all(text.count("```") % 2 == 0 for text in texts)
        told = " ".join(re.sub(r"```(python)?", " ", " ".join(texts)).split())
        assert told == " ".join(re.sub(r"```(python)?", " ", f"{prose} {code}").split())


async def test_nothing_from_a_source_is_a_link_or_a_call(play: Play, aside_chat: Any) -> None:
    """Rows 16 and 18: addresses, pictures and calls in an answer do nothing."""
    evil = (
        "See [here](https://evil.example/x?q=1) ![p](http://evil.example/p.png)"
        " <https://evil.example> @everyone <@1> <@&5> https://evil.example/y [1]"
    )
    async with play(aside_chat(says=evil)) as story:
        asked = await story.discord.say(LIGHTHOUSE, mention=True)
        await story.asked(asked)
        for message in story.discord.mine():
            words = message["content"] + str(message["embeds"])
            assert not re.search(r"https?://", words)
            assert "](" not in words


async def test_a_thread_is_opened_and_needs_no_mention_with_the_intent(play: Play) -> None:
    async with play(threads=True, message_content=True) as story:
        asked = await story.discord.say(LIGHTHOUSE, mention=True)
        await story.discord.until(lambda: len(story.discord.mine(asked)) == 2)
        assert story.discord.channels[asked]["name"] == LIGHTHOUSE
        await story.discord.say("When was it built?", channel=asked)
        await story.discord.until(lambda: len(story.discord.mine(asked)) == 4)
        await story.channel.idle()
        assert await story.turns(f"discord:100:{asked}") == [LIGHTHOUSE, "When was it built?"]


async def test_where_no_thread_may_be_opened_it_replies(play: Play, discord: Discord) -> None:
    discord.denied.add("threads")
    async with play(threads=True) as story:
        asked = await discord.say(LIGHTHOUSE, mention=True)
        (answer,) = await story.asked(asked)
        assert "34 metres" in answer["content"]


async def test_where_no_file_may_be_attached_it_says_so(
    play: Play, discord: Discord, demo_files: Path
) -> None:
    discord.denied.add("files")
    async with play() as story:
        files = [File("query.webp", (demo_files / "puffin.webp").read_bytes(), "image/webp")]
        await discord.say("What is this?", mention=True, files=files)
        await discord.until(lambda: any("Attach Files" in text for text in discord.answers()))
        await story.channel.idle()


async def test_ask_is_acknowledged_and_answered(play: Play) -> None:
    """/ask with a picture is deferred, answered, and gone on with by a reply; /why is for the
    asker alone."""
    async with play() as story:
        discord = story.discord
        assert {c["name"] for c in discord.commands} == {"ask", "why", "forget", "library"}
        token = await discord.command(
            "ask", question=LIGHTHOUSE, picture=File("a.png", picture("red"))
        )
        await discord.until(lambda: any(m["components"] for m in discord.mine()))
        assert discord.interactions[token]["type"] == 5
        answer = discord.messages[discord.interactions[token]["answer"]]
        assert "34 metres" in answer["content"]
        await story.channel.idle()
        again = await discord.say("When was it built?", to=answer["id"])
        await story.asked(again, 2)
        await story.channel.idle()
        token = await discord.command("why")
        told = await discord.until(lambda: _answer_to(discord, token))
        assert told["flags"] & EPHEMERAL
        assert "cited" in told["content"]


async def test_a_conversation_is_forgotten_by_command(play: Play) -> None:
    async with play() as story:
        discord = story.discord
        asked = await discord.say(LIGHTHOUSE, mention=True)
        await story.asked(asked)
        await story.channel.idle()
        token = await discord.command("forget")
        told = await discord.until(lambda: _answer_to(discord, token))
        assert "forgotten" in told["content"]
        assert await story.turns(f"discord:100:{asked}") == []


async def test_each_place_has_its_library(play: Play) -> None:
    async with play(libraries={"100": "handbook", "100/200": "papers"}) as story:
        story.discord.channel("201", "other")
        for channel, name in (("200", "papers"), ("201", "handbook")):
            token = await story.discord.command("library", channel=channel)
            told = await story.discord.until(partial(_answer_to, story.discord, token))
            assert f"“{name}”" in told["content"]


async def test_the_buttons_tell_why_and_keep_what_people_say(play: Play) -> None:
    async with play() as story:
        discord = story.discord
        asked = await discord.say(LIGHTHOUSE, mention=True)
        await story.asked(asked)
        await story.channel.idle()
        pressed = next(m["id"] for m in discord.mine() if m["components"])
        token = await discord.press(pressed, "down", by="7")
        told = await discord.until(lambda: _answer_to(discord, token))
        assert told["content"] == "Thank you."
        (said,) = await Feedback(story.redis).said("default", 0, 10)
        assert (said.rating, said.sender) == ("down", "discord:7")
        token = await discord.press(pressed, "why")
        told = await discord.until(lambda: _answer_to(discord, token))
        assert "cited" in told["content"]


def _answer_to(discord: Discord, token: str) -> Any:
    """Return the message that answers a command, when it is there."""
    id = discord.interactions[token]["answer"]
    message = discord.messages.get(id or "")
    return message if message is not None and message["content"] else None
