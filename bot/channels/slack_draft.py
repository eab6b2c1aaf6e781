"""An answer being written in Slack: streamed where Slack streams, edited where it does not.

A stream ends by itself after five minutes; before that a new one with all of its words takes its
place. Where a stream cannot begin, or ended, the message is edited. Knows nothing of turns.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_chat_stream import AsyncChatStream
from slack_sdk.web.async_client import AsyncWebClient

from bot.channels.final import Final
from bot.channels.slack_blocks import LIMIT, QUIET, ending, line, message, silent
from bot.channels.slack_errors import code_of
from bot.channels.slack_files import FileRefused, delete_file, upload

RENEW = 240.0  #: seconds after which a stream is replaced; Slack ends it after 300
_CLOSING = re.compile(r"\n[ \t]*(?:`{3,}|~{3,})[ \t]*$")
_WORD = re.compile(r"[!-~]{1,300}$")
_GONE = frozenset(("message_not_found", "cant_update_message", "channel_not_found"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is shown, and to whom it is streamed."""

    team: str
    channel: str
    thread: str
    user: str


@dataclass(slots=True)
class _Written:
    """A message of the answer; ``stream`` while it is being streamed."""

    ts: str
    text: str = ""
    stream: AsyncChatStream | None = None
    since: float = 0.0


Noting = Callable[[list[str], list[str]], Awaitable[Any]]


class SlackDraft:
    """See ``bot.channels.delivery.Draft``. ``old`` are messages whose place the answer takes;
    ``noting`` is told which messages and files there are, in case this process dies."""

    limit = LIMIT

    def __init__(
        self,
        client: AsyncWebClient,
        place: Place,
        *,
        every: float = 1.0,
        old: Sequence[str] = (),
        noting: Noting | None = None,
        renew: float = RENEW,
    ) -> None:
        self.every = every
        self._client, self._place, self._noting, self._renew = client, place, noting, renew
        self._written = [_Written(ts) for ts in old]
        self._streams = not old
        self.files: list[str] = []  #: ids of the pictures that were shown

    @property
    def messages(self) -> list[str]:
        """The time stamps of its messages, in order."""
        return [written.ts for written in self._written]

    async def show(self, parts: Sequence[str]) -> None:
        """See ``Draft``. What may yet change stays back: the last word, the end of a code block."""
        *whole, last = map(silent, parts)
        for number, part in enumerate(whole):
            await self._write(number, part, whole=True)
        settled = _WORD.sub("", _CLOSING.sub("", last)).rstrip()
        if settled:
            await self._write(len(whole), settled)

    async def wait(self, text: str) -> None:
        """See ``Draft``."""
        await self.fail(text)

    async def finish(self, final: Final) -> None:
        """See ``Draft``."""
        parts = [silent(part) for part in final.parts]
        for number, part in enumerate(parts[:-1]):
            await self._write(number, part, whole=True)
        await self._write(len(parts) - 1, parts[-1], whole=True, blocks=ending(final))
        await self._drop_from(len(parts))
        if final.pictures:
            place = self._place
            try:
                self.files = await upload(self._client, place.channel, place.thread, final.pictures)
                await self._note()
            except FileRefused as error:
                await self._post(line(f"The pictures cannot be shown: {error}"))

    async def fail(self, text: str) -> None:
        """See ``Draft``."""
        if not self._written:
            self._written.append(_Written(await self._post(line(text)), text))
            await self._note()
            return
        first = self._written[0]
        await self._end(first)
        await self._edit(first, line(text))
        first.text = text
        await self._drop_from(1)

    # --- one message --------------------------------------------------------------------------

    async def _write(
        self, number: int, text: str, *, whole: bool = False, blocks: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Make a message say ``text``; ``whole``: nothing more is appended to it."""
        if number == len(self._written):
            await self._begin(text)
        written = self._written[number]
        if written.stream is not None:
            written = await self._go_on(number, text)
        if written.stream is not None and whole:
            await self._end(written, blocks)
            if written.text == text:
                return
        if written.stream is None and (written.text != text or blocks):
            await self._edit(written, message(text, blocks))
            written.text = text

    async def _begin(self, text: str) -> None:
        if self._streams and (written := await self._stream(text)) is not None:
            self._written.append(written)
        else:
            self._streams = False
            self._written.append(_Written(await self._post(message(text)), text))
        await self._note()

    async def _stream(self, text: str) -> _Written | None:
        """Return a new stream that says ``text``; ``None`` where Slack does not stream."""
        place = self._place
        stream = await self._client.chat_stream(
            buffer_size=1,
            channel=place.channel,
            thread_ts=place.thread,
            recipient_team_id=place.team,
            recipient_user_id=place.user,
            **QUIET,  # which is not documented for streams; but what they say holds no link
        )
        try:
            await stream.append(markdown_text=text)
        except SlackApiError as error:
            if code_of(error) in _GONE:
                raise
            return None
        return _Written(str(stream.ts), text, stream, asyncio.get_running_loop().time())

    async def _go_on(self, number: int, text: str) -> _Written:
        """Append to a stream what it does not say yet, or end it where that is impossible."""
        written = self._written[number]
        assert written.stream is not None
        if not text.startswith(written.text):
            await self._end(written)
        elif asyncio.get_running_loop().time() - written.since > self._renew:
            return await self._begin_anew(number, text)
        elif more := text[len(written.text) :]:
            try:
                await written.stream.append(markdown_text=more)
                written.text = text
            except SlackApiError as error:
                if code_of(error) == "message_not_found":
                    raise
                written.stream = None  # it ended by itself: the message is edited from now on
        return written

    async def _begin_anew(self, number: int, text: str) -> _Written:
        """Put a new stream in the place of one that would soon end."""
        old = self._written[number]
        if (new := await self._stream(text)) is None:
            await self._end(old)
            return old
        self._written[number] = new
        await self._note(old.ts)  # both, until one is gone
        await self._end(old)
        await self._delete(old.ts)
        await self._note()
        return new

    async def _end(self, written: _Written, blocks: Sequence[dict[str, Any]] = ()) -> None:
        """End a stream, with blocks below it."""
        if written.stream is None:
            return
        stream, written.stream = written.stream, None
        try:
            await stream.stop(blocks=list(blocks) or None)
        except SlackApiError:  # it ended by itself
            if blocks:
                await self._edit(written, message(written.text, blocks))

    async def _post(self, body: dict[str, Any]) -> str:
        place = self._place
        said = await self._client.chat_postMessage(
            channel=place.channel, thread_ts=place.thread, **body
        )
        return str(said["ts"])

    async def _edit(self, written: _Written, body: dict[str, Any]) -> None:
        """Edit a message; another one takes its place if somebody deleted it."""
        try:
            await self._client.chat_update(channel=self._place.channel, ts=written.ts, **body)
        except SlackApiError as error:
            if code_of(error) not in _GONE:
                raise
            written.ts = await self._post(body)
            await self._note()

    async def _drop_from(self, number: int) -> None:
        """Delete messages that the answer does not need any more."""
        for written in self._written[number:]:
            await self._end(written)
            await self._delete(written.ts)
        del self._written[number:]

    async def _delete(self, ts: str) -> None:
        await delete(self._client, self._place.channel, ts)

    async def _note(self, *old: str) -> None:
        if self._noting is not None:
            await self._noting([*old, *self.messages], self.files)


async def delete(client: AsyncWebClient, channel: str, ts: str) -> None:
    """Delete one of the bot's messages, streaming or not, if it is still there."""
    try:
        await client.chat_delete(channel=channel, ts=ts)
    except SlackApiError as error:
        if code_of(error) not in _GONE:
            raise


async def clear_away(
    client: AsyncWebClient, channel: str, shown: Sequence[str], files: Sequence[str] = ()
) -> None:
    """Delete what a process that died had shown of an answer: messages, and files by their ids."""
    for ts in shown:
        with contextlib.suppress(SlackApiError):  # it was no stream, or ended
            await client.chat_stopStream(channel=channel, ts=ts)
        await delete(client, channel, ts)
    for id in files:
        await delete_file(client, id)
