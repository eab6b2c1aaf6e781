"""Reads a picture file: its pixels, its own words, and a text or XMP file of the same name.

Knows nothing of documents; what prose elsewhere says of a picture is handed in by the caller.
A sidecar is ``photo.txt``, ``photo.jpg.txt``, ``photo.md``, ``photo.jpg.md`` or ``.xmp`` beside
``photo.jpg``: a short note, not a document with headings and pictures of its own. It belongs to
its picture and is not a source of its own as long as both are there.
"""

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

from retrievers.document import Document
from retrievers.errors import PictureRefused, SourceRefused
from retrievers.imaging import FORMATS, MAX_BYTES, read_picture
from retrievers.ingest.gallery import Gallery
from retrievers.ingest.kinds import encoding_of
from retrievers.ingest.metadata import merge, read_metadata, read_xmp
from retrievers.ingest.options import ParseOptions

SIDECAR_BYTES = 4096
XMP_BYTES = 1024 * 1024
_SERIAL = re.compile(
    r"(img|image|dsc[nf]?|pict?|p|photo|scan|screenshot|screen shot|wa|pxl|mvimg|unnamed|untitled)?"
    r"[\s\d]*",
    re.IGNORECASE,
)


def sidecars(path: Path) -> tuple[Path, ...]:
    """Return the files beside a picture that are its sidecars; none that is a link."""
    found = []
    for stem in (path.with_suffix(""), path):
        for suffix in (".txt", ".md", ".xmp"):
            beside = stem.with_name(stem.name + suffix)
            if beside.is_file() and not beside.is_symlink() and _is_note(beside):
                found.append(beside)
    return tuple(found)


def _is_note(path: Path) -> bool:
    """Whether a file is short enough to be a note on a picture, and has no parts of its own."""
    try:
        size = path.stat().st_size
        if path.suffix == ".xmp":
            return 0 < size <= XMP_BYTES
        if not 0 < size <= SIDECAR_BYTES:
            return False
        if path.suffix == ".md":
            data = path.read_bytes()
            return not re.search(rb"^#{1,6}\s|^(===+|---+)\s*$|!\[|<img", data, re.MULTILINE)
    except OSError:
        return False
    return True


def parse_picture(
    path: Path, options: ParseOptions, told: Mapping[str, str] | None = None
) -> tuple[Document, dict[str, bytes]]:
    """Return a picture file as a document of one picture; a TIFF has one for each of its pages.

    ``told`` are words that other files say of it (``alt``, ``beside``). Raises ``SourceRefused``.
    """
    gallery = Gallery(options)
    notices: list[str] = []
    try:
        data = _read(path)
        decoded = read_picture(data, name=path.name)
    except PictureRefused as error:
        raise SourceRefused(str(error)) from error
    words = {
        **merge([_own_words(data), *_xmp_words(path, notices)]),
        **_sidecar_words(path),
        "name": name_words(path),
    }
    words.update({key: text for key, text in (told or {}).items() if text and key not in words})
    frames = list(_more_frames(data, path.name, options, notices))
    pages = len(frames) + 1 if frames else 0
    gallery.add_decoded(decoded, role="file", page=1 if frames else None, words=words)
    for number, frame in enumerate(frames, start=2):
        gallery.add_decoded(
            read_picture(frame, name=path.name),
            role="page",
            page=number,
            words={"name": words["name"], "title": words.get("title", "")},
        )
    title = words.get("title") or words["name"] or path.name
    return Document(title, (), gallery.pictures, pages, tuple(notices)), gallery.blobs


def name_words(path: Path) -> str:
    """Return a file's name as words: ``2019_redKite-harbour.jpg`` is ``2019 red Kite harbour``."""
    text = re.sub(r"[_\-.+~]+", " ", path.stem)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    text = " ".join(text.split())
    return path.name if _SERIAL.fullmatch(text) else text


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SourceRefused(
                f"{path.name}: {path.stat().st_size / 1e6:.0f} MB, the most for a picture is"
                f" {MAX_BYTES / 1e6:.0f} MB"
            )
        return path.read_bytes()
    except OSError as error:
        raise SourceRefused(f"{path.name}: cannot be read ({error.strerror or error})") from error


def _own_words(data: bytes) -> dict[str, str]:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return read_metadata(image)


def _sidecar_words(path: Path) -> dict[str, str]:
    texts = []
    for beside in sidecars(path):
        if beside.suffix != ".xmp":
            data = beside.read_bytes()
            texts.append(data.decode(encoding_of(data), errors="replace"))
    return {"sidecar": "\n".join(texts)} if texts else {}


def _xmp_words(path: Path, notices: list[str]) -> Iterator[dict[str, str]]:
    for beside in sidecars(path):
        if beside.suffix == ".xmp":
            try:
                yield read_xmp(beside.read_bytes())
            except Exception:  # an XML parser may raise anything on hostile bytes
                notices.append(f"{beside.name} is malformed and was left out")


def _more_frames(
    data: bytes, name: str, options: ParseOptions, notices: list[str]
) -> Iterator[Image.Image]:
    """Yield the pages after the first of a TIFF, each decoded when it is asked for.

    Of an animation only the first frame is kept, and a notice says so.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        try:
            count = int(getattr(image, "n_frames", 1))
            if image.format != "TIFF":
                if count > 1 and image.format != "MPO":  # whose others are previews
                    notices.append(f"only the first of {count} frames was read")
                return
            if count > options.max_pages:
                notices.append(f"only the first {options.max_pages} of {count} pages were read")
            for number in range(1, min(count, options.max_pages)):
                image.seek(number)
                read_size(image, name)
                yield image.copy()
        except Exception:  # a decoder may raise anything on hostile bytes
            notices.append(f"not all of the {image.format} could be read")


def read_size(image: Image.Image, name: str) -> None:
    """Refuse a frame by its size, before it is decoded."""
    from retrievers.imaging import check_size

    check_size(image.size, name)
