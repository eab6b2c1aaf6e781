"""Reads DOCX, PPTX and XLSX files: headings, paragraphs, tables, notes, and their pictures.

Knows nothing of ZIP bombs and encryption, which ``kinds.check_archive`` refuses before. The
libraries used here parse XML with lxml without resolving entities (python-docx, python-pptx) or
with defusedxml where it is installed, as it is with us (openpyxl).
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from retrievers.document import Document
from retrievers.errors import PictureRefused, SourceRefused
from retrievers.ingest import tables
from retrievers.ingest.gallery import Gallery, is_caption
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.split import Block, one_line, passages

_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_WORD_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
BESIDE_CHARS = 600

Result = tuple[Document, dict[str, bytes]]


def parse_office(path: Path, kind: str, options: ParseOptions) -> Result:
    """Return a DOCX, PPTX or XLSX file. Raises ``SourceRefused`` when it is malformed."""
    readers: dict[str, Callable[[Path, ParseOptions], Result]] = {
        "docx": _docx,
        "pptx": _pptx,
        "xlsx": _xlsx,
    }
    try:
        return readers[kind](path, options)
    except (SourceRefused, MemoryError):
        raise
    except Exception as error:  # the libraries raise whatever their XML makes them stumble on
        raise SourceRefused(
            f"{path.name}: a malformed {kind} file ({type(error).__name__})"
        ) from error


class _Parts:
    """Blocks and pictures of one document, with the notices of what was left out."""

    def __init__(self, options: ParseOptions) -> None:
        self.options = options
        self.blocks: list[Block] = []
        self.gallery = Gallery(options)
        self.refused = 0

    def picture(self, data: bytes, words: dict[str, str], page: int | None = None) -> None:
        try:
            self.gallery.add_bytes(data, role="figure", page=page, words=words, name="a picture")
        except PictureRefused:
            self.refused += 1

    def document(self, title: str, pages: int, notices: Iterable[str] = ()) -> Result:
        notes = list(notices)
        if self.refused:
            notes.append(f"{self.refused} pictures are damaged or of a format that is not read")
        if self.gallery.left_out:
            notes.append(f"{self.gallery.left_out} pictures beyond the most were left out")
        document = Document(
            one_line(title, 200),
            passages(self.blocks, self.options),
            self.gallery.pictures,
            pages,
            tuple(notes),
        )
        return document, self.gallery.blobs


def _docx(path: Path, options: ParseOptions) -> Result:
    import docx
    from docx.table import Table

    file = docx.Document(str(path))
    parts = _Parts(options)
    found: list[tuple[int, bytes, dict[str, str]]] = []  # block number, picture, words
    for item in file.iter_inner_content():
        if isinstance(item, Table):
            block = tables.block(list(_table_rows(item)))
            if block is not None:
                parts.blocks.append(block)
            element = item._tbl
        else:
            text = item.text.strip()
            if text:
                parts.blocks.append(_docx_paragraph(item, text))
            element = item._p
        found += [(len(parts.blocks), *one) for one in _docx_pictures(element, file.part)]
    for section in file.sections[:1]:
        head = " ".join(p.text for p in section.header.paragraphs if p.text.strip())
        if head.strip():
            parts.blocks.append(Block("prose", head))
    for at, data, words in found:
        parts.picture(data, {**words, **_around(parts.blocks, at)})
    title = file.core_properties.title or next(
        (b.text for b in parts.blocks if b.kind == "heading"), path.stem
    )
    return parts.document(title, 0)


def _docx_paragraph(paragraph: Any, text: str) -> Block:
    style = (paragraph.style.name or "") if paragraph.style is not None else ""
    if style == "Title":
        return Block("heading", text, level=1)
    if style.startswith("Heading"):
        number = style.removeprefix("Heading").strip()
        return Block("heading", text, level=int(number) + 1 if number.isdecimal() else 2)
    if style.startswith("List"):
        return Block("prose", f"- {text}")
    return Block("prose", text)


def _table_rows(table: Any) -> Iterator[list[str]]:
    """Yield a Word table's rows; a cell merged across columns is said once."""
    for row in table.rows:
        cells: list[str] = []
        last = None
        for cell in row.cells:
            cells.append("" if cell._tc is last else cell.text)
            last = cell._tc
        yield cells


def _docx_pictures(element: Any, part: Any) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Yield the pictures drawn within an element, with their alternative texts."""
    for blip in element.iter(f"{_DRAWING}blip"):
        related = part.related_parts.get(blip.get(f"{_RELATION}embed") or "")
        if related is None:
            continue
        words: dict[str, str] = {}
        for parent in blip.iterancestors(f"{_WORD_DRAWING}inline", f"{_WORD_DRAWING}anchor"):
            said = parent.find(f"{_WORD_DRAWING}docPr")
            if said is not None:
                words = {"alt": said.get("descr") or "", "title": said.get("title") or ""}
            break
        yield related.blob, words


def _around(blocks: list[Block], at: int) -> dict[str, str]:
    """Return the caption and the prose beside a picture that stands before block ``at``."""
    near = [b.text for b in blocks[max(0, at - 1) : at] if b.kind != "table"]
    after = [b.text for b in blocks[at : at + 1] if b.kind != "table"]
    caption = next((text for text in after + near if is_caption(text)), "")
    beside = " ".join(one_line(text, BESIDE_CHARS // 2) for text in near + after if text != caption)
    return {"caption": caption, "beside": beside}


def _pptx(path: Path, options: ParseOptions) -> Result:
    from pptx import Presentation

    file = Presentation(str(path))
    parts = _Parts(options)
    first = ""
    for number, slide in enumerate(file.slides, start=1):
        title = slide.shapes.title
        name = title.text_frame.text.strip() if title is not None and title.has_text_frame else ""
        first = first or name
        parts.blocks.append(Block("heading", name or f"Slide {number}", page=number))
        for shape in _shapes(slide.shapes):
            if title is None or shape.shape_id != title.shape_id:
                _pptx_shape(shape, parts, number, name)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            notes = slide.notes_slide.notes_text_frame.text.strip()
            if notes:
                parts.blocks.append(Block("prose", f"Notes: {notes}", page=number))
    return parts.document(file.core_properties.title or first or path.stem, len(file.slides))


def _shapes(shapes: Any, depth: int = 0) -> Iterator[Any]:
    """Yield shapes in reading order, rows of the slide from left to right; groups are opened."""
    ordered = sorted(shapes, key=lambda s: ((s.top or 0) // 457_200, s.left or 0))
    for shape in ordered:
        if hasattr(shape, "shapes") and depth < 20:
            yield from _shapes(shape.shapes, depth + 1)
        else:
            yield shape


def _pptx_shape(shape: Any, parts: _Parts, page: int, title: str) -> None:
    if shape.has_text_frame and shape.text_frame.text.strip():
        lines = [p.text.strip() for p in shape.text_frame.paragraphs if p.text.strip()]
        parts.blocks.append(Block("prose", "\n".join(lines), page=page))
    elif getattr(shape, "has_table", False):
        block = tables.block([[c.text for c in row.cells] for row in shape.table.rows], page)
        if block is not None:
            parts.blocks.append(block)
    elif getattr(shape, "has_chart", False):
        block = tables.block(list(_chart_rows(shape.chart)), page)
        if block is not None:
            parts.blocks.append(block)
    blip = next(iter(shape._element.iter(f"{_DRAWING}blip")), None)
    if blip is None:
        return
    related = (
        shape.part.related_part(blip.get(f"{_RELATION}embed"))
        if blip.get(f"{_RELATION}embed")
        else None
    )
    if related is not None:
        said = next(iter(shape._element.xpath(".//p:cNvPr")), None)
        alt = (said.get("descr") or "") if said is not None else ""
        beside = [b.text for b in parts.blocks[-6:] if b.page == page and b.kind == "prose"]
        words = {"alt": alt, "title": title, "beside": one_line(" ".join(beside), BESIDE_CHARS)}
        parts.picture(related.blob, words, page)


def _chart_rows(chart: Any) -> Iterator[list[str]]:
    """Yield a chart's data as a table: categories down, series across."""
    plot = chart.plots[0]
    series = list(plot.series)
    yield ["Category", *(str(s.name) for s in series)]
    for at, category in enumerate(plot.categories):
        values = [s.values[at] if at < len(s.values) else None for s in series]
        yield [str(category), *("" if v is None else f"{v:g}" for v in values)]


def _xlsx(path: Path, options: ParseOptions) -> Result:
    import openpyxl

    parts = _Parts(options)
    notices: list[str] = []
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        for number, sheet in enumerate(book.worksheets, start=1):
            if sheet.sheet_state != "visible":
                notices.append(f"the hidden sheet {one_line(sheet.title, 60)!r} was left out")
                continue
            parts.blocks.append(Block("heading", sheet.title, page=number))
            sheet.reset_dimensions()  # files claim a million rows, or one
            rows: list[list[str]] = []
            for row in sheet.iter_rows(values_only=True, max_col=tables.MOST_COLUMNS):
                if len(rows) >= options.max_rows:
                    notices.append(f"only the first {options.max_rows} rows of a sheet were read")
                    break
                rows.append([_cell(value) for value in row])
            parts.blocks.extend(_sheet_blocks(rows, number))
        pages = len(book.worksheets)
        title = (book.properties.title or path.stem) if book.properties else path.stem
    finally:
        book.close()
    _sheet_pictures(path, parts)
    return parts.document(title, pages, dict.fromkeys(notices))


def _sheet_blocks(rows: list[list[str]], page: int) -> Iterator[Block]:
    """Yield a sheet's tables, parted by empty rows; a row of one cell above one is its title."""
    held: list[list[str]] = []
    for row in [*rows, []]:
        filled = [cell for cell in row if cell]
        if filled and (len(filled) > 1 or held):
            held.append(row)
            continue
        block = tables.block(_trim(held), page) if held else None
        held = []
        if block is not None:
            yield block
        if filled:
            yield Block("prose", filled[0], page=page)


def _trim(rows: list[list[str]]) -> list[list[str]]:
    """Drop the columns that are empty in all rows."""
    width = max(len(row) for row in rows)
    used = [at for at in range(width) if any(at < len(row) and row[at] for row in rows)]
    return [[row[at] if at < len(row) else "" for at in used] for row in rows]


def _sheet_pictures(path: Path, parts: _Parts) -> None:
    """Take in the workbook's pictures; the reader that streams rows does not know them."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        for name in sorted(n for n in archive.namelist() if n.startswith("xl/media/")):
            parts.picture(archive.read(name), {})


def _cell(value: Any) -> str:
    """Return a cell as it would be shown: no trailing ``.0``, dates without a midnight."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}"
    text = str(value)
    return text.removesuffix(" 00:00:00") if hasattr(value, "year") else text.strip()
