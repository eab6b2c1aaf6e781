"""Captions by the model, for pictures that came without words: beside the turns, like summaries.

By a caption a later turn finds a picture ("the one with the boat"), and reads of it when its pixels
are not shown again. What a sender says of a picture, or what is written in it, goes before. Knows
nothing of Redis, nor of how a turn is made.
"""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from bot.beside import Beside, Interrupted, Troubles
from bot.citations import MARK
from bot.lines import CAPTION, one_line
from bot.models.explain import explain
from memory.errors import HistoryDamaged, PictureNotFound
from memory.history import History
from memory.messages import PictureRef
from prompts import Prompt
from retrievers.imaging import encode, read_picture, shrink

_SIDE = 512  #: pixels of the longer side that a caption is made of
MOST = 8  #: pictures that get captions after one turn, at most
_READ = 1000  #: characters of a reply that are read
_FIRST = re.compile(r"[^\n]*\S[^\n]*")  # its first line with something on it

Describe = Callable[[bytes], Awaitable[str]]


class Captioner:
    """Has captions written, when nothing else is to do."""

    def __init__(self, history: History, beside: Beside, seconds: float) -> None:
        self._history, self._beside, self._seconds = history, beside, seconds
        self._troubles = Troubles()

    def offer(self, conversation: str, pictures: Sequence[PictureRef], describe: Describe) -> None:
        """Have captions written for pictures that have none; returns at once, and never fails."""
        without = [picture for picture in pictures if not picture.caption][:MOST]
        if without and self._seconds:
            self._beside.offer(
                "caption",
                conversation,
                partial(self._write, conversation, without, describe),
                partial(self._troubles.note, conversation),
            )

    def trouble(self, conversation: str) -> str:
        """Return, once, why a conversation's last pictures got no caption."""
        return self._troubles.tell(conversation)

    async def _write(
        self, conversation: str, pictures: Sequence[PictureRef], describe: Describe
    ) -> None:
        for picture in pictures:
            try:
                data = await self._history.picture(conversation, picture.number)
            except (HistoryDamaged, PictureNotFound):
                continue  # dropped or forgotten meanwhile
            try:
                async with asyncio.timeout(self._seconds):
                    said = await self._beside.ask(partial(describe, data))
            except Interrupted:
                return  # the next turn offers what is still without one
            except TimeoutError:
                told = f"the model had not written it within {self._seconds:g} s"
                self._troubles.note(conversation, told)
                return
            except Exception as error:  # whatever a model's client raises
                self._troubles.note(conversation, explain(error, "the model"))
                return
            if caption := cleaned(said):
                await self._history.save_caption(conversation, replace(picture, caption=caption))


def cleaned(said: str) -> str:
    """Return the first line of a model's reply as a caption: without marks, quotation marks or
    control characters, and cut short; empty where nothing is left."""
    first = _FIRST.search(said[:_READ])
    return one_line(MARK.sub("", first[0]), CAPTION).strip("\"'“”*# ") if first else ""


def describer(model: BaseChatModel, prompt: Prompt) -> Describe:
    """Return what asks ``model`` for a caption of an encoded picture."""

    async def describe(data: bytes) -> str:
        small = await asyncio.to_thread(_small, data)
        picture = {"type": "image", "base64": small, "mime_type": "image/jpeg"}
        asked = HumanMessage([picture, {"type": "text", "text": prompt.render()}])
        reply = ""
        async with aclosing(model.astream([asked])) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                reply += str(chunk.text)
                if len(reply) > _READ:
                    break
        return reply

    return describe


def _small(data: bytes) -> str:
    image = shrink(read_picture(data).image, _SIDE)
    return base64.b64encode(encode(image, "image/jpeg")).decode("ascii")
