"""Tells what kind a file is: by its extension, checked against its first bytes.

Knows nothing of parsing. Only the kinds named here are ever read; there is no guessing beyond.
"""

import codecs
import zipfile
from pathlib import Path

from retrievers.errors import SourceRefused

EXTENSIONS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".text": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".csv": "csv",
    ".tsv": "csv",
    ".pdf": "pdf",
    ".docx": "docx",
    ".pptx": "pptx",
    ".xlsx": "xlsx",
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".webp": "webp",
    ".gif": "gif",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
PICTURE_KINDS = frozenset({"png", "jpeg", "webp", "gif", "bmp", "tiff"})
TEXT_KINDS = frozenset({"markdown", "text", "html", "csv"})
OFFICE_KINDS = frozenset({"docx", "pptx", "xlsx"})
_OFFICE_PARTS = {
    "word/document.xml": "docx",
    "ppt/presentation.xml": "pptx",
    "xl/workbook.xml": "xlsx",
}

MAX_ENTRIES = 20_000  # in an office file
MAX_UNPACKED = 1024**3
MAX_ENTRY = 256 * 1024**2
MAX_RATIO = 200  # unpacked to packed, of the whole file; real ones stay below 40


def kind_of_name(path: Path) -> str | None:
    """Return the kind that the extension names, or ``None``."""
    return EXTENSIONS.get(path.suffix.lower())


def known() -> str:
    """Return the extensions that are read, for messages."""
    return " ".join(sorted(EXTENSIONS))


def kind_of(path: Path) -> str:
    """Return the kind of a file, from its content where that is clear.

    Raises ``SourceRefused`` when the extension is unknown, the file cannot be read or is empty, or
    its content is of another family than its extension says (a picture called ``.pdf``).
    """
    named = kind_of_name(path)
    if named is None:
        raise SourceRefused(f"{path.name}: no known kind of file; known are {known()}")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise SourceRefused(f"{path.name}: cannot be read ({error.strerror or error})") from error
    if not head.strip(b"\x00\t\r\n "):
        raise SourceRefused(f"{path.name}: an empty file")
    seen = _sniff(head)
    if seen == "ole":
        raise SourceRefused(
            f"{path.name}: encrypted, or of the formats before 2007; save it without a password"
        )
    if named in PICTURE_KINDS and seen in PICTURE_KINDS:
        return seen  # a JPEG called .png is common, and read as what it is
    if named in OFFICE_KINDS and seen == "zip":
        return named
    if named in TEXT_KINDS and (seen is None or seen == "text"):
        return named
    if named == seen:
        return named
    what = f"its content is {seen}" if seen else f"its content is no {named}"
    raise SourceRefused(f"{path.name}: {what}, its name says {named}; malformed or misnamed")


def check_archive(path: Path, kind: str) -> None:
    """Refuse an office file that is no such file, is encrypted, or unpacks to too much."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise SourceRefused(f"{path.name}: a malformed {kind} file ({error})") from error
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise SourceRefused(f"{path.name}: encrypted; save it without a password")
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if (
        len(entries) > MAX_ENTRIES
        or unpacked > MAX_UNPACKED
        or any(entry.file_size > MAX_ENTRY for entry in entries)
        or (unpacked > 16 * 1024**2 and unpacked > MAX_RATIO * max(packed, 1))
    ):
        raise SourceRefused(
            f"{path.name}: unpacks to {unpacked / 1e6:.0f} MB in {len(entries)} parts, which no"
            " honest document does"
        )
    names = {entry.filename for entry in entries}
    seen = next((what for part, what in _OFFICE_PARTS.items() if part in names), None)
    if seen != kind:
        raise SourceRefused(f"{path.name}: its content is {seen or 'a zip file'}, not {kind}")


def read_text(path: Path) -> tuple[str, str]:
    """Return a text file's text and the encoding that was found.

    A byte order mark decides; then UTF-8; then what ``charset_normalizer`` finds; then Latin-1.
    """
    data = path.read_bytes()
    encoding = encoding_of(data)
    return data.decode(encoding, errors="replace"), encoding


def encoding_of(data: bytes) -> str:
    """Return the name of the encoding of a text's bytes."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return name
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        pass
    from charset_normalizer import from_bytes

    best = from_bytes(data[:200_000]).best()
    return best.encoding if best else "latin-1"


def _sniff(head: bytes) -> str | None:
    """Return the kind that the first bytes prove, ``"text"`` for text, ``None`` when unclear."""
    for magic, kind in (
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (b"II*\x00", "tiff"),
        (b"MM\x00*", "tiff"),
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    ):
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(b"BM") and len(head) > 26 and head[14:18] in _BMP_HEADERS:
        return "bmp"
    if head.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "text"
    return "binary" if b"\x00" in head else None


_BMP_HEADERS = frozenset(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))
