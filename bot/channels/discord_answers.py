"""Answers what waits in the inbox: questions, their edits and their deletions.

A question is answered where it was asked, or in a thread of its own; its edit in the same messages;
with its deletion the answer goes. Knows nothing of how Discord is reached, nor of how an answer
comes about.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import discord

from bot.channels.backend import Backend, Libraries
from bot.channels.delivery import Incoming, Withdrawn, answer, left_turn, line_of
from bot.channels.discord_draft import DiscordDraft
from bot.channels.discord_events import NONE, Attached, Happened, known_as, last_of
from bot.channels.discord_files import Files
from bot.channels.discord_posts import ChannelPost, post_of
from bot.channels.discord_views import buttons
from bot.channels.inbox import Inbox, Lost, Taken
from bot.channels.outage import when_there
from bot.channels.settings import DiscordSettings
from bot.channels.working import TRIES, Turns, Unreachable
from bot.errors import KNOWN_ERRORS
from bot.sent import SentPicture
from bot.service.observability import logs
from memory.errors import ConversationNotFound, HistoryUnavailable, TurnNotFound

TYPING = 8.0  #: seconds for which Discord shows that somebody types, less a little
COMMAND = 900.0  #: seconds for which Discord takes responses to a command
MARGIN = 60.0  #: seconds before that in which the asker is told that there will be none
TOO_LONG = (
    "This takes longer than the 15 minutes that Discord gives a command, and I may not write in"
    " this channel by myself. Ask again in a direct message, or where I may write."
)
_DOWN = (discord.DiscordServerError, aiohttp.ClientError, ConnectionError)
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
        except Lost:
            raise
        except _DOWN as error:
            raise Unreachable from error
        except discord.HTTPException as error:
            if error.code not in _GONE:
                raise
            logs.tell("discord: there is nothing left to answer", channel=happened.channel)
        except Exception as error:
            if taken.tries >= TRIES:
                await self._give_up(happened, taken, error)
            raise
        finally:
            self._files.drop(taken.token)

    async def _give_up(self, happened: Happened, taken: Taken, error: Exception) -> None:
        """Say that a question will not be answered."""
        if happened.kind != "delete":
            with contextlib.suppress(discord.HTTPException, HistoryUnavailable, OSError):
                draft = await self._draft(happened, taken, None)
                await draft.fail(line_of(error))

    async def _answer(self, happened: Happened, taken: Taken) -> None:
        turn = await self._turns.turn(happened.conversation, happened.known)
        answered = turn is not None and not turn.startswith(NONE)
        if answered if happened.kind == "ask" else turn is None:
            return  # by a process that died then; or it was forgotten
        backend = await self._backend(happened, taken, turn)
        if backend is None:
            return
        try:
            again = turn if answered else None
            if again and happened.given != await self._given(happened, again):
                with contextlib.suppress(TurnNotFound, ConversationNotFound):
                    await backend.delete_turn(happened.conversation, again)
                names = await self._turns.messages(happened.conversation, again)
                await self._turns.save(happened.conversation, happened.unanswered, *names)
                turn, again = happened.unanswered, None  # with other pictures it is another one
            await self._ask(backend, happened, taken, turn, again)
        except Withdrawn:
            if again is None:
                await self._take_back(backend, happened)

    async def _backend(self, happened: Happened, taken: Taken, turn: str | None) -> Backend | None:
        """Return the bot of a place; where there is none, say so."""
        try:
            return await self._libraries.of(*happened.places)
        except KNOWN_ERRORS as error:
            logs.tell("discord: no library", level="error", error=error)
            draft = await self._draft(happened, taken, turn)
            await draft.fail(line_of(error))
            return None

    async def _ask(
        self,
        backend: Backend,
        happened: Happened,
        taken: Taken,
        turn: str | None,
        again: str | None,
    ) -> None:
        """Ask, or ask ``again``, in the place of the messages of ``turn``."""
        if taken.withdrawn.is_set():
            raise Withdrawn
        draft = await self._draft(happened, taken, turn)
        room = self._files.room([] if again else happened.files)
        async with self._typing(draft.post.channel, happened), room:
            pictures, unread = list[SentPicture](), [*happened.unsupported]
            if again is None:
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
                key=None if again else f"discord:{happened.message}{happened.edited}",
                again=again,
            )
            try:
                async with asyncio.timeout(_seconds_left(happened)) as deadline:
                    done = await answer(
                        backend, asked, draft, places=self.places, withdrawn=taken.withdrawn
                    )
            except TimeoutError:
                if not deadline.expired():
                    raise
                await draft.fail(TOO_LONG)
                return
        if done is not None:
            await self._remember(happened, draft, done.turn)

    async def _take_back(self, backend: Backend, happened: Happened) -> None:
        """Keep what there is of a question that was edited or deleted meanwhile: what comes next
        writes in its messages, or deletes them."""
        conversation, none = happened.conversation, happened.unanswered
        left = await left_turn(backend, self._turns, conversation, happened.text)
        names = {happened.known, *await self._turns.messages(conversation, none)}
        given = happened.given if left else ()
        await self._turns.save(conversation, left or none, *names, *given)

    async def _remember(self, happened: Happened, draft: DiscordDraft, turn: str) -> None:
        """Remember which messages are a turn; before it is one, that they are the conversation's,
        since people reply to what is still being written."""
        channel = draft.post.channel
        names = [happened.known, *happened.given]
        names += [known_as("a", channel, id) for id in draft.texts]
        names += [known_as("x", channel, id) for id in draft.extras]
        if happened.kind == "ask":
            names.append(last_of(happened.channel, happened.person))
        await self._turns.save(happened.conversation, turn, *names)

    async def _given(self, happened: Happened, turn: str) -> set[str]:
        """Return the names of the files that came with a turn's question."""
        known = await self._turns.messages(happened.conversation, turn)
        return {name for name in known if name.startswith("f:")}

    async def _draft(self, happened: Happened, taken: Taken, turn: str | None) -> DiscordDraft:
        """Return the draft of an answer, in the messages of the turn that it replaces, if any."""
        place, texts, extras = await self._messages(happened.conversation, turn)
        if place is None and happened.opens:
            place = await self._thread(happened)

        async def note(where: bytes) -> None:
            if not await self._inbox.note(taken, where):
                raise Lost  # whoever has it now goes on in these messages: Discord knows them
            await self._remember(happened, draft, turn or happened.unanswered)

        draft = DiscordDraft(
            post_of(self._client, happened, place),
            self._settings.every,
            taken.token[:16],
            note,
            buttons,
            texts,
            extras,
        )
        draft.recall(taken.note)
        return draft

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
        turn = await self._turns.turn(happened.conversation, happened.known)
        if turn is None:
            return
        place, texts, extras = await self._messages(happened.conversation, turn)
        if not turn.startswith(NONE):
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
                with contextlib.suppress(discord.HTTPException, aiohttp.ClientError, OSError):
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


def _seconds_left(happened: Happened) -> float | None:
    """Return until when a command is to be answered whose answer cannot be shown later."""
    if not happened.token or happened.writes:
        return None
    asked = discord.utils.snowflake_time(happened.message).timestamp()
    return asked + COMMAND - MARGIN - time.time()
