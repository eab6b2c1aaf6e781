"""Answers what waits in the inbox: questions, their edits and their deletions.

A question is answered where it was asked, or in a thread of its own; its edit in the same messages;
with its deletion the answer goes. Knows nothing of how Discord is reached, nor of how an answer
comes about.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import discord

from bot.channels.backend import Libraries
from bot.channels.delivery import Incoming, answer, line_of
from bot.channels.discord_draft import ChannelPost, DiscordDraft, HookPost, Post
from bot.channels.discord_events import Attached, Happened, known_as, last_of
from bot.channels.discord_files import Files
from bot.channels.discord_views import buttons
from bot.channels.inbox import Inbox, Taken
from bot.channels.outage import when_there
from bot.channels.settings import DiscordSettings
from bot.channels.working import TRIES, Turns
from bot.errors import KNOWN_ERRORS
from bot.sent import SentPicture
from bot.service import logs
from memory.errors import ConversationNotFound, HistoryUnavailable, TurnNotFound

TYPING = 8.0  #: seconds for which Discord shows that somebody types, less a little
_GONE = (10003, 10008, 10015, 50027)  # unknown channel, message, webhook; its time is over


class Answers:
    """Works at one event after another, through the ``client`` of a connection."""

    def __init__(
        self,
        settings: DiscordSettings,
        libraries: Libraries,
        inbox: Inbox,
        turns: Turns,
        files: Files,
        client: discord.Client,
    ) -> None:
        self._settings, self._libraries, self._inbox = settings, libraries, inbox
        self._turns, self._files, self._client = turns, files, client
        self.places: asyncio.Semaphore | None = None  #: for turns, see ``delivery.answer``

    async def work(self, taken: Taken) -> None:
        """Work at what waits; raises what may be better at another try."""
        happened = Happened.from_bytes(taken.message)
        try:
            if happened.kind == "delete":
                await self._delete(happened)
            else:
                await self._answer(happened, taken)
        except discord.Forbidden:
            logs.tell(
                "discord: not allowed to answer; the bot needs Send Messages (in threads, too),"
                " Embed Links and Attach Files",
                level="warning",
                channel=happened.channel,
            )
        except discord.HTTPException as error:
            if error.code not in _GONE:
                raise
            logs.tell("discord: there is nothing left to answer", channel=happened.channel)
        except Exception as error:
            if taken.tries >= TRIES:
                await self._give_up(happened, taken, error)
            raise
        finally:
            await self._files.drop(taken.token)

    async def _give_up(self, happened: Happened, taken: Taken, error: Exception) -> None:
        """Say that a question will not be answered."""
        if happened.kind != "delete":
            with contextlib.suppress(discord.HTTPException, HistoryUnavailable, OSError):
                draft = await self._draft(happened, taken, None)
                await draft.fail(line_of(error))

    async def _answer(self, happened: Happened, taken: Taken) -> None:
        turn = None
        if happened.kind == "edit":
            name = known_as("q", happened.channel, happened.message)
            turn = await self._turns.turn(happened.conversation, name)
            if turn is None:  # it was forgotten
                return
        draft = await self._draft(happened, taken, turn)
        async with self._typing(draft.post.channel, happened):
            pictures, unread = list[SentPicture](), [*happened.unsupported]
            if not turn:
                pictures, more = await self._files.take(
                    taken.token, happened.files, lambda file: self._renew(happened, file)
                )
                unread += more
            asked = Incoming(
                conversation=happened.conversation,
                sender=happened.name,
                text=happened.text,
                pictures=pictures,
                unsupported=unread,
                key=f"discord:{happened.message}" if turn is None else None,
                again=turn or None,
            )
            try:
                backend = await self._libraries.of(*happened.places)
            except KNOWN_ERRORS as error:
                logs.tell("discord: no library", level="error", error=error)
                await draft.fail(line_of(error))
                return
            done = await answer(backend, asked, draft, places=self.places)
        if done is not None:
            await self._remember(happened, draft, done.turn)

    async def _remember(self, happened: Happened, draft: DiscordDraft, turn: str) -> None:
        """Remember which messages are a turn; before it is one, that they are the conversation's,
        since people reply to what is still being written."""
        channel = draft.post.channel
        names = [known_as("q", happened.channel, happened.message)]
        names += [known_as("a", channel, id) for id in draft.texts]
        names += [known_as("x", channel, id) for id in draft.extras]
        if happened.kind == "ask":
            names.append(last_of(happened.channel, happened.person))
        await self._turns.save(happened.conversation, turn, *names)

    async def _draft(self, happened: Happened, taken: Taken, turn: str | None) -> DiscordDraft:
        """Return the draft of an answer, in the messages of the turn that it replaces, if any."""
        place, texts, extras = await self._messages(happened.conversation, turn)
        if place is None and happened.opens:
            place = await self._thread(happened)

        async def note(where: bytes) -> None:
            await self._inbox.note(taken, where)
            await self._remember(happened, draft, turn or "")

        draft = DiscordDraft(
            self._post(happened, place),
            self._settings.every,
            taken.token[:16],
            note,
            buttons,
            texts,
            extras,
        )
        draft.recall(taken.note)
        return draft

    def _post(self, happened: Happened, place: int | None) -> Post:
        client = self._client
        if happened.token:
            assert client.application_id is not None
            hook = discord.Webhook.partial(client.application_id, happened.token, client=client)
            return HookPost(hook, happened.channel)
        question = happened.message if place in (None, happened.channel) else None
        return ChannelPost(client.get_partial_messageable(place or happened.channel), question)

    async def _thread(self, happened: Happened) -> int | None:
        """Open a thread for a question, and return its id; ``None`` where there is to be none."""
        if not self._settings.threads:
            return None
        client = self._client
        message = client.get_partial_messageable(happened.channel).get_partial_message(
            happened.message
        )
        try:
            await client.http.start_thread_with_message(
                happened.channel,
                message.id,
                name=" ".join(happened.text.split())[:80] or "Pictures",
                auto_archive_duration=1440,
            )
        except discord.HTTPException as error:
            if error.code == 160004:  # there is one
                return happened.message
            logs.tell("discord: a thread cannot be opened", level="warning", code=error.code)
            return None
        return happened.message  # a thread has the id of its first message

    async def _delete(self, happened: Happened) -> None:
        name = known_as("q", happened.channel, happened.message)
        turn = await self._turns.turn(happened.conversation, name)
        if not turn:
            return
        place, texts, extras = await self._messages(happened.conversation, turn)
        backend = await self._libraries.of(*happened.places)
        with contextlib.suppress(TurnNotFound, ConversationNotFound):
            await when_there(lambda: backend.delete_turn(happened.conversation, turn))
        if place is not None:
            post = ChannelPost(self._client.get_partial_messageable(place), None)
            for id in (*texts, *extras):
                await post.delete(id)
        for known in await self._turns.messages(happened.conversation, turn):
            await self._turns.drop(happened.conversation, known)

    async def _messages(
        self, conversation: str, turn: str | None
    ) -> tuple[int | None, list[int], list[int]]:
        """Return where an answer is, the messages of its words, and those of what it rests on."""
        place, found = None, dict[str, list[int]](a=[], x=[])
        names = await self._turns.messages(conversation, turn) if turn else []
        for name in names:
            kind, _, where = name.partition(":")
            if kind in found:
                channel, _, id = where.partition("/")
                place = int(channel)
                found[kind].append(int(id))
        return place, sorted(found["a"]), sorted(found["x"])

    @asynccontextmanager
    async def _typing(self, channel: int, happened: Happened) -> AsyncIterator[None]:
        """Show that something is being written, while it is; a command shows that by itself."""

        async def show() -> None:
            place = self._client.get_partial_messageable(channel)
            while True:
                with contextlib.suppress(discord.HTTPException, OSError):
                    await place.typing()
                await asyncio.sleep(TYPING)

        if happened.token:
            yield
            return
        task = asyncio.create_task(show())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _renew(self, happened: Happened, file: Attached) -> str | None:
        """Return the new address of a file that was attached to a message."""
        if happened.token:
            return None
        place = self._client.get_partial_messageable(happened.channel)
        try:
            message = await place.fetch_message(happened.message)
        except (discord.NotFound, discord.Forbidden):
            return None
        return next((f.url for f in message.attachments if f.id == file.id), None)
