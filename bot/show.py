"""Answers and evidence made visible: cited boxes drawn on pictures, and HTML for notebooks.

Everything that comes from a source or a model is text here: escaped, without live links. Knows
nothing of how an answer came about.
"""

import base64
import re
from html import escape

from PIL import Image, ImageDraw

from bot.citations import MARK
from bot.errors import KNOWN_ERRORS
from bot.events import Answer, Citation
from retrievers.evidence import Box
from retrievers.imaging import encode, read_picture, shrink

BOX_COLOUR = (226, 61, 40)
#: Longer side of a picture in a notebook, in pixels
HTML_SIDE = 420

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return ``text`` without control characters: no escape sequence reaches a terminal, and no
    bidirectional override turns a line around. Newlines and tabs stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def source_name(source: str) -> str:
    """Return the short name of a source: the last part of its path, on one line."""
    return plain(source.replace("\\", "/").rsplit("/", 1)[-1]).replace("\n", " ")


def where(citation: Citation) -> str:
    """Return where a citation points, for people: ``report.pdf, page 3``."""
    page = f", page {citation.page}" if citation.page is not None else ""
    number = f" (picture {citation.picture})" if citation.picture is not None else ""
    return f"{source_name(citation.source)}{page}{number}"


def with_box(image: Image.Image, box: Box | None) -> Image.Image:
    """Return a copy of an RGB picture with ``box`` (fractions of its size) drawn on it."""
    copy = image.copy()
    if box is None:
        return copy
    width, height = copy.size
    line = max(2, max(width, height) // 200)
    pad = 2 * line
    corners = (
        max(0, box.left * width - pad),
        max(0, box.top * height - pad),
        min(width - 1, box.right * width + pad),
        min(height - 1, box.bottom * height + pad),
    )
    if corners[2] > corners[0] and corners[3] > corners[1]:
        ImageDraw.Draw(copy).rectangle(corners, outline=BOX_COLOUR, width=line)
    return copy


def picture_of(data: bytes, box: Box | None, side: int) -> Image.Image:
    """Return stored picture bytes as a picture of at most ``side`` pixels, the box drawn on it."""
    return with_box(shrink(read_picture(data).image, side), box)


def answer_html(answer: Answer) -> str:
    """Return an answer as self-contained HTML: words, citations, and the pictures it cites."""
    known = {c.mark for c in answer.citations}

    def mark(match: re.Match[str]) -> str:
        number = int(match.group(1))
        return f"<sup><b>[{number}]</b></sup>" if number in known else match.group(0)

    words = MARK.sub(mark, escape(plain(answer.text))).replace("\n", "<br>")
    rows = "".join(_citation_html(answer, citation) for citation in answer.citations)
    notes = "".join(f"<li>{escape(plain(n))}</li>" for n in answer.notices)
    return (
        "<div style='max-width:46em;font-family:sans-serif;line-height:1.45'>"
        f"<p>{words}</p>"
        + (f"<ul style='list-style:none;padding-left:0'>{rows}</ul>" if rows else "")
        + (f"<ul style='color:#777;font-size:85%'>{notes}</ul>" if notes else "")
        + "</div>"
    )


def _cited_jpeg(answer: Answer, citation: Citation) -> str:
    """Return the cited picture with its box as base64, or nothing when it cannot be had."""
    if citation.kind != "picture" or answer.media is None:
        return ""
    try:
        image = picture_of(answer.media(citation), citation.box, HTML_SIDE)
    except KNOWN_ERRORS:  # the bot was closed, or the library has changed since
        return ""
    return base64.b64encode(encode(image, "image/jpeg")).decode("ascii")


def _citation_html(answer: Answer, citation: Citation) -> str:
    quote = f" <q>{escape(plain(citation.quote))}</q>" if citation.quote else ""
    picture = ""
    data = _cited_jpeg(answer, citation)
    if data:
        picture = (
            f"<br><img alt='{escape(where(citation), quote=True)}'"
            f" src='data:image/jpeg;base64,{data}' style='max-width:100%;border-radius:4px'>"
        )
    place = escape(where(citation))
    return f"<li style='margin:.4em 0'><b>[{citation.mark}]</b> {place}{quote}{picture}</li>"
