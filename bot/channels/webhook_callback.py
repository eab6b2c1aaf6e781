"""Posts to the operator's callback, signed. Knows nothing of what is posted."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from bot.channels.settings import WebhookSettings
from bot.channels.webhook_message import signed
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


def _is_down(error: httpx.HTTPError) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, httpx.TransportError)
