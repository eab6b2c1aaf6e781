"""What Slack's people must survive: bad pictures (row 8)."""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hostile_pictures import foreign, forget_most, held, malformed, refused

if TYPE_CHECKING:
    from slack_double import SlackDouble

MANY = 2000 if os.environ.get("BIFOCAL_FULL") else 48
MOST_MB = 300


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
@pytest.mark.timeout(300 + MANY * 5)
async def test_every_message_with_a_malformed_picture_is_answered(
    slack: "SlackDouble", join: Any, stepping: Any, picture: Any
) -> None:
    """With the reason in our own words where the picture is refused; words beside it are answered,
    a picture alone is refused in one line. None ends the process or fills its memory."""
    left_out = 0

    async def ask(number: int, data: bytes) -> int:
        words = "What is this?" if number % 2 else ""
        file = slack.file(f"p{number}.png", data)
        asked = await slack.say(words, channel="D1", files=[file])
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
        bad = refused(data)
        assert (f"left out p{number}.png: " in answer.read.lower()) is bad, (data[:99], answer.read)
        assert answer.read.startswith("Aye.") is (bool(words) or not bad)
        assert foreign(answer.read) == []
        assert "\n" not in answer.read or not bad or words
        return int(bad)

    async with join(stepping()) as joined:
        await ask(-1, picture())  # loads what reads the writing in pictures
        before = held(os.getpid(), "VmRSS")
        forget_most()
        work = list(enumerate(malformed(MANY)))
        for at in range(0, len(work), 8):
            left_out += sum(await asyncio.gather(*(ask(n, data) for n, data in work[at : at + 8])))
        await joined.worker.idle()
        grown = held(os.getpid(), "VmHWM") - before
    assert left_out > MANY / 4
    assert grown <= MOST_MB
    sys.stdout.write(f"{MANY} answered, {left_out} left out, {grown:.0f} MB more at most\n")
