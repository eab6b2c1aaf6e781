"""What Slack and its people do when they are not kind."""

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from slack_sdk.errors import SlackApiError

from bot.channels.delivery import answer
from bot.channels.inbox import Inbox, Lost
from bot.channels.slack_events import Note
from bot.channels.slack_files import MOST_BYTES, Fetched
from bot.channels.working import TRIES

if TYPE_CHECKING:
    from slack_double import SlackDouble

ME = "<@UBOT>"


async def waiting(joined: Any) -> int:
    """Return how many messages are not done."""
    redis = joined.channel.heard.inbox._redis
    return int(await redis.read(lambda client: client.hlen("bifocal:x:{slack}:messages")))


@pytest.mark.parametrize("error", ["not_in_channel", "channel_not_found", "is_archived"])
async def test_where_it_may_not_write_nothing_is_tried_again(
    slack: "SlackDouble", join: Any, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bot was removed from a channel: the log says so once, and the question is done with."""
    slack.failing |= {"chat.postMessage": error, "chat.startStream": error}
    async with join() as joined:
        await slack.say(f"{ME} How tall is the lighthouse?")
        await joined.worker.idle()
        assert await waiting(joined) == 0
    told = [one for one in capsys.readouterr().out.splitlines() if "Slack refused" in one]
    assert [error in one for one in told] == [True]


async def test_what_fails_to_the_last_is_said(slack: "SlackDouble", join: Any) -> None:
    """Whoever asked is told when the last try failed, and no half of an answer stays."""
    slack.failing |= {"chat.stopStream": "invalid_blocks", "chat.update": "invalid_blocks"}
    note = Note("question", "T1", "D1", slack.ts(), "1.2", "U1", "How tall is the lighthouse?")
    async with join() as joined:
        inbox = joined.channel.heard.inbox
        taken = await inbox.take(note.ids, note.to_bytes(), line=note.conversation)
        taken.tries = TRIES
        with pytest.raises(SlackApiError):
            await joined.worker._work(taken)
        await inbox.done(taken)
    (said,) = slack.messages.values()
    assert said.read.startswith("Something went wrong")


async def test_a_process_that_stood_still_leaves_the_answer_to_another(
    slack: "SlackDouble", join: Any
) -> None:
    """Another process took its message up meanwhile: it takes away what it has shown."""
    note = Note("question", "T1", "D1", slack.ts(), "1.2", "U1", "How tall is the lighthouse?")
    async with join() as joined:
        another = Inbox(joined.channel.heard.inbox._redis, "slack")
        taken = await another.take(note.ids, note.to_bytes(), line=note.conversation)
        assert taken is not None
        with pytest.raises(Lost):
            await joined.worker._work(taken)
        assert slack.messages == {}
        await another.done(taken)


async def test_slackbot_and_other_programs_are_not_answered(
    slack: "SlackDouble", join: Any
) -> None:
    """Slackbot's words in a thread where the bot takes part are no questions: two bots would never
    end."""
    async with join() as joined:
        first = await slack.say(f"{ME} How tall is the lighthouse?")
        await slack.until(lambda: slack.answers(first.ts))
        said = {"type": "message", "channel": "C1", "channel_type": "channel", "text": f"{ME} hi"}
        said["thread_ts"] = first.ts
        await slack.event({**said, "ts": slack.ts(), "user": "USLACKBOT"})
        await slack.event({**said, "ts": slack.ts(), "user": "U9", "bot_profile": {"id": "B9"}})
        await joined.worker.idle()
    assert len(slack.answers(first.ts)) == 1


async def test_what_is_too_long_is_said_to_be_so(slack: "SlackDouble", join: Any) -> None:
    async with join():
        asked = await slack.say("How tall is the lighthouse? " * 4000, channel="D1")
        (line,) = await slack.until(lambda: slack.answers(asked.ts))
    assert "the most is 8,000" in line.read


async def test_redis_killed_while_an_answer_is_written_costs_no_answer(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """The turn cannot be saved; when Redis is back it is run again, and answered once."""
    more = asyncio.Event()
    async with join(stepping(says=["One, ", more, "two."])) as joined:
        redis = joined.channel.heard.inbox._redis
        told: Any = await redis.read(lambda client: client.info("server"))
        asked = await slack.say("Count.", channel="D1")
        await slack.until(lambda: any(m.streaming for m in slack.messages.values()))
        os.kill(told["process_id"], signal.SIGKILL)
        more.set()
        await slack.until(lambda: any("two" in m.read for m in slack.answers(asked.ts)))
        await joined.worker.idle()
        (answer,) = slack.answers(asked.ts)
        assert "One, two." in answer.read
        assert await waiting(joined) == 0


async def test_a_service_starts_while_slack_is_down_and_joins_it_later(
    slack: "SlackDouble", serve: Any
) -> None:
    """Slack gets 503 until then, and delivers again; people of the service notice nothing."""
    slack.failing["auth.test"] = "internal_error"
    given = {"mode": "http", "bot_token": slack.bot_token, "signing_secret": slack.secret}
    async with serve(slack={**given, "api_url": slack.api_url}) as served:
        assert (await served.client.get("/readyz")).is_success
        _, (event,) = slack.write("How tall is the lighthouse?", channel="D1")
        body = json.dumps(slack.envelope(event)).encode()
        said = await served.client.post("/slack/events", content=body, headers=slack.signed(body))
        assert (said.status_code, said.headers["Retry-After"]) == (503, "5")
        del slack.failing["auth.test"]
        while said.status_code != 200:
            headers = slack.signed(body)
            said = await served.client.post("/slack/events", content=body, headers=headers)
            await asyncio.sleep(0.05)
        await slack.until(lambda: slack.answers())


async def test_pictures_are_fetched_when_there_is_room_for_them(
    slack: "SlackDouble", join: Any, stepping: Any, picture: Any
) -> None:
    """Eight pictures, as large as they may be by what Slack says, are all that is held: the next
    question's wait at Slack until that is answered, and words alone do not wait."""
    go = asyncio.Event()
    large = [slack.file(f"large{n}.png", picture(), size=MOST_BYTES) for n in range(8)]
    async with join(stepping(by_question={"first": [go, "One."]})):
        first = await slack.say("The first?", channel="D1", files=large)
        await slack.until(lambda: len(slack.downloads) == 8)
        second = await slack.say("The next?", channel="D2", files=[slack.file("b.png", picture())])
        words = await slack.say("The words?", channel="D3")
        await slack.until(lambda: slack.answers(words.ts))
        assert "b.png" not in slack.downloads
        go.set()
        await slack.until(lambda: slack.answers(first.ts) and slack.answers(second.ts))
        assert "b.png" in slack.downloads


async def test_who_asks_to_forget_is_told_what_is_forgotten_and_what_is_not(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """What is kept of the last conversation is damaged: the one before is forgotten all the same,
    and after the repair so is the last."""
    async with join(stepping()) as joined:
        redis, names = joined.channel.heard.inbox._redis, []
        for word in ("heron", "gannet"):
            asked = await slack.say(f"{ME} My code word is {word}.")
            await slack.until(lambda ts=asked.ts: slack.answers(ts))  # type: ignore[misc]
            names.append(f"slack:T1:C1:{asked.ts}")
        await joined.worker.idle()
        damaged = joined.channel.heard.turns._turns(names[1])
        await redis.read(lambda client: client.delete(damaged))
        await redis.read(lambda client: client.set(damaged, "damaged"))
        said = await slack.command("forget")
        assert "Forgetting 2 conversations" in str(said)
        await slack.until(lambda: slack.responses)
        assert "1 conversation forgotten. 1 conversation could not be: " in str(slack.responses[0])
        begun = await joined.channel.heard.threads.begun("T1", "C1", "U1")
        assert begun == [names[1]]
        await redis.read(lambda client: client.delete(damaged))
        await slack.command("forget")
        await slack.until(lambda: len(slack.responses) == 2)
        assert "1 conversation forgotten." in str(slack.responses[1])
        assert "nothing to forget" in str(await slack.command("forget"))


async def test_pictures_that_a_process_uploaded_before_it_died_are_not_shown_twice(
    slack: "SlackDouble", join: Any
) -> None:
    """It died when the answer stood with its pictures, and nothing was remembered of them."""
    note = Note("question", "T1", "D1", slack.ts(), "1.2", "U1", "Which receipt is over 50?")
    async with join() as joined:
        inbox, work = joined.channel.heard.inbox, joined.worker._work.__self__
        taken = await inbox.take(note.ids, note.to_bytes(), line=note.conversation)
        asked = await work._incoming(note, Fetched())
        await answer(await work._backend(note), asked, work._draft(note, taken))
        before = set(slack.messages)
        assert [shown for shown in slack.messages.values() if shown.files]
        await joined.worker._work(taken)
        await inbox.done(taken)
        assert len(slack.messages) == len(before)
        assert not before & set(slack.messages)


async def test_who_may_not_be_looked_up_is_asked_about_once(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """Without the scope users:read people are called by their ids."""
    slack.scopes.discard("users:read")
    async with join(stepping()):
        for _ in range(3):
            asked = await slack.say("Well?", channel="D1")
            await slack.until(lambda ts=asked.ts: slack.answers(ts))  # type: ignore[misc]
    assert len(slack.called("users.info")) == 1


async def test_where_nothing_is_seen_nothing_is_asked(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """Of characters of no width, and of a question that is edited to the bot's name alone."""
    model = stepping()
    async with join(model) as joined:
        blank = await slack.say("\u200b\u2060 \ufeff", channel="D1")
        (line,) = await slack.until(lambda: slack.answers(blank.ts))
        assert line.read.startswith("Nothing was asked")
        asked = await slack.say(f"{ME} How tall is the lighthouse?")
        await slack.until(lambda: slack.answers(asked.ts))
        await joined.worker.idle()
        await slack.edit(asked, ME)
        await slack.until(lambda: "Nothing was asked" in slack.answers(asked.ts)[0].read)
        await joined.worker.idle()
        await slack.edit(asked, f"{ME} How old is it?")
        await slack.until(lambda: "Aye." in slack.answers(asked.ts)[0].read)
        await joined.worker.idle()
    assert len(model.seen) == 2


async def test_the_first_event_is_not_lost_where_slack_is_down_just_then(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """Nothing is asked of Slack before an event is stored and acknowledged."""
    async with join(stepping()):
        slack.failing["auth.test"] = "internal_error"
        asked = await slack.say("Well?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))
