"""The Discord channel: it stays connected, and what waits in the inbox is answered.

It comes back after whatever Discord or the network does; only what a person has to mend (a token,
an intent) ends it, with one line. Knows nothing of how an answer comes about.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

import aiohttp
import discord
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from bot.channels.backend import Libraries
from bot.channels.discord_answers import Answers
from bot.channels.discord_client import IDENTIFY, Client, Reach
from bot.channels.discord_desk import Desk
from bot.channels.discord_files import Files
from bot.channels.discord_invite import invite_of
from bot.channels.inbox import Inbox, Taken
from bot.channels.settings import DiscordSettings
from bot.channels.working import Turns, Worker
from bot.errors import SettingsError
from bot.service.observability import logs
from bot.service.stores.shared_redis import SharedRedis

LONGEST = 60.0  #: seconds between two attempts to reach Discord
PORTAL = "https://discord.com/developers/applications"


class DiscordChannel:
    """Bifocal in Discord. ``lifetime`` is that of turns in seconds, if they have one.

    ``most_pictures`` of a message are looked at. ``identify`` is how long it waits before it begins
    another session.
    """

    name = "discord"

    def __init__(
        self,
        settings: DiscordSettings,
        libraries: Libraries,
        redis: SharedRedis,
        *,
        lifetime: float | None = None,
        most_pictures: int = 8,
        identify: float = IDENTIFY,
    ) -> None:
        self._settings, self._libraries = settings, libraries
        self._inbox = Inbox(redis, self.name)
        self._turns = Turns(redis, self.name, lifetime)
        self._files = Files(settings.file_hosts, most_pictures)
        self._desk = Desk(libraries, self._turns)
        self._identify = identify
        self._worker: Worker | None = None

    async def run(self) -> None:
        """Work until cancelled; ``SettingsError`` where a person has to mend something."""
        token = token_of(self._settings)
        Route.BASE = self._settings.api_url.rstrip("/")
        DiscordWebSocket.DEFAULT_GATEWAY = URL(self._settings.gateway_url)
        _quiet()
        failures = 0
        async with self._inbox, self._files:
            while True:
                began = time.monotonic()
                with _mending():
                    await self._connected(token)
                failures = 0 if time.monotonic() - began > LONGEST else failures + 1
                await asyncio.sleep(min(LONGEST, 2.0 ** min(failures, 6) / 2))

    async def _connected(self, token: str) -> None:
        """Be connected, until that cannot go on."""
        settings, parts = self._settings, (self._inbox, self._turns, self._files)
        client = Client(
            Reach(*parts, self._begin, self._desk),
            content=settings.message_content,
            identify=self._identify,
        )
        answers = Answers(settings, self._libraries, *parts, client)
        async with client:
            await client.login(token)
            if client.application_id is not None:
                invite = invite_of(client.application_id, threads=settings.threads)
                logs.tell("Discord: logged in", invite=invite)
            client.shard_count, *_ = await client.http.get_bot_gateway()
            worker = Worker(self._inbox, answers.work, at_once=settings.at_once)
            answers.places = worker.places
            async with worker:
                self._worker = worker
                try:
                    await client.connect()
                finally:
                    self._worker = None

    async def _begin(self, taken: Taken) -> None:
        """Have a stored message worked at; when all is ending, by whoever takes it up."""
        if self._worker is not None:
            self._worker.begin(taken)
        else:
            await self._inbox.let_go(taken)

    async def idle(self) -> None:
        """Wait until nothing that was begun is under way."""
        if self._worker is not None:
            await self._worker.idle()


def token_of(settings: DiscordSettings) -> str:
    """Return the bot's token; ``SettingsError`` when there is none."""
    token = settings.token.get_secret_value().strip() if settings.token else ""
    if not token:
        raise SettingsError(
            f"there is no token of Discord; make one at {PORTAL} on the page Bot,"
            " and set BIFOCAL_DISCORD_TOKEN"
        )
    return token


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
        kind = type(error).__name__
        logs.tell("Discord cannot be reached; trying again", level="warning", kind=kind)
    except Exception as error:  # an event that ``discord`` cannot read ends its connection
        logs.tell("the connection to Discord broke; beginning anew", level="error", error=error)


def _refused() -> SettingsError:
    return SettingsError(
        f"Discord refused the token: reset it at {PORTAL} on the page Bot,"
        " and set BIFOCAL_DISCORD_TOKEN to the new one"
    )


def _quiet() -> None:
    """Keep ``discord`` from logging whole events and addresses, in which there are tokens of
    commands, whatever level its loggers are given."""
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # there is no voice
    for name in ["discord", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "discord":
            logging.getLogger(name).addFilter(_is_no_detail)
    logging.getLogger("discord.shard").addFilter(_without_trace)


def _is_no_detail(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO


def _without_trace(record: logging.LogRecord) -> bool:
    """Keep one line of what is tried again."""
    record.exc_info = None
    return True
