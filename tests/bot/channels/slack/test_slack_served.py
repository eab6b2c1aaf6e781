"""Slack over a served Bifocal: real HTTP with a key, and a service that comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bot import AsyncRemoteChatBot
from bot.channels.delivery import AWAY
from bot.channels.final import why_lines
from bot.channels.served import open_there
from bot.channels.slack import SlackChannel
from bot.service.stores.shared_redis import SharedRedis

if TYPE_CHECKING:
    from slack_double import SlackDouble

TALL = "How tall is the lighthouse?"
ME = "<@UBOT>"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of the environment out of the way to loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def join_there(slack: "SlackDouble", member: Any, tmp_path: Path) -> Callable[..., Any]:
    """Join Slack over a service: ``async with join_there(url, key, libraries={…}) as channel``."""

    @asynccontextmanager
    async def joined(url: str, key: str, **of: Any) -> AsyncIterator[SlackChannel]:
        settings = member(**of)
        async with (
            open_there(url, key) as opening,
            await SharedRedis.open(folder=tmp_path / "beside") as redis,
            SlackChannel.open(settings, opening, redis) as channel,
        ):
            running = asyncio.create_task(channel.run())
            await slack.until(lambda: slack.sockets or running.done(), 60)
            try:
                yield channel
                await channel.worker.idle()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    return joined


async def key_of(served: Any, *read: str) -> str:
    """Return a key of the service's own tenant."""
    header = await served.key("crew", tenant="default", read=list(read))
    return str(header["Authorization"].removeprefix("Bearer "))


async def test_the_buttons_reach_the_service_and_tell_its_evidence(
    slack: "SlackDouble", serve: Any, join_there: Any, stepping: Any, picture: Any
) -> None:
    async with serve(writer=stepping(says=["Red. [1]"]), serve={"keys": "on"}) as served:
        key = await key_of(served, "default")
        async with join_there(served.url, key):
            red = slack.file("red.png", picture("red"))
            asked = await slack.say("Which colour is this?", channel="D1", files=[red])
            (answer,) = await slack.until(lambda: slack.answers(asked.ts), 60)
            await slack.click(answer, "bifocal_why")
            await slack.until(lambda: slack.views and "cited" in str(slack.views[0]), 60)
            await slack.click(answer, "bifocal_feedback", up=False)
            await slack.until(lambda: slack.ephemeral, 60)
        bot = await served.server.config.app.inner.state.bots.bot("default", "default")
        kept = await bot.stored_answer(f"slack:T1:D1:{asked.ts}")
        text = "\n\n".join(b["text"]["text"] for b in slack.views[0]["blocks"])
        assert text == "\n\n".join(why_lines(kept))
        assert "red.png - cited, the picture was shown to the model (shown 1.00)" in text
        headers = {"Authorization": f"Bearer {key}"}
        (said,) = (await served.client.get("/v1/feedback", headers=headers)).json()["feedback"]
        assert (said["turn"], said["rating"], said["sender"]) == (kept.turn, "down", "slack:U1")


async def test_a_library_that_the_key_may_not_read_is_said_in_one_line(
    slack: "SlackDouble", serve: Any, join_there: Any
) -> None:
    async with serve(serve={"keys": "on"}) as served:
        key = await key_of(served, "default")
        async with join_there(served.url, key, libraries={"T1/C2": "papers"}):
            asked = await slack.say(f"{ME} {TALL}", channel="C2")
            (line,) = await slack.until(lambda: slack.answers(asked.ts), 60)
            assert line.read == (
                "There is no library 'papers' that this key may read; the setting libraries names"
                " it for this place."
            )
            asked = await slack.say(f"{ME} {TALL}", channel="C1")
            (answer,) = await slack.until(lambda: slack.answers(asked.ts), 60)
            assert "34 metres" in answer.read


async def test_a_key_that_is_revoked_meanwhile_is_said_in_one_line(
    slack: "SlackDouble", service: Any, join_there: Any
) -> None:
    await service.start()
    try:
        key = await service.make_key("default")
        async with join_there(service.url, key):
            await service.stop()  # it remembers keys for a few seconds
            await service.revoke(key)
            await service.start()
            asked = await slack.say(TALL, channel="D1")
            (line,) = await slack.until(lambda: slack.answers(asked.ts), 60)
    finally:
        await service.stop()
    assert line.read == (
        "The service does not take this bot's key (BIFOCAL_KEY): tell whoever runs it."
    )


async def test_a_question_waits_for_a_service_that_went_away(
    slack: "SlackDouble", service: Any, join_there: Any
) -> None:
    """The person sees one line meanwhile, and the answer in its place, once; a deletion waits,
    too."""
    await service.start()
    key = await service.make_key("default")
    try:
        async with join_there(service.url, key):
            first = await slack.say(TALL, channel="D1")
            await slack.until(lambda: slack.answers(first.ts), 60)
            await service.stop()
            asked = await slack.say(TALL, channel="D1")
            (line,) = await slack.until(lambda: slack.answers(asked.ts), 60)
            assert line.read == AWAY
            await slack.remove(first)
            await service.start()
            (answer,) = await slack.until(
                lambda: [m for m in slack.answers(asked.ts) if "34 metres" in m.read], 60
            )
            assert answer.ts == line.ts
            await slack.until(lambda: not slack.answers(first.ts), 60)
        assert len(slack.answers()) == 1
        async with AsyncRemoteChatBot(service.url, key) as bot:
            (kept,) = await bot.conversations()
            assert (kept.id, kept.turns) == (f"slack:T1:D1:{asked.ts}", 1)
    finally:
        await service.stop()
