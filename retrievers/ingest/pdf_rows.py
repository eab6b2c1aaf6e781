"""Makes rows of the characters on PDF pages, and drops those that come back on every page.

Knows nothing of PDFium: it is given cells (runs of characters with their place) in the order of
the page's content, which for columns is the reading order. Coordinates are points from the upper
left corner of the upright page.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from retrievers.ingest.tables import is_number

_MARK = re.compile(r"[•●▪◦‣]|[–—-]|\(?[a-z0-9]{1,3}[.)]")
_SYMBOL_BEFORE = re.compile(r"[$€£¥(]+")
_SYMBOL_AFTER = re.compile(r"[%)]+|\)%")
LEADER = re.compile(r"(?:\s?\.){4,}|…{2,}|_{4,}")


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
    and comes back (its digits aside) on at least 4 pages and a third of them. In the outer 10 %,
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
        edge = row.bottom < 0.1 * page.height or row.top > 0.9 * page.height
        least = max(4, len(pages) / (10 if edge else 3))
        return outer(page, row) and seen[key(row)] >= least

    for page in pages:
        page.rows = [row for row in page.rows if not running(page, row)]


def join_lines(lines: Sequence[str]) -> str:
    """Return lines as one paragraph; a word that was broken by a hyphen is whole again."""
    text = ""
    for line in lines:
        line = LEADER.sub(" ", line).strip()
        broken = text.endswith("-") and line[:1].islower() and text[-2:-1].isalpha()
        if broken or text.endswith("\u00ad"):
            text = text[:-1] + line
        else:
            text = f"{text} {line}" if text else line
    return text
