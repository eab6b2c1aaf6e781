"""Words of other people on one line: what a caption, a file name and a person's name may be.

Pure functions.
"""

import unicodedata

#: Characters of a caption, of a file name, and of the name of a person who sent a picture, at most
CAPTION, NAME, SENDER = 120, 200, 64
_JOINERS = "\u200c\u200d"  # of letters and of emoji
_HIDDEN = ("Cc", "Cf", "Cs", "Co")  # categories of characters of which nothing is seen


def one_line(text: str, most: int) -> str:
    """Return ``text`` on one line of ``most`` characters at most, without control characters,
    lone surrogates, or marks that turn a line around."""
    kept = (" " if c.isspace() else c for c in text[: 8 * most])
    shown = "".join(c for c in kept if c in _JOINERS or unicodedata.category(c) not in _HIDDEN)
    return " ".join(shown.split())[:most].rstrip()


def is_blank(text: str) -> bool:
    """Tell whether nothing is seen of ``text``: it has spaces, control characters and such of no
    width alone."""
    return all(c.isspace() or unicodedata.category(c) in _HIDDEN for c in text)
