"""Real files for the tests of ingestion, made on the spot."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

MakePdf = Callable[..., Path]
Draw = Callable[..., Image.Image]


@pytest.fixture
def make_pdf(tmp_path: Path) -> MakePdf:
    """Write a PDF of pages; each is a list of ``(x, y, size, text)`` or of raw operators."""

    def make(
        name: str,
        pages: Sequence[Sequence[tuple[float, float, float, str] | str]],
        *,
        encrypted: bool = False,
        rotate: int = 0,
        image: bytes | None = None,
        image_size: tuple[int, int] = (0, 0),
        outline: Sequence[tuple[str, int]] = (),
    ) -> Path:
        objects: list[bytes] = []

        def add(body: bytes) -> int:
            objects.append(body)
            return len(objects)

        catalog, tree = add(b""), add(b"")
        font = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
        resources = f"/Font << /F1 {font} 0 R >>"
        if image is not None:
            wide, high = image_size
            picture = add(
                f"<< /Type /XObject /Subtype /Image /Width {wide} /Height {high} /ColorSpace"
                f" /DeviceRGB /BitsPerComponent 8 /Length {len(image)} >>\nstream\n".encode()
                + image
                + b"\nendstream"
            )
            resources += f" /XObject << /Im1 {picture} 0 R >>"
        kids = []
        for page in pages:
            parts = [
                part
                if isinstance(part, str)
                else "BT /F1 {2} Tf 1 0 0 1 {0} {1} Tm ({3}) Tj ET".format(*part)
                for part in page
            ]
            stream = "\n".join(parts).encode("latin-1")
            content = add(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
            kids.append(
                add(
                    f"<< /Type /Page /Parent {tree} 0 R /MediaBox [0 0 600 800] /Rotate {rotate}"
                    f" /Resources << {resources} >> /Contents {content} 0 R >>".encode()
                )
            )
        marks = ""
        if outline:
            root = len(objects) + 1
            add(
                f"<< /Type /Outlines /First {root + 1} 0 R /Last {root + len(outline)} 0 R"
                f" /Count {len(outline)} >>".encode()
            )
            for at, (title, page_number) in enumerate(outline):
                beside = f" /Next {root + at + 2} 0 R" if at + 1 < len(outline) else ""
                beside += f" /Prev {root + at} 0 R" if at else ""
                add(
                    f"<< /Title ({title}) /Parent {root} 0 R /Dest [{kids[page_number - 1]} 0 R"
                    f" /Fit]{beside} >>".encode()
                )
            marks = f" /Outlines {root} 0 R"
        objects[catalog - 1] = f"<< /Type /Catalog /Pages {tree} 0 R{marks} >>".encode()
        numbers = " ".join(f"{kid} 0 R" for kid in kids)
        objects[tree - 1] = f"<< /Type /Pages /Kids [{numbers}] /Count {len(kids)} >>".encode()
        path = tmp_path / name
        path.write_bytes(_file(objects, catalog, encrypted))
        return path

    return make


def _file(objects: Sequence[bytes], root: int, encrypted: bool) -> bytes:
    out = b"%PDF-1.7\n"
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    lock = b""
    if encrypted:
        word = b"ab" * 32
        lock = b" /Encrypt << /Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P -4 >>" % (word, word)
        lock += b" /ID [<%s> <%s>]" % (b"cd" * 16, b"cd" * 16)
    out += b"trailer\n<< /Size %d /Root %d 0 R%s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        root,
        lock,
        start,
    )
    return out


@pytest.fixture
def written() -> Draw:
    """Draw lines of writing on a white picture, each at its place."""

    def draw(
        lines: Sequence[tuple[int, int, str]], size: tuple[int, int] = (640, 400), height: int = 32
    ) -> Image.Image:
        image = Image.new("RGB", size, "white")
        pen = ImageDraw.Draw(image)
        font = ImageFont.load_default(height)
        for x, y, text in lines:
            pen.text((x, y), text, fill="black", font=font)
        return image

    return draw


@pytest.fixture
def photo() -> Draw:
    """Return a picture with many colours and no writing."""

    def draw(size: tuple[int, int] = (320, 240), seed: int = 1) -> Image.Image:
        base = Image.effect_noise((size[0] // 8, size[1] // 8), 80 + seed).resize(size)
        other = Image.linear_gradient("L").resize(size).rotate(90 * (seed % 4))
        return Image.merge("RGB", (base, other, base.rotate(180)))

    return draw
