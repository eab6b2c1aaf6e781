"""How an answer is written in Slack: streams, edits, limits, rates."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.channels.final import Final
from bot.channels.slack_draft import Place, SlackDraft, clear_away
from bot.events import Answer

if TYPE_CHECKING:
    from slack_double import SlackDouble

PIECES = [f"word{n} " for n in range(60)]


async def test_is_streamed(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """The first words are shown while the model is at work; each view is the beginning of the
    next."""
    go = asyncio.Event()
    async with join(stepping(says=["The first words, ", go, "the rest."])):
        asked = await slack.say("<@UBOT> Well?")
        await slack.until(lambda: "first" in str(slack.transcript()[-1]))
        (start,) = slack.called("chat.startStream")
        assert (start["recipient_user_id"], start["recipient_team_id"]) == ("U1", "T1")
        go.set()
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    assert answer.history == ["The first words,", "The first words, the rest."]
    assert answer.edits == 0


async def test_code_and_addresses_are_streamed(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """A code block that is not closed yet, and an address of which half is there, do not end the
    stream: every view is the beginning of the next."""
    steps = [asyncio.Event() for _ in range(4)]
    pieces = ["See htt", steps[0], "ps://a.exam", steps[1], "ple/x now:\n\n```py\nprint(1)\n",
              steps[2], "print(2)\n```\nThat ", steps[3], "is all."]  # fmt: skip
    async with join(stepping(says=pieces)):
        asked = await slack.say("Well?", channel="D1")
        for seen, step in zip(("See", "See", "```py", "print(2)"), steps, strict=True):
            await slack.until(lambda s=seen: s in slack.transcript()[-1])  # type: ignore[misc]
            step.set()
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    assert answer.edits == 0
    assert answer.blocks[0]["text"].endswith("```py\nprint(1)\nprint(2)\n```\nThat is all.")
    assert len(answer.history) >= 3


async def test_a_stream_that_ends_by_itself_is_edited(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """When Slack ends a stream the answer goes on in the same message."""
    go = asyncio.Event()
    async with join(stepping(says=["The first words, ", go, "the rest."])):
        asked = await slack.say("Well?", channel="D1")
        await slack.until(lambda: "first" in str(slack.transcript()[-1]))
        slack.expire_streams()
        go.set()
        await slack.until(lambda: "the rest." in slack.answers(asked.ts)[0].read)
    (answer,) = slack.answers(asked.ts)
    assert [b["type"] for b in answer.blocks][-1] == "actions"


def draft_of(slack: "SlackDouble", **of: Any) -> SlackDraft:
    client = AsyncWebClient(slack.bot_token, base_url=slack.api_url)
    return SlackDraft(client, Place("T1", "C1", "1.0", "U1"), **of)


async def test_a_stream_is_renewed(slack: "SlackDouble") -> None:
    """Before Slack would end a stream, a new one with all of its words takes its place."""
    draft = draft_of(slack, renew=-1)
    for n in range(1, 4):
        await draft.show(["one two three four five "[: 5 * n] + " "])
    await draft.finish(Final(Answer(text=""), "one two", ["one two three four."]))
    (answer,) = slack.answers()
    assert answer.read.startswith("one two three four.")
    assert len(slack.called("chat.startStream")) > 2
    assert len(slack.deleted) == len(slack.called("chat.startStream")) - 1


class Died(Exception):
    """A process ends here."""


@pytest.mark.parametrize("last", [1, 2, 3, 4])
async def test_of_a_process_that_dies_every_stream_is_noted(
    slack: "SlackDouble", last: int
) -> None:
    """Also while a stream is renewed, when there are two: nothing is left when that is cleared."""
    noted: list[list[str]] = []

    async def noting(shown: list[str], files: list[str]) -> None:
        noted.append(shown)
        if len(noted) == last:
            raise Died

    draft = draft_of(slack, renew=-1, noting=noting)
    text = "one two three four five "
    with pytest.raises(Died):  # noqa: PT012 - it may be any of them
        for n in range(1, 4):
            await draft.show([text[: 5 * n] + " "])
    client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)
    await clear_away(client, "C1", noted[-1])
    assert slack.messages == {}


async def test_where_slack_does_not_stream(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """Then a message is posted and edited, not more often than it may be."""
    slack.failing["chat.startStream"] = "method_not_supported_for_channel_type"
    async with join(stepping(says=PIECES)):
        asked = await slack.say("Well?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts) and "word59" in slack.transcript()[-1])
    (answer,) = slack.answers(asked.ts)
    assert answer.edits <= 10


async def test_a_long_answer_is_split(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """An answer over Slack's limit becomes several messages; nothing is lost, and only the last
    one has the buttons."""
    paragraphs = [f"Paragraph {n}. " + "Waves on the shore. " * 30 for n in range(50)]
    async with join(stepping(says=[f"{p}\n\n" for p in paragraphs])):
        asked = await slack.say("Tell me everything.", channel="D1")
        answers = await slack.until(
            lambda: len(slack.answers(asked.ts)) > 2 and slack.answers(asked.ts)
        )
        await slack.until(lambda: slack.answers(asked.ts)[-1].blocks[-1]["type"] == "actions")
        answers = slack.answers(asked.ts)
    said = " ".join(" ".join(a.blocks[0]["text"] for a in answers).split())
    assert said == " ".join(" ".join(paragraphs).split())
    assert [a.blocks[-1]["type"] for a in answers] == ["markdown"] * (len(answers) - 1) + [
        "actions"
    ]


async def test_a_rate_limit_slows(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """A rate limit on every method that is used slows the answer down, and loses nothing."""
    methods = ("chat.startStream", "chat.appendStream", "chat.stopStream", "users.info",
               "assistant.threads.setStatus", "files.completeUploadExternal")  # fmt: skip
    async with join(stepping(says=PIECES)):
        slack.limited.update(dict.fromkeys(methods, 2))
        asked = await slack.say("Well?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))
    (answer,) = slack.answers(asked.ts)
    assert "word59" in answer.read


async def test_a_deleted_answer_is_posted_anew(slack: "SlackDouble") -> None:
    """Somebody who deletes an answer that is being edited gets the whole one all the same."""
    slack.failing["chat.startStream"] = "not_supported"
    draft = draft_of(slack)
    await draft.show(["one two "])
    slack.messages.clear()
    await draft.finish(Final(Answer(text=""), "one two three", ["one two three"]))
    (answer,) = slack.answers()
    assert answer.read.startswith("one two three")


async def test_links_and_calls_of_sources_are_words(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """What a model was talked into saying links to nothing, shows no picture and calls nobody,
    neither in the end nor while it is being written (threats 16 and 18)."""
    evil = (
        "See https://evil.example/x?q=1 and [here](https://evil.example/y) "
        "![p](https://evil.example/z.png) <https://evil.example|click> <!channel> <@U2> @here "
        "evil.example/path "
    )
    async with join(stepping(says=[word + " " for word in evil.split()])):
        asked = await slack.say("Well?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))
    (answer,) = slack.answers(asked.ts)
    for text in [*answer.history, answer.text, answer.read]:
        for live in ("https://evil", "evil.example", "](http", "<!channel>", "<@U2>", "@here"):
            assert live not in text, text


async def test_an_error_is_one_line(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """When the model fails in the middle of an answer, a line takes the place of what was shown,
    and the next question is answered."""
    go = asyncio.Event()
    broken = ["The first ", "words ", go, RuntimeError("secret /tmp/path")]
    model = stepping(by_question={"herons": broken})
    async with join(model):
        asked = await slack.say("herons?", channel="D1")
        await slack.until(lambda: "first" in str(slack.transcript()[-1]))
        go.set()
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
        again = await slack.say("And now?", channel="D1", thread=asked.ts)
        await slack.until(lambda: len(slack.answers(asked.ts)) == 2)
    assert again.thread_ts == asked.ts
    assert "first" not in answer.read
    assert "secret" not in answer.read
    assert "\n" not in answer.read


async def test_a_failed_question_that_is_edited(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """The line that told of a failure goes when the question is edited; the edit is answered."""
    model = stepping(by_question={"herons": [RuntimeError("no")]})
    async with join(model) as joined:
        asked = await slack.say("herons?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))
        await joined.worker.idle()
        await slack.edit(asked, "gannets?")
        await slack.until(lambda: slack.answers(asked.ts)[-1:] and "Aye" in slack.transcript()[-1])
        await joined.worker.idle()
        (answer,) = slack.answers(asked.ts)
        await slack.remove(asked)
        await joined.worker.idle()
    assert answer.read.startswith("Aye.")
    assert not slack.answers(asked.ts)
