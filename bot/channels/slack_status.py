"""What Slack shows below a question until its answer begins: that the bot is at work.

Knows nothing of how an answer comes about, nor of how it is shown.
"""

import asyncio
import contextlib

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.channels.slack_draft import Place, SlackDraft

AGAIN = 90.0  #: seconds after which it is said again; Slack takes it away after 120
WAITING = ("Looking through the library…", "Reading what was found…", "Writing…")


class Waiting:
    """Says that the bot is at work until its draft shows something, or this is left.

    An asynchronous context manager. Slack takes the status away when a message comes; where it may
    not be said, nothing is.
    """

    def __init__(self, client: AsyncWebClient, place: Place, draft: SlackDraft) -> None:
        self._client, self._place, self._draft = client, place, draft
        self._first = asyncio.Event()
        self._saying: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Waiting":
        self._saying = asyncio.create_task(self._say())
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._saying is not None
        self._saying.cancel()
        await asyncio.wait({self._saying})

    async def said(self) -> None:
        """Wait a moment for the first status: one that comes after the answer would stay."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._first.wait()

    async def _say(self) -> None:
        place = self._place
        try:
            while not self._draft.messages:
                await self._client.assistant_threads_setStatus(
                    channel_id=place.channel,
                    thread_ts=place.thread,
                    status="is looking…",
                    loading_messages=list(WAITING),
                )
                self._first.set()
                await asyncio.sleep(AGAIN)
        except (SlackApiError, aiohttp.ClientError, TimeoutError):
            self._first.set()
