"""Finds code in Markdown, where chats make no links, and only where all of them agree that it is.

Parsers differ about tilde fences, HTML, tables and backticks that do not pair: a source that plays
on this must not pass an address off as code. So code is only a block between two lines of three or
more backticks at the margin, and words without white space between two single backticks; whatever
comes after something doubtful is text. Knows nothing of what is done with the text.
"""

import re
from collections.abc import Callable, Iterator

_FENCE = re.compile(r"(`{3,})[^`]*")
_DOUBTFUL_TEXT = re.compile(r"~~~|^[ \t]*<", re.MULTILINE)
_DOUBTFUL_LINE = re.compile(r"``|\\|<|\|")
_WORD = re.compile(r"\S{1,100}")

Change = Callable[[str], str]


def outside_code(text: str, change: Change) -> str:
    """Return the text with ``change`` made to each stretch of it that is not code."""
    if "`" not in text or _DOUBTFUL_TEXT.search(text):
        return change(text)
    return "\n".join(_changed(text.split("\n"), change))


def _changed(lines: list[str], change: Change) -> Iterator[str]:
    """Yield the lines: ``fence`` is what opened the block in which they are, ``doubtful`` says that
    a backtick may open code before them in their paragraph."""
    fence, doubtful = "", False
    for number, line in enumerate(lines):
        if "```" in line:
            opens = _FENCE.fullmatch(line)
            closes = fence and not line.rstrip(" \t").strip("`") and line.startswith(fence)
            if not (closes or (opens and not fence)):
                yield change("\n".join(lines[number:]))
                return
            fence, doubtful = ("" if fence or not opens else opens[1]), False
            yield line if closes else change(line)
        elif fence:
            yield line
        elif "`" not in line or doubtful or _DOUBTFUL_LINE.search(line):
            doubtful = bool(line.strip()) and (doubtful or "`" in line)
            yield change(line)
        else:
            pieces = line.split("`")  # every other one is code, if a backtick follows it
            last = len(pieces) - 1
            doubtful = last % 2 == 1
            yield "`".join(
                piece if at % 2 and at < last and _WORD.fullmatch(piece) else change(piece)
                for at, piece in enumerate(pieces)
            )
