"""An answer to a message of the webhook, posted to the operator's callback, signed.

Knows nothing of how it comes about.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx

from bot.channels.delivery import Final
from bot.channels.settings import WebhookSettings
from bot.channels.webhook_message import Message, signed, told_of
from bot.channels.working import Unreachable

PAUSES = (0.2, 1.0, 3.0)  #: seconds before it is tried again


class Callback:
    """The address ``callback`` of the settings. Its methods raise ``httpx.HTTPError``."""

    def __init__(self, settings: WebhookSettings, client: httpx.AsyncClient) -> None:
        self._settings, self._client = settings, client

    async def post(self, told: dict[str, Any]) -> None:
        """Post once."""
        body = json.dumps(told).encode()
        headers = signed(self._settings.secret, body)
        address = self._settings.callback or ""
        (await self._client.post(address, content=body, headers=headers)).raise_for_status()

    async def post_surely(
        self, told: dict[str, Any], attempt: Callable[[], Awaitable[int]]
    ) -> None:
        """Post, again after each pause, each time with the number that ``attempt`` gives. Raises
        ``Unreachable`` where the other side is down."""
        for pause in (*PAUSES, None):
            try:
                await self.post({**told, "attempt": await attempt()})
                return
            except httpx.HTTPError as error:
                if pause is None:
                    if _is_down(error):
                        raise Unreachable from error
                    raise
                await asyncio.sleep(pause)


class WebhookDraft:
    """An answer: posted while it is written if ``drafts`` says so, kept in ``told`` at the end."""

    limit = 4000

    def __init__(self, callback: Callback, settings: WebhookSettings, message: Message) -> None:
        self._callback, self._message = callback, message
        self._drafts = settings.drafts and not message.wait
        self.every = settings.every
        self.told: dict[str, Any] = {}

    async def show(self, parts: Sequence[str]) -> None:
        """Post the text so far."""
        if self._drafts:
            with contextlib.suppress(httpx.HTTPError):  # the whole answer is still to come
                await self._callback.post(self._message.reply("draft", parts=parts))

    async def wait(self, line: str) -> None:
        """Post the line, as a text so far."""
        await self.show([line])

    async def finish(self, final: Final) -> None:
        """Keep the whole answer."""
        self.told = self._message.reply("answer", **told_of(final))

    async def fail(self, line: str) -> None:
        """Keep why there is no answer."""
        self.told = self._message.reply("failed", reason=line)

    def take_back(self) -> None:
        """Keep that there will be no answer to this message: it was edited or deleted."""
        self.told = self._message.reply("withdrawn")


def _is_down(error: httpx.HTTPError) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, httpx.TransportError)
