"""The Discord channel: what waits in the inbox is answered, and Discord stays connected.

It comes back after whatever Discord or the network does; only what a person has to mend (a token,
an intent) ends it, with one line. Knows nothing of how an answer comes about.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Literal

import aiohttp
import discord
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from bot.channels.backend import Libraries
from bot.channels.delivery import Incoming, answer, line_of
from bot.channels.discord_client import IDENTIFY, Client, Reach
from bot.channels.discord_draft import ChannelPost, DiscordDraft, HookPost, Post
from bot.channels.discord_events import Attached, Happened, known_as, last_of
from bot.channels.discord_events import line_of as conversation_in
from bot.channels.discord_files import Files
from bot.channels.discord_views import buttons
from bot.channels.final import evidence_lines, stored_answer
from bot.channels.inbox import Inbox, Taken
from bot.channels.settings import DiscordSettings
from bot.channels.working import Turns, Worker
from bot.errors import KNOWN_ERRORS, SettingsError
from bot.events import Answer
from bot.sent import SentPicture
from bot.service import logs
from bot.service.feedback_store import Feedback, Full, Said
from bot.service.shared_redis import SharedRedis
from memory.errors import ConversationNotFound, TurnNotFound

LONGEST = 60.0  #: seconds between two attempts to reach Discord
TYPING = 8.0  #: seconds for which Discord shows that somebody types, less a little
PORTAL = "https://discord.com/developers/applications"
_GONE = (10003, 10008, 10015, 50027)  # unknown channel, message, webhook; its time is over


class DiscordChannel:
    """Bifocal in Discord. ``lifetime`` is that of turns in seconds, if they have one.

    ``identify`` is how long it waits before it begins another session.
    """

    name = "discord"

    def __init__(
        self,
        settings: DiscordSettings,
        libraries: Libraries,
        redis: SharedRedis,
        *,
        tenant: str = "default",
        lifetime: float | None = None,
        identify: float = IDENTIFY,
    ) -> None:
        self._settings, self._libraries, self._tenant = settings, libraries, tenant
        self._inbox = Inbox(redis, self.name)
        self._turns = Turns(redis, self.name, lifetime)
        self._feedback = Feedback(redis, lifetime)
        self._files = Files(settings.file_hosts)
        self._identify = identify
        self.client: Client | None = None
        self._worker: Worker | None = None

    async def run(self) -> None:
        """Work until cancelled; ``SettingsError`` where a person has to mend something."""
        token = self._settings.token
        if token is None or not token.get_secret_value().strip():
            raise SettingsError(
                f"there is no token of Discord; make one at {PORTAL} on the page Bot,"
                " and set BIFOCAL_DISCORD_TOKEN"
            )
        Route.BASE = self._settings.api_url.rstrip("/")
        DiscordWebSocket.DEFAULT_GATEWAY = URL(self._settings.gateway_url)
        _quiet()
        failures = 0
        async with self._inbox, self._files:
            while True:
                began = time.monotonic()
                with _mending():
                    await self._connected(token.get_secret_value().strip())
                failures = 0 if time.monotonic() - began > LONGEST else failures + 1
                await asyncio.sleep(min(LONGEST, 2.0 ** min(failures, 6) / 2))

    async def _connected(self, token: str) -> None:
        """Be connected, until that cannot go on."""
        worker = Worker(self._inbox, self._work, conversation_in, at_once=self._settings.at_once)
        self._worker = worker
        reach = Reach(self._inbox, self._turns, self._files, worker.begin, self)
        client = Client(reach, content=self._settings.message_content, identify=self._identify)
        async with client:
            await client.login(token)
            self.client = client
            async with worker:
                try:
                    await client.connect()
                except AttributeError:
                    if client.ws is not None:
                        raise
                    raise ConnectionError("the gateway cannot be reached") from None  # discord.py's

    async def idle(self) -> None:
        """Wait until nothing that was begun is under way."""
        if self._worker is not None:
            await self._worker.idle()

    # one event after another

    async def _work(self, taken: Taken) -> None:
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
        finally:
            await self._files.drop(taken.token)

    async def _answer(self, happened: Happened, taken: Taken) -> None:
        turn, draft = await self._draft(happened, taken)
        if happened.kind == "edit" and turn is None:
            return
        async with self._typing(draft.post.channel, happened):
            pictures, unread = list[SentPicture](), [*happened.unsupported]
            if turn is None:
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
                key=f"discord:{happened.message}",
                again=turn,
            )
            try:
                backend = await self._libraries.of(*happened.places)
            except KNOWN_ERRORS as error:
                logs.tell("discord: no library", level="error", error=error)
                await draft.fail(line_of(error))
                return
            done = await answer(backend, asked, draft)
        if done is not None:
            await self._remember(happened, draft, done)

    async def _remember(self, happened: Happened, draft: DiscordDraft, done: Answer) -> None:
        channel = draft.post.channel
        names = [known_as("q", happened.channel, happened.message)]
        names += [known_as("a", channel, id) for id in draft.texts]
        names += [known_as("x", channel, id) for id in draft.extras]
        if happened.kind == "ask":
            names.append(last_of(happened.channel, happened.person))
        await self._turns.save(happened.conversation, done.turn, *names)

    async def _draft(self, happened: Happened, taken: Taken) -> tuple[str | None, DiscordDraft]:
        """Return the draft of an answer, and the turn that it replaces, if any."""
        turn, texts, extras, place = None, list[int](), list[int](), None
        if happened.kind == "edit":
            name = known_as("q", happened.channel, happened.message)
            turn = await self._turns.turn(happened.conversation, name)
            place, texts, extras = await self._messages(happened.conversation, turn)
        if place is None and turn is None and happened.kind == "ask" and happened.opens:
            place = await self._thread(happened)
        draft = DiscordDraft(
            self._post(happened, place),
            self._settings.every,
            taken.token[:16],
            lambda note: self._inbox.note(taken, note),
            buttons,
            texts,
            extras,
        )
        draft.recall(taken.note)
        return turn, draft

    def _post(self, happened: Happened, place: int | None) -> Post:
        client = self._connected_client()
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
        client = self._connected_client()
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
        if turn is None:
            return
        place, texts, extras = await self._messages(happened.conversation, turn)
        backend = await self._libraries.of(*happened.places)
        with contextlib.suppress(TurnNotFound, ConversationNotFound):
            await backend.delete_turn(happened.conversation, turn)
        if place is not None:
            post = ChannelPost(self._connected_client().get_partial_messageable(place), None)
            for id in (*texts, *extras):
                await post.delete(id)
        for known in await self._turns.messages(happened.conversation, turn):
            await self._turns.drop(happened.conversation, known)

    async def _messages(
        self, conversation: str, turn: str | None
    ) -> tuple[int | None, list[int], list[int]]:
        """Return where an answer is, the messages of its words, and those of what it rests on."""
        place, found = None, dict[str, list[int]](a=[], x=[])
        names = await self._turns.messages(conversation, turn) if turn is not None else []
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
            place = self._connected_client().get_partial_messageable(channel)
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
        place = self._connected_client().get_partial_messageable(happened.channel)
        try:
            message = await place.fetch_message(happened.message)
        except (discord.NotFound, discord.Forbidden):
            return None
        return next((f.url for f in message.attachments if f.id == file.id), None)

    def _connected_client(self) -> Client:
        assert self.client is not None
        return self.client

    # the desk: what commands and buttons ask for

    async def why(self, conversation: str, turn: str | None, places: tuple[str, ...]) -> str:
        """Return what an answer rests on."""
        backend = await self._libraries.of(*places)
        if turn is None:
            found = await backend.conversation(conversation)
            if not found.turns:
                return "You were not answered here yet."
            turn = found.turns[-1].id
        lines = evidence_lines(await stored_answer(backend, conversation, turn))
        return "\n".join(discord.utils.escape_markdown(line) for line in lines) or (
            "Nothing was found for it."
        )

    async def forget(self, conversation: str, places: tuple[str, ...]) -> str:
        """Forget a conversation, and return what is said then."""
        backend = await self._libraries.of(*places)
        try:
            await backend.forget(conversation)
        except ConversationNotFound:
            return "There is nothing to forget here."
        await self._turns.forget(conversation)
        return "This conversation is forgotten, with its pictures. The messages here stay."

    async def rate(
        self, conversation: str, turn: str, person: int, rating: Literal["up", "down"]
    ) -> str:
        """Keep what somebody says of an answer, and return what is said then."""
        said = Said(conversation, turn, rating, sender=f"discord:{person}", at=time.time())
        try:
            await self._feedback.save(self._tenant, said)
        except Full:
            return "This conversation has had too much feedback already."
        return "Thank you."

    def library(self, places: tuple[str, ...]) -> str:
        """Return the name of the library that answers somewhere."""
        return self._libraries.name(*places)


@contextlib.contextmanager
def _mending() -> Iterator[None]:
    """Let pass only what a person has to mend, as one line; what mends itself is told."""
    try:
        yield
    except discord.LoginFailure:
        raise _refused() from None
    except discord.PrivilegedIntentsRequired:
        raise SettingsError(
            f"Discord refused the intent Message Content: turn it on at {PORTAL} on the page Bot,"
            " or set BIFOCAL_DISCORD_MESSAGE_CONTENT=false"
        ) from None
    except discord.ConnectionClosed as error:
        if error.code == 4004:
            raise _refused() from None
        raise SettingsError(f"Discord closed the connection for good (code {error.code})") from None
    except (OSError, aiohttp.ClientError, discord.HTTPException, discord.GatewayNotFound) as error:
        logs.tell("Discord cannot be reached; trying again", level="warning", error=error)


def _refused() -> SettingsError:
    return SettingsError(
        f"Discord refused the token: reset it at {PORTAL} on the page Bot,"
        " and set BIFOCAL_DISCORD_TOKEN to the new one"
    )


def _quiet() -> None:
    """Keep ``discord`` from logging whole events, in which there are tokens of commands."""
    logger = logging.getLogger("discord")
    logger.setLevel(max(logger.level, logging.INFO))
