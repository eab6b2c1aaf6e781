"""Bifocal in Slack, over Socket Mode: who is answered, where, and how often."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.service.stores.shared_redis import SharedRedis
from memory.feedback import Feedback

if TYPE_CHECKING:
    from slack_double import SlackDouble

ME = "<@UBOT>"


async def test_answers_a_direct_message_in_its_thread(slack: "SlackDouble", join: Any) -> None:
    """A direct message is answered once, in its thread, with footnotes and buttons below."""
    async with join():
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    assert answer.blocks[0]["type"] == "markdown"
    assert "34 metres" in answer.read
    kinds = [block["type"] for block in answer.blocks]
    assert kinds[1:] == ["context", "context_actions", "actions"]
    assert slack.called("assistant.threads.setStatus")[0]["thread_ts"] == asked.ts
    assert slack.called("assistant.threads.setTitle")[0]["title"] == "How tall is the lighthouse?"


async def test_message_and_mention_are_one_question(slack: "SlackDouble", join: Any) -> None:
    """A mention, which Slack tells twice, each delivered four times, is answered once."""
    async with join():
        asked = await slack.say(f"{ME} How tall is the lighthouse?", times=4)
        await slack.until(lambda: slack.answers(asked.ts))
    assert len(slack.answers()) == 1
    assert [len(acks) for acks in slack.acks.values()] == [4, 4]


async def test_a_thread_needs_no_second_mention(slack: "SlackDouble", join: Any) -> None:
    """In a thread where it takes part it answers without being named, elsewhere it is silent, and
    what is said to somebody else is left to them."""
    async with join():
        first = await slack.say(f"{ME} How tall is the lighthouse?")
        await slack.until(lambda: slack.answers(first.ts))
        await slack.say("How tall is the lighthouse?")
        await slack.say("<@U2> did you know?", thread=first.ts)
        other = await slack.say("Is it rain?")
        await slack.say("No idea.", thread=other.ts)
        again = await slack.say("And how many steps has it?", user="U2", thread=first.ts)
        await slack.until(lambda: len(slack.answers(first.ts)) == 2)
    assert again.thread_ts == first.ts
    assert len(slack.answers()) == 2


async def test_the_bots_own_messages_are_none_to_it(slack: "SlackDouble", join: Any) -> None:
    """Its own messages and those of other bots, which come back as events, are not answered."""
    slack.failing["chat.startStream"] = "not_supported"  # so that messages are posted
    async with join():
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))
        own = {"type": "message", "bot_id": "B2", "text": f"{ME} hello", "ts": slack.ts()}
        await slack.event({**own, "user": "U9", "channel": "C1", "channel_type": "channel"})
        await slack.event({**own, "subtype": "bot_message", "channel": "D1", "channel_type": "im"})
        joined = {"subtype": "channel_join", "user": "U9", "text": f"{ME} has joined"}
        await slack.event({"type": "message", "ts": slack.ts(), "channel": "C1", **joined})
    assert len(slack.answers()) == 1


async def test_an_edited_question_is_answered_again_in_place(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """An edit changes the answer where it stands; a preview that Slack adds changes nothing."""
    model = stepping(by_question={"gannets": ["163 steps."], "herons": ["34 metres."]})
    async with join(model) as channel:
        asked = await slack.say("How many herons?", channel="D1")
        (before,) = await slack.until(lambda: slack.answers(asked.ts))
        await slack.edit(asked, "How many gannets?")
        await slack.until(lambda: "163" in slack.answers(asked.ts)[0].read)
        await slack.edit(asked, asked.text)
        await channel.worker.idle()
    (after,) = slack.answers(asked.ts)
    assert after.ts == before.ts
    assert "34" not in after.read
    assert len(model.seen) == 2


async def test_an_edit_before_the_answer_waits_for_it(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """A question that is edited while it is being answered ends up with one answer, to the edit."""
    go = asyncio.Event()
    model = stepping(by_question={"gannets": ["163 steps."], "herons": ["34 ", go, "metres."]})
    async with join(model):
        asked = await slack.say("How many herons?", channel="D1")
        await slack.until(lambda: "34" in str(slack.transcript("D1")))
        await slack.edit(asked, "How many gannets?")
        go.set()
        await slack.until(lambda: slack.answers(asked.ts) and "163" in slack.transcript()[-1])
    assert len(slack.answers(asked.ts)) == 1


async def test_a_deleted_question_is_forgotten(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """When a question is deleted, its answer disappears, and the model is not told of it later."""
    model = stepping()
    async with join(model) as channel:
        asked = await slack.say("My code word is heron.", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))
        await slack.remove(asked)
        await slack.until(lambda: not slack.answers(asked.ts))
        await slack.say("What is my code word?", channel="D1", thread=asked.ts)
        await slack.until(lambda: slack.answers(asked.ts))
        await channel.worker.idle()
    assert "heron" not in str(model.seen[-1])


async def test_ten_people_in_one_channel(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """Ten people who ask at once get an answer each, in their own threads."""
    words = [f"word{n}word" for n in range(10)]
    model = stepping(by_question={word: [f"It is {word}."] for word in words})
    async with join(model):
        asked = await asyncio.gather(
            *(slack.say(f"{ME} what is {w}?", user=f"U{n}", times=2) for n, w in enumerate(words))
        )
        await slack.until(lambda: len(slack.answers()) == 10)
    for question, word in zip(asked, words, strict=True):
        (answer,) = slack.answers(question.ts)
        assert f"It is {word}." in answer.read


async def test_acknowledged_while_the_model_is_busy(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """Questions are acknowledged at once, though the model does not say a word yet."""
    go = asyncio.Event()
    async with join(stepping(says=[go, "Aye."]), at_once=2):
        asked = [await slack.say(f"Question {n}?", channel="D1") for n in range(6)]
        assert not slack.answers()
        assert len(slack.acks) == 6
        go.set()
        await slack.until(lambda: len(slack.answers()) == 6)
    for one in asked:
        assert len(slack.answers(one.ts)) == 1


async def test_two_processes_answer_once(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """With two connections, over which Slack delivers the same events, each is answered once."""
    async with join(stepping()) as one, join(stepping()) as two:
        await slack.until(lambda: len(slack.sockets) == 2)
        for n in range(5):
            await slack.say(f"{ME} Question {n}?", times=4)
        await slack.until(lambda: len(slack.answers()) == 5)
        await one.worker.idle()
        await two.worker.idle()
    assert len(slack.answers()) == 5


async def test_a_question_is_taken_up_again(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """When the process ends in the middle of an answer, the next one answers in its place."""
    never = asyncio.Event()
    before = stepping(says=["It is ", never, "lost."])
    task: asyncio.Task[None]

    async def first() -> None:
        async with join(before):
            await asyncio.Event().wait()

    task = asyncio.create_task(first())
    await slack.until(lambda: slack.sockets)
    asked = await slack.say("How tall is the lighthouse?", channel="D1")
    await slack.until(lambda: "It is" in str(slack.transcript("D1")))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with join(stepping(says=["34 metres."])):
        await slack.until(lambda: "34 metres" in str(slack.transcript("D1")))
    (answer,) = [m for m in slack.messages.values() if m.user != "U1"]
    assert answer.thread_ts == asked.ts
    assert not answer.streaming


async def test_reconnects_when_slack_asks(slack: "SlackDouble", join: Any) -> None:
    """Slack's refresh of the connection, and a connection that breaks, lose nothing."""
    async with join():
        for reason in ("refresh_requested", ""):
            await slack.disconnect(reason)
            asked = await slack.say("How tall is the lighthouse?", channel="D1")
            await slack.until(lambda asked=asked: slack.answers(asked.ts))  # type: ignore[misc]


async def test_suggests_prompts(slack: "SlackDouble", join: Any) -> None:
    """Whoever opens the bot's messages is shown what may be asked; the home tab is none of ours."""
    async with join():
        for tab in ("home", "messages"):
            await slack.event(
                {"type": "app_home_opened", "user": "U1", "channel": "D1", "tab": tab}
            )
        await slack.until(lambda: slack.called("assistant.threads.setSuggestedPrompts"))
    (said,) = slack.called("assistant.threads.setSuggestedPrompts")
    assert said["channel_id"] == "D1"
    assert 1 <= len(said["prompts"]) <= 4


async def test_buttons(slack: "SlackDouble", join: Any, demo_library: Path) -> None:
    """ "Why" opens a window with the evidence; a rating is kept, and thanked for."""
    async with join():
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
        await slack.click(answer, "bifocal_why")
        await slack.until(lambda: slack.views and "cited" in str(slack.views[0]))
        await slack.click(answer, "bifocal_feedback", up=False)
        await slack.until(lambda: slack.ephemeral)
    assert "skerrin-guide.\u200bmd" in slack.views[0]["blocks"][0]["text"]["text"]
    assert slack.ephemeral[0].to == "U1"
    async with await SharedRedis.open(folder=demo_library / "redis") as redis:
        (said,) = await Feedback(redis).said("default", 0, 10)
    assert (said.rating, said.sender) == ("down", "slack:U1")


async def test_a_rating_of_an_answer_that_is_gone_is_said(slack: "SlackDouble", join: Any) -> None:
    async with join():
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
        await slack.remove(asked)
        await slack.until(lambda: not slack.answers(asked.ts))
        await slack.click(answer, "bifocal_feedback")
        await slack.until(lambda: slack.ephemeral)
    assert slack.ephemeral[0].read == "This is no longer there."


async def test_commands(slack: "SlackDouble", join: Any) -> None:
    """The command explains itself, names the library, and asks in a thread of its own."""
    async with join(libraries={"T1": "default"}):
        assert "/bifocal ask" in str(await slack.command("help"))
        assert "/bifocal ask" in str(await slack.command("nonsense"))
        assert "“default”" in str(await slack.command("libraries"))
        assert await slack.command("ask How tall is the lighthouse?") == {}
        (answer,) = await slack.until(lambda: [m for m in slack.answers() if m.thread_ts])
    root = slack.messages["C1", answer.thread_ts]
    assert root.text == "<@U1> asks: How tall is the lighthouse?"
    assert "34 metres" in answer.read


async def test_ephemeral_answers(slack: "SlackDouble", join: Any) -> None:
    """With the setting ephemeral a command is answered to the asker alone."""
    async with join(ephemeral=True):
        await slack.command("ask How tall is the lighthouse?")
        await slack.until(lambda: slack.responses)
    assert not slack.messages
    (said,) = slack.responses
    assert said["response_type"] == "ephemeral"
    assert "34 metres" in str(said)


async def test_forget(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """ "/bifocal forget" forgets what the person began here, and nothing of others."""
    model = stepping()
    async with join(model) as channel:
        mine = await slack.say(f"{ME} My code word is heron.", user="U1")
        other = await slack.say(f"{ME} My code word is gannet.", user="U2")
        await slack.until(lambda: len(slack.answers()) == 2)
        await channel.worker.idle()
        said = await slack.command("forget", user="U1")
        assert "1 conversation " in str(said)
        assert "nothing to forget" in str(await slack.command("forget", user="U3"))
        for thread in (mine.ts, other.ts):
            await slack.say(f"{ME} What is it?", user="U2", thread=thread)
            await slack.until(lambda thread=thread: len(slack.answers(thread)) == 2)  # type: ignore[misc]
    assert "heron" not in str(model.seen[2])
    assert "gannet" in str(model.seen[3])


async def test_a_library_for_each_place(slack: "SlackDouble", join: Any, stepping: Any) -> None:
    """A channel has its own library, its workspace another; one that is not there is said."""
    places = {"T1": "handbook", "T1/C2": "papers"}
    async with join(stepping(), libraries=places) as channel:
        for place, library in (("C1", "handbook"), ("C2", "papers")):
            asked = await slack.say(f"{ME} Well?", channel=place)
            await slack.until(lambda a=asked: slack.answers(a.ts))  # type: ignore[misc]
            assert f"“{library}”" in str(await slack.command("libraries", channel=place))
        assert channel.opened == ["handbook", "papers"]
        channel.missing.add("papers")
        asked = await slack.say(f"{ME} Well?", channel="C2")
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    assert "no library" in answer.read
    assert "\n" not in answer.read


async def test_a_mention_that_is_added_by_an_edit(slack: "SlackDouble", join: Any) -> None:
    """A message that names the bot only after an edit is a question from then on."""
    async with join():
        asked = await slack.say("How tall is the lighthouse?")
        await slack.edit(asked, f"{ME} How tall is the lighthouse?")
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    assert "34 metres" in answer.read


async def test_a_question_that_others_replied_to_is_deleted(
    slack: "SlackDouble", join: Any
) -> None:
    """Slack keeps such a message as a tombstone; it is forgotten all the same."""
    async with join() as channel:
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))
        await channel.worker.idle()
        before = asked.event()
        stone = {"type": "message", "subtype": "tombstone", "user": "USLACKBOT", "ts": asked.ts,
                 "text": "This message was deleted."}  # fmt: skip
        await slack.event({"type": "message", "subtype": "message_changed", "channel": "D1",
                           "channel_type": "im", "ts": slack.ts(), "message": stone,
                           "previous_message": before})  # fmt: skip
        await slack.until(lambda: not slack.answers(asked.ts))


async def test_help_is_given(slack: "SlackDouble", join: Any) -> None:
    """Whoever writes "help" is told what may be done."""
    async with join():
        asked = await slack.say("Help", channel="D1")
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    assert "/bifocal forget" in answer.read


async def test_not_in_the_channel(slack: "SlackDouble", join: Any) -> None:
    """A command in a channel to which the bot was not invited says so to the asker alone."""
    slack.failing["chat.postMessage"] = "not_in_channel"
    async with join():
        await slack.command("ask How tall is the lighthouse?", channel="C9")
        await slack.until(lambda: slack.responses)
    assert "/invite" in str(slack.responses[0])
