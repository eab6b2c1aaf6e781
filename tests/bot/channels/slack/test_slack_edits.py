"""Questions in Slack that are edited or deleted, also while they are being answered."""

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slack_double import SlackDouble

ME = "<@UBOT>"


async def test_a_deletion_ends_the_writing_and_takes_the_draft_away(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """The model is never let go on; what it had said disappears, and nothing is remembered."""
    model = stepping(by_question={"heron": ["It is ", asyncio.Event(), "lost."]})
    async with join(model) as channel:
        asked = await slack.say("My code word is heron.", channel="D1")
        await slack.until(lambda: "It is" in str(slack.transcript("D1")))
        await slack.remove(asked)
        await slack.until(lambda: not slack.transcript("D1"))
        await channel.worker.idle()
        assert slack.called("assistant.threads.setStatus")[-1]["status"] == ""
        await slack.say("What is my code word?", channel="D1", thread=asked.ts)
        await slack.until(lambda: slack.answers(asked.ts))
    assert "heron" not in str(model.seen[-1])


async def test_of_two_processes_the_one_that_answers_is_told(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """Events go to one connection or to the other; a deletion ends the writing in either case, and
    an edit is answered once."""
    never = asyncio.Event()
    words = {"herons": ["Some ", never, "lost."], "gannets": ["163."]}
    async with join(stepping(by_question=words)) as one, join(stepping(by_question=words)) as two:
        await slack.until(lambda: len(slack.sockets) == 2)
        asked = []
        for n in range(4):
            asked.append(await slack.say(f"{ME} herons {n}?"))
            await slack.until(lambda n=n: str(slack.transcript()).count("Some") == n + 1)  # type: ignore[misc]
        for n, question in enumerate(asked):
            if n % 2:
                await slack.remove(question)
            else:
                await slack.edit(question, f"{ME} gannets?")
        await slack.until(lambda: "Some" not in str(slack.transcript()))
        await slack.until(lambda: len(slack.answers()) == 2)
        for channel in (one, two):
            await channel.worker.idle()
    for question, count in zip(asked, (1, 0, 1, 0), strict=True):
        assert [a.read.startswith("163.") for a in slack.answers(question.ts)] == [True] * count


async def test_what_people_edit_among_themselves_is_left_alone(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """In a thread of the bot's an edit is none of its business where it was not asked."""
    model = stepping()
    async with join(model) as channel:
        root = await slack.say("Lunch?")
        await slack.say(f"{ME} where is the harbour?", thread=root.ts)
        await slack.until(lambda: slack.answers(root.ts))
        await slack.edit(root, "Lunch at noon?")
        await slack.remove(root)
        await channel.worker.idle()
    assert len(model.seen) == 1


async def test_an_edit_that_comes_before_its_question_is_answered_once(
    slack: "SlackDouble", join: Any, stepping: Any
) -> None:
    """Slack delivers again what was not acknowledged; an edit may be there first."""
    model = stepping()
    async with join(model) as channel:
        asked, (event,) = slack.write("One?", channel="D1")
        await slack.edit(asked, "Two?")
        await slack.event(event)
        await slack.until(lambda: slack.answers(asked.ts))
        await channel.worker.idle()
    assert len(model.seen) == 1
    assert "Two?" in str(model.seen)
