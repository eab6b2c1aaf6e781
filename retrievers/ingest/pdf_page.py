"""Reads one page of a PDF through PDFium: characters as cells, images and drawings as boxes.

Knows nothing of paragraphs, passages or pictures' words. Coordinates that go out are points from
the upper left corner of the page as it is shown (rotation and crop box applied).
"""

import ctypes
import functools
from collections.abc import Callable, Iterator
from typing import Any

from retrievers.evidence import Box
from retrievers.ingest.pdf_rows import Cell

Rect = tuple[float, float, float, float]  # left, top, right, bottom in points
Matrix = tuple[float, float, float, float, float, float]

MOST_OBJECTS = 20_000
MOST_SHAPES = 600


class PageView:
    """A page's size and the way from PDF coordinates to those of the page as it is shown."""

    def __init__(self, page: Any) -> None:
        self.left, self.bottom, self.right, self.top = (float(v) for v in page.get_bbox())
        self.turn = int(page.get_rotation()) % 360
        wide, high = self.right - self.left, self.top - self.bottom
        self.width, self.height = (high, wide) if self.turn in (90, 270) else (wide, high)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return a point as it is shown."""
        if self.turn == 90:
            return y - self.bottom, x - self.left
        if self.turn == 180:
            return self.right - x, y - self.bottom
        if self.turn == 270:
            return self.top - y, self.right - x
        return x - self.left, self.top - y

    def rect(self, left: float, bottom: float, right: float, top: float) -> Rect:
        """Return a rectangle as it is shown."""
        x1, y1 = self.point(left, bottom)
        x2, y2 = self.point(right, top)
        return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)

    def box(self, rect: Rect) -> Box:
        """Return a rectangle as fractions of the page, cut to the page."""

        def fraction(value: float, size: float) -> float:
            return min(max(value / size, 0.0), 1.0) if size > 0 else 0.0

        return Box(
            fraction(rect[0], self.width),
            fraction(rect[1], self.height),
            fraction(rect[2], self.width),
            fraction(rect[3], self.height),
        )


def read_cells(textpage: Any, view: PageView, most: int) -> list[Cell]:
    """Return the page's runs of characters in content order; at most ``most`` characters."""
    import pypdfium2.raw as c

    count = min(textpage.count_chars(), most)
    x, y = ctypes.c_double(), ctypes.c_double()
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    cells: list[Cell] = []
    run: list[str] = []
    place: list[float] = [0.0] * 5  # left, top, right, bottom, base
    style: tuple[float, bool] = (0.0, False)
    high = 0

    def close() -> None:
        text = "".join(run).strip()
        run.clear()
        if text:
            cells.append(Cell(text, place[0], place[1], place[2], place[3], place[4], *style))

    for at in range(count):
        code = c.FPDFText_GetUnicode(textpage, at)
        if 0xD800 <= code < 0xDC00:  # the first half of a character beyond the basic plane
            high = code
            continue
        if 0xDC00 <= code < 0xE000 and high:
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)
        high = 0
        if code in (10, 13):
            close()
            continue
        char = "-" if code == 2 else chr(code)  # PDFium's mark for a hyphen at a line's end
        if char.isspace() or ord(char) < 32:
            if run and run[-1] != " ":
                run.append(" ")
            continue
        c.FPDFText_GetCharOrigin(textpage, at, x, y)
        c.FPDFText_GetCharBox(textpage, at, left, right, bottom, top)
        base_x, base = view.point(x.value, y.value)
        rect = view.rect(left.value, bottom.value, right.value, top.value)
        if run:
            size = style[0] or 10.0
            gap = rect[0] - place[2]
            if abs(base - place[4]) > 0.6 * size or gap > 1.1 * size or gap < -2.5 * size:
                close()
        if not run:
            size = _size(c, textpage, at, rect)
            style = (size, _bold(c, textpage, at))
            place = [min(base_x, rect[0]), rect[1], rect[2], rect[3], base]
            place[1] = min(place[1], base - 0.7 * size)
        else:
            place[0], place[1] = min(place[0], rect[0]), min(place[1], rect[1])
            place[2], place[3] = max(place[2], rect[2]), max(place[3], rect[3])
        run.append(char)
    close()
    return cells


def _size(c: Any, textpage: Any, at: int, rect: Rect) -> float:
    """Return a character's size in points as it is shown (a font's own size may be scaled)."""
    matrix = c.FS_MATRIX()
    size = float(c.FPDFText_GetFontSize(textpage, at))
    if c.FPDFText_GetMatrix(textpage, at, matrix):
        scale = (matrix.a * matrix.d - matrix.b * matrix.c) or 0.0
        size *= abs(scale) ** 0.5 if scale else 1.0
    if not 1.0 <= size <= 400.0:
        size = max(rect[3] - rect[1], 1.0) * 1.3
    return size


def _bold(c: Any, textpage: Any, at: int) -> bool:
    """Whether a character is bold, by its font's weight or, where that says nothing, its name."""
    if c.FPDFText_GetFontWeight(textpage, at) >= 600:
        return True
    name, flags = ctypes.create_string_buffer(128), ctypes.c_int()
    c.FPDFText_GetFontInfo(textpage, at, name, 128, flags)
    said = name.value.lower()
    return b"bold" in said or b"black" in said or b"heavy" in said


def read_shapes(page: Any, view: PageView) -> tuple[list[Rect], list[Rect], bool]:
    """Return the boxes of images, the boxes of drawings' parts, and whether anything is painted.

    A drawing's part is a path with curves or slants, or a filled bar; rules and the shading
    behind a table's rows are none.
    """
    import pypdfium2.raw as c

    images: list[Rect] = []
    curved: list[Rect] = []
    bars: list[Rect] = []
    painted = False
    for kind, raw, rect in _objects(c, page, view):
        if kind == c.FPDF_PAGEOBJ_IMAGE:
            images.append(rect)
            painted = True
        elif kind == c.FPDF_PAGEOBJ_SHADING:
            painted = True
        elif kind == c.FPDF_PAGEOBJ_PATH:
            painted = True
            if rect[2] - rect[0] > 0.98 * view.width and rect[3] - rect[1] > 0.98 * view.height:
                continue
            if _is_curved(c, raw):
                curved.append(rect)
            elif min(rect[2] - rect[0], rect[3] - rect[1]) > 3:
                bars.append(rect)
    return images, curved[:MOST_SHAPES] + _charted(bars)[:MOST_SHAPES], painted


def _objects(c: Any, page: Any, view: PageView) -> Iterator[tuple[int, Any, Rect]]:
    """Yield the page's objects with their boxes, those inside of forms too."""
    seen = 0

    def walk(
        count: int, get: Callable[[int], Any], matrix: Matrix, depth: int
    ) -> Iterator[tuple[int, Any, Rect]]:
        nonlocal seen
        for at in range(max(count, 0)):
            raw = get(at)
            seen += 1
            if not raw or seen > MOST_OBJECTS:
                return
            kind = c.FPDFPageObj_GetType(raw)
            if kind == c.FPDF_PAGEOBJ_FORM and depth < 6:
                own = c.FS_MATRIX()
                c.FPDFPageObj_GetMatrix(raw, own)
                inner = _times((own.a, own.b, own.c, own.d, own.e, own.f), matrix)
                yield from walk(
                    c.FPDFFormObj_CountObjects(raw),
                    functools.partial(c.FPDFFormObj_GetObject, raw),
                    inner,
                    depth + 1,
                )
            elif kind != c.FPDF_PAGEOBJ_TEXT:
                rect = _bounds(c, raw, matrix, view)
                if rect is not None:
                    yield kind, raw, rect

    yield from walk(
        c.FPDFPage_CountObjects(page),
        functools.partial(c.FPDFPage_GetObject, page),
        (1, 0, 0, 1, 0, 0),
        0,
    )


def _times(m: Matrix, n: Matrix) -> Matrix:
    """Return the matrix that applies ``m``, then ``n`` (PDF 32000-1, 8.3.4)."""
    return (
        m[0] * n[0] + m[1] * n[2],
        m[0] * n[1] + m[1] * n[3],
        m[2] * n[0] + m[3] * n[2],
        m[2] * n[1] + m[3] * n[3],
        m[4] * n[0] + m[5] * n[2] + n[4],
        m[4] * n[1] + m[5] * n[3] + n[5],
    )


def _bounds(c: Any, raw: Any, m: Matrix, view: PageView) -> Rect | None:
    """Return an object's box as it is shown, cut to the page; ``None`` when nothing of it is."""
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not c.FPDFPageObj_GetBounds(raw, left, bottom, right, top):
        return None
    corners = [
        (x * m[0] + y * m[2] + m[4], x * m[1] + y * m[3] + m[5])
        for x in (left.value, right.value)
        for y in (bottom.value, top.value)
    ]
    xs, ys = [p[0] for p in corners], [p[1] for p in corners]
    rect = view.rect(min(xs), min(ys), max(xs), max(ys))
    cut = (
        max(rect[0], 0.0),
        max(rect[1], 0.0),
        min(rect[2], view.width),
        min(rect[3], view.height),
    )
    return cut if cut[2] >= cut[0] and cut[3] >= cut[1] else None


def _is_curved(c: Any, raw: Any) -> bool:
    """Whether a path has a curve or a slanted line among its first segments."""
    x, y = ctypes.c_float(), ctypes.c_float()
    before: tuple[float, float] | None = None
    for at in range(min(max(c.FPDFPath_CountSegments(raw), 0), 24)):
        segment = c.FPDFPath_GetPathSegment(raw, at)
        kind = c.FPDFPathSegment_GetType(segment)
        if kind == c.FPDF_SEGMENT_BEZIERTO:
            return True
        c.FPDFPathSegment_GetPoint(segment, x, y)
        here = (x.value, y.value)
        if kind == c.FPDF_SEGMENT_LINETO and before is not None:
            wide, high = abs(here[0] - before[0]), abs(here[1] - before[1])
            if wide > 1.5 and high > 1.5:
                return True
        before = here
    return False


def _charted(bars: list[Rect]) -> list[Rect]:
    """Return filled boxes that are a bar chart's: on one base, of at least three lengths."""
    kept: list[Rect] = []
    for base, far in ((3, 1), (0, 2)):  # upright bars share a foot, lying ones a left edge
        groups: dict[int, list[Rect]] = {}
        for bar in bars:
            groups.setdefault(round(bar[base]), []).append(bar)
        for group in groups.values():
            lengths = {round(abs(bar[far] - bar[base])) for bar in group}
            wides = {round(bar[2] - bar[0] if base == 3 else bar[3] - bar[1]) for bar in group}
            if len(lengths) >= 3 and len(wides) <= 2:
                kept.extend(bar for bar in group if bar not in kept)
    return kept


def merge_rects(rects: list[Rect], near: float) -> list[Rect]:
    """Return rectangles with those that touch, or are within ``near`` points, made one."""
    out: list[Rect] = []
    for rect in rects:
        grown = rect
        again = True
        while again:
            again = False
            for other in out:
                if (
                    grown[0] - near <= other[2]
                    and other[0] - near <= grown[2]
                    and grown[1] - near <= other[3]
                    and other[1] - near <= grown[3]
                ):
                    out.remove(other)
                    grown = (
                        min(grown[0], other[0]),
                        min(grown[1], other[1]),
                        max(grown[2], other[2]),
                        max(grown[3], other[3]),
                    )
                    again = True
                    break
        out.append(grown)
    return out
