"""The client of Discord's gateway: what happens there is read, stored, and begun to be answered.

Messages, edits, deletions and commands become values of ``discord_events`` in the inbox, each once
however often Discord delivers it. Knows nothing of how they are answered.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
import discord
from discord import app_commands

from bot.channels.delivery import line_of
from bot.channels.discord_desk import Desk
from bot.channels.discord_events import (
    Happened,
    base_of,
    conversation_in,
    is_called,
    is_hidden,
    is_question,
    known_as,
    places_of,
    question_of,
)
from bot.channels.discord_files import Files
from bot.channels.discord_posts import NOBODY
from bot.channels.inbox import Inbox, Taken
from bot.channels.working import InOrder, Turns
from bot.service.observability import logs
from memory.errors import HistoryUnavailable

PATIENCE = 60.0  #: seconds for which a message is offered to an inbox that cannot be reached
LATEST = timedelta(hours=12)  #: what is told of an edit after that is no edit
IDENTIFY = 5.0  #: seconds between two beginnings of a session, which Discord asks for


@dataclass(frozen=True)
class Reach:
    """What the client works with; ``begin`` has a stored message answered."""

    inbox: Inbox
    turns: Turns
    files: Files
    begin: Callable[[Taken], Awaitable[None]]
    desk: Desk


class Tree(app_commands.CommandTree["Client"]):
    """The commands; their errors are told without the words that they may hold."""

    async def on_error(
        self, interaction: discord.Interaction["Client"], error: app_commands.AppCommandError, /
    ) -> None:
        """Tell of an error."""
        logs.tell("discord: a command failed", level="error", error=error.__cause__ or error)


class Client(discord.AutoShardedClient):
    """The connection to Discord, in as many shards as Discord wants. ``content``: the privileged
    intent is on."""

    def __init__(self, reach: Reach, *, content: bool, identify: float = IDENTIFY) -> None:
        intents = discord.Intents(
            guilds=True, guild_messages=True, dm_messages=True, message_content=content
        )
        super().__init__(
            intents=intents,
            allowed_mentions=NOBODY,
            max_messages=None,  # memory is elsewhere
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
        )
        self.reach, self._identify = reach, identify
        self._order = InOrder()
        self._typing: set[asyncio.Task[None]] = set()
        self._launched: set[int] = set()
        self.tree = Tree(self)

    async def setup_hook(self) -> None:
        """Say which commands there are, and which buttons."""
        from bot.channels.discord_views import Said, add_commands

        add_commands(self.tree)
        self.add_dynamic_items(Said)
        try:
            await self.tree.sync()
        except (discord.HTTPException, app_commands.CommandSyncFailure) as error:
            if isinstance(error, discord.DiscordServerError):
                raise  # it is down: connecting is tried again
            logs.tell("discord: commands cannot be registered", level="error", error=error)

    async def launch_shard(self, gateway: Any, shard_id: int, *, initial: bool = False) -> None:
        """Connect a shard, or raise ``ConnectionError``: ``discord`` would try again for ever, each
        time inside of the last."""
        if shard_id in self._launched:
            raise ConnectionError("the gateway cannot be reached")
        self._launched.add(shard_id)
        await super().launch_shard(gateway, shard_id, initial=initial)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Wait before another session is begun."""
        if not initial:
            await asyncio.sleep(self._identify)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """Tell of an error without the words that it may hold."""
        logs.tell(f"discord: {event_method} failed", level="error", error=sys.exc_info()[1])

    # what happens

    async def on_message(self, message: discord.Message) -> None:
        """Take a question."""
        if is_question(message):
            lost = partial(self._say_lost, message)
            await self.store(message.channel.id, lambda: self._asked(message), lost)

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        """Take an edit of a question; a message that was none may become one."""
        message = event.message  # a preview is added or it is pinned, too: that is no edit
        edited = message.edited_at or datetime.fromtimestamp(0, UTC)
        if is_question(message) and discord.utils.utcnow() - edited < LATEST:
            await self.store(message.channel.id, lambda: self._edited(message))

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """Take the deletion of a question."""
        await self._deleted(event.guild_id, event.channel_id, event.message_id)

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """Take the deletion of several questions."""
        for id in event.message_ids:
            await self._deleted(event.guild_id, event.channel_id, id)

    async def _asked(self, message: discord.Message) -> None:
        if (asked := await self._question(message)) is not None:
            await self.take(asked, str(message.id))

    async def _edited(self, message: discord.Message) -> None:
        conversation = await self._asked_in(message.channel.id, message.id)
        if conversation is None and (asked := await self._question(message)) is not None:
            if await self.take(asked, str(message.id)):
                return
            conversation = await self._asked_in(message.channel.id, message.id)  # taken just then
        if conversation is None or self.user is None or is_hidden(message):
            return
        at = str(message.edited_at.timestamp() if message.edited_at else "")
        edit = replace(question_of(message, self.user, conversation), kind="edit", edited=at)
        await self.take(edit, f"{message.id}:edit:{at}")

    async def _deleted(self, guild: int | None, channel: int, id: int) -> None:
        async def take() -> None:
            conversation = await self._asked_in(channel, id)
            if conversation is not None:
                place = self.get_channel(channel) or discord.Object(channel)
                places = places_of(guild, place)
                gone = Happened("delete", conversation, channel, id, places=places)
                await self.take(gone, f"{id}:delete")

        await self.store(channel, take)

    async def store(
        self,
        channel: int,
        work: Callable[[], Awaitable[None]],
        lost: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """Do work that stores something, in the order in which it happened in a channel; again
        while Redis is down, and have ``lost`` say so when that takes too long."""
        clock = asyncio.get_running_loop().time
        until = clock() + PATIENCE
        async with self._order.turn(str(channel)):
            while True:
                try:
                    return await work()
                except HistoryUnavailable as error:
                    if clock() > until:
                        logs.tell("a message of Discord is lost", level="error", error=error)
                        return await lost(line_of(error)) if lost else None
                await asyncio.sleep(1)

    async def _say_lost(self, message: discord.Message, line: str) -> None:
        if self.user is None or not is_called(message, self.user):
            return
        with contextlib.suppress(discord.HTTPException):
            await message.reply(
                line, allowed_mentions=NOBODY, mention_author=False, suppress_embeds=True
            )

    async def take(self, happened: Happened, *ids: str) -> bool:
        """Store what happened and have it worked at; false when it was seen before."""
        taken = await self.reach.inbox.take(
            ids, happened.to_bytes(), line=happened.conversation, about=happened.about
        )
        if taken is None:
            return False
        if happened.kind == "ask":
            self.reach.files.begin(taken.token, happened.files)
            if not happened.token:
                self._show_typing(happened.channel)
        await self.reach.begin(taken)
        return True

    def _show_typing(self, channel: int) -> None:
        """Show at once that something is coming."""

        async def show() -> None:
            with contextlib.suppress(discord.HTTPException, aiohttp.ClientError, OSError):
                await self.get_partial_messageable(channel).typing()

        task = asyncio.create_task(show())
        self._typing.add(task)
        task.add_done_callback(self._typing.discard)

    # which conversation

    async def _question(self, message: discord.Message) -> Happened | None:
        """Return a message as a question, if it is for the bot."""
        assert self.user is not None
        replies = message.reference if message.type is discord.MessageType.reply else None
        answered = replies.message_id if replies else None  # else it is forwarded
        conversation = None
        if answered is not None and message.guild is not None:
            conversation = await self.known("ax", message.channel.id, answered)
        if not is_called(message, self.user) and (conversation is None or is_hidden(message)):
            return None
        guild = message.guild.id if message.guild else None
        if guild is None or isinstance(message.channel, discord.Thread):
            conversation = await self.conversation_of(guild, message.channel)
        if conversation is None and answered is not None:
            conversation = await self._of_question(message, answered)
        return question_of(
            message, self.user, conversation or f"{base_of(guild, message.channel.id)}:{message.id}"
        )

    async def _of_question(self, message: discord.Message, answered: int) -> str | None:
        """Return the conversation of the question to which a message replies, or to whose answer,
        if that is so new that it is not known yet."""
        resolved = message.reference.resolved if message.reference else None
        before = resolved.reference if isinstance(resolved, discord.Message) else None
        for id in (answered, before.message_id if before else None):
            if id is not None:
                found = await self._asked_in(message.channel.id, id)
                if found is not None:
                    return found
        return None

    async def _asked_in(self, channel: int, id: int) -> str | None:
        """Return the conversation of a question, if the message is one, whoever answers it."""
        waiting = await self.reach.inbox.waiting(str(id))  # first: what is done since is known then
        return conversation_in(waiting) if waiting else await self.known("q", channel, id)

    async def conversation_of(self, guild: int | None, channel: Any) -> str | None:
        """Return the conversation of a direct channel or a thread; other channels have many."""
        if guild is None:
            return base_of(None, channel.id)
        if not isinstance(channel, discord.Thread):
            return None
        begun = await self.known("qax", channel.parent_id, channel.id)  # opened from a message
        return begun or f"{base_of(guild, channel.id)}:{channel.id}"

    async def known(self, kinds: str, channel: int, message: int) -> str | None:
        """Return the conversation to which a message belongs, if it is known as one of ``kinds``
        (see ``discord_events.known_as``)."""
        for kind in kinds:
            found = await self.reach.turns.conversation(known_as(kind, channel, message))
            if found is not None:
                return found
        return None
