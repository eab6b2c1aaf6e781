"""Turns rows of cells into lines ``Column: value | Column: value``; reads CSV files.

Knows nothing of passages or pages. A table without column names gives ``value | value``.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from retrievers.document import Document
from retrievers.errors import SourceRefused
from retrievers.ingest.kinds import read_text
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.split import Block, one_line, passages

_NUMBER = re.compile(r"[-+(]?[$€£¥]?\s?\d[\d,.\s]*\)?\s?%?")
_YEAR = re.compile(r"(19|20)\d\d")
MOST_COLUMNS = 500


def is_number(cell: str) -> bool:
    """Whether a cell is a figure: ``1,234.50``, ``(12)``, ``$ 3``, ``45 %``; a year is none."""
    return bool(_NUMBER.fullmatch(cell.strip())) and not _YEAR.fullmatch(cell.strip())


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: it is filled, differs, and holds no figures."""
    if len(rows) < 2:
        return False
    first = [cell.strip() for cell in rows[0]]
    filled = [cell for cell in first if cell]
    if len(filled) < max(1, len(first) - 1) or any(is_number(cell) for cell in filled):
        return False
    return len(set(filled)) == len(filled) and all(len(cell) <= 120 for cell in filled)


def lines(rows: Iterable[Sequence[str]], names: Sequence[str]) -> Iterator[str]:
    """Yield one line a row; empty cells are left out, and so are empty rows."""
    for row in rows:
        cells = []
        for at, value in enumerate(row):
            text = one_line(value).replace(" | ", " / ")
            name = names[at] if at < len(names) else ""
            if text:
                cells.append(f"{name}: {text}" if name else text)
        if cells:
            yield " | ".join(cells)


def block(rows: Sequence[Sequence[str]], page: int | None = None) -> Block | None:
    """Return a table block of the rows, its first row as column names where it holds such."""
    kept = [list(row) for row in rows if any(cell.strip() for cell in row)]
    if not kept:
        return None
    named = has_header(kept)
    names = [one_line(cell, 80) for cell in kept[0]] if named else []
    text = "\n".join(lines(kept[1:] if named else kept, names))
    return Block("table", text, page=page) if text else None


def parse_csv(path: Path, options: ParseOptions) -> Document:
    """Return a CSV or TSV file as one table. Raises ``SourceRefused`` when it is malformed."""
    text, encoding = read_text(path)
    sample = text[:65_536]
    delimiter = _delimiter(sample, path.suffix.lower())
    try:
        head = [
            row
            for _, row in zip(
                range(20), csv.reader(io.StringIO(sample), delimiter=delimiter), strict=False
            )
        ]
    except csv.Error as error:
        raise SourceRefused(f"{path.name}: a malformed CSV file ({error})") from error
    head = [row for row in head if any(cell.strip() for cell in row)]
    width = max((len(row) for row in head), default=0)
    if not width:
        raise SourceRefused(f"{path.name}: an empty file")
    if width > MOST_COLUMNS:
        raise SourceRefused(f"{path.name}: {width} columns, the most is {MOST_COLUMNS}")
    named = has_header(head)
    names = [one_line(cell, 80) for cell in head[0]] if named else []

    from retrievers.ingest.community import load_rows

    keys = [f"{at}" for at in range(width)]
    rows: list[list[str]] = []
    notices: list[str] = []
    try:
        for row in load_rows(path, encoding, keys, delimiter):
            cells = [row[key] for key in keys]
            if not any(cell.strip() for cell in cells):
                continue
            if len(rows) > options.max_rows:
                notices.append(f"only the first {options.max_rows} rows were read")
                break
            rows.append(cells)
    except RuntimeError as error:
        cause = error.__cause__ or error
        raise SourceRefused(f"{path.name}: a malformed CSV file ({cause})") from error
    body = "\n".join(lines(rows[1:] if named else rows, names))
    table = Block("table", body)
    return Document(title=path.stem, passages=passages([table], options), notices=tuple(notices))


def _delimiter(sample: str, suffix: str) -> str:
    """Return the sign between cells: the one that cuts the first lines into equally many."""
    if suffix == ".tsv":
        return "\t"
    best, most = ",", 1
    for sign in (",", ";", "\t", "|"):
        try:
            widths = [len(row) for row in csv.reader(io.StringIO(sample), delimiter=sign) if row][
                :50
            ]
        except csv.Error:
            continue
        if not widths:
            continue
        usual = max(set(widths), key=widths.count)
        score = usual if widths.count(usual) >= 0.8 * len(widths) else 1
        if score > most:
            best, most = sign, score
    return best
