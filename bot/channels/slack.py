"""The Slack channel: connects, finds out whether it may do its work, and works until cancelled.

Socket Mode by default; in HTTP mode Slack calls ``bifocal serve`` (bot/channels/slack_http.py).
Knows nothing of what a message means.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import aiohttp
from pydantic import SecretStr
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.http_retry.builtin_interval_calculators import BackoffRetryIntervalCalculator
from slack_sdk.web.async_client import AsyncWebClient
from starlette.responses import Response

from bot.channels.backend import Libraries, OpenLibrary
from bot.channels.inbox import Inbox
from bot.channels.settings import SlackSettings
from bot.channels.slack_app import SlackApp
from bot.channels.slack_errors import code_of
from bot.channels.slack_files import APPS, Files
from bot.channels.slack_people import People
from bot.channels.slack_threads import Threads
from bot.channels.slack_work import SlackWork
from bot.channels.working import Turns, Worker
from bot.errors import SettingsError
from bot.service.observability import logs
from bot.service.stores.shared_redis import SharedRedis
from bot.settings import Settings

RETRIES = 7  #: of a call, each after twice the time: two minutes altogether
AGAIN = 5.0  #: seconds until it is tried again to connect
_REFUSED = frozenset(
    ("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired",
     "not_allowed_token_type", "missing_scope", "no_permission")
)  # fmt: skip
#: Scopes without which something is only left out
_OPTIONAL = frozenset(("assistant:write", "users:read", "files:read", "files:write"))


@dataclass(slots=True)
class SlackChannel:
    """See ``bot.channels.delivery.Channel``. Made by :meth:`open`."""

    app: AsyncApp
    heard: SlackApp
    worker: Worker
    settings: SlackSettings
    name: str = "slack"

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, opening: OpenLibrary, redis: SharedRedis
    ) -> AsyncIterator["SlackChannel"]:
        """Find out who the bot is, and begin to work at what was left behind.

        Waits for Slack where it cannot be reached; ``SettingsError``, in one line, where a token,
        a secret or a scope is missing or wrong.
        """
        slack = settings.slack
        token = _given(slack.bot_token, "bot_token", "xoxb-…, of the page “OAuth & Permissions”")
        secret = ""
        if slack.mode == "http":
            secret = _given(slack.signing_secret, "signing_secret", "of “Basic Information”")
        else:
            _given(slack.app_token, "app_token", _APP_TOKEN)
        timeout = aiohttp.ClientTimeout(total=60, sock_connect=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            client = _client(token, slack.api_url, session)
            logs.tell("Slack: connecting", address=slack.api_url)  # it may have to wait for long
            bot = await _who(client)
            libraries = Libraries(opening, slack.libraries)
            turns = Turns(redis, "slack", settings.turns_ttl)
            threads = Threads(redis, settings.turns_ttl)
            async with Inbox(redis, "slack") as inbox:
                work = SlackWork(
                    client=client,
                    bot=bot,
                    libraries=libraries,
                    inbox=inbox,
                    turns=turns,
                    threads=threads,
                    files=Files(client, slack.file_hosts, session),
                    people=People(client),
                    every=slack.every,
                    most_pictures=settings.pictures_per_turn,
                    ephemeral=slack.ephemeral,
                )
                async with Worker(inbox, work.do, at_once=slack.at_once) as worker:
                    work.places = worker.places
                    heard = SlackApp(
                        bot=bot,
                        libraries=libraries,
                        inbox=inbox,
                        worker=worker,
                        turns=turns,
                        threads=threads,
                        client=client,
                    )
                    try:
                        yield cls(heard.made(secret, _logger()), heard, worker, slack)
                    finally:
                        await heard.aclose()

    async def handle(self, body: bytes, headers: Mapping[str, str]) -> Response:
        """Take what Slack sent, which is known to be Slack's, and return the acknowledgement."""
        asked = AsyncBoltRequest(body=body.decode("utf-8", "replace"), headers=dict(headers))
        said = await self.app.async_dispatch(asked)
        return Response(said.body, said.status, said.first_headers_without_set_cookie())

    async def run(self) -> None:
        """Be connected by Socket Mode until cancelled; comes back by itself."""
        token = _given(self.settings.app_token, "app_token", _APP_TOKEN)
        client = self.heard.client

        async def asked() -> object:  # once more than is needed: the handler asks for ever
            return await client.apps_connections_open(app_token=token)

        await _until_reached(asked, "the app token", _APP_TOKEN)
        handler = AsyncSocketModeHandler(self.app, token, logger=_logger(), ping_interval=5)
        try:
            await handler.connect_async()  # type: ignore[no-untyped-call]
            logs.tell("Slack: connected")
            await asyncio.Event().wait()
        finally:
            await handler.close_async()  # type: ignore[no-untyped-call]
            await handler.client.aiohttp_client_session.close()


_APP_TOKEN = "xapp-… with the scope connections:write, of “Basic Information”, App-Level Tokens"


def manifest(address: str | None = None) -> dict[str, Any]:
    """Return the app's manifest: for Socket Mode, or for HTTP mode at the address of a service."""
    text = (files("bot.channels") / "slack_manifest.json").read_text("utf-8")
    made: dict[str, Any] = json.loads(text)
    if address is not None:
        url = f"{address.rstrip('/')}/slack/events"
        made["settings"]["socket_mode_enabled"] = False
        made["settings"]["event_subscriptions"]["request_url"] = url
        made["settings"]["interactivity"]["request_url"] = url
        made["features"]["slash_commands"][0]["url"] = url
    return made


def scopes() -> list[str]:
    """Return the scopes that the manifest asks for."""
    return list(manifest()["oauth_config"]["scopes"]["bot"])


def _given(secret: SecretStr | None, name: str, what: str) -> str:
    if secret is None or not secret.get_secret_value():
        raise SettingsError(f"setting slack.{name} is missing: {what} of your app at {APPS}")
    return secret.get_secret_value()


def _logger() -> logging.Logger:
    """Return the log of Slack's libraries, which would write payloads at lower levels."""
    logger = logging.getLogger("bifocal.slack")
    logger.setLevel(logging.ERROR)
    return logger


def _client(token: str, url: str, session: aiohttp.ClientSession) -> AsyncWebClient:
    """Return a client that waits where Slack says so, and while it is down."""
    waiting = BackoffRetryIntervalCalculator(backoff_factor=0.5)
    return AsyncWebClient(
        token=token,
        base_url=url,
        session=session,
        trust_env_in_session=False,
        logger=_logger(),
        retry_handlers=[
            AsyncRateLimitErrorRetryHandler(max_retry_count=10 * RETRIES),
            AsyncConnectionErrorRetryHandler(max_retry_count=RETRIES, interval_calculator=waiting),
            AsyncServerErrorRetryHandler(max_retry_count=RETRIES, interval_calculator=waiting),
        ],
    )


async def _who(client: AsyncWebClient) -> str:
    """Return the bot's own user id; ``SettingsError`` where the token may not do what it must."""
    what = "xoxb-…, of the page “OAuth & Permissions”"
    said = await _until_reached(client.auth_test, "the bot token", what)
    given = str(said.headers.get("x-oauth-scopes") or said.headers.get("X-OAuth-Scopes") or "")
    missing = [scope for scope in scopes() if scope not in given.split(",")] if given else []
    if needed := [scope for scope in missing if scope not in _OPTIONAL]:
        raise SettingsError(
            f"Slack: the app lacks the scope {', '.join(needed)}; add it at {APPS}, page “OAuth &"
            " Permissions”, and install the app again"
        )
    for scope in missing:
        logs.tell("Slack: the app lacks a scope", level="warning", scope=scope, page=APPS)
    return str(said["user_id"])


async def _until_reached(call: Any, name: str, what: str) -> Any:
    """Call until Slack can be reached; ``SettingsError`` where it refuses the token."""
    while True:
        try:
            return await call()
        except SlackApiError as error:
            said = code_of(error)
            if said in _REFUSED:
                raise SettingsError(
                    f"Slack refuses {name} ({said}); it is {what} of your app at {APPS}"
                ) from None
            logs.tell("Slack cannot be asked now", level="warning", said=said)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            logs.tell("Slack cannot be reached", level="warning", kind=type(error).__name__)
        await asyncio.sleep(AGAIN)
