"""Where messages of Discord are posted: into a channel, or as the response to a command.

Nothing that is posted calls anybody, none shows a preview. Limits of rate are kept by ``discord``,
by what Discord's headers say. Knows nothing of answers.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, Protocol

import discord

from bot.channels.discord_events import Happened
from bot.channels.harmless import one_line

NOBODY = discord.AllowedMentions.none()
EXPIRED = (10015, 50027)  #: codes for a command whose time is over


class Post(Protocol):
    """A place where messages are posted."""

    channel: int

    async def send(
        self,
        nonce: str,
        words: str = "",
        *,
        embeds: Sequence[discord.Embed] = (),
        files: Sequence[discord.File] = (),
        view: discord.ui.View | None = None,
    ) -> int:
        """Post a message and return its id."""

    async def edit(self, id: int, words: str, view: discord.ui.View | None = None) -> None:
        """Change the words of a message."""

    async def delete(self, id: int) -> None:
        """Delete a message, if it is there."""


class ChannelPost:
    """Posts into a channel, as replies to a message if there is one."""

    def __init__(self, place: discord.PartialMessageable, question: int | None) -> None:
        self._place, self.channel = place, place.id
        self._reference: discord.MessageReference | None = None
        if question is not None:
            self._reference = discord.MessageReference(
                message_id=question, channel_id=place.id, fail_if_not_exists=False
            )

    async def send(
        self,
        nonce: str,
        words: str = "",
        *,
        embeds: Sequence[discord.Embed] = (),
        files: Sequence[discord.File] = (),
        view: discord.ui.View | None = None,
    ) -> int:
        sent = await self._place.send(
            **_given(words, embeds, files, view),
            reference=self._reference,  # type: ignore[arg-type]  # None is none
            allowed_mentions=NOBODY,
            mention_author=False,
            suppress_embeds=bool(words),
            nonce=nonce,  # posted twice, it is one message
        )
        self._reference = None  # the other parts follow it
        return sent.id

    async def edit(self, id: int, words: str, view: discord.ui.View | None = None) -> None:
        message = self._place.get_partial_message(id)
        await message.edit(content=words, allowed_mentions=NOBODY, view=view)
        self._reference = None

    async def delete(self, id: int) -> None:
        with contextlib.suppress(discord.NotFound, discord.Forbidden):
            await self._place.get_partial_message(id).delete()


class HookPost:
    """Posts as the response to a command. Discord takes that for fifteen minutes; later it posts
    into the channel, below ``asked``, which says what it answers."""

    def __init__(
        self, hook: discord.Webhook, place: discord.PartialMessageable, asked: str
    ) -> None:
        self._hook, self._place, self._asked, self.channel = hook, place, asked, place.id
        self._late: ChannelPost | None = None
        self._shown = False

    async def send(
        self,
        nonce: str,
        words: str = "",
        *,
        embeds: Sequence[discord.Embed] = (),
        files: Sequence[discord.File] = (),
        view: discord.ui.View | None = None,
    ) -> int:
        if self._late is None:
            try:
                sent = await self._hook.send(
                    **_given(words, embeds, files, view),
                    allowed_mentions=NOBODY,
                    suppress_embeds=bool(words),
                    wait=True,
                )
            except discord.HTTPException as error:
                self._late = self._after(error)
                files = [_anew(file) for file in files]
                if not self._shown:
                    asked = await self._late.send(f"{nonce[:20]}:q", self._asked)
                    self._late = ChannelPost(self._place, asked)
            else:
                self._shown = True
                return sent.id
        return await self._late.send(nonce, words, embeds=embeds, files=files, view=view)

    async def edit(self, id: int, words: str, view: discord.ui.View | None = None) -> None:
        self._shown = True
        if self._late is None:
            try:
                await self._hook.edit_message(id, content=words, allowed_mentions=NOBODY, view=view)
                return
            except discord.HTTPException as error:
                self._late = self._after(error)
        await self._late.edit(id, words, view)

    async def delete(self, id: int) -> None:
        if self._late is None:
            try:
                with contextlib.suppress(discord.NotFound, discord.Forbidden):
                    await self._hook.delete_message(id)
                return
            except discord.HTTPException as error:
                self._late = self._after(error)
        await self._late.delete(id)

    def _after(self, error: discord.HTTPException) -> ChannelPost:
        """Return where to go on when the time of the command is over; else raise the error."""
        if error.code not in EXPIRED:
            raise error
        return ChannelPost(self._place, None)


def _anew(file: discord.File) -> discord.File:
    """Return a file that was read once, to be read again."""
    assert isinstance(file.fp, io.BytesIO)
    data = io.BytesIO(file.fp.getvalue())
    return discord.File(data, file.filename, description=file.description)


def _given(
    words: str,
    embeds: Sequence[discord.Embed],
    files: Sequence[discord.File],
    view: discord.ui.View | None,
) -> dict[str, Any]:
    """Return what a message has, without what it has not."""
    found = {"content": words, "embeds": list(embeds), "files": list(files), "view": view}
    return {name: value for name, value in found.items() if value}


def post_of(client: discord.Client, happened: Happened, place: int | None) -> Post:
    """Return where the answer to a question is posted: in ``place`` if it is there already."""
    channel = client.get_partial_messageable(place or happened.channel)
    if happened.token:
        assert client.application_id is not None
        hook = discord.Webhook.partial(client.application_id, happened.token, client=client)
        asked = one_line(f"{happened.name} asked: {happened.text}", 200)
        return HookPost(hook, channel, f"-# {discord.utils.escape_markdown(asked)}")
    question = happened.message if place in (None, happened.channel) else None
    return ChannelPost(channel, question)
