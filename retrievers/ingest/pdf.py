"""Reads PDF files: passages with page numbers, figures cut out, and pages as pictures.

Knows nothing of libraries and encoders. Two passes: the first reads the text of all pages (running
heads and the body's size are a matter of the whole document), the second renders what is worth
seeing: each page with a figure or little text, and its figures in their own resolution.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from retrievers.document import Document
from retrievers.errors import SourceRefused
from retrievers.evidence import Box, Line
from retrievers.ingest import ocr
from retrievers.ingest import pdf_layout as layout
from retrievers.ingest.gallery import Gallery, is_caption
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.pdf_page import PageView, Rect, merge_rects, read_cells, read_shapes
from retrievers.ingest.pdf_rows import Page, Row, drop_running_lines, join_lines, make_rows
from retrievers.ingest.split import Block, one_line, passages

PAGE_PIXELS = 4_000_000  # the most of a rendered page
FIGURE_SIDE = 1600  # the longer side of a figure that was cut out
LEAST_FIGURE = 0.01  # of the page's area
WHOLE_PAGE = 0.85  # an image that covers this much is the page itself
PAGE_CHARS = 200_000

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class _Sheet:
    """What the first pass found on a page."""

    page: Page
    view: PageView
    chars: int = 0
    painted: bool = False
    figures: list[Rect] = field(default_factory=list)


def parse_pdf(
    path: Path, options: ParseOptions, progress: Progress | None = None
) -> tuple[Document, dict[str, bytes]]:
    """Return a PDF file. Raises ``SourceRefused`` when it is encrypted or malformed."""
    import pypdfium2

    try:
        file = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise SourceRefused(f"{path.name}: encrypted; save it without a password") from error
        raise SourceRefused(f"{path.name}: a malformed PDF file") from error
    try:
        return _Reader(file, path, options, progress).read()
    finally:
        file.close()


class _Reader:
    """The two passes over one file, and the notices on the way."""

    def __init__(
        self, file: Any, path: Path, options: ParseOptions, progress: Progress | None
    ) -> None:
        self.file = file
        self.path = path
        self.options = options
        self.progress = progress or (lambda page, pages: None)
        self.gallery = Gallery(options)
        self.damaged: list[int] = []
        self.read_by_ocr: list[int] = []

    def read(self) -> tuple[Document, dict[str, bytes]]:
        total = len(self.file)
        count = min(total, self.options.max_pages)
        if not count:
            raise SourceRefused(f"{self.path.name}: a malformed PDF file, it has no pages")
        sheets = [s for s in (self._sheet(at, 2 * count) for at in range(count)) if s]
        if not sheets:
            raise SourceRefused(f"{self.path.name}: a malformed PDF file, no page can be read")
        _drop_repeated(sheets)
        pages = [sheet.page for sheet in sheets]
        drop_running_lines(pages)
        body = layout.body_size(pages)
        levels = layout.heading_levels(pages, body)
        outline = self._outline()
        blocks: list[Block] = []
        for sheet in sheets:
            own = layout.blocks(sheet.page, body, levels, outline.get(sheet.page.number, {}))
            blocks.extend(own)
            self._pictures(sheet, own, _heading(blocks))
            self.progress(count + sheet.page.number, 2 * count)
        document = Document(
            self._title(blocks),
            passages(blocks, self.options),
            self.gallery.pictures,
            count,
            tuple(self._notices(total, count)),
        )
        return document, self.gallery.blobs

    def _sheet(self, at: int, steps: int) -> _Sheet | None:
        """Return what stands on a page, ``None`` when it cannot be read."""
        import pypdfium2

        self.progress(at, steps)
        try:
            page = self.file[at]
            view = PageView(page)
            if not (view.width > 1 and view.height > 1):
                raise ValueError("no area")
            textpage = page.get_textpage()
            rows = make_rows(read_cells(textpage, view, PAGE_CHARS))
            images, parts, painted = read_shapes(page, view)
            textpage.close()
            page.close()
        except (pypdfium2.PdfiumError, ValueError, OSError):
            self.damaged.append(at + 1)
            return None
        chars = sum(len(row.text) for row in rows)
        sheet = _Sheet(Page(at + 1, view.width, view.height, rows), view, chars)
        sheet.painted = painted
        sheet.figures = _figures(images, parts, view)
        return sheet

    def _pictures(self, sheet: _Sheet, own: list[Block], heading: str) -> None:
        """Render a page that is worth seeing, and cut its figures out."""
        sparse = sheet.chars < self.options.little_text and (sheet.painted or sheet.chars > 0)
        if not sheet.figures and not sparse:
            return
        page = self.file[sheet.page.number - 1]
        try:
            whole = self._render(page, sheet.view)
            lines: tuple[Line, ...] = ()
            if sparse and self.options.ocr and sheet.painted:
                lines = ocr.read_lines(whole, confidence=self.options.ocr_confidence)
                if lines and sheet.chars < 20:
                    self.read_by_ocr.append(sheet.page.number)
            captions = [b.text for b in own if b.kind == "prose" and is_caption(b.text)]
            words = {"caption": one_line(" ".join(captions), 1000), "title": heading}
            self.gallery.add(whole, role="page", page=sheet.page.number, words=words, lines=lines)
            for rect in sheet.figures:
                self._figure(page, sheet, rect, lines, heading)
        finally:
            page.close()

    def _render(self, page: Any, view: PageView) -> Image.Image:
        scale = self.options.page_dpi / 72
        scale = min(scale, (PAGE_PIXELS / (view.width * view.height)) ** 0.5)
        scale = max(scale, 1 / max(min(view.width, view.height), 1))
        image: Image.Image = page.render(scale=scale).to_pil().convert("RGB")
        return image

    def _figure(
        self, page: Any, sheet: _Sheet, rect: Rect, lines: tuple[Line, ...], heading: str
    ) -> None:
        """Cut one figure out of its page, with its caption and the prose beside it."""
        box = sheet.view.box(rect)
        caption, beside = _told(sheet.page.rows, rect)
        words = {"caption": caption, "title": heading, "beside": beside}
        image = self._cut(page, sheet.view, rect)
        inner: tuple[Line, ...] | None = tuple(
            _within(line, box) for line in lines if _in(line, box)
        )
        if not inner:
            inner = tuple(
                Line(
                    cell.text,
                    _inner(sheet.view.box((cell.left, cell.top, cell.right, cell.bottom)), box),
                )
                for row in sheet.page.rows
                for cell in row.cells
                if _covers(rect, (cell.left, cell.top, cell.right, cell.bottom))
            )
        self.gallery.add(
            image,
            role="figure",
            page=sheet.page.number,
            box=box,
            words=words,
            lines=inner or None,
        )

    def _cut(self, page: Any, view: PageView, rect: Rect) -> Image.Image:
        wide, high = max(rect[2] - rect[0], 1), max(rect[3] - rect[1], 1)
        scale = min(200 / 72, FIGURE_SIDE / max(wide, high))
        crop = (rect[0], view.height - rect[3], view.width - rect[2], rect[1])
        image: Image.Image = page.render(scale=scale, crop=crop).to_pil().convert("RGB")
        return image

    def _outline(self) -> dict[int, dict[str, int]]:
        """Return the levels of the bookmarks by page and title; damaged ones are left out."""
        found: dict[int, dict[str, int]] = {}
        try:
            for number, mark in enumerate(self.file.get_toc(max_depth=6)):
                target = mark.get_dest()
                index = target.get_index() if target else None
                if index is not None and number < 5000:
                    key = layout.outline_key(mark.get_title())
                    if key:
                        found.setdefault(index + 1, {})[key] = mark.level + 1
        except Exception:  # bookmarks of a broken file point anywhere
            return found
        return found

    def _title(self, blocks: list[Block]) -> str:
        try:
            said = one_line(self.file.get_metadata_value("Title"), 200)
        except Exception:  # as above: a broken dictionary is no reason to lose the text
            said = ""
        vague = not any(c.isalpha() for c in said) or said.lower().startswith(
            ("microsoft word", "untitled", "powerpoint")
        )
        if not vague and not said.lower().endswith((".doc", ".docx", ".pdf", ".indd")):
            return said
        return one_line(
            next((b.text for b in blocks if b.kind == "heading" and b.page == 1), self.path.stem),
            200,
        )

    def _notices(self, total: int, count: int) -> list[str]:
        notes = []
        if total > count:
            notes.append(f"only the first {count} of {total} pages were read")
        if self.damaged:
            notes.append(f"pages that could not be read: {_numbers(self.damaged)}")
        if self.read_by_ocr:
            notes.append(f"pages without text, read by OCR: {_numbers(self.read_by_ocr)}")
        if self.gallery.left_out:
            notes.append(f"{self.gallery.left_out} pictures beyond the most were left out")
        return notes


def _figures(images: list[Rect], parts: list[Rect], view: PageView) -> list[Rect]:
    """Return the boxes of a page's figures: images and drawings, tiles of one image made one."""
    area = float(view.width * view.height)

    def share(rect: Rect) -> float:
        return (rect[2] - rect[0]) * (rect[3] - rect[1]) / area

    found = [rect for rect in images if share(rect) < WHOLE_PAGE]
    for rect in merge_rects(parts, 12):
        inside = sum(_covers(rect, part) for part in parts)
        if inside >= 3 and share(rect) >= 0.02 and min(rect[2] - rect[0], rect[3] - rect[1]) > 40:
            found.append(rect)
    merged = merge_rects(found, 3)
    return [
        rect
        for rect in merged
        if LEAST_FIGURE <= share(rect) < WHOLE_PAGE
        and min(rect[2] - rect[0], rect[3] - rect[1]) > 16
    ]


def _drop_repeated(sheets: list[_Sheet]) -> None:
    """Keep a figure that stands on one place of many pages (a logo, a frame) once."""

    def key(rect: Rect) -> tuple[int, ...]:
        return tuple(round(value / 4) for value in rect)

    seen: Counter[tuple[int, ...]] = Counter(key(r) for sheet in sheets for r in sheet.figures)
    least = max(4, len(sheets) / 4)
    kept: set[tuple[int, ...]] = set()
    for sheet in sheets:
        fresh = [r for r in sheet.figures if seen[key(r)] < least or key(r) not in kept]
        kept.update(key(rect) for rect in sheet.figures)
        sheet.figures = fresh


def _told(rows: list[Row], rect: Rect) -> tuple[str, str]:
    """Return a figure's caption (the nearest ``Figure N …``) and the nearest prose beside it."""
    caption, beside = "", ""
    nearest = 1e9
    for at, row in enumerate(rows):
        if not is_caption(row.text):
            continue
        gap = min(abs(row.top - rect[3]), abs(rect[1] - row.bottom))
        sideways = row.right < rect[0] - 10 or row.left > rect[2] + 10
        gap += 150 if sideways else 0
        if gap < nearest and gap < 260:
            nearest = gap
            stop = at + 1
            while (
                stop < len(rows)
                and stop - at < 6
                and 0 <= rows[stop].top - rows[stop - 1].bottom < 0.6 * row.size
                and abs(rows[stop].size - row.size) < 0.1 * row.size
            ):
                stop += 1
            caption = join_lines([r.text for r in rows[at:stop]])
    outside = [r for r in rows if len(r.text) > 30 and not _covers(rect, _row_rect(r))]
    outside.sort(key=lambda r: min(abs(r.top - rect[3]), abs(rect[1] - r.bottom)))
    close = sorted(outside[:4], key=lambda r: r.top)
    beside = join_lines([r.text for r in close if r.text not in caption])
    return one_line(caption, 800), one_line(beside, 500)


def _row_rect(row: Row) -> Rect:
    return row.left, row.top, row.right, row.bottom


def _covers(outer: Rect, inner: Rect) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def _in(line: Line, box: Box) -> bool:
    b = line.box
    return _covers((box.left, box.top, box.right, box.bottom), (b.left, b.top, b.right, b.bottom))


def _within(line: Line, box: Box) -> Line:
    return Line(line.text, _inner(line.box, box), line.confidence)


def _inner(b: Box, box: Box) -> Box:
    """Return a box on the page as a box on the figure that was cut out of it."""
    wide, high = max(box.right - box.left, 1e-6), max(box.bottom - box.top, 1e-6)

    def fraction(value: float) -> float:
        return min(max(value, 0.0), 1.0)

    return Box(
        fraction((b.left - box.left) / wide),
        fraction((b.top - box.top) / high),
        fraction((b.right - box.left) / wide),
        fraction((b.bottom - box.top) / high),
    )


def _heading(blocks: list[Block]) -> str:
    """Return the last heading so far, which the page's figures stand under."""
    return next((one_line(b.text, 160) for b in reversed(blocks) if b.kind == "heading"), "")


def _numbers(pages: list[int]) -> str:
    """Return page numbers as people write them: ``2, 5-9``; of many the first few."""
    runs: list[list[int]] = []
    for page in pages:
        if runs and page == runs[-1][-1] + 1:
            runs[-1].append(page)
        else:
            runs.append([page])
    said = [f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs]
    return ", ".join(said[:10]) + (" and more" if len(said) > 10 else "")
