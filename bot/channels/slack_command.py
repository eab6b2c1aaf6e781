"""An answer to ``/bifocal ask`` that the asker alone sees. Knows nothing of turns."""

from collections.abc import Sequence
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.channels.final import Final
from bot.channels.slack_blocks import LIMIT, ending, line, message, silent

MOST = 4  #: messages of an answer; the address of a command takes five


class CommandDraft:
    """Shows an answer whole, at the address that came with the command. Slack takes that for half
    an hour; later the asker gets it in the channel, or, where the bot is not, directly."""

    limit = LIMIT
    every = 0.1

    def __init__(self, respond: str, client: AsyncWebClient, channel: str, user: str) -> None:
        self._webhook = AsyncWebhookClient(
            respond, logger=client._logger, retry_handlers=client.retry_handlers
        )
        self._client, self._channel, self._user = client, channel, user

    async def show(self, parts: Sequence[str]) -> None:
        """Show nothing yet: such an address takes five messages."""

    async def wait(self, text: str) -> None:
        """See ``Draft``."""
        await self._send(line(text))

    async def finish(self, final: Final) -> None:
        """See ``Draft``. Nobody but the asker may see it, and files have no such thing."""
        parts = [silent(part) for part in final.parts]
        for part in parts[: MOST - 1][: len(parts) - 1]:
            await self._send(message(part))
        more = ending(final, buttons=False)
        if len(parts) > MOST:
            more += line("This is not all of it: ask in a thread to see the rest")["blocks"]
        if final.pictures:
            more += line(f"{len(final.pictures)} cited pictures: ask in a thread to see them")[
                "blocks"
            ]
        await self._send(message(parts[:MOST][-1], more))

    async def fail(self, text: str) -> None:
        """See ``Draft``."""
        await self._send(line(text))

    async def _send(self, body: dict[str, Any]) -> None:
        given = {"response_type": "ephemeral", "replace_original": False, **body}
        said = await self._webhook.send_dict(given)
        if said.status_code >= 500:
            raise ConnectionError("Slack does not take the answer to a command now")
        if said.status_code != 200:  # it took five, or half an hour is over
            await self._send_late(body)

    async def _send_late(self, body: dict[str, Any]) -> None:
        try:
            await self._client.chat_postEphemeral(channel=self._channel, user=self._user, **body)
        except SlackApiError:
            await self._client.chat_postMessage(channel=self._user, **body)
