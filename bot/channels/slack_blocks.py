"""What Slack shows: its blocks, made of an answer's harmless text. Pure functions.

Whatever comes from sources stands in ``plain_text`` or in markdown that names nobody: no text here
calls a person or a channel. Knows nothing of connections.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from bot.channels.final import Final

MOST_MARKDOWN = 12_000  #: characters of markdown that Slack takes in one message
LIMIT = 11_000  #: of which the answer may take so many
MOST_FALLBACK = 3000  #: characters of the text for notifications
_ELEMENTS = 10  #: of a context block
_SECTION = 2900  #: characters of a section
#: What no message is without: nothing that a link leads to is fetched for a preview
QUIET: dict[str, Any] = {"unfurl_links": False, "unfurl_media": False}

HELP = (
    "Write to me directly, name me in a channel, or reply in a thread in which I answered. Send "
    "pictures along: PNG, JPEG, WebP, GIF, BMP, TIFF.\n"
    "/bifocal ask QUESTION - ask from anywhere\n"
    "/bifocal libraries - which library answers here\n"
    "/bifocal forget - forget the conversations that you began in this channel\n"
    "/bifocal help - this text\n"
    "Edit your question, and I answer it again; delete it, and I forget it."
)

FEEDBACK, WHY = "bifocal_feedback", "bifocal_why"  #: ids of the buttons
_CALLS = re.compile(r"<(?=[@#!])")
_GROUPS = re.compile(r"@(?=(?:here|channel|everyone)\b)", re.IGNORECASE)


def silent(text: str) -> str:
    """Return text that calls nobody: ``<@U1>``, ``<!channel>`` and ``@here`` are only words."""
    return _GROUPS.sub("@\u2060", _CALLS.sub("&lt;", text))


def escaped(text: str) -> str:
    """Return text in which Slack finds no markup of its own."""
    return silent(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def markdown(text: str) -> dict[str, Any]:
    """Return a block that Slack formats as markdown."""
    return {"type": "markdown", "text": text[:MOST_MARKDOWN]}


def message(text: str, more: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return a message as ``chat.postMessage`` and ``chat.update`` take it."""
    return {
        "text": escaped(text[:MOST_FALLBACK]),
        "blocks": [markdown(text), *more],
        **QUIET,
    }


def line(text: str) -> dict[str, Any]:
    """Return a message of one line, without any markup."""
    return {"text": escaped(text), "blocks": lines([text]), **QUIET}


def lines(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return small lines, as they are."""
    elements = [_plain(text[:1900]) for text in texts if text]
    return [
        {"type": "context", "elements": elements[at : at + _ELEMENTS]}
        for at in range(0, len(elements), _ELEMENTS)
    ]


def ending(final: Final, *, buttons: bool = True) -> list[dict[str, Any]]:
    """Return what stands below an answer: its footnotes, notices, and the buttons."""
    notes = [str(note) for note in final.footnotes]
    if len(notes) > 100:
        notes = [*notes[:100], f"and {len(notes) - 100} more sources"]
    told = list(final.notices[:20])
    return [*lines([*notes, *told]), *(actions(final) if buttons else [])]


def actions(final: Final) -> list[dict[str, Any]]:
    """Return the buttons below an answer: was it good, and why does it say so."""
    answer = final.answer

    def value(**more: str) -> str:
        return json.dumps({"c": answer.conversation, "t": answer.turn, **more})

    return [
        {
            "type": "context_actions",
            "elements": [
                {
                    "type": "feedback_buttons",
                    "action_id": FEEDBACK,
                    "positive_button": _button("Good answer", value(r="up")),
                    "negative_button": _button("Bad answer", value(r="down")),
                }
            ],
        },
        {
            "type": "actions",
            "elements": [
                {"type": "button", "action_id": WHY, **_button("Why?", value())},
            ],
        },
    ]


def _button(text: str, value: str) -> dict[str, Any]:
    return {"text": _plain(text), "value": value}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def modal(texts: Sequence[str]) -> dict[str, Any]:
    """Return a window with lines of plain text."""
    blocks: list[dict[str, Any]] = []
    piece = ""
    for text in [*texts, None]:
        if piece and (text is None or len(piece) + len(text) + 2 > _SECTION):
            blocks.append({"type": "section", "text": _plain(piece)})
            piece = ""
        if text is not None:
            piece = f"{piece}\n\n{text[:_SECTION]}" if piece else text[:_SECTION]
    return {
        "type": "modal",
        "title": _plain("Why this answer"),
        "close": _plain("Close"),
        "blocks": blocks[:50],
    }
