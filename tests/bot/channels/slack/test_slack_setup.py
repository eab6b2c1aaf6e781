"""What is wrong with a token, a scope or a connection is said in one line that names the page."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from bot import Settings
from bot.channels.slack import SlackChannel, manifest, scopes
from bot.channels.slack_events import Note, note_of, words
from bot.cli import app
from bot.errors import SettingsError
from bot.service.stores.shared_redis import SharedRedis

if TYPE_CHECKING:
    from slack_double import SlackDouble

Member = Callable[..., Settings]


async def fails(settings: Settings) -> str:
    """Connect, and return in what words that fails."""

    async def opening(library: str) -> Any:
        raise AssertionError(library)

    with pytest.raises(SettingsError) as failed:
        async with (
            await SharedRedis.of(settings) as redis,
            SlackChannel.open(settings, opening, redis) as channel,
        ):
            await channel.run()
    said = str(failed.value)
    assert "\n" not in said
    assert "https://api.slack.com/apps" in said
    return said


@pytest.mark.parametrize("name", ["bot_token", "app_token"])
async def test_a_token_that_is_wrong_or_missing(
    slack: "SlackDouble", member: Member, name: str
) -> None:
    """A token that Slack does not take, or that is not there, is named, and never shown."""
    wrong = "xoxb-wrong-4711"
    said = await fails(member(**{name: wrong}))
    assert "invalid_auth" in said
    assert wrong not in said
    assert f"slack.{name}" in await fails(member(**{name: None}))


async def test_an_app_token_without_its_scope_is_told_which(
    slack: "SlackDouble", member: Member
) -> None:
    slack.failing["apps.connections.open"] = "missing_scope"
    said = await fails(member())
    assert "connections:write" in said
    assert "“Basic Information”, App-Level Tokens" in said


async def test_http_mode_wants_its_secret(slack: "SlackDouble", member: Member) -> None:
    """Without the signing secret nobody could be believed: HTTP mode does not start."""
    assert "slack.signing_secret" in await fails(member(mode="http", signing_secret=None))


async def test_a_missing_scope_is_named(slack: "SlackDouble", member: Member) -> None:
    """A scope without which nothing works keeps it from starting."""
    slack.scopes -= {"chat:write", "im:history"}
    said = await fails(member())
    assert "chat:write" in said
    assert "im:history" in said


async def test_every_scope_that_is_needed_is_named_where_it_is_missing(
    slack: "SlackDouble", member: Member
) -> None:
    """Whichever the app lacks of them, one line names it and the page where it is added."""
    useful = {"assistant:write", "files:read", "files:write", "users:read"}
    for scope in set(scopes()) - useful:
        slack.scopes.discard(scope)
        said = await fails(member())
        assert f"lacks the scope {scope};" in said
        assert "OAuth & Permissions" in said
        slack.scopes.add(scope)


async def test_waits_for_slack(slack: "SlackDouble", join: Any) -> None:
    """A Slack that refuses everything for a while is waited for, a limited one, too."""
    slack.limited.update({"auth.test": 1, "apps.connections.open": 1})
    slack.broken.update({"auth.test": 2, "apps.connections.open": 2})
    async with join():
        slack.broken.update({"chat.startStream": 1, "users.info": 1})
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        await slack.until(lambda: slack.answers(asked.ts))


async def test_redis_down_is_not_acknowledged(
    slack: "SlackDouble", join: Any, redis_server: Any
) -> None:
    """What could not be stored is not acknowledged; Slack delivers it again, and it is answered."""
    first = redis_server()
    async with join(redis_url=f"redis://127.0.0.1:{redis_server.port}"):
        first.kill()
        first.wait()
        asking = asyncio.create_task(slack.say("How tall is the lighthouse?", channel="D1"))
        await slack.until(lambda: slack.envelopes > 1)
        assert not slack.acks
        redis_server()
        asked = await asking
        await slack.until(lambda: slack.answers(asked.ts))
    assert len(slack.answers(asked.ts)) == 1


async def test_a_killed_process_loses_nothing(
    slack: "SlackDouble", member: Member, tmp_path: Path
) -> None:
    """When `bifocal slack` is killed between a question and its answer, the next one answers."""
    library = member().library
    environment = {
        **os.environ,
        "BIFOCAL_SLACK_BOT_TOKEN": slack.bot_token,
        "BIFOCAL_SLACK_APP_TOKEN": slack.app_token,
        "BIFOCAL_SLACK_API_URL": slack.api_url,
        "BIFOCAL_MODEL": "extractive",
    }
    command = [sys.executable, "-m", "bot", "slack", "-l", str(library)]
    started = []

    async def start() -> asyncio.subprocess.Process:
        with (tmp_path / "log").open("ab") as log:
            started.append(
                await asyncio.create_subprocess_exec(
                    *command, env=environment, stderr=log, cwd=Path(__file__).parents[4]
                )
            )
        await slack.until(lambda: slack.sockets)
        return started[-1]

    try:
        slack.slow["users.info"] = 600
        first = await start()
        asked = await slack.say("How tall is the lighthouse?", channel="D1")
        await slack.until(lambda: slack.waiting["users.info"])
        first.kill()
        await first.wait()
        await slack.until(lambda: not slack.sockets)
        slack.slow.clear()
        second = await start()
        await slack.until(lambda: slack.answers(asked.ts))
        second.terminate()
        assert await second.wait() == 0
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert len(slack.answers(asked.ts)) == 1
    log = (tmp_path / "log").read_text()
    assert slack.bot_token not in log
    assert slack.app_token not in log


def test_the_manifest_is_whole(tmp_path: Path) -> None:
    """The command prints the manifest of the package: Socket Mode, or the service's address for
    HTTP mode."""
    printed = CliRunner().invoke(app, ["slack", "--manifest"])
    made = json.loads(printed.output)
    assert made == manifest()
    assert made["settings"]["socket_mode_enabled"]
    assert "agent_view" in made["features"]
    address = ["slack", "--manifest", "--address", "https://bifocal.example"]
    http = json.loads(CliRunner().invoke(app, address).output)["settings"]
    assert http["event_subscriptions"]["request_url"] == "https://bifocal.example/slack/events"
    assert not http["socket_mode_enabled"]


def test_an_address_is_for_the_manifest() -> None:
    """Which it goes with, rather than being passed over in silence."""
    failed = CliRunner().invoke(app, ["slack", "--address", "https://bifocal.example"])
    assert "'https://bifocal.example' is for the manifest; add --manifest" in str(failed.exception)


def test_events_become_notes() -> None:
    """A note keeps what is needed of an event, and survives its stored form."""
    event = {"type": "message", "user": "U1", "text": "hi", "ts": "2.0", "thread_ts": "1.0",
             "channel": "C1", "files": [{"id": "F1", "name": "a.png", "thumb": "x"}]}  # fmt: skip
    note = note_of({"team_id": "T1", "event_id": "E1", "event": event}, "UBOT")
    assert note is not None
    assert note.conversation == "slack:T1:C1:1.0"
    assert note.ids == ["T1/C1/2.0", "event/E1"]
    assert list(note.files) == [{"id": "F1", "name": "a.png"}]
    assert Note.from_bytes(note.to_bytes()) == note


@pytest.mark.parametrize(
    "event",
    [{}, {"channel": "C1"}, {"channel": "C1", "user": "U1"}, {"channel": "C1", "ts": "1"},
     {"channel": "C1", "subtype": "message_changed"},
     {"channel": "C1", "subtype": "message_deleted"},
     {"channel": "C1", "user": "UBOT", "ts": "1"}],
)  # fmt: skip
def test_events_that_are_nothing(event: dict[str, Any]) -> None:
    """Events without what a message has are left alone."""
    assert note_of({"team_id": "T1", "event": event}, "UBOT") is None


def test_words_are_read_as_people_read_them() -> None:
    """Slack's markup becomes what it stands for; the bot's own name disappears."""
    text = "<@UBOT> ask <@U2> in <#C1|crew> about <https://a.example|this> &lt;b&gt; <!here>"
    assert words(text, "UBOT", lambda user: "Bo") == (
        "ask @Bo in #crew about https://a.example <b> @here"
    )
