"""What must hold in Slack whatever comes: rows 8, 16, 18 and 28 of the threats.

Malformed pictures, sources that give orders, previews of what is said, secrets in logs.
"""

import asyncio
import os
import secrets
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile_orders import drawn, orders, pieces
from hostile_pictures import LATER, foreign, malformed, refused
from live import live, said_in_slack

from bot.channels.served import open_there
from bot.channels.slack import SlackChannel
from bot.errors import ServiceError
from bot.remote import AsyncRemoteChatBot
from bot.service.stores.shared_redis import SharedRedis

if TYPE_CHECKING:
    from slack_double import SlackDouble

FULL = bool(os.environ.get("BIFOCAL_FULL"))
MANY = 2000 if FULL else 48
ORDERS, PICTURES = (374, 84) if FULL else (30, 4)

# --- row 8 ----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
@pytest.mark.timeout(300 + MANY * 5)
async def test_every_message_with_a_malformed_picture_is_answered(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """With the reason in our own words where the picture is refused; words beside it are answered,
    a picture alone is refused in one line. What it costs in memory is measured where the bot has a
    process of its own (``test_slack_contract.py``)."""
    left_out = 0

    async def ask(number: int, data: bytes) -> int:
        words = "What is this?" if number % 2 else ""
        file = slack.file(f"p{number}.png", data)
        while True:
            asked = await slack.say(words, channel="D1", files=[file])
            (answer,) = await slack.until(partial(slack.answers, asked.ts), 300)
            if LATER not in answer.read:
                break
        bad = await asyncio.to_thread(refused, data)
        assert (f"left out p{number}.png: " in answer.read.lower()) is bad, (data[:99], answer.read)
        assert answer.read.startswith("Aye.") is (bool(words) or not bad)
        assert foreign(answer.read) == []
        assert "\n" not in answer.read or not bad or words
        return int(bad)

    async with join(stepping()) as joined:
        work = list(enumerate(malformed(MANY)))
        for at in range(0, len(work), 4):
            left_out += sum(await asyncio.gather(*(ask(n, data) for n, data in work[at : at + 4])))
        await joined.worker.idle()
    assert left_out > MANY / 4
    sys.stdout.write(f"{MANY} answered, {left_out} left out\n")


# --- row 16 ---------------------------------------------------------------------------------------


@pytest.mark.timeout(300 + 5 * (ORDERS + PICTURES))
async def test_a_model_that_obeys_every_order_links_to_nothing(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """The worst that an injection can do: the model says what a source wants it to, piece by piece.
    Nothing of it is live in any message, neither in a draft nor in the end."""
    given = orders(ORDERS)
    model = stepping(by_question={f"box {n}?": pieces(text, n) for n, text in enumerate(given)})
    async with join(model) as joined:
        for at in range(0, len(given), 8):
            asked = [await slack.say(f"box {n}?", channel="D1")
                     for n in range(at, min(at + 8, len(given)))]  # fmt: skip
            await slack.until(lambda a=asked: all(slack.answers(one.ts) for one in a))  # type: ignore[misc]
        await joined.worker.idle()
    said = list(said_in_slack(slack))
    assert len(model.seen) == len(given)
    assert slack.called("chat.startStream")
    assert [(text, live(text)) for text in said if live(text)] == []


@pytest.mark.timeout(300 + 5 * (ORDERS + PICTURES))
async def test_a_library_and_pictures_full_of_orders_link_to_nothing(
    slack: "SlackDouble", orders_library: Path, join: Any
) -> None:
    """Orders in documents, in their names, in the library's pictures and in those that people
    send: quoted, listed by "Why?", and drawn, they lead nowhere."""
    async with join() as joined:
        for number in range(ORDERS):
            await slack.say(f"What is the code of box {number}?", channel="D1")
        await slack.until(lambda: len(slack.answers()) >= ORDERS, 30 + 5 * ORDERS)
        for order in orders(PICTURES):
            file = slack.file("https://bad.invalid/a.png", drawn(order), alt_txt=order)
            asked = await slack.say("What is written on it?", channel="D1", files=[file])
            await slack.until(lambda a=asked: slack.answers(a.ts))  # type: ignore[misc]
        await joined.worker.idle()
        for answer in slack.answers()[:3]:
            seen = len(slack.views)
            await slack.click(answer, "bifocal_why")
            await slack.until(lambda s=seen: len(slack.views) > s and "cited" in str(slack.views))  # type: ignore[misc]
        await slack.command(f"ask {ORDERS} boxes: what is the code of box 1?")
        await joined.worker.idle()
    said = list(said_in_slack(slack))
    assert sum("the code of box" in text.lower() for text in said) > ORDERS / 2
    assert [(text, live(text)) for text in said if live(text)] == []


# --- row 18 ---------------------------------------------------------------------------------------


async def test_nothing_is_previewed_on_any_way_on_which_something_is_said(
    slack: "SlackDouble", join: Any, stepping: Any, picture: Any
) -> None:
    """One story over all ways: streamed, renewed, posted and edited, failed, edited anew, split,
    ephemeral, commands, windows, pictures. The fixture looks at each message in every test here;
    this one makes sure that it had something to look at."""
    go = asyncio.Event()
    waves = "Waves on bad.invalid. " * 80
    long: list[Any] = [f"Paragraph {n}. {waves}\n\n" for n in range(8)]
    long.insert(1, go)
    model = stepping(by_question={"herons": [RuntimeError("no")], "waves": long})
    async with join(model) as joined:
        await slack.say("waves?", channel="D1")
        await slack.until(lambda: "Waves" in slack.transcript()[-1])
        go.set()
        for text in ("Well?", "herons?", "help"):
            asked = await slack.say(text, channel="D1")
            await slack.until(lambda a=asked: slack.answers(a.ts))  # type: ignore[misc]
        await joined.worker.idle()
        await slack.edit(asked, "Well, then?")
        await slack.until(lambda: "Aye" in slack.transcript()[-1])
        await joined.worker.idle()
        answer = slack.answers(asked.ts)[0]
        await slack.click(answer, "bifocal_feedback")
        await slack.until(lambda: slack.ephemeral)
        await slack.click(answer, "bifocal_why")
        for command in ("help", "libraries", "ask Well?", "forget"):
            await slack.command(command)
        slack.failing["chat.startStream"] = "not_supported"
        asked = await slack.say("waves?", channel="D1")
        await slack.until(lambda: len(slack.answers(asked.ts)) > 1)
        await joined.worker.idle()
    async with join(ephemeral=True) as joined:
        await slack.command("ask Which receipt is over 50?")
        await slack.until(lambda: slack.responses)
        await slack.say("Which receipt is over 50?", channel="D1")
        await slack.until(lambda: slack.uploads)
        await joined.worker.idle()
    used = {method for method, _ in slack.calls}
    assert used >= {
        "chat.postMessage", "chat.update", "chat.startStream", "chat.appendStream",
        "chat.stopStream", "chat.postEphemeral", "files.completeUploadExternal", "views.open",
    }  # fmt: skip
    assert [(text, live(text)) for text in said_in_slack(slack) if live(text)] == []


# --- row 28 ---------------------------------------------------------------------------------------


async def test_no_secret_of_slack_is_in_any_log(
    slack: "SlackDouble",
    join: Any,
    stepping: Any,
    picture: Any,
    every_logger: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every logger of every library at DEBUG, while things go right and wrong. The tokens are the
    double's, new each time; addresses for answers to commands are secrets, too."""
    every_logger()
    model = stepping(by_question={"herons": [RuntimeError("no")]})
    async with join(model) as joined:
        every_logger()
        slack.limited.update({"users.info": 1, "chat.startStream": 1})
        slack.broken.update({"chat.appendStream": 1, "files.info": 1})
        slack.failing["assistant.threads.setStatus"] = "not_allowed"
        file = slack.file("red.png", picture("red"))
        for text in ("Well?", "herons?"):
            asked = await slack.say(text, channel="D1", files=[file])
            await slack.until(lambda a=asked: slack.answers(a.ts))  # type: ignore[misc]
        await slack.click(slack.answers()[0], "bifocal_why")
        await slack.command("ask Well?")
        await slack.disconnect()
        asked = await slack.say("Again?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))
        await joined.worker.idle()
    async with join(stepping(), ephemeral=True) as joined:
        await slack.command("ask Well?")
        await slack.until(lambda: slack.responses)
        await joined.worker.idle()
    told = every_logger.text() + "".join(capfd.readouterr())
    assert "slack_bolt" in every_logger.names()
    hidden = [slack.bot_token, slack.app_token, slack.secret, *slack.responding]
    assert [secret for secret in hidden if secret in told] == []


async def test_no_key_of_a_service_is_in_any_log(
    slack: "SlackDouble",
    member: Any,
    serve: Any,
    every_logger: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The key with which a channel reaches a service that answers, and one that it refuses."""
    right, wrong = (f"bifocal_{secrets.token_hex(16)}" for _ in range(2))
    every_logger()
    async with (
        serve() as served,
        open_there(served.url, right) as opening,
        await SharedRedis.of(member()) as redis,
        SlackChannel.open(member(), opening, redis) as channel,
    ):
        every_logger()
        running = asyncio.create_task(channel.run())
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
        assert "34 metres" in answer.read
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with serve(serve={"keys": "on"}) as served, AsyncRemoteChatBot(served.url, wrong) as bot:
        with pytest.raises(ServiceError) as refused:
            await bot.ask("How tall is the lighthouse?")
    told = every_logger.text() + "".join(capfd.readouterr()) + str(refused.value) + repr(bot)
    assert "httpx" in every_logger.names()
    assert [key for key in (right, wrong) if key in told] == []
