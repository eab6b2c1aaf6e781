"""An answer as messages of Discord: posted once, edited while it grows, cited pictures at the end.

No message pings anybody, none shows a preview: every message with words suppresses embeds. Discord
then hides a message's own embeds, too; so what an answer rests on is a message without words, in
which there is nothing that could be previewed. Limits of rate are kept by ``discord``, by what
Discord's headers say. Knows nothing of bots, nor of how an answer comes about.
"""

import io
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import discord

from bot.channels.delivery import Final
from bot.channels.discord_posts import Post
from bot.channels.final import Drawn, Footnote
from bot.channels.splitting import split

LIMIT = 2000  #: characters of a message
EMBED = 1000  #: characters that one of up to five embeds has; all together may have 6,000

#: Keeps where an answer is shown, for whoever goes on after a crash
Note = Callable[[bytes], Awaitable[object]]
#: Makes the buttons of an answer, by its turn
Buttons = Callable[[str], discord.ui.View]


@dataclass
class DiscordDraft:
    """One answer being written; ``nonce`` is the question's own.

    ``texts`` are the messages of its words, ``extras`` those of what it rests on; both may have
    some already, of an answer that is written anew.
    """

    post: Post
    every: float
    nonce: str
    note: Note
    buttons: Buttons
    texts: list[int] = field(default_factory=list)
    extras: list[int] = field(default_factory=list)
    limit: int = LIMIT

    def __post_init__(self) -> None:
        self._shown: dict[int, str] = {}
        self._stale = list(self.extras)

    def recall(self, note: bytes) -> None:
        """Go on where another process ended."""
        if note:
            found = json.loads(note)
            self.texts, self.extras = found["texts"], found["extras"]
            self._stale = list(self.extras)

    async def show(self, parts: Sequence[str]) -> None:
        """Show the text so far."""
        await self._write(parts)

    async def wait(self, line: str) -> None:
        """Say that the answer comes later."""
        await self._write([line])

    async def finish(self, final: Final) -> None:
        """Show the whole answer, what it rests on, and the buttons."""
        parts = with_notices(final.parts, final.notices)
        view = self.buttons(final.answer.turn)
        rests = bool(final.footnotes)
        await self._write(parts, None if rests else view)
        await self._clear(len(parts))
        if rests:
            await self._rest(final, view)

    async def fail(self, line: str) -> None:
        """Say why there is no answer."""
        await self._write([line])
        await self._clear(1)

    async def _write(self, parts: Sequence[str], view: discord.ui.View | None = None) -> None:
        for number, words in enumerate(parts):
            last = view if number == len(parts) - 1 else None
            if number >= len(self.texts):
                id = await self.post.send(f"{self.nonce}:{number}", words, view=last)
                self.texts.append(id)
                await self._keep()
            elif self._shown.get(number) != words or last is not None:
                await self.post.edit(self.texts[number], words, last)
            self._shown[number] = words

    async def _clear(self, count: int) -> None:
        """Delete messages of an earlier, longer answer, and what that rested on."""
        for id in (*self.texts[count:], *self._stale):
            await self.post.delete(id)
        del self.texts[count:]
        self.extras = [id for id in self.extras if id not in self._stale]
        self._stale = []

    async def _rest(self, final: Final, view: discord.ui.View) -> None:
        """Post what the answer rests on, as words where embeds or files are not allowed."""
        embeds, files = embeds_of(final.footnotes, final.pictures)
        try:
            id = await self.post.send(f"{self.nonce}:x", embeds=embeds, files=files, view=view)
            self.extras.append(id)
        except discord.Forbidden:
            lines = [escaped(str(note)) for note in final.footnotes]
            if final.pictures:
                lines.append("(the permission “Attach Files” is missing: no picture is shown)")
            for number, words in enumerate(split("\n".join(lines), self.limit)):
                self.extras.append(await self.post.send(f"{self.nonce}:y{number}", words))
        await self._keep()

    async def _keep(self) -> None:
        await self.note(json.dumps({"texts": self.texts, "extras": self.extras}).encode())


def with_notices(parts: Sequence[str], notices: Sequence[str]) -> list[str]:
    """Return the parts of an answer with its notices, small, behind the last."""
    small = "\n".join(f"-# {escaped(line)}" for line in notices)
    if not small:
        return list(parts)
    if parts and len(parts[-1]) + len(small) + 1 <= LIMIT and not parts[-1].endswith("```"):
        return [*parts[:-1], f"{parts[-1]}\n{small}"]
    return [*parts, *split(small, LIMIT)]


def embeds_of(
    footnotes: Sequence[Footnote], pictures: Sequence[Drawn]
) -> tuple[list[discord.Embed], list[discord.File]]:
    """Return an embed for each cited picture, the picture in it, and one for all that is words."""
    drawn = {mark: picture for picture in pictures for mark in picture.marks}
    embeds, files = [], []
    words = [note for note in footnotes if note.mark not in drawn]
    if words:
        embeds.append(discord.Embed(description=_lines(words)))
    for picture in pictures:
        about = [note for note in footnotes if note.mark in picture.marks]
        embed = discord.Embed(description=_lines(about))
        embed.set_image(url=f"attachment://{picture.name}")
        embeds.append(embed)
        files.append(
            discord.File(io.BytesIO(picture.data), picture.name, description=picture.alt or None)
        )
    return embeds, files


def _lines(footnotes: Sequence[Footnote]) -> str:
    lines: list[str] = []
    for note in footnotes:
        line = f"**[{note.mark}]** {escaped(note.place)}"
        line += f"\n> {escaped(note.quote)}" if note.quote else ""
        if sum(map(len, lines)) + len(lines) + len(line) > EMBED - 20:
            lines.append(f"and {len(footnotes) - len(lines)} more")
            break
        lines.append(line)
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Return words of sources without a meaning in Discord's markup."""
    return discord.utils.escape_markdown(text)
