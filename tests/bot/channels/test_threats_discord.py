"""What must hold in Discord whatever comes: rows 8, 16, 18 and 28 of the threats.

Malformed pictures, sources that give orders, previews of what is said, secrets in logs.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from discord_double import TOKEN, Discord, File
from discord_story import LIGHTHOUSE, Play, calm_discord, player
from hostile_orders import drawn, orders, pieces
from hostile_pictures import LATER, foreign, forget_most, good, held, malformed, refused
from live import live, said_in_discord
from stepping import SteppingChat

FULL = bool(os.environ.get("BIFOCAL_FULL"))
MANY = 2000 if FULL else 48
ORDERS, PICTURES = (374, 84) if FULL else (30, 4)
MOST_MB = 300


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """A Discord in which nobody is called and nothing previewed."""
    async with calm_discord() as made:
        yield made


@pytest.fixture
def play(open_bot: Any, discord: Discord) -> Play:
    """Put a bot over the demo's library into Discord."""
    return player(open_bot, discord)


# --- row 8 ----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
@pytest.mark.timeout(300 + MANY * 5)
async def test_every_message_of_discord_with_a_malformed_picture_is_answered(
    play: Play, discord: Discord
) -> None:
    """With the reason in our own words where the picture is refused; words beside it are answered,
    a picture alone is refused in one line. None ends the process or fills its memory."""

    def whole(asked: str, line: bool) -> str:
        """Return what is answered: a line, or what has buttons below it."""
        message = (discord.to(asked) or [{"content": "", "components": []}])[-1]
        said = str(message["content"])
        return said if message["components"] or line or LATER in said else ""

    async def ask(number: int, data: bytes) -> int:
        words = "What is this?" if number % 2 else ""
        files = [File(f"p{number}.png", data)]
        bad, said = await asyncio.to_thread(refused, data), LATER
        while LATER in said:
            asked = await discord.say(words, mention=True, files=files)
            said = await discord.until(partial(whole, asked, bad and not words), 300)
        assert (f"left out p{number}.png: " in said.lower()) is bad, (data[:99], said)
        assert said.startswith("Aye.") is (bool(words) or not bad)
        assert foreign(said) == []
        assert "\n" not in said or not bad or words
        return int(bad)

    left_out = 0
    async with play(SteppingChat()) as story:
        await ask(-1, good("PNG"))  # loads what reads the writing in pictures
        before = held(os.getpid(), "VmRSS")
        forget_most()
        work = list(enumerate(malformed(MANY)))
        for at in range(0, len(work), 4):
            left_out += sum(await asyncio.gather(*(ask(n, data) for n, data in work[at : at + 4])))
        await story.channel.idle()
        grown = held(os.getpid(), "VmHWM") - before
    assert left_out > MANY / 4
    assert grown <= MOST_MB
    sys.stdout.write(f"{MANY} answered, {left_out} left out, {grown:.0f} MB more at most\n")


# --- row 16 ---------------------------------------------------------------------------------------


@pytest.mark.timeout(300 + 5 * (ORDERS + PICTURES))
async def test_a_model_that_obeys_every_order_links_to_nothing(
    play: Play, discord: Discord
) -> None:
    """The worst that an injection can do: the model says what a source wants it to, piece by piece.
    Nothing of it is live in any message, neither in a draft nor in the end."""
    given = orders(ORDERS)
    model = SteppingChat(by_question={f"box {n}?": pieces(text, n) for n, text in enumerate(given)})
    async with play(model) as story:
        for at in range(0, len(given), 8):
            asked = [await discord.say(f"box {n}?", mention=True)
                     for n in range(at, min(at + 8, len(given)))]  # fmt: skip
            await story.asked(asked[-1], at + len(asked))
        await story.channel.idle()
    assert len(model.seen) == len(given)
    assert [(text, live(text)) for text in said_in_discord(discord) if live(text)] == []


@pytest.mark.timeout(300 + 5 * (ORDERS + PICTURES))
async def test_a_library_and_pictures_full_of_orders_link_to_nothing(
    discord: Discord, orders_library: Path, play: Play
) -> None:
    """Orders in documents, in their names, in the library's pictures and in those that people
    send: quoted, listed by "Why?", and drawn, they lead nowhere."""
    async with play() as story:
        for number in range(ORDERS):
            await discord.say(f"What is the code of box {number}?", mention=True)
        await discord.until(lambda: len(ended(discord)) >= ORDERS, 30 + 5 * ORDERS)
        for number, order in enumerate(orders(PICTURES), ORDERS + 1):
            file = File("https://bad.invalid/a.png", drawn(order), alt=order)
            await discord.say("What is written on it?", mention=True, files=[file])
            await discord.until(lambda n=number: len(ended(discord)) >= n, 60)  # type: ignore[misc]
        await story.channel.idle()
        for message in ended(discord)[:3]:
            token = await discord.press(message, "why")
            await discord.until(partial(answer_to, discord, token))
    said = list(said_in_discord(discord))
    assert sum("the code of box" in text.lower() for text in said) > ORDERS / 2
    assert [(text, live(text)) for text in said if live(text)] == []


def ended(discord: Discord) -> list[str]:
    """Return the messages below which there are buttons: the ends of whole answers."""
    return [message["id"] for message in discord.mine() if message["components"]]


def answer_to(discord: Discord, token: str) -> Any:
    """Return the message that answers a command, when it is there."""
    message = discord.messages.get(discord.interactions[token]["answer"] or "")
    return message if message is not None and message["content"] else None


# --- row 18 ---------------------------------------------------------------------------------------


async def test_nothing_is_previewed_or_called_on_any_way_on_which_something_is_said(
    play: Play, discord: Discord
) -> None:
    """One story over all ways: replies, drafts, split answers, failures, edits, threads, commands,
    buttons, and embeds that are not allowed. The fixture looks at each message in every test here;
    this one makes sure that it had something to look at."""
    long = [f"Paragraph {n} of @everyone. " + "Waves. " * 60 + "\n\n" for n in range(12)]
    model = SteppingChat(by_question={"waves": long, "herons": [RuntimeError("no")]})
    async with play(model) as story:
        asked = await discord.say("waves", mention=True)
        await story.asked(asked)
        await discord.say("herons", mention=True)
        await discord.until(lambda: any("did not answer" in text for text in discord.answers()))
        await discord.say(mention=True, files=[File("a.mp3", b"", "audio/mpeg")])
        await discord.until(lambda: any("a.mp3" in text for text in discord.answers()))
        await story.channel.idle()
        await discord.edit(asked, "What now?")
        await discord.until(lambda: "Aye." in discord.answers())
        await story.channel.idle()
        told = [await discord.command(name) for name in ("why", "library", "forget")]
        told += [await discord.command("ask", question="waves")]
        told += [await discord.press(ended(discord)[0], name) for name in ("why", "up")]
        for token in told:
            await discord.until(partial(answer_to, discord, token))
        await story.channel.idle()
    async with play(threads=True) as story:
        await discord.say(LIGHTHOUSE, mention=True)
        await discord.until(lambda: any(message["embeds"] for message in discord.mine()))
        await story.channel.idle()
        discord.denied |= {"files", "threads"}
        await discord.say("Which receipt is over 50?", mention=True)
        await discord.until(lambda: any("Attach Files" in text for text in discord.answers()))
        await story.channel.idle()
    assert [(text, live(text)) for text in said_in_discord(discord) if live(text)] == []


# --- row 28 ---------------------------------------------------------------------------------------


async def test_no_secret_of_discord_is_in_any_log(
    play: Play,
    discord: Discord,
    every_logger: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every logger of every library at DEBUG, while things go right and wrong. The tokens of
    commands, which are in addresses and in events, are secrets, too."""
    every_logger()
    model = SteppingChat(by_question={"herons": [RuntimeError("no")]})
    async with play(model, message_content=True) as story:
        every_logger()
        discord.errors += [(500, {}), (429, {"message": "x", "retry_after": 0.1, "global": False})]
        await story.asked(await discord.say("Well?", mention=True, files=[File("a.png", b"BM")]))
        await discord.say("herons", mention=True)
        told = [await discord.command(name) for name in ("why", "forget")]
        discord.errors += [(500, {}), (404, {})]
        told += [await discord.command("ask", question=text) for text in ("Well?", "herons")]
        told += [await discord.press(ended(discord)[0], "why")]
        for token in told[:3]:
            await discord.until(partial(answer_to, discord, token), 60)
        gateway, before = discord.gateway, discord.gateway.seen.count("identify")
        await gateway.invalidate(resumable=False)
        await discord.until(lambda: gateway.seen.count("identify") > before and gateway.connected)
        await story.asked(await discord.say("Again?", mention=True))
        await story.channel.idle()
    said = every_logger.text() + "".join(capfd.readouterr())
    assert "discord" in every_logger.names()
    assert [secret for secret in (TOKEN, *told) if secret in said] == []
