"""What Slack shows beside words: a status, blocks that its own library knows; and restarts."""

from typing import TYPE_CHECKING, Any

import pytest
from slack_sdk.models.blocks import Block, ContextActionsBlock, FeedbackButtonsElement
from structlog.testing import capture_logs

from bot.channels.slack_status import WAITING

if TYPE_CHECKING:
    from slack_double import SlackDouble


async def test_a_status_with_loading_messages_is_shown_first(
    slack: "SlackDouble", join: Any
) -> None:
    """Before any word of an answer, the thread says that the bot is at work."""
    async with join():
        asked = await slack.say("<@UBOT> How tall is the lighthouse?")
        await slack.until(lambda: slack.answers(asked.ts))
    shown = [(method, args) for method, args in slack.calls if args.get("thread_ts") == asked.ts]
    assert shown[0][0] == "assistant.threads.setStatus"
    assert shown[0][1]["loading_messages"] == list(WAITING)


async def test_slacks_own_library_finds_the_blocks_to_be_valid(
    slack: "SlackDouble", join: Any
) -> None:
    """The blocks of an answer are within the limits that ``slack_sdk`` knows, and its rating is a
    ``FeedbackButtonsElement``."""
    async with join():
        asked = await slack.say("Which receipt is over 50?", channel="D1")
        (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    blocks = Block.parse_all(answer.blocks)
    for block in blocks:
        block.validate_json()
    (actions,) = (block for block in blocks if isinstance(block, ContextActionsBlock))
    assert [type(element) for element in actions.elements] == [FeedbackButtonsElement]


async def test_a_message_delivered_again_after_a_restart_is_not_answered_again(
    slack: "SlackDouble", join: Any
) -> None:
    shown, (event,) = slack.write("How tall is the lighthouse?", channel="D1")
    for _ in range(2):
        async with join() as channel:
            await slack.event(event)
            await slack.until(lambda: slack.answers(shown.ts))
            await channel.worker.idle()
    assert len(slack.answers(shown.ts)) == 1


@pytest.mark.parametrize("scope", ["assistant:write", "users:read"])
async def test_a_scope_that_is_only_useful_may_be_missing(
    slack: "SlackDouble", join: Any, scope: str
) -> None:
    """It is named at the start, and questions are answered all the same."""
    slack.scopes.discard(scope)
    with capture_logs() as told:
        async with join():
            await slack.event(
                {"type": "app_home_opened", "user": "U1", "channel": "D1", "tab": "messages"}
            )
            asked = await slack.say("How tall is the lighthouse?", channel="D1")
            (answer,) = await slack.until(lambda: slack.answers(asked.ts))
    assert "34 metres" in answer.read
    assert [line["scope"] for line in told if "scope" in line] == [scope]
