"""What a source, or a model, is called outside of this machine: never by a folder of it.

The one place where that is decided. A file that was uploaded is called what it was uploaded as. Any
other is called as the file itself is, without its folders; where two would be the same, each that
was not uploaded gets eight characters of a hash before its ending (``report~1f3a90bc.pdf``). Knows
nothing of HTTP.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bot.show import source_name
from retrievers.library import Library

UPLOADS = "uploads"  #: the folder in a library's own that holds what was uploaded


@dataclass(frozen=True)
class Names:
    """The names of a library's sources as they were at one moment, both ways."""

    folder: Path
    shown_as: Mapping[str, str] = field(default_factory=dict)
    means: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None  #: the folder of all libraries, where others than this are spoken of

    @classmethod
    def of(cls, folder: Path, sources: Iterable[str]) -> "Names":
        """Return the names of these sources of the library in ``folder``."""
        plain = {source: _plain(source, folder) for source in sources}
        uploads = str(folder / UPLOADS) + "/"
        count: dict[str, int] = {}
        for name in plain.values():
            count[name] = count.get(name, 0) + 1
        shown = {
            source: name if count[name] == 1 or source.startswith(uploads) else _told(source, name)
            for source, name in plain.items()
        }
        return cls(folder, shown, {name: source for source, name in shown.items()})

    def shown(self, source: str) -> str:
        """Return what a source is called; one that is not there (any more) by its own name."""
        return self.shown_as.get(source) or _plain(source, self.folder)

    def real(self, name: str) -> str | None:
        """Return the source that is called so."""
        return self.means.get(name)

    def is_upload(self, source: str) -> bool:
        """Tell whether a source was uploaded."""
        return source.startswith(f"{self.folder / UPLOADS}/")

    def clean(self, text: str, sources: Iterable[str] = ()) -> str:
        """Return words that people wrote or were told, without this machine's folders."""
        for source in sorted({*sources}, key=len, reverse=True):
            if "/" in source:
                text = text.replace(source, self.shown(source))
        text = text.replace(str(self.folder), "the library")
        if self.root is not None:
            text = re.sub(re.escape(str(self.root)) + r"/[a-z0-9._-]+", "the library", text)
        return text

    def json(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return a stored citation or line of a ledger, its source called as it may be."""
        return {**value, "source": self.shown(str(value.get("source", "")))}


class LibraryNames:
    """The names of a library as it is now; work for a thread, but cheap when nothing changed."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._known: tuple[int, Names] = (-1, Names(library.folder))

    def now(self) -> Names:
        """Return the names; raises ``LibraryError`` when the library cannot be read."""
        version = self._library.version
        if self._known[0] != version:
            sources = (source.name for source in self._library.sources())
            self._known = (version, Names.of(self._library.folder, sources))
        return self._known[1]


def model_name(name: str) -> str:
    """Return what a model is called: one of files by their names, any other as it is."""
    kind, colon, files = name.partition(":")
    if kind != "llama":
        return name
    return kind + colon + "+".join(PurePosixPath(file).name for file in files.split("+"))


def _plain(source: str, folder: Path) -> str:
    """Return a source's name without folders, or without that of the uploads."""
    return source_name(source.removeprefix(str(folder / UPLOADS) + "/")) or "source"


def _told(source: str, name: str) -> str:
    """Return a name that is this source's alone."""
    path = PurePosixPath(name)
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{path.stem}~{digest}{path.suffix}"
