"""A quotation becomes plain text: nothing in it is a mark, a link, a picture, a tag or a token.

Knows nothing of where the text came from.
"""

import re
import unicodedata

#: Joiners that scripts and emoji need; every other format character (bidi overrides too) goes
_KEPT = "\u200c\u200d"
_TAG = re.compile(r"<(?=[^\s<>=\d])|(?<=[^\s<>=-])>|<(?=<)|(?<=>)>")
_FENCE = re.compile(r"`{2,}")
_ANGLES = {"<": "‹", ">": "›"}
_BRACKETS = str.maketrans("[]", "()")


def bare(text: str) -> str:
    """Return ``text`` on one line, without control and format characters and lone surrogates."""
    kept = (
        c if c in _KEPT or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else _instead(c)
        for c in text
    )
    return " ".join("".join(kept).split())


def plain(text: str) -> str:
    """Return a quotation of ``text`` in which nothing works.

    Square brackets become round ones: no ``[3]`` of a source passes for a citation, and no
    Markdown link or picture is left. Angle brackets around words become ``‹›``: no HTML tag, no
    ``<|token|>``. Backquotes that could swallow a mark become apostrophes. Its length stays.
    """
    text = bare(text).translate(_BRACKETS)
    text = _TAG.sub(lambda m: _ANGLES[m.group()], text)
    text = _FENCE.sub(lambda m: "'" * len(m.group()), text)
    return text.replace("`", "'") if text.count("`") % 2 else text


def _instead(character: str) -> str:
    return " " if unicodedata.category(character) == "Cc" else ""
