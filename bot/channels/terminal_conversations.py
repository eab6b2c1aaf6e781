"""The list of conversations, and what a search found in them, in a terminal.

What people and models said loses its control characters before it is printed, and none of it is
read as markup. Knows nothing of how anything was found.
"""

import math
import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bot.show import plain
from memory.found import Found, SearchResult
from memory.messages import Summary

_UNITS = (
    (365.25 * 86400, "year"),
    (30.44 * 86400, "month"),
    (7 * 86400, "week"),
    (86400, "day"),
    (3600, "hour"),
    (60, "minute"),
)


def age(seconds: float) -> str:
    """Return how long ago something was, in words: ``3 hours ago``. Future times are now."""
    if seconds == math.inf:  # of a file that someone else made
        return "at an unknown time"
    for size, unit in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def print_page(
    console: Console, found: Sequence[Summary], offset: int, limit: int | None, total: int
) -> None:
    """Print a page of the list: ``limit`` conversations (all when ``None``) from ``offset`` on."""
    if not total:
        console.print("No conversations yet: begin one with bifocal chat.")
        return
    pages = -(-total // limit) if limit else 1
    page = offset // limit + 1 if limit else 1
    if page > pages:
        console.print(f"There is no page {page}: the last one is {pages}.")
        return
    table = Table()
    for name in ("conversation", "title", "turns", "pictures", "last"):
        table.add_column(name, overflow="fold")
    now = time.time()
    for line in found:
        title = escape(_line(line.title))
        counts = (str(line.turns), str(line.pictures) if line.pictures else "")
        table.add_row(escape(_line(line.id)), title, *counts, age(now - line.updated))
    console.print(table)
    if pages > 1:
        more = f"; the next: bifocal conversations --page {page + 1}" if page < pages else ""
        size = f" --page-size {limit}" if limit != 20 and more else ""
        console.print(f"[dim]Page {page} of {pages}, {total:,} conversations{more}{size}[/]")


def print_found(console: Console, result: SearchResult) -> None:
    """Print what a search found: where, when and by whom it was said, the words marked."""
    now = time.time()
    for found in result.found:
        where = f"{_line(found.conversation)}, turn {found.turn}, {age(now - found.at)}"
        console.print(
            Text.assemble((_line(found.title) or "(no title)", "bold"), "  ", (where, "cyan"))
        )
        who = "you ›  " if found.by == "user" else "bot ›  "
        console.print(Text.assemble("  ", (who, "bold green"), marked(found, console)))
    if not result.found:
        console.print(f"Nothing was found in {result.turns:,} turns.")
    for notice in result.notices:
        console.print(f"[yellow]Note:[/] {escape(plain(notice))}")


def marked(found: Found, console: Console) -> Text:
    """Return the line that was found, its words reversed, or in brackets where no colours are.

    Control characters go piece by piece, so that the marks stay where they are.
    """
    before, after = ("", "") if console.color_system else ("[", "]")
    text, last = Text(), 0
    for start, end in found.marks:
        text.append(_inline(found.line[last:start]))
        text.append(f"{before}{_inline(found.line[start:end])}{after}", "bold reverse")
        last = end
    text.append(_inline(found.line[last:]))
    return text


def _inline(text: str) -> str:
    return plain(text).replace("\n", " ").replace("\t", " ")


def _line(text: str) -> str:
    return " ".join(plain(text).split())
