"""``data:`` addresses and base64, read strictly and never over a cap.

Whitespace, percent signs, missing padding and the URL-safe alphabet are refused, not repaired.
Knows nothing of pictures, models or messages: what the bytes are is for the caller to find out.
"""

import base64
import binascii
import re
from dataclasses import dataclass

#: What may stand before the comma is short; longer heads are no media type
MAX_HEAD = 200

_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")


class DataUriRefused(ValueError):
    """Not a ``data:`` address with base64 in it; the message goes on from "it is"."""


@dataclass(frozen=True, slots=True)
class DataUri:
    """What a ``data:`` address holds. ``media_type`` is what it says, lower case, or empty."""

    media_type: str
    data: bytes

    def __str__(self) -> str:
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


def read_data_uri(address: str, most: int) -> DataUri:
    """Return what the ``data:`` address holds; ``DataUriRefused`` over ``most`` bytes, too."""
    scheme, colon, rest = address.partition(":")
    if scheme.lower() != "data":
        shown = f"a {scheme[:20]!a} address" if colon else "a path"
        raise DataUriRefused(f"{shown}, no data: address")
    comma = rest.find(",", 0, MAX_HEAD + 1)
    media_type, *parameters = rest[: max(comma, 0)].split(";")
    if comma < 0 or not parameters or parameters[-1].strip().lower() != "base64":
        raise DataUriRefused("a data: address that is not base64")
    if media_type and not _TYPE.fullmatch(media_type):
        raise DataUriRefused("a data: address with a malformed media type")
    return DataUri(media_type.lower(), decode(rest[comma + 1 :], most))


def decode(encoded: str, most: int) -> bytes:
    """Return the bytes of strict base64, of which there may be ``most``."""
    size = len(encoded) // 4 * 3 - encoded[-2:].count("=")
    if size > most:
        raise DataUriRefused(f"{size / 1e6:.1f} MB, the most is {most / 1e6:.1f} MB")
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise DataUriRefused("base64 that cannot be decoded") from error
