"""Parses one file: the single way from a path to a ``Document``, whatever the format.

Knows nothing of libraries, encoders or processes. What comes out of a hostile file is a document
or one line that says why there is none.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from retrievers.document import Document
from retrievers.errors import PictureRefused, SourceRefused
from retrievers.ingest.kinds import OFFICE_KINDS, PICTURE_KINDS, check_archive, kind_of
from retrievers.ingest.options import ParseOptions

Progress = Callable[[int, int], None]


def parse(
    path: Path,
    options: ParseOptions | None = None,
    *,
    told: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> tuple[Document, dict[str, bytes]]:
    """Return a file as a document, and the bytes of its pictures by their SHA-256.

    ``told`` are words that other files say of a picture file (see ``references``). ``progress`` is
    called with the step and the number of steps of a long file. Raises ``SourceRefused`` with one
    line when the file is unknown, unreadable, empty, encrypted or malformed.
    """
    options = options or ParseOptions()
    kind = kind_of(path)
    size = path.stat().st_size
    if size > options.max_file_bytes:
        most = options.max_file_bytes / 1e6
        raise SourceRefused(f"{path.name}: {size / 1e6:.0f} MB, the most is {most:.0f} MB")
    try:
        document, blobs = _parse(path, kind, options, told, progress)
    except SourceRefused:
        raise
    except PictureRefused as error:
        raise SourceRefused(str(error)) from error
    except OSError as error:
        raise SourceRefused(f"{path.name}: cannot be read ({error.strerror or error})") from error
    except RecursionError as error:
        raise SourceRefused(f"{path.name}: malformed, its parts are nested too deeply") from error
    if not document.passages and not document.pictures:
        raise SourceRefused(f"{path.name}: nothing to read in it, no text and no picture")
    return document, blobs


def _parse(
    path: Path,
    kind: str,
    options: ParseOptions,
    told: Mapping[str, str] | None,
    progress: Progress | None,
) -> tuple[Document, dict[str, bytes]]:
    # each reader is imported when it is used: their libraries take long to load
    if kind in PICTURE_KINDS:
        from retrievers.ingest.pictures import parse_picture

        return parse_picture(path, options, told)
    if kind == "pdf":
        from retrievers.ingest.pdf import parse_pdf

        return parse_pdf(path, options, progress)
    if kind in OFFICE_KINDS:
        from retrievers.ingest.office import parse_office

        check_archive(path, kind)
        return parse_office(path, kind, options)
    if kind == "csv":
        from retrievers.ingest.tables import parse_csv

        return parse_csv(path, options), {}
    from retrievers.ingest import markup

    if kind == "markdown":
        return markup.parse_markdown(path, options)
    if kind == "html":
        return markup.parse_html(path, options)
    return markup.parse_text(path, options), {}
