"""Makes lines, tables, headings and paragraphs of the characters on PDF pages.

Knows nothing of PDFium: it is given cells (runs of characters with their place) in the order of
the page's content, which for columns is the reading order. Coordinates are points from the upper
left corner of the upright page.

1. cells that follow one another on one baseline are a row; a figure that stands on the baseline of
   a label is put beside it, so that numbers stay with what they count
2. lines that come back on the head or foot of many pages are dropped
3. rows with several cells, one after another, are a table; larger or bold short rows are headings
4. what remains is joined into paragraphs, hyphens at line ends undone
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from retrievers.ingest.split import Block, one_line
from retrievers.ingest.tables import is_number

_BULLET = re.compile(r"([•●▪◦‣–—-]|\(?[a-z0-9]{1,3}[.)])\s")
_MARK = re.compile(r"[•●▪◦‣]|[–—-]|\(?[a-z0-9]{1,3}[.)]")
_SYMBOL_BEFORE = re.compile(r"[$€£¥(]+")
_SYMBOL_AFTER = re.compile(r"[%)]+|\)%")
_LEADER = re.compile(r"(?:\s?\.){4,}|…{2,}|_{4,}")


@dataclass(slots=True)
class Cell:
    """A run of characters on one baseline with no wide gap in it."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    base: float
    size: float
    bold: bool = False


@dataclass(slots=True)
class Row:
    """Cells on one baseline, from left to right."""

    cells: list[Cell]
    text: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Put the cells in order and make the text anew."""
        self.cells.sort(key=lambda cell: cell.left)
        self.text = " ".join(cell.text for cell in self.cells)

    @property
    def left(self) -> float:
        """The first cell's left edge."""
        return self.cells[0].left

    @property
    def right(self) -> float:
        """The last cell's right edge."""
        return max(cell.right for cell in self.cells)

    @property
    def top(self) -> float:
        """The highest cell's upper edge."""
        return min(cell.top for cell in self.cells)

    @property
    def bottom(self) -> float:
        """The lowest cell's lower edge."""
        return max(cell.bottom for cell in self.cells)

    @property
    def size(self) -> float:
        """The largest size of letters, in points."""
        return max(cell.size for cell in self.cells)


@dataclass(slots=True)
class Page:
    """One page's rows in reading order, with its width and height in points."""

    number: int
    width: float
    height: float
    rows: list[Row]


def make_rows(cells: Sequence[Cell]) -> list[Row]:
    """Return rows of cells that are given in content order."""
    rows: list[Row] = []
    for cell in cells:
        last = rows[-1].cells[-1] if rows else None
        if (
            last is not None
            and abs(last.base - cell.base) <= 0.4 * min(last.size, cell.size)
            and cell.left >= last.right - 0.5 * cell.size
        ):
            rows[-1].cells.append(cell)
        else:
            rows.append(Row([cell]))
    for row in rows:
        row.refresh()
    rows = _join_figures(rows)
    for row in rows:
        row.cells = _join_bullet(_join_symbols(row.cells))
        row.refresh()
    return [row for row in rows if row.text.strip()]


def _join_figures(rows: list[Row]) -> list[Row]:
    """Put rows that hold nothing but figures behind the row on the same baseline left of them."""
    labels: dict[int, list[Row]] = {}
    kept: list[Row] = []
    for row in rows:
        base, size = row.cells[0].base, row.size
        if all(_is_figure(cell.text) for cell in row.cells):
            near = [
                other
                for key in (round(base / 4) - 1, round(base / 4), round(base / 4) + 1)
                for other in labels.get(key, ())
                if abs(other.cells[0].base - base) <= 0.35 * size and other.right <= row.left + 1
            ]
            if near:
                best = max(near, key=lambda other: other.right)
                best.cells.extend(row.cells)
                continue
        labels.setdefault(round(base / 4), []).append(row)
        kept.append(row)
    return kept


def _is_figure(text: str) -> bool:
    text = text.strip()
    return is_number(text) or bool(_SYMBOL_BEFORE.fullmatch(text) or _SYMBOL_AFTER.fullmatch(text))


def _join_symbols(cells: list[Cell]) -> list[Cell]:
    """Join a lone currency sign or bracket with the figure beside it."""
    out: list[Cell] = []
    for cell in cells:
        before = out[-1] if out else None
        if before is not None and (
            _SYMBOL_BEFORE.fullmatch(before.text.strip())
            or (_SYMBOL_AFTER.fullmatch(cell.text.strip()) and cell.left - before.right < 40)
        ):
            glue = "" if _SYMBOL_AFTER.fullmatch(cell.text.strip()) else " "
            before.text = f"{before.text.strip()}{glue}{cell.text.strip()}"
            before.right = max(before.right, cell.right)
            before.top, before.bottom = min(before.top, cell.top), max(before.bottom, cell.bottom)
        else:
            out.append(cell)
    return out


def _join_bullet(cells: list[Cell]) -> list[Cell]:
    """Join a bullet or a number with the text that it stands before: a list is no table."""
    if len(cells) == 2 and _MARK.fullmatch(cells[0].text.strip()) and not is_number(cells[1].text):
        mark, text = cells
        text.text = f"{mark.text.strip()} {text.text}"
        text.left = mark.left
        return [text]
    return cells


def drop_running_lines(pages: Sequence[Page]) -> None:
    """Take running heads, feet and page numbers out of all pages' rows.

    A line counts when it stands in the outer 12 % of the page's height, or is its first or last,
    and comes back (its digits aside) on at least 4 pages and a third of them. In the outer 8 %,
    where tables do not reach, a tenth of the pages is enough: heads that name the chapter.
    """

    def outer(page: Page, row: Row) -> bool:
        return row.bottom < max(0.12 * page.height, top[page.number] + 1) or row.top > min(
            0.88 * page.height, bottom[page.number] - 1
        )

    def key(row: Row) -> str:
        return re.sub(r"\d+|\b[ivxlc]+\b", "#", row.text.lower()).strip()

    top = {page.number: min((r.bottom for r in page.rows), default=0.0) for page in pages}
    bottom = {page.number: max((r.top for r in page.rows), default=0.0) for page in pages}
    seen: Counter[str] = Counter()
    for page in pages:
        seen.update({key(row) for row in page.rows if outer(page, row)})

    def running(page: Page, row: Row) -> bool:
        edge = row.bottom < 0.08 * page.height or row.top > 0.92 * page.height
        least = max(4, len(pages) / (10 if edge else 3))
        return outer(page, row) and seen[key(row)] >= least

    for page in pages:
        page.rows = [row for row in page.rows if not running(page, row)]


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
        stop = _table_end(rows, at)
        if stop > at:
            out.extend(_titled(list(_table(rows[at:stop], page.number)), out))
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


def join_lines(lines: Sequence[str]) -> str:
    """Return lines as one paragraph; a word that was broken by a hyphen is whole again."""
    text = ""
    for line in lines:
        line = _LEADER.sub(" ", line).strip()
        broken = text.endswith("-") and line[:1].islower() and text[-2:-1].isalpha()
        if broken or text.endswith("\u00ad"):
            text = text[:-1] + line
        else:
            text = f"{text} {line}" if text else line
    return text


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
            or _table_end(rows, stop) > stop
            or _level(row, body, levels, outline)
        ):
            break
        stop += 1
    return stop


def _table_end(rows: Sequence[Row], at: int) -> int:
    """Return where the table that begins at row ``at`` ends, or ``at`` when none begins there."""
    if len(rows[at].cells) < 2:
        return at
    stop, wide, loose = at, 0, 0
    for number in range(at, len(rows)):
        row = rows[number]
        if number > at and (
            row.top - rows[number - 1].bottom > 3.5 * row.size
            or row.top < rows[number - 1].top - 3 * row.size
        ):
            break
        if len(row.cells) >= 2:
            wide, loose, stop = wide + 1, 0, number + 1
        elif loose >= 2 or len(row.text) > 70:
            break
        else:
            loose += 1
    return stop if wide >= 2 and _aligned(rows[at:stop]) else at


def _aligned(rows: Sequence[Row]) -> bool:
    """Whether cells stand under one another; wide gaps in justified prose do not."""
    later = [(n, cell) for n, row in enumerate(rows) for cell in row.cells[1:]]
    edges: dict[tuple[str, int], set[int]] = {}
    for number, cell in later:
        for side, value in (("left", cell.left), ("right", cell.right)):
            for key in (round(value / 4), round(value / 4) + 1):
                edges.setdefault((side, key), set()).add(number)
    shared = sum(
        any(
            len(edges[(side, round(value / 4) + step)]) > 1
            for side, value in (("left", cell.left), ("right", cell.right))
            for step in (0, 1)
        )
        for _, cell in later
    )
    return shared >= 0.5 * len(later)


def _table(rows: Sequence[Row], page: int) -> Iterator[Block]:
    """Yield a table as one block, or two columns of prose that were written line by line."""
    two = [row for row in rows if len(row.cells) == 2]
    texts = [cell.text for row in two for cell in row.cells]
    if (
        len(two) >= 0.8 * len(rows)
        and texts
        and sum(len(text) > 28 for text in texts) >= 0.6 * len(texts)
        and not any(is_number(row.cells[1].text) for row in two)
    ):
        middle = min(row.cells[1].left for row in two)
        for side in (True, False):
            lines = [c.text for row in rows for c in row.cells if (c.left < middle - 1) == side]
            yield Block("prose", join_lines(lines), page)
        return
    yield _labelled(rows, page)


def _labelled(rows: Sequence[Row], page: int) -> Block:
    """Return a table's rows with their columns' names where a header row stands above them."""
    heads = [n for n, row in enumerate(rows[:5]) if _is_header(row, rows[n + 1 :])]
    head = max(heads, key=lambda n: (len(rows[n].cells), n)) if heads else None
    lines: list[str] = []
    header = ""
    if head is not None:
        header = "\n".join(one_line(row.text) for row in rows[:head])
        names = rows[head].cells
        for row in rows[head + 1 :]:
            lines.append(_named(row, names))
        if not any(": " in line for line in lines):
            header = "\n".join(part for part in (header, _plain(rows[head])) if part)
    else:
        lines = [_plain(row) for row in rows]
    return Block("table", "\n".join(line for line in lines if line), page, header=header)


def _is_header(row: Row, below: Sequence[Row]) -> bool:
    """Whether a row names columns: words or years, above rows that hold figures."""
    if len(row.cells) < 2 or any(is_number(c.text) for c in row.cells):
        return False
    if any(len(cell.text) > 60 for cell in row.cells):
        return False
    near = [r for r in below[:6] if len(r.cells) >= 2]
    figures = sum(any(is_number(c.text) for c in r.cells[1:]) for r in near)
    return bool(near) and figures >= 0.5 * len(near)


def _named(row: Row, names: Sequence[Cell]) -> str:
    """Return ``Column: value | …``; a cell belongs to the name that it is aligned with."""
    parts: list[str] = []
    used: set[int] = set()
    for at, cell in enumerate(row.cells):
        text = one_line(_LEADER.sub(" ", cell.text))
        if not text:
            continue
        best = min(range(len(names)), key=lambda n: _apart(cell, names[n]))
        fits = _apart(cell, names[best]) <= 36 and best not in used
        if fits and (at > 0 or is_number(text) or names[best].left <= cell.left + 6):
            used.add(best)
            parts.append(f"{one_line(names[best].text, 80)}: {text}")
        else:
            parts.append(text)
    return " | ".join(parts)


def _apart(cell: Cell, name: Cell) -> float:
    """Return how far a cell is from standing under a name: by left edge, right edge or middle."""
    return min(
        abs(cell.left - name.left),
        abs(cell.right - name.right),
        abs(cell.left + cell.right - name.left - name.right) / 2,
    )


def _plain(row: Row) -> str:
    return " | ".join(
        text for text in (one_line(_LEADER.sub(" ", cell.text)) for cell in row.cells) if text
    )
