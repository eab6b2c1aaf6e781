"""Pictures in LangChain's messages: found in their blocks, taken out, and put back.

A picture is an ``image`` block (``base64``, a ``data:`` address in ``url``, ``image`` with bytes,
Anthropic's ``source``) or an ``image_url`` block with a ``data:`` address. Nothing is ever fetched
or opened: any other address is refused. What is stored of a picture in its place is a *slot*:
``{"type": "image", "picture": NUMBER}``.

Only a picture's header is read here; pixels are decoded by those who look at them. Knows nothing of
turns or of Redis.
"""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from memory.data_uris import DataUriRefused, decode, read_data_uri
from memory.errors import HistoryError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 32 * 1024 * 1024
MAX_PIXELS = 64_000_000
MAX_SIDE = 16_384
DEPTH = 8  #: levels of blocks within blocks
LABEL = 200  #: characters of a name; ten times that of a caption

_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap the sides
_OWN_KEYS = ("picture", "name", "caption")


@dataclass(frozen=True, slots=True)
class Given:
    """A picture as it came in a message. ``number`` is the one it claims to have, or 0."""

    data: bytes
    sha256: str
    media_type: str
    width: int
    height: int
    name: str = ""
    caption: str = ""
    number: int = 0


def is_picture(block: Mapping[str, Any]) -> bool:
    """Tell whether a block is one of a picture; a provider's ``file_id`` is left as it is."""
    if block.get("type") == "image_url":
        return True
    source = block.get("source")
    filed = "file_id" in block or (isinstance(source, Mapping) and "file_id" in source)
    return block.get("type") == "image" and not filed


def take(block: Mapping[str, Any]) -> tuple[Given, dict[str, Any]]:
    """Return a block's picture and the slot that stands for it, its number still 0.

    Raises ``HistoryError`` for an address, for what cannot be decoded, and over the caps.
    """
    data = _bytes_of(block)
    media_type, width, height = read_header(data)
    given_extras = block.get("extras")
    extras = dict(given_extras) if isinstance(given_extras, Mapping) else {}
    own = {key: extras.pop(key, None) for key in _OWN_KEYS}
    if isinstance(address := block.get("image_url"), Mapping) and "detail" in address:
        extras["detail"] = address["detail"]
    slot: dict[str, Any] = {"type": "image", "picture": 0}
    if isinstance(block.get("id"), str):
        slot["id"] = block["id"]
    if extras:
        slot["extras"] = extras
    given = Given(
        data,
        hashlib.sha256(data).hexdigest(),
        media_type,
        width,
        height,
        name=_label(own["name"], LABEL),
        caption=_label(own["caption"], 10 * LABEL),
        number=own["picture"] if isinstance(own["picture"], int) else 0,
    )
    return given, slot


def _bytes_of(block: Mapping[str, Any]) -> bytes:
    source = block.get("source")
    if isinstance(source, Mapping):  # Anthropic's
        block = {key: source.get(key) for key in ("data", "url")}
    raw = block.get("image")
    bare = next((block[key] for key in ("base64", "data") if block.get(key)), None)
    data = raw if isinstance(raw, bytes) else bare
    if not isinstance(data, bytes):
        data = _decoded(data if isinstance(data, str) else None, block)
    if len(data) > MAX_BYTES:
        raise HistoryError(
            f"a picture of {len(data) / 1e6:.0f} MB, the most is {MAX_BYTES / 1e6:.0f} MB: make it"
            " smaller"
        )
    return data


def _decoded(bare: str | None, block: Mapping[str, Any]) -> bytes:
    """Return what base64 holds, ``bare`` or in the block's ``data:`` address."""
    address = block.get("url") or block.get("image_url")
    if isinstance(address, Mapping):
        address = address.get("url")
    try:
        if bare is not None:
            return decode(bare, MAX_BYTES)
        if isinstance(address, str) and address:
            return read_data_uri(address, MAX_BYTES).data
    except DataUriRefused as error:
        raise HistoryError(
            f"an image part that is {error}; conversations fetch nothing: give the picture itself,"
            f" of at most {MAX_BYTES / 1e6:.0f} MB"
        ) from error
    raise HistoryError(
        "an image part without a picture in it: give base64, a data: address or bytes"
    )


def read_header(data: bytes) -> tuple[str, int, int]:
    """Return media type, width and height (upright, in pixels) of an encoded picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning: our caps come below
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                width, height = opened.size
                kind = "JPEG" if opened.format == "MPO" else opened.format or ""
                if opened.getexif().get(0x0112, 1) in _SIDEWAYS:
                    width, height = height, width
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise HistoryError(
            f"an image part that is not a picture in one of the formats {', '.join(FORMATS)}"
        ) from error
    if not 0 < width * height <= MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise HistoryError(
            f"a picture of {width}x{height} pixels, the most is {MAX_PIXELS // 1_000_000}"
            f" megapixels and {MAX_SIDE} on a side: make it smaller"
        )
    return f"image/{kind.lower()}", width, height


def _label(value: object, most: int) -> str:
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value[:most]).split())


def slots(content: object) -> Iterator[dict[str, Any]]:
    """Yield every slot in stored content, in order."""
    if isinstance(content, list):
        for part in content:
            yield from slots(part)
    elif isinstance(content, dict):
        if content.get("type") == "image" and isinstance(content.get("picture"), int):
            yield content
        else:
            yield from slots(content.get("content"))


def replaced(
    content: Any,
    applies: Callable[[Mapping[str, Any]], bool],
    change: Callable[[Mapping[str, Any]], dict[str, Any]],
    depth: int = DEPTH,
) -> Any:
    """Return content with each block that ``applies`` changed, also those in a block's content."""
    if depth < 0:
        raise HistoryError(f"a message whose parts lie more than {DEPTH} levels deep")
    if isinstance(content, list | tuple):
        return [replaced(part, applies, change, depth - 1) for part in content]
    if isinstance(content, Mapping):
        if applies(content):
            return change(content)
        inner = content.get("content")
        if isinstance(inner, list | tuple):  # the result of a tool
            return {**content, "content": replaced(inner, applies, change, depth - 1)}
        return dict(content)
    return content
