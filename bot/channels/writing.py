"""An answer that grows in a channel: the first whole words at once (unless the answer is whole by
then), then an edit at most each ``draft.every`` seconds. Knows nothing of turns, nor of channels.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from bot.channels.final import Final
from bot.channels.harmless import harmless
from bot.channels.splitting import split

__all__ = ["Draft", "Writer"]

GRACE = 0.05  #: seconds that the first words wait for the end: a quick answer needs no draft

_BEGUN = re.compile(r"\s*[!-~]{0,100}")  #: no more than one word, of which there may be more


class Draft(Protocol):
    """One answer being written in a channel. Its methods are called one after another."""

    limit: int  #: characters of one message
    every: float  #: seconds between two edits, at least

    async def show(self, parts: Sequence[str]) -> None:
        """Show the text so far, harmless and split; the answer goes on."""

    async def wait(self, line: str) -> None:
        """Say in one harmless line, in place of what was shown, that the answer comes later."""

    async def finish(self, final: Final) -> None:
        """Show the whole answer, in place of what was shown."""

    async def fail(self, line: str) -> None:
        """Say in one harmless line why there is no answer, in place of what was shown."""


class Writer:
    """Shows a text that grows, in a task of its own, so that a slow channel holds up no model."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.text, self._waits = "", False
        self._more, self._ended = asyncio.Event(), asyncio.Event()
        self._showing = asyncio.Lock()

    def add(self, text: str) -> None:
        """Append to the text; it is worth showing when one word is whole."""
        self.text += text
        self._waits = False
        if not _BEGUN.fullmatch(self.text):
            self._more.set()

    async def wait(self, line: str) -> None:
        """Say that the answer comes later, unless that is what is shown."""
        async with self._showing:
            if not self._waits:
                self.text, self._waits = "", True
                await self._draft.wait(line)

    async def run(self) -> None:
        """Show the text whenever there is more of it, until the end."""
        await self._more.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), GRACE)
        while True:
            await self._more.wait()
            if self._ended.is_set():
                return
            self._more.clear()
            if parts := split(harmless(self.text), self._draft.limit):
                async with self._showing:
                    await self._draft.show(parts)
                await asyncio.sleep(self._draft.every)

    async def end(self, writing: "asyncio.Task[None]") -> None:
        """Wait for an edit under way, and for the pause behind it; raise what an edit raised."""
        self._ended.set()
        self._more.set()
        await writing

    async def stop(self, writing: "asyncio.Task[None]") -> None:
        """Wait for an edit under way, and show nothing more."""
        async with self._showing:
            writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
