"""Makes the library that ``bifocal demo`` ships: ``python tests/pocket/make_demo.py OUT``.

Writes ``OUT/library`` (documents and pictures), ``OUT/questions`` (pictures that questions carry)
and ``OUT/questions.json``. The package's own copy is made with ``OUT`` = ``bot/demo``. Everything
is drawn and written here, so the library is under the project's own licence, and the same on
every machine but for the encoders of JPEG, WebP and deflate.
"""

import json
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from xml.sax.saxutils import escape

import demo_texts as words
from demo_boats import blue_boat, evening_sail
from demo_nature import island_map, puffin
from demo_papers import (
    cross_section,
    ferry_notice,
    receipt_cafe,
    receipt_chandlery,
    visitors_chart,
)
from demo_pdf import write_pdf
from demo_scenes import lighthouse
from PIL import Image, ImageEnhance

# EXIF tags: description, artist, orientation, title and keywords as UTF-16, date taken, GPS
DESCRIPTION, ARTIST, ORIENTATION, XP_TITLE, XP_KEYWORDS = 0x010E, 0x013B, 0x0112, 0x9C9B, 0x9C9E
EXIF_IFD, DATE_TAKEN, GPS_IFD = 0x8769, 0x9003, 0x8825
# a place in the open sea west of the Hebrides: 56 degrees 40.5' N, 10 degrees 21' W
GPS = {1: "N", 2: (56.0, 40.0, 30.0), 3: "W", 4: (10.0, 21.0, 0.0)}

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
 xmp:CreateDate="{date}" photoshop:City="{city}" Iptc4xmpCore:Location="{place}">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt>
</dc:description>
<dc:subject><rdf:Bag>{subject}</rdf:Bag></dc:subject>
<dc:creator><rdf:Seq><rdf:li>{creator}</rdf:li></rdf:Seq></dc:creator>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def exif_of(of: Mapping[str, str], *, orientation: int = 1, gps: bool = False) -> bytes:
    """Return an EXIF block that says what ``of`` says."""
    exif = Image.Exif()
    exif[DESCRIPTION] = of["description"]
    exif[ARTIST] = of["creator"]
    exif[ORIENTATION] = orientation
    exif[XP_TITLE] = (of["title"] + "\0").encode("utf-16-le")
    exif[XP_KEYWORDS] = (of["keywords"] + "\0").encode("utf-16-le")
    exif[EXIF_IFD] = {DATE_TAKEN: of["date"]}
    if gps:
        exif[GPS_IFD] = GPS
    return exif.tobytes()


def xmp_of(of: Mapping[str, str]) -> bytes:
    """Return an XMP packet that says what ``of`` says."""
    day, time = of["date"].split()
    place, _, city = of["place"].rpartition(", ")
    keywords = (f"<rdf:li>{escape(word)}</rdf:li>" for word in of["keywords"].split("; "))
    return XMP.format(
        date=f"{day.replace(':', '-')}T{time}",
        city=city,
        place=place,
        title=escape(of["title"]),
        description=escape(of["description"]),
        subject="".join(keywords),
        creator=escape(of["creator"]),
    ).encode()


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """Return ``image`` as a file's bytes."""
    out = BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def palette_png(image: Image.Image, *, dither: bool = False) -> bytes:
    """Return ``image`` as a PNG of 255 colours, which takes a fraction of the bytes."""
    few = image.quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    if dither:
        few = image.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG)
    return encoded(few, "PNG", optimize=True)


def queried(
    image: Image.Image, crop: tuple[float, float, float, float], width: int, light: float
) -> bytes:
    """Return what someone else's camera would make of a scene: cropped, smaller, other light."""
    across, down = image.size
    box = (int(crop[0] * across), int(crop[1] * down), int(crop[2] * across), int(crop[3] * down))
    cut = image.crop(box)
    cut = cut.resize((width, round(width * cut.height / cut.width)), Image.Resampling.LANCZOS)
    cut = ImageEnhance.Brightness(cut).enhance(light)
    return encoded(ImageEnhance.Color(cut).enhance(0.9), "JPEG", quality=80)


def library() -> dict[str, bytes]:
    """Return the library's files by name."""
    report = write_pdf(words.REPORT, cross_section(), words.REPORT_TITLE, "Hanne Brekke")
    return {
        "skerrin-guide.md": words.GUIDE.encode(),
        "keepers.html": words.KEEPERS.encode(),
        "boats.csv": words.BOATS.encode(),
        "lighthouse-report.pdf": report,
        # stored lying on its side, as telephones do; EXIF says to turn it
        "lighthouse.jpg": encoded(
            lighthouse().transpose(Image.Transpose.ROTATE_90),
            "JPEG",
            quality=86,
            exif=exif_of(words.LIGHTHOUSE_WORDS, orientation=6),
        ),
        "north-quay.jpg": encoded(
            blue_boat(), "JPEG", quality=86, exif=exif_of(words.BOAT_WORDS, gps=True)
        ),
        "puffin.webp": encoded(
            puffin(), "WEBP", quality=86, method=6, xmp=xmp_of(words.PUFFIN_WORDS)
        ),
        "evening-sail.png": palette_png(evening_sail(), dither=True),
        "evening-sail.txt": words.SAIL_SIDECAR.encode(),
        "map-of-skerrin.png": palette_png(island_map(), dither=True),
        "receipt-chandlery.png": palette_png(receipt_chandlery()),
        "receipt-cafe.jpg": encoded(receipt_cafe(), "JPEG", quality=84),
        "ferry-notice.jpg": encoded(ferry_notice(), "JPEG", quality=84),
        "visitors-2024.png": palette_png(visitors_chart()),
    }


def question_pictures() -> dict[str, bytes]:
    """Return the pictures that questions carry, by name; they say nothing about themselves."""
    return {
        "query-1.jpg": queried(puffin(again=True), (0.08, 0.04, 0.95, 0.97), 520, 1.06),
        "query-2.jpg": queried(lighthouse(again=True), (0.05, 0.05, 0.97, 0.96), 420, 1.1),
        "query-3.jpg": queried(blue_boat(again=True), (0.06, 0.05, 0.95, 0.96), 560, 0.94),
    }


def main(out: Path) -> None:
    """Write everything under ``out``."""
    for folder, files in (("library", library()), ("questions", question_pictures())):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (out / folder / name).write_bytes(data)
            print(f"{len(data):8,d}  {folder}/{name}")
    listed = json.dumps(list(words.QUESTIONS), indent=2, ensure_ascii=False)
    (out / "questions.json").write_text(listed + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/pocket/make_demo.py OUT")
    main(Path(sys.argv[1]))
