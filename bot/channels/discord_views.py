"""The commands and the buttons of Discord. What they say is seen by whoever asks alone, but for
the answer to ``/ask``. Knows nothing of how anything is answered."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Self

import discord
from discord import app_commands

from bot.channels.delivery import line_of
from bot.channels.discord_client import Client
from bot.channels.discord_desk import GONE
from bot.channels.discord_draft import LIMIT
from bot.channels.discord_events import (
    Happened,
    attached,
    base_of,
    last_of,
    places_of,
)
from bot.channels.discord_posts import NOBODY
from bot.channels.splitting import split
from bot.errors import KNOWN_ERRORS
from bot.service.observability import logs
from memory.feedback import Rating

_LABELS = {"up": "👍", "down": "👎", "why": "Why?"}


class Said(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=r"bifocal:(?P<what>up|down|why):(?P<turn>[0-9A-Za-z-]{1,64})",
):
    """A button below an answer: helpful, not helpful, why. It works after a restart, too."""

    def __init__(self, what: str, turn: str) -> None:
        super().__init__(
            discord.ui.Button(
                label=_LABELS[what],
                style=discord.ButtonStyle.secondary,
                custom_id=f"bifocal:{what}:{turn}",
            )
        )
        self.what, self.turn = what, turn

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: Any, match: re.Match[str], /
    ) -> Self:
        return cls(match["what"], match["turn"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Say why, or keep what somebody says of the answer."""
        client: Client = interaction.client
        message = interaction.message
        assert message is not None

        async def said() -> str:
            conversation = await client.known("ax", message.channel.id, message.id)
            if conversation is None:
                return GONE
            if self.what == "why":
                return await client.reach.desk.why(conversation, self.turn, _places(interaction))
            rating: Rating = "up" if self.what == "up" else "down"
            return await client.reach.desk.rate(
                conversation, self.turn, interaction.user.id, rating, _places(interaction)
            )

        await _whisper(interaction, said)


def buttons(turn: str) -> discord.ui.View:
    """Return the buttons below an answer."""
    view = discord.ui.View(timeout=None)
    for what in _LABELS:
        view.add_item(Said(what, turn))
    return view


def add_commands(tree: app_commands.CommandTree[Client]) -> None:
    """Add the commands."""

    @tree.command(name="ask", description="Ask about the library, or about a picture.")
    @app_commands.describe(question="What you want to know", picture="A picture to ask about")
    async def ask(
        interaction: discord.Interaction[Client],
        question: app_commands.Range[str, 0, 6000] = "",
        picture: discord.Attachment | None = None,
    ) -> None:
        async def take() -> None:
            conversation = await _conversation(interaction)
            asked = _asked(interaction, conversation, question, picture)
            await interaction.client.take(asked, f"i{interaction.id}")

        async def lost(line: str) -> None:
            await interaction.followup.send(
                line, allowed_mentions=NOBODY, suppress_embeds=True, ephemeral=True
            )

        await asyncio.gather(  # it is acknowledged whatever Redis does
            interaction.response.defer(thinking=True),
            interaction.client.store(_channel(interaction), take, lost),
        )

    @tree.command(name="why", description="Show what the last answer here rests on.")
    async def why(interaction: discord.Interaction[Client]) -> None:
        desk = interaction.client.reach.desk

        async def said() -> str:
            conversation, turn = await _last(interaction)
            if conversation is None:
                return "You were not answered here yet."
            return await desk.why(conversation, turn, _places(interaction))

        await _whisper(interaction, said)

    @tree.command(name="forget", description="Forget this conversation, its pictures too.")
    async def forget(interaction: discord.Interaction[Client]) -> None:
        desk = interaction.client.reach.desk

        async def said() -> str:
            conversation, _ = await _last(interaction)
            if conversation is None:
                return "There is nothing to forget here."
            return await desk.forget(conversation, _places(interaction))

        await _whisper(interaction, said)

    @tree.command(name="library", description="Say which library answers here.")
    async def library(interaction: discord.Interaction[Client]) -> None:
        name = interaction.client.reach.desk.library(_places(interaction))

        async def said() -> str:
            return f"Here the library “{name}” answers."

        await _whisper(interaction, said)


def _asked(
    interaction: discord.Interaction[Client],
    conversation: str | None,
    question: str,
    picture: discord.Attachment | None,
) -> Happened:
    """Return a command as a question; without a conversation it begins one."""
    base = base_of(interaction.guild_id, _channel(interaction))
    return Happened(
        "ask",
        conversation or f"{base}:{interaction.id}",
        _channel(interaction),
        interaction.id,
        places=_places(interaction),
        person=interaction.user.id,
        name=interaction.user.display_name[:100],
        text=question,
        files=[attached(picture)] if picture else [],
        writes=_may_write(interaction),
        token=interaction.token,
    )


def _may_write(interaction: discord.Interaction[Any]) -> bool:
    """Return whether the bot may write here when the command's time is over."""
    if interaction.guild_id is None:
        return True
    allowed = interaction.app_permissions
    if isinstance(interaction.channel, discord.Thread):
        return allowed.send_messages_in_threads
    return allowed.send_messages


async def _whisper(
    interaction: discord.Interaction[Any], saying: Callable[[], Awaitable[str]]
) -> None:
    """Acknowledge at once; then tell whoever asked, and nobody else, whatever becomes of it."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    try:
        words = await saying()
    except Exception as error:
        if not isinstance(error, KNOWN_ERRORS):
            logs.tell("discord: a command failed", level="error", error=error)
        words = line_of(error)
    parts = split(words, LIMIT) or ["There is nothing to say."]
    for part in parts[:3]:
        await interaction.followup.send(
            part, ephemeral=True, allowed_mentions=NOBODY, suppress_embeds=True
        )


async def _conversation(interaction: discord.Interaction[Client]) -> str | None:
    return await interaction.client.conversation_of(interaction.guild_id, interaction.channel)


async def _last(interaction: discord.Interaction[Client]) -> tuple[str | None, str | None]:
    """Return the conversation of this place, or the last of this person in it, and its turn."""
    if (conversation := await _conversation(interaction)) is not None:
        return conversation, None
    turns = interaction.client.reach.turns
    name = last_of(_channel(interaction), interaction.user.id)
    conversation = await turns.conversation(name)
    turn = await turns.turn(conversation, name) if conversation is not None else None
    return conversation, turn


def _channel(interaction: discord.Interaction[Any]) -> int:
    return interaction.channel_id or 0


def _places(interaction: discord.Interaction[Any]) -> tuple[str, ...]:
    return places_of(interaction.guild_id, interaction.channel)
