"""Slack limits, fails and forgets; questions are answered all the same."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slack_double import SlackDouble

ALONE = "ask How tall is the lighthouse?"
#: Everything that a bot of Slack asks of it
METHODS = (
    "auth.test", "apps.connections.open", "assistant.threads.setStatus",
    "assistant.threads.setTitle", "assistant.threads.setSuggestedPrompts", "chat.startStream",
    "chat.stopStream", "chat.postMessage", "chat.postEphemeral", "chat.update", "chat.delete",
    "conversations.replies", "files.completeUploadExternal", "files.getUploadURLExternal",
    "files.delete", "users.info", "views.open", "views.update",
)  # fmt: skip


async def test_every_method_may_be_limited(
    slack: "SlackDouble", join: Any, demo_files: Path
) -> None:
    """Each method gets a 429 once: all is done nevertheless."""
    slack.retry_after = 0
    slack.limited.update(dict.fromkeys(METHODS, 1))
    async with join() as channel:
        await slack.event({"type": "app_home_opened", "tab": "messages", "channel": "D1",
                           "user": "U1"})  # fmt: skip
        photo = slack.file("p.webp", (demo_files / "puffin.webp").read_bytes(), "image/webp")
        shown = await slack.say("<@UBOT> what is this?", files=[photo])
        (answer,) = await slack.until(lambda: slack.uploads and slack.answers(shown.ts))
        await slack.click(answer, "bifocal_why")
        await slack.until(lambda: slack.views and "Looking" not in str(slack.views))
        await slack.click(answer, "bifocal_feedback")
        await slack.until(lambda: slack.ephemeral)
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))
        await slack.edit(asked, "When was the lighthouse built?")
        await slack.until(lambda: slack.called("chat.update"))
        await slack.command(ALONE)
        await slack.until(lambda: slack.called("chat.postMessage"))
        await channel.worker.idle()
        await slack.remove(shown)
        await slack.until(lambda: not slack.answers(shown.ts))
        await channel.worker.idle()
    assert +slack.limited == {}


async def test_an_outage_in_the_middle_of_an_answer_is_waited_for(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """Half of an answer is shown when Slack goes; there is one whole answer in the end."""
    go = asyncio.Event()
    async with join(stepping(says=["34 ", go, "metres."])) as channel:
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        await slack.until(lambda: "34" in str(slack.transcript("D1")))
        slack.failing.update(dict.fromkeys(METHODS[2:], "service_unavailable"))
        slack.failing["chat.appendStream"] = "service_unavailable"
        go.set()
        await slack.until(lambda: slack.called("chat.update"))
        slack.failing.clear()
        await slack.until(lambda: "34 metres." in str(slack.transcript("D1")))
        await channel.worker.idle()
    (answer,) = [m for m in slack.messages.values() if m.user != "U1"]
    assert (answer.thread_ts, answer.streaming) == (asked.ts, False)


async def test_a_command_that_is_answered_too_late_is_answered_in_the_channel(
    slack: "SlackDouble", join: Any
) -> None:
    """To the asker alone, too; directly where the bot is not in the channel."""
    slack.expired = True
    async with join(ephemeral=True):
        await slack.command(ALONE)
        await slack.until(lambda: slack.ephemeral)
        slack.failing["chat.postEphemeral"] = "not_in_channel"
        await slack.command(ALONE)
        await slack.until(lambda: slack.messages)
    (alone,), (direct,) = slack.ephemeral, slack.messages.values()
    assert (alone.channel, alone.to, direct.channel) == ("C1", "U1", "U1")
    assert "34 metres" in alone.read
    assert "34 metres" in direct.read


async def test_a_command_is_answered_in_no_more_messages_than_slack_takes(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """The end of an answer that is longer still is not left out in silence."""
    paragraphs = "\n\n".join("word " * 2000 for _ in range(8))
    async with join(stepping(says=[paragraphs]), ephemeral=True):
        await slack.command("ask Tell me all.")
        await slack.until(lambda: "not all of it" in str(slack.responses))
    assert len(slack.responses) == 4
    assert not slack.ephemeral


async def test_answers_of_slack_that_cannot_be_read_are_an_outage(
    slack: "SlackDouble", join: Any, demo_files: Path
) -> None:
    """Half of an answer of each method comes once, as a proxy may have it; no question is lost."""
    once = set(METHODS) - {"auth.test", "apps.connections.open"}
    async with join() as channel:
        slack.garbled.update(dict.fromkeys(once, 1))
        asked = await slack.say("Which receipt is over 50?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts) and slack.called("chat.stopStream"))
        await channel.worker.idle()
        await slack.edit(asked, "How tall is the lighthouse?")
        await slack.until(lambda: "34 metres" in str(slack.transcript("D1")))
        await channel.worker.idle()
    assert "Something went wrong" not in str(slack.transcript())
