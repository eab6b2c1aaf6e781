"""Finds the files to ingest under given paths, and what is passed over and why.

Knows nothing of parsing or of the library. The order is the same on every run: paths as given,
each folder's files and folders by name.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retrievers.errors import SourceRefused
from retrievers.ingest.kinds import PICTURE_KINDS, kind_of_name
from retrievers.ingest.pictures import sidecars
from retrievers.ingest.references import references

DEEPEST = 100  # folders within folders


@dataclass(slots=True)
class FoundFile:
    """A file to ingest, with its size and time at that moment.

    ``told`` are words that documents beside it say of a picture; ``notes`` are its sidecars.
    ``size`` is the sum of the file and its sidecars, ``mtime_ns`` the latest time of the file, its
    sidecars and the documents that tell of it.
    """

    path: Path
    kind: str
    size: int
    mtime_ns: int
    told: dict[str, str] = field(default_factory=dict)
    notes: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The source's name in a library: the absolute path."""
        return str(self.path)


@dataclass(slots=True)
class Found:
    """All files of a run, what was passed over with the reason, and which folders were walked."""

    files: list[FoundFile] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)


def find(paths: Sequence[str | Path]) -> Found:
    """Return the files under ``paths``. Raises ``SourceRefused`` when one of them is not there.

    Within folders, hidden files, links that lead out of the folder, links to folders, and special
    files are passed over. A sidecar belongs to its picture; a picture that a Markdown or HTML file
    among the paths shows is taken along.
    """
    found = Found()
    walk = _Walk(found)
    roots = [_given(path) for path in paths]
    for root in roots:
        if root.is_dir():
            found.folders.append(root)
            walk.folder(root, root.resolve(), 0)
        else:
            walk.file(root, None)
    _attach(found, walk)
    return found


def _given(path: str | Path) -> Path:
    """Return the absolute path of a file or folder that exists."""
    given = Path(path).expanduser()
    absolute = Path(os.path.abspath(given))  # noqa: PTH100 - links keep their own names
    try:
        absolute.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SourceRefused(f"{path}: {why}; give a file or a folder that exists") from error
    return absolute


class _Walk:
    """Collects files; a file that is reached twice counts once."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.seen: set[str] = set()

    def folder(self, folder: Path, root: Path, depth: int) -> None:
        try:
            with os.scandir(folder) as entries:
                items = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.skip(folder, f"cannot be read ({error.strerror or error})")
            return
        for item in items:
            path = folder / item.name
            if item.name.startswith("."):
                self.skip(path, "hidden")
            elif item.is_symlink():
                self.link(path, root)
            elif item.is_dir(follow_symlinks=False):
                if depth < DEEPEST:
                    self.folder(path, root, depth + 1)
                else:
                    self.skip(path, f"more than {DEEPEST} folders deep")
            else:
                self.file(path, root)

    def link(self, path: Path, root: Path) -> None:
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):
            self.skip(path, "a link that leads nowhere")
            return
        if not real.is_relative_to(root):
            self.skip(path, "a link that leads out of the folder")
        elif real.is_dir():
            self.skip(path, "a link to a folder")
        else:
            self.file(path, root)

    def file(self, path: Path, root: Path | None) -> None:
        name = str(path)
        if name in self.seen:
            return
        self.seen.add(name)
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            self.skip(path, "its name is not valid text; rename it")
            return
        try:
            status = path.stat()
        except OSError as error:
            self.skip(path, f"cannot be read ({error.strerror or error})")
            return
        kind = kind_of_name(path)
        if not stat.S_ISREG(status.st_mode):
            self.skip(path, "not a regular file")
        elif kind is None:
            what = path.suffix.lower() or "no extension"
            self.skip(path, f"no known kind of file ({what})")
        else:
            file = FoundFile(path, kind, status.st_size, status.st_mtime_ns)
            self.found.files.append(file)

    def skip(self, path: Path, reason: str) -> None:
        shown = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        self.found.skipped.append((shown, reason))


def _attach(found: Found, walk: _Walk) -> None:
    """Give pictures their sidecars and what documents say of them."""
    for file in list(found.files):
        if file.kind in ("markdown", "html"):
            for reference in references(file.path):
                walk.file(reference.picture, None)
    by_name = {file.name: file for file in found.files}
    for file in found.files:
        if file.kind in ("markdown", "html"):
            for reference in references(file.path):
                picture = by_name.get(str(reference.picture))
                if picture is not None:
                    picture.mtime_ns = max(picture.mtime_ns, file.mtime_ns)
                    for key, text in reference.words().items():
                        if text not in picture.told.get(key, ""):
                            picture.told[key] = " ".join(
                                part for part in (picture.told.get(key, ""), text) if part
                            )
    for file in found.files:
        if file.kind in PICTURE_KINDS:
            file.notes = sidecars(file.path)
            for note in file.notes:
                status = note.stat()
                file.size += status.st_size
                file.mtime_ns = max(file.mtime_ns, status.st_mtime_ns)
                found.notes.add(str(note))
    found.files = [file for file in found.files if file.name not in found.notes]
    found.skipped = [item for item in found.skipped if item[0] not in found.notes]
