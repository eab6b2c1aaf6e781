"""Pictures as the page shows them: small or with a box, as JPEG in a data address.

Every picture is decoded and drawn anew, so that what reaches a browser was written here. Knows
nothing of where pictures lie.
"""

import asyncio
import base64

from bot.show import picture_of
from retrievers.evidence import Box
from retrievers.imaging import encode

SMALL, LARGE = 320, 1400  #: pixels of the longer side


async def drawn(
    limit: asyncio.Semaphore, data: bytes, box: Box | None = None, side: int = SMALL
) -> str:
    """Return a picture's address; ``limit`` bounds how many are drawn at once.

    Raises ``PictureRefused`` for what is no picture.
    """

    def draw() -> str:
        jpeg = encode(picture_of(data, box, side), "image/jpeg", quality=82)
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")

    async with limit:
        return await asyncio.to_thread(draw)
