"""LangChain messages -> roles with words and pictures.

Pictures are taken from the message itself: base64 (standard ``image`` blocks) or ``data:``
addresses (OpenAI's ``image_url``). Nothing is ever fetched: any other address is refused. Knows
nothing of templates, tokens or models.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
)
from PIL import Image

from bot.errors import ModelError
from retrievers.errors import PictureRefused
from retrievers.imaging import PictureLike, read_picture

ROLES = ("system", "user", "assistant")
_SILENT = ("reasoning", "thinking", "redacted_thinking")


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """What one side says: ``parts`` are words and upright RGB pictures, in order."""

    role: str
    parts: tuple[str | Image.Image, ...]


def picture_part(given: PictureLike) -> dict[str, str]:
    """Return the standard LangChain block for a picture (a path, encoded bytes, or PIL)."""
    picture = read_picture(given)
    return {
        "type": "image",
        "base64": base64.b64encode(picture.data).decode("ascii"),
        "mime_type": picture.media_type,
    }


def read_messages(messages: Sequence[BaseMessage]) -> list[Line]:
    """Return the lines of a conversation.

    Raises ``ModelError`` for parts that a local model cannot take (sound, files, tools, addresses)
    and for pictures that cannot be read.
    """
    if not messages:
        raise ModelError("no messages: a model needs at least one")
    return [Line(_role(m), tuple(_join(_parts(m)))) for m in messages]


def _role(message: BaseMessage) -> str:
    match message:
        case SystemMessage():
            return "system"
        case HumanMessage():
            return "user"
        case AIMessage() if not message.tool_calls:
            return "assistant"
        case ChatMessage() if message.role in ROLES:
            return message.role
    raise ModelError(
        f"a {message.type} message with tools or another role: a local model takes"
        f" {', '.join(ROLES)} messages only"
    )


def _parts(message: BaseMessage) -> Iterable[str | Image.Image]:
    content = [message.content] if isinstance(message.content, str) else message.content
    for part in content:
        if isinstance(part, str):
            yield part
        elif part.get("type") == "text":
            yield str(part.get("text", ""))
        elif part.get("type") in ("image", "image_url"):
            yield _picture(part)
        elif part.get("type") not in _SILENT:
            raise ModelError(
                f"a part of type {part.get('type')!r}: a local model takes text and image parts"
            )


def _join(parts: Iterable[str | Image.Image]) -> Iterable[str | Image.Image]:
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


def _picture(part: Mapping[str, Any]) -> Image.Image:
    encoded = part.get("base64") or part.get("data")
    if encoded is None:
        address = part.get("url", part.get("image_url"))
        if isinstance(address, Mapping):
            address = address.get("url")
        encoded = _data_of(address)
    try:
        raw = encoded if isinstance(encoded, bytes) else base64.b64decode(encoded, validate=True)
        return read_picture(raw).image
    except (binascii.Error, TypeError, ValueError) as error:
        raise ModelError("an image part whose base64 cannot be decoded") from error
    except PictureRefused as error:
        raise ModelError(f"an image part cannot be used: {error}") from error


def _data_of(address: object) -> str:
    if not isinstance(address, str) or not address:
        raise ModelError("an image part without a picture: give it base64 and mime_type")
    scheme = address.partition(":")[0].lower()
    if scheme != "data":
        raise ModelError(
            f"an image part with a {scheme[:20]}: address: a local model fetches nothing;"
            " give the picture itself as base64"
        )
    head, comma, body = address.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ModelError("an image part with a data: address that is not base64")
    return body
