"""LangChain messages -> roles with words, pictures and calls of tools.

Pictures are taken from the message itself: bytes, PIL images, base64 (standard ``image`` blocks)
or ``data:`` addresses (OpenAI's ``image_url``). Nothing is ever fetched or opened: any other
address or path is refused. Knows nothing of templates, tokens or models.
"""

import base64
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from PIL import Image

from bot.errors import ModelError
from bot.models.llama.values import MIB, Line, Pixels
from memory.data_uris import DataUriRefused, decode, read_data_uri
from retrievers.errors import PictureRefused
from retrievers.imaging import MAX_BYTES, PictureLike, check_size, read_picture, shrink

ROLES = ("system", "user", "assistant")
_SILENT = ("reasoning", "thinking", "redacted_thinking", "tool_call", "tool_use", "function_call")
_SMOOTH = ("L", "LA", "RGB", "RGBA")  # modes that Pillow shrinks well as they are


class Pictures:
    """Pictures as a model takes them: upright, RGB, no side longer than ``side``.

    Those that were decoded lately are kept, by the hash of their encoded bytes, up to ``most``
    bytes of pixels: each turn of a conversation sends its pictures again. Safe from any thread.
    """

    def __init__(self, side: int, most: int = 64 * MIB) -> None:
        self.side, self._most = side, most
        self._kept: OrderedDict[bytes, Pixels] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def read(self, given: bytes | Image.Image) -> Pixels:
        """Return the pixels of an encoded picture or a PIL image; ``PictureRefused`` for others."""
        if isinstance(given, Image.Image):
            return self._of_image(given)
        key = hashlib.sha256(given).digest()
        with self._lock:
            if (known := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return known
        pixels = self._pixels(read_picture(given).image)
        with self._lock:
            self._size += len(pixels.data)
            if key in self._kept:  # another thread was faster
                self._size -= len(self._kept.pop(key).data)
            self._kept[key] = pixels
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1].data)
        return pixels

    def _of_image(self, image: Image.Image) -> Pixels:
        check_size(image.size, "picture")
        if image.mode in _SMOOTH:  # so that only what is used is turned and laid on white
            image = shrink(image, self.side)
        return self._pixels(read_picture(image).image)

    def _pixels(self, image: Image.Image) -> Pixels:
        small = shrink(image, self.side)
        return Pixels(small.width, small.height, small.tobytes())


def picture_part(given: PictureLike) -> dict[str, str]:
    """Return the standard LangChain block for a picture (a path, encoded bytes, or PIL)."""
    picture = read_picture(given)
    return {
        "type": "image",
        "base64": base64.b64encode(picture.data).decode("ascii"),
        "mime_type": picture.media_type,
    }


def read_messages(messages: Sequence[BaseMessage], pictures: Pictures) -> list[Line]:
    """Return the lines of a conversation.

    Raises ``ModelError`` for parts that a local model cannot take (sound, files, addresses) and
    for pictures that cannot be read.
    """
    if not messages:
        raise ModelError("no messages: a model needs at least one")
    return [_line(message, pictures) for message in messages]


def _line(message: BaseMessage, pictures: Pictures) -> Line:
    parts = tuple(_join(_parts(message, pictures)))
    match message:
        case SystemMessage():
            return Line("system", parts)
        case HumanMessage():
            return Line("user", parts)
        case AIMessage():
            calls = (
                {"name": c["name"], "arguments": c["args"], "id": c["id"]}
                for c in message.tool_calls
            )
            return Line("assistant", parts, tuple(calls))
        case ToolMessage():
            return Line("tool", parts, call_id=message.tool_call_id, name=message.name or "")
        case ChatMessage() if message.role in ROLES:
            return Line(message.role, parts)
    raise ModelError(
        f"a {message.type} message: a local model takes {', '.join(ROLES)} and tool messages"
    )


def _parts(message: BaseMessage, pictures: Pictures) -> Iterable[str | Pixels]:
    content = [message.content] if isinstance(message.content, str) else message.content
    for part in content:
        if isinstance(part, str):
            yield part
        elif part.get("type") == "text":
            yield str(part.get("text", ""))
        elif part.get("type") in ("image", "image_url"):
            yield _picture(part, pictures)
        elif part.get("type") not in _SILENT:
            raise ModelError(
                f"a part of type {part.get('type')!r}: a local model takes text and image parts"
            )
    if isinstance(message, AIMessage):  # what it wrote, and no one could read as a call
        for call in message.invalid_tool_calls:
            yield json.dumps({"name": call["name"], "arguments": call["args"]}, ensure_ascii=False)


def _join(parts: Iterable[str | Pixels]) -> Iterable[str | Pixels]:
    """Join neighbouring words, so that no token ends where a part happened to."""
    words = ""
    for part in parts:
        if isinstance(part, str):
            words += part
            continue
        if words:
            yield words
        words = ""
        yield part
    if words:
        yield words


def _picture(part: Mapping[str, Any], pictures: Pictures) -> Pixels:
    keys = ("base64", "data", "image", "url", "image_url")
    given = next((part[key] for key in keys if part.get(key)), None)
    if isinstance(given, Mapping):
        given = given.get("url")
    if isinstance(given, str):
        bare = part.get("base64") or part.get("data")
        try:
            given = decode(given, MAX_BYTES) if bare else read_data_uri(given, MAX_BYTES).data
        except DataUriRefused as error:
            raise ModelError(
                f"an image part that is {error}: a local model opens and fetches nothing; give the"
                " picture itself"
            ) from error
    if not isinstance(given, bytes | Image.Image):
        raise ModelError(
            f"an image part with {type(given).__name__}: give it bytes, a PIL image, base64 or a"
            " data: address"
        )
    try:
        return pictures.read(given)
    except PictureRefused as error:
        raise ModelError(f"an image part cannot be used: {error}") from error
