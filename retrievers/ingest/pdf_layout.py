"""Makes headings, paragraphs and tables of the rows on PDF pages.

Knows nothing of PDFium. Larger or bold short rows, and those that the bookmarks name, are headings;
rows that stand close are joined into paragraphs; tables get the short lines above them as titles.
"""

import re
from collections import Counter
from collections.abc import Sequence

from retrievers.ingest.pdf_rows import Page, Row, join_lines
from retrievers.ingest.pdf_tables import make_table, table_end
from retrievers.ingest.split import Block

_BULLET = re.compile(r"([•●▪◦‣–—-]|\(?[a-z0-9]{1,3}[.)])\s")


def body_size(pages: Sequence[Page]) -> float:
    """Return the size in which most characters are set, in half points."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for row in page.rows:
            for cell in row.cells:
                sizes[round(cell.size * 2) / 2] += len(cell.text)
    return max(sizes, key=lambda size: sizes[size]) if sizes else 10.0


def heading_levels(pages: Sequence[Page], body: float) -> dict[float, int]:
    """Return the level of each size that headings are set in, the largest first, from 1."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for row in page.rows:
            if _heading_like(row, body) and row.size >= 1.12 * body:
                sizes[round(row.size * 2) / 2] += 1
    ranked = sorted(sizes, reverse=True)[:8]
    return {size: min(rank, 4) for rank, size in enumerate(ranked, start=1)}


def blocks(
    page: Page, body: float, levels: dict[float, int], outline: dict[str, int]
) -> list[Block]:
    """Return one page's blocks. ``outline`` gives levels by title (see :func:`outline_key`)."""
    out: list[Block] = []
    rows = page.rows
    at = 0
    while at < len(rows):
        stop = table_end(rows, at)
        if stop > at:
            out.extend(_titled(list(make_table(rows[at:stop], page.number)), out))
            at = stop
            continue
        level = _level(rows[at], body, levels, outline)
        if level:
            stop = at + 1
            while (
                stop < len(rows)
                and stop - at < 3
                and _level(rows[stop], body, levels, outline) == level
                and abs(rows[stop].size - rows[at].size) < 0.6
                and 0 <= rows[stop].top - rows[stop - 1].bottom < rows[at].size
            ):
                stop += 1
            text = " ".join(row.text for row in rows[at:stop])
            out.append(Block("heading", text, page.number, level))
            at = stop
            continue
        stop = _paragraph_end(rows, at, body, levels, outline)
        out.append(Block("prose", join_lines([r.text for r in rows[at:stop]]), page.number))
        at = stop
    return out


def _titled(table: list[Block], before: list[Block]) -> list[Block]:
    """Give a table the short lines above it (its title, its period): they are taken from there."""
    if not table or table[0].kind != "table":
        return table
    lines: list[str] = []
    while before and len(lines) < 2 and before[-1].kind == "prose" and before[-1].page is not None:
        text = before[-1].text.strip()
        if len(text) > 100 or text.endswith(".") or _BULLET.match(text):
            break
        lines.insert(0, text)
        before.pop()
    first = table[0]
    header = "\n".join(part for part in (*lines, first.header) if part)
    return [Block("table", first.text, first.page, header=header), *table[1:]]


def outline_key(title: str) -> str:
    """Return a title without what layouts change: case, spaces, numbers in front."""
    return re.sub(r"^[\d.\s]+|[\W_]+", "", title.lower())


def _heading_like(row: Row, body: float) -> bool:
    text = row.text.strip()
    return (
        len(row.cells) <= 2
        and 2 <= len(text) <= 150
        and sum(c.isalpha() for c in text) >= 0.5 * len(text.replace(" ", ""))
        and not text.endswith((".", ",", ";"))
        and not text[0].islower()
    )


def _level(row: Row, body: float, levels: dict[float, int], outline: dict[str, int]) -> int:
    """Return a row's level as a heading, 0 when it is none."""
    if not _heading_like(row, body):
        return 0
    if outline:
        named = outline.get(outline_key(row.text))
        if named:
            return named
    if row.size >= 1.12 * body:
        return levels.get(round(row.size * 2) / 2, 4)
    if len(row.text) <= 90 and len(row.cells) == 1 and all(cell.bold for cell in row.cells):
        return 5
    return 0


def _paragraph_end(
    rows: Sequence[Row], at: int, body: float, levels: dict[float, int], outline: dict[str, int]
) -> int:
    stop = at + 1
    while stop < len(rows):
        before, row = rows[stop - 1], rows[stop]
        gap = row.top - before.bottom
        full = max(r.right for r in rows[at:stop])
        ended = before.text.rstrip().endswith((".", "!", "?", ":")) and (
            before.right < full - 0.12 * (full - before.left)
        )
        if (
            gap > 0.9 * max(row.size, 4)
            or gap < -3 * row.size
            or abs(row.size - before.size) > 0.2 * before.size
            or _BULLET.match(row.text)
            or ended
            or table_end(rows, stop) > stop
            or _level(row, body, levels, outline)
        ):
            break
        stop += 1
    return stop
