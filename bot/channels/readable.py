"""Which pictures of a message can be seen. Knows nothing of channels, nor of bots."""

import asyncio
from collections.abc import Sequence

from bot.lines import NAME, one_line
from bot.sent import SentPicture
from retrievers.errors import PictureRefused
from retrievers.imaging import read_picture


async def readable(pictures: Sequence[SentPicture]) -> tuple[list[SentPicture], list[str]]:
    """Return the pictures that can be read, and of each of the others its name and why not."""
    found: list[SentPicture] = []
    refused: list[str] = []
    for picture in pictures:
        try:
            name = one_line(picture.name, NAME)
            await asyncio.to_thread(read_picture, picture.picture, name=name)
            found.append(picture)
        except PictureRefused as error:
            refused.append(str(error))
    return found, refused
