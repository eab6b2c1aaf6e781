"""Pictures in Slack, both ways."""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from bot.show import BOX_COLOUR

if TYPE_CHECKING:
    from slack_double import SlackDouble

ME = "<@UBOT>"


def colours(prompt: Any) -> list[tuple[int, ...]]:
    """The colours of the pictures in a prompt's last message, in the order in which it has them."""
    parts = [part for part in prompt[-1].content if isinstance(part, dict)]
    urls = [str(p.get("base64") or p.get("image_url", {}).get("url", "")) for p in parts
            if p.get("type") in ("image", "image_url")]  # fmt: skip
    found = []
    for url in urls:
        with Image.open(io.BytesIO(base64.b64decode(url.rpartition(",")[2]))) as image:
            pixel = image.convert("RGB").getpixel((5, 5))
            assert isinstance(pixel, tuple)
            found.append(tuple(255 * (value > 127) for value in pixel))
    return found


RED, BLUE = (255, 0, 0), (0, 0, 255)


async def test_a_picture_is_known_two_turns_later(
    slack: "SlackDouble", join: Any, stepping: Any, picture: Any
) -> None:
    """Two pictures in a mention, which comes without its files; two turns later "the first
    picture" is shown to the model again, and so is the one that Anna sent."""
    model = stepping()
    async with join(model):
        files = [slack.file("red.png", picture("red")), slack.file("blue.png", picture("blue"))]
        first = await slack.say(f"{ME} look at these", files=files)
        await slack.until(lambda: slack.answers(first.ts))
        for n, text in enumerate(["Thank you.", "What was on the first picture?"], 2):
            await slack.say(text, thread=first.ts)
            await slack.until(lambda n=n: len(slack.answers(first.ts)) == n)  # type: ignore[misc]
        green = slack.file("green.png", picture("lime"))
        await slack.say("This one is mine", user="U2", thread=first.ts, files=[green])
        await slack.until(lambda: len(slack.answers(first.ts)) == 4)
        await slack.say("The picture that Bo sent?", thread=first.ts)
        await slack.until(lambda: len(slack.answers(first.ts)) == 5)
    shown = [colours(prompt) for prompt in model.seen]
    assert shown[0][:2] == [RED, BLUE]
    assert (shown[2][0], BLUE in shown[2]) == (RED, False)
    assert (shown[4][0], RED in shown[4]) == ((0, 255, 0), False)
    assert slack.called("conversations.replies")


async def test_a_picture_that_is_taken_away_is_not_asked_about(
    slack: "SlackDouble", join: Any, stepping: Any, picture: Any
) -> None:
    """A message with two pictures is edited to have one, then none, then other words."""
    model = stepping(says=["A picture."])
    async with join(model) as channel:
        files = [slack.file("red.png", picture("red")), slack.file("blue.png", picture("blue"))]
        asked = await slack.say("What is this?", channel="D1", files=files)
        await slack.until(lambda: slack.answers(asked.ts))
        for kept in (files[:1], []):
            await slack.edit(asked, "What is this?", files=kept)
            await slack.until(lambda kept=kept: len(model.seen) == 3 - len(kept))  # type: ignore[misc]
            await slack.until(lambda: slack.answers(asked.ts))
            await channel.worker.idle()
        await slack.edit(asked, "Where is it?", files=[])
        await slack.until(lambda: len(model.seen) == 4)
        await channel.worker.idle()
    shown = [(RED in colours(prompt), BLUE in colours(prompt)) for prompt in model.seen]
    assert shown == [(True, True), (True, False), (False, False), (False, False)]
    assert len(slack.answers(asked.ts)) == 1


async def test_a_picture_without_words(
    slack: "SlackDouble", join: Any, stepping: Any, picture: Any
) -> None:
    """A picture alone is a question, and its alt text says what it shows."""
    model = stepping()
    async with join(model):
        file = slack.file("red.png", picture("red"), alt_txt="a red flag at the pier")
        asked = await slack.say("", channel="D1", files=[file])
        await slack.until(lambda: slack.answers(asked.ts))
        await slack.say("What was on the first picture?", channel="D1", thread=asked.ts)
        await slack.until(lambda: len(slack.answers(asked.ts)) == 2)
    assert colours(model.seen[0])[0] == RED
    assert "a red flag at the pier" in str(model.seen[1])


async def test_what_cannot_be_read_is_named(
    slack: "SlackDouble", join: Any, stepping: Any, picture: Any
) -> None:
    """A file that is no picture, one that is too large, and one that lies elsewhere are named in
    the answer; the picture beside them is looked at."""
    model = stepping()
    elsewhere = slack.file("far.png", picture())
    elsewhere["url_private"] = slack.url.replace("127.0.0.1", "localhost") + "/files/x"
    large = slack.file("large.png", picture())
    large["size"] = 10**9
    files = [slack.file("plan.pdf", b"%PDF", "application/pdf"), elsewhere, large,
             slack.file("red.png", picture("red"))]  # fmt: skip
    async with join(model):
        asked = await slack.say("What is this?", channel="D1", files=files)
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    for name in ("plan.pdf", "far.png (it does not lie at Slack)", "large.png (too large)"):
        assert name in answer.read
    assert colours(model.seen[0])[0] == RED


async def test_only_files_that_cannot_be_read(slack: "SlackDouble", join: Any) -> None:
    """A message of nothing but such a file is told so."""
    async with join():
        file = slack.file("plan.pdf", b"%PDF", "application/pdf")
        asked = await slack.say("", channel="D1", files=[file])
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    assert "plan.pdf cannot be read here" in answer.read


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_page_instead_of_a_picture(
    slack: "SlackDouble", join: Any, picture: Any, elsewhere: bool
) -> None:
    """Where the app may not read files, Slack sends a page to sign in, there or on another host,
    which is not told the token: the scope is named, and the words of the message are answered."""
    slack.scopes.discard("files:read")
    slack.signs_in_elsewhere = elsewhere
    async with join():
        file = slack.file("red.png", picture("red"))
        asked = await slack.say("How tall is the lighthouse?", channel="D1", files=[file])
        await slack.until(lambda: len(slack.answers(asked.ts)) == 2)
        alone = await slack.say("", channel="D1", files=[file])
        (said,) = await slack.until(lambda: slack.answers(alone.ts))
    assert "34 metres" in slack.answers(asked.ts)[0].read
    for text in (slack.answers(asked.ts)[1].read, said.read):
        assert "the scope files:read" in text
        assert "https://api.slack.com/apps" in text
    assert not slack.wrong_hosts


async def test_a_broken_picture_is_refused_in_words(slack: "SlackDouble", join: Any) -> None:
    """Bytes that are no picture, and a picture that is a bomb, are refused in one line."""
    async with join():
        for data in (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, b"GIF89a\xff\xff\xff\xff\0\0\0"):
            file = slack.file("bad.png", data)
            asked = await slack.say("", channel="D1", files=[file])
            (answer,) = await slack.until(lambda a=asked: slack.answers(a.ts))  # type: ignore[misc]
            assert "bad.png" in answer.read.lower()
            assert "\n" not in answer.read
            assert "Traceback" not in answer.read
            assert "/tmp" not in answer.read


async def test_a_broken_picture_among_good_ones_is_left_out(
    slack: "SlackDouble", join: Any, stepping: Any, picture: Any
) -> None:
    """The question is asked with the others, and the answer names the broken one; when all are
    broken its words are answered all the same."""
    model = stepping()
    bad = slack.file("bad.png", b"GIF89a\xff\xff\xff\xff\0\0\0")
    async with join(model):
        files = [slack.file("red.png", picture("red")), bad, slack.file("b.png", picture("blue"))]
        asked = await slack.say("What are these?", channel="D1", files=files)
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
        assert "left out bad.png: " in answer.read
        assert answer.read.startswith("Aye.")
        asked = await slack.say("And this?", channel="D1", files=[bad])
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
        assert "left out bad.png" in answer.read
        assert answer.read.startswith("Aye.")
    assert colours(model.seen[0])[:2] == [RED, BLUE]


async def test_the_cited_picture_is_shown(slack: "SlackDouble", join: Any) -> None:
    """A figure of the library that the answer rests on is uploaded into the thread, and the box
    of what is cited is drawn on it; when the question is deleted it disappears, too."""
    async with join() as channel:
        asked = await slack.say("Which receipt is over 50?", channel="D1")
        await slack.until(lambda: slack.uploads)
        await channel.worker.idle()
        (upload, *_) = slack.uploads
        with Image.open(io.BytesIO(upload["data"])) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=int)  # (h, w, 3)
            drawn = int((abs(pixels - np.array(BOX_COLOUR)).sum(axis=2) < 60).sum())
        assert upload["thread_ts"] == asked.ts
        assert upload["alt_txt"]
        assert drawn > 50
        await slack.remove(asked)
        await channel.worker.idle()
    assert not [m for m in slack.messages.values() if m.user == "UBOT"]


async def test_pictures_that_may_not_be_shown(slack: "SlackDouble", join: Any) -> None:
    """Without files:write the answer comes, and the scope is named."""
    slack.scopes.discard("files:write")
    async with join():
        asked = await slack.say("Which receipt is over 50?", channel="D1")
        await slack.until(lambda: len(slack.answers(asked.ts)) == 2)
    assert "files:write" in slack.answers(asked.ts)[1].read
