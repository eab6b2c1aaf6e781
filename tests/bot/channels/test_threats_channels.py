"""What the people of Discord and the programs of the webhook must survive: bad pictures (row 8)."""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from discord_double import Discord, File
from discord_story import Play, calm_discord, player
from hostile_pictures import foreign, forget_most, good, held, malformed, refused

MANY = 2000 if os.environ.get("BIFOCAL_FULL") else 48
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


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
@pytest.mark.timeout(300 + MANY * 5)
async def test_every_message_of_discord_with_a_malformed_picture_is_answered(
    play: Play, discord: Discord, aside_chat: Any
) -> None:
    """With the reason in our own words where the picture is refused; words beside it are answered,
    a picture alone is refused in one line. None ends the process or fills its memory."""

    async def ask(number: int, data: bytes) -> int:
        words = "What is this?" if number % 2 else ""
        files = [File(f"p{number}.png", data)]
        asked = await discord.say(words, mention=True, files=files)
        bad = refused(data)

        def whole() -> str:
            (message,) = discord.to(asked) or [{"content": "", "components": []}]
            ended = message["components"] or (bad and not words)
            return str(message["content"]) if ended else ""

        said = await discord.until(whole, 60)
        assert (f"left out p{number}.png: " in said.lower()) is bad, (data[:99], said)
        assert said.startswith("Aye.") is (bool(words) or not bad)
        assert foreign(said) == []
        assert "\n" not in said or not bad or words
        return int(bad)

    left_out = 0
    async with play(aside_chat(says="Aye.", pictures=True)) as story:
        await ask(-1, good("PNG"))  # loads what reads the writing in pictures
        before = held(os.getpid(), "VmRSS")
        forget_most()
        work = list(enumerate(malformed(MANY)))
        for at in range(0, len(work), 8):
            left_out += sum(await asyncio.gather(*(ask(n, data) for n, data in work[at : at + 8])))
        await story.channel.idle()
        grown = held(os.getpid(), "VmHWM") - before
    assert left_out > MANY / 4
    assert grown <= MOST_MB
    sys.stdout.write(f"{MANY} answered, {left_out} left out, {grown:.0f} MB more at most\n")


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
@pytest.mark.timeout(300 + MANY * 5)
async def test_every_message_of_the_webhook_with_a_malformed_picture_is_answered(
    webhook_stage: Any,
) -> None:
    async def ask(number: int, data: bytes) -> bool:
        told = {"data": base64.b64encode(data).decode(), "name": f"p{number}.png"}
        words = "How tall is the lighthouse?" if number % 2 else ""
        sent = await stage.post(id=f"m{number}", conversation=f"c{number}", text=words,
                                pictures=[told], wait=True)  # fmt: skip
        assert sent.status_code == 200, sent.text
        bad, answer = refused(data), sent.json()
        assert (f"left out p{number}.png: " in sent.text.lower()) is bad, (data[:99], sent.text)
        assert answer["type"] == ("failed" if bad and not words else "answer"), answer
        assert foreign(sent.text) == []
        return bad

    async with webhook_stage(BIFOCAL_WEBHOOK_CALLBACK="", BIFOCAL_WEBHOOK_EVERY="0.2") as stage:
        assert not await ask(-1, good("PNG"))
        before = held(stage.pid, "VmRSS")
        bad = sum([await ask(number, data) for number, data in enumerate(malformed(MANY))])
        grown = held(stage.pid, "VmHWM") - before
        assert "Traceback" not in stage.log()
    assert bad > MANY / 4
    assert grown <= MOST_MB
    sys.stdout.write(f"{MANY} answered, {bad} left out, {grown:.0f} MB more at most\n")
