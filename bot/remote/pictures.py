"""Pictures on their way to a service: from a path, bytes or a PIL image to an upload.

Knows nothing of turns. A file is sent from the disk, piece by piece; checking what it is, is the
service's work.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from PIL import Image

from bot.remote.problems import Meaning
from bot.remote.wire import Wire
from bot.sent import SentPicture
from retrievers.errors import PictureRefused
from retrievers.imaging import MAX_BYTES, PictureLike, read_picture

_MEANING = Meaning(invalid=PictureRefused)


async def upload(wire: Wire, images: Sequence[PictureLike | SentPicture]) -> list[dict[str, str]]:
    """Upload pictures, and return what a turn says of them. Raises ``PictureRefused``."""
    return [await _upload(wire, image) for image in images]


async def _upload(wire: Wire, image: PictureLike | SentPicture) -> dict[str, str]:
    sent = image if isinstance(image, SentPicture) else SentPicture(image)
    picture = sent.picture
    if isinstance(picture, Image.Image):  # as ChatBot does: what is stored of it is a PNG
        picture = (await asyncio.to_thread(read_picture, picture)).data
    if isinstance(picture, (str, Path)):
        name = sent.name or Path(picture).name
        with _opened(picture, name) as file:
            found = await _post(wire, name, file)
    elif isinstance(picture, bytes):
        name = sent.name
        _check(len(picture), name or "picture")
        found = await _post(wire, name or "picture", picture)
    else:
        raise PictureRefused(
            f"a {type(picture).__name__} is no picture: give a path, encoded bytes or a PIL image"
        )
    return {"upload": str(found["id"]), "name": name[-200:], "alt": sent.alt}


async def _post(wire: Wire, name: str, data: "bytes | IO[bytes]") -> Any:
    part = (name.encode("utf-8", "replace").decode(), data, "application/octet-stream")

    def files() -> dict[str, Any]:
        if not isinstance(data, bytes):
            data.seek(0)
        return {"file": part}

    return await wire.json("POST", "/v1/pictures", _MEANING, files=files)


@contextmanager
def _opened(given: str | Path, name: str) -> "Iterator[IO[bytes]]":
    """Give a file, once it is one and not too large."""
    path = Path(given).expanduser()
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise PictureRefused(f"{path}: not a file")
        _check(size, name)
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise PictureRefused(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    with file:
        yield file


def _check(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise PictureRefused(f"{name}: {size / 1e6:.0f} MB, the most is {MAX_BYTES / 1e6:.0f} MB")
