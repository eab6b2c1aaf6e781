"""Finds tables among the rows of a PDF page, and names the columns of their cells.

Knows nothing of PDFium or of paragraphs. Rows with several cells that stand under one another are
a table; a row of words or years above figures names the columns.
"""

from collections.abc import Iterator, Sequence

from retrievers.ingest.pdf_rows import LEADER, Cell, Row, join_lines
from retrievers.ingest.split import Block, one_line
from retrievers.ingest.tables import is_number


def table_end(rows: Sequence[Row], at: int) -> int:
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


def make_table(rows: Sequence[Row], page: int) -> Iterator[Block]:
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
        text = one_line(LEADER.sub(" ", cell.text))
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
        text for text in (one_line(LEADER.sub(" ", cell.text)) for cell in row.cells) if text
    )
