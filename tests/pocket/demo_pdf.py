"""Writes the demo library's report as a PDF by hand: real text in a standard font, one figure.

Knows nothing of the words in it: it sets blocks ``(style, text)`` on A4 pages, top to bottom.
"""

import zlib
from collections.abc import Sequence

from PIL import Image

WIDTH, HEIGHT, MARGIN = 595, 842, 68
# advance widths of Helvetica for the characters 32 to 126, in thousandths of the font's size
ADVANCE = [
    int(v)
    for v in (
        "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 "
        "556 556 556 556 556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 "
        "500 667 556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 "
        "556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 "
        "278 556 500 722 500 500 500 334 260 334 584"
    ).split()
]
# style -> font, size, line height, space above
STYLES = {
    "title": ("F2", 22.0, 28.0, 0.0),
    "small": ("F3", 10.0, 14.0, 8.0),
    "heading": ("F2", 13.5, 18.0, 20.0),
    "text": ("F1", 11.0, 16.0, 8.0),
    "caption": ("F3", 10.0, 14.0, 6.0),
}


def text_width(words: str, size: float) -> float:
    """Return the width of ``words`` in Helvetica, in points."""
    return sum(ADVANCE[ord(ch) - 32] for ch in words) * size / 1000


def wrap(words: str, size: float, room: float) -> list[str]:
    """Break ``words`` into lines of at most ``room`` points."""
    lines: list[str] = []
    line = ""
    for word in words.split():
        longer = f"{line} {word}" if line else word
        if line and text_width(longer, size) > room:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]


def _set_page(blocks: Sequence[tuple[str, str]], figure: Image.Image, foot: str) -> str:
    """Return a page's content stream."""
    out: list[str] = []
    y = float(HEIGHT - MARGIN)

    def put(style: str, words: str) -> None:
        nonlocal y
        font, size, leading, above = STYLES[style]
        y -= above
        for line in wrap(words, size, WIDTH - 2 * MARGIN):
            y -= leading
            safe = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            out.append(f"BT /{font} {size} Tf 1 0 0 1 {MARGIN} {y:.1f} Tm ({safe}) Tj ET")

    for style, words in blocks:
        if style == "figure":
            wide = 380.0
            tall = wide * figure.height / figure.width
            y -= tall + 16
            out.append(f"q {wide} 0 0 {tall:.1f} {(WIDTH - wide) / 2} {y:.1f} cm /Figure Do Q")
            put("caption", words)
        else:
            put(style, words)
    centre = (WIDTH - text_width(foot, 9)) / 2
    out.append(f"BT /F1 9 Tf 1 0 0 1 {centre:.1f} 36 Tm ({foot}) Tj ET")
    return "\n".join(out)


def _stream(head: str, data: bytes) -> bytes:
    packed = zlib.compress(data, 9)
    start = f"<< {head} /Filter /FlateDecode /Length {len(packed)} >>\nstream\n"
    return start.encode() + packed + b"\nendstream"


def write_pdf(
    pages: Sequence[Sequence[tuple[str, str]]], figure: Image.Image, title: str, author: str
) -> bytes:
    """Return a PDF of ``pages``; a block of style ``figure`` shows ``figure`` with its caption."""
    fonts = "/F1 5 0 R /F2 6 0 R /F3 7 0 R"
    first = 9
    kids = " ".join(f"{first + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Lang (en) >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        f"<< /Title ({title}) /Author ({author}) /CreationDate (D:20231120090000Z) >>".encode(),
        f"<< /Font << {fonts} >> /XObject << /Figure 8 0 R >> >>".encode(),
        *(
            f"<< /Type /Font /Subtype /Type1 /BaseFont /{name}"
            " /Encoding /WinAnsiEncoding >>".encode()
            for name in ("Helvetica", "Helvetica-Bold", "Helvetica-Oblique")
        ),
        _stream(
            f"/Type /XObject /Subtype /Image /Width {figure.width} /Height {figure.height}"
            " /ColorSpace /DeviceRGB /BitsPerComponent 8",
            figure.convert("RGB").tobytes(),
        ),
    ]
    for i, blocks in enumerate(pages):
        content = _set_page(blocks, figure, f"{title}, page {i + 1} of {len(pages)}")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Resources 4 0 R"
            f" /Contents {first + 2 * i + 1} 0 R >>".encode()
        )
        objects.append(_stream("", content.encode("ascii")))
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 3 0 R >>\n".encode()
    return bytes(out + f"startxref\n{table}\n%%EOF\n".encode())
