"""What the chats ask for is what their pages say, each with its reason, and nothing else."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import discord
import pytest
from discord_story import calm_discord, player
from structlog.testing import capture_logs

from bot.channels.discord_invite import SCOPES, permissions
from bot.channels.settings import DiscordSettings, SlackSettings
from bot.channels.slack import manifest

DOCS = Path(__file__).parents[3] / "docs"


def table(page: str, first: str) -> set[str]:
    """Return the first cells of the table whose first column is so called; each row has to have
    something in all of its cells."""
    text = (DOCS / page).read_text("utf-8")
    lines = text[text.index(f"\n| {first} |") :].strip().split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(map(all, rows)), rows
    return {row[0].strip("`") for row in rows}


def flags(page: str, first: str, **called: str) -> set[str]:
    """Return the names that ``discord`` has for those of a table."""
    names = {name.lower().replace(" ", "_") for name in table(page, first)}
    return {called.get(name, name) for name in names}


def test_slacks_page_gives_a_reason_for_all_that_the_manifest_asks_for() -> None:
    made = manifest()
    scopes = made["oauth_config"]["scopes"]["bot"]
    assert table("slack.md", "scope") == {*scopes, "connections:write"}
    events = made["settings"]["event_subscriptions"]["bot_events"]
    assert table("slack.md", "event") == set(events)
    assert table("slack.md", "feature") == {*made["features"], "interactivity"}


async def test_discords_page_gives_a_reason_for_all_that_the_bot_asks_for(
    open_bot: Any,
) -> None:
    """The scopes and permissions of the invitation that its log shows, and its intents."""
    with capture_logs() as told:
        async with calm_discord() as server:
            play = player(open_bot, server)
            async with play(message_content=True, threads=True) as story:
                (session,) = story.discord.gateway.sessions.values()
    (address,) = (line["invite"] for line in told if "invite" in line)
    invited = parse_qs(urlsplit(address).query)
    assert set(invited["scope"][0].split()) == set(SCOPES) == table("discord.md", "scope")
    given = discord.Permissions(int(invited["permissions"][0]))
    named = flags("discord.md", "permission", view_channels="read_messages")
    assert {name for name, on in given if on} == named
    intents = discord.Intents.none()
    intents.value = session.intents
    named = flags("discord.md", "intent", direct_messages="dm_messages")
    assert {name for name, on in intents if on} == named


def test_threads_are_a_permission_only_where_they_are_opened() -> None:
    more = permissions(threads=True).value ^ permissions(threads=False).value
    assert discord.Permissions(more) == discord.Permissions(create_public_threads=True)


@pytest.mark.parametrize(
    ("page", "settings"), [("slack.md", SlackSettings), ("discord.md", DiscordSettings)]
)
def test_every_setting_is_on_the_page(page: str, settings: type[Any]) -> None:
    text = (DOCS / page).read_text("utf-8")
    settings_there = text[text.index("## Settings") :].split("\n## ")[0]
    assert set(settings.model_fields) <= set(re.findall(r"`([a-z_]+)`", settings_there))
