"""What a child process left of one file: the document, and its pictures' bytes.

The child is not trusted: everything it names and claims is checked. Knows nothing of how it worked.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from retrievers.document import Document


class Parsed(Mapping[str, bytes]):
    """A child's output folder: the document, and its pictures' bytes, read when they are asked for.

    The child is not trusted: names must be SHA-256 hex, and pictures must have the hash they claim.
    """

    def __init__(self, folder: Path, document: Document) -> None:
        self._folder = folder
        self.document = document
        self._names = list(dict.fromkeys(picture.sha256 for picture in document.pictures))

    @classmethod
    def read(cls, folder: Path) -> "Parsed":
        """Read a child's output. Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
        value = json.loads((folder / "document.json").read_text("ascii"))
        parsed = cls(folder, Document.from_json(value))
        for name in parsed._names:
            if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
                raise ValueError("a picture's name is no SHA-256")
        return parsed

    def look(self, sha256: str) -> bytes:
        """Return the small copy of a picture."""
        return (self._folder / f"{sha256}.look").read_bytes()

    def __getitem__(self, sha256: str) -> bytes:
        if sha256 not in self._names:
            raise KeyError(sha256)
        data = (self._folder / sha256).read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("a picture's bytes do not have its SHA-256")
        return data

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
