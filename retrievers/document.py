"""What a loader makes of one file: pure values, with the form they have on the way between the
process that parses (which is not trusted) and the one that stores.

Knows nothing of SQLite, of encoders, or of how a file was parsed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from retrievers.evidence import Box, Line

Form = Literal["prose", "table"]
Role = Literal["file", "figure", "page"]


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a source's text, short enough to be quoted.

    ``heading`` is the chain of titles above it (``"Report > Results"``); ``page`` counts from 1.
    A table's rows are lines ``Column: value | Column: value`` so that each can be quoted alone.
    """

    text: str
    page: int | None = None
    heading: str = ""
    form: Form = "prose"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "text": self.text,
            "page": self.page,
            "heading": self.heading,
            "form": self.form,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Passage":
        """Read what :meth:`to_json` wrote."""
        return cls(
            text=str(value["text"]),
            page=None if value["page"] is None else int(value["page"]),
            heading=str(value["heading"]),
            form="table" if value["form"] == "table" else "prose",
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a source and every word that belongs to it.

    ``role`` says what it is: the ``file`` itself, a ``figure`` cut out of a document (then
    ``box`` is its place on its page), or a whole ``page`` rendered. ``sha256`` names the encoded
    picture (``media_type``), which travels beside this value. ``words`` holds the words that are
    not writing in the picture, by where they come from: ``caption``, ``alt``, ``title``,
    ``description``, ``keywords``, ``date``, ``place``, ``sidecar``, ``name``, ``beside``.
    ``lines`` is the writing in it.
    """

    sha256: str
    media_type: str
    width: int
    height: int
    role: Role = "file"
    page: int | None = None
    box: Box | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()

    @property
    def caption(self) -> str:
        """The best short description there is, or an empty string."""
        for key in ("caption", "alt", "description", "title", "sidecar"):
            if self.words.get(key):
                return self.words[key]
        return ""

    @property
    def text(self) -> str:
        """All words by which it is found: said of the picture first, the writing in it last."""
        said = [v for v in self.words.values() if v]
        return "\n".join([*said, *(line.text for line in self.lines)])

    @property
    def own_text(self) -> str:
        """The words that may be quoted from it: not the prose beside it, which is a passage's."""
        said = [v for key, v in self.words.items() if v and key != "beside"]
        return "\n".join([*said, *(line.text for line in self.lines)])

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "sha256": self.sha256,
            "media_type": self.media_type,
            "width": self.width,
            "height": self.height,
            "role": self.role,
            "page": self.page,
            "box": self.box.to_json() if self.box else None,
            "words": dict(self.words),
            "lines": [line.to_json() for line in self.lines],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Picture":
        """Read what :meth:`to_json` wrote."""
        role = str(value["role"])
        return cls(
            sha256=str(value["sha256"]),
            media_type=str(value["media_type"]),
            width=int(value["width"]),
            height=int(value["height"]),
            role="figure" if role == "figure" else "page" if role == "page" else "file",
            page=None if value["page"] is None else int(value["page"]),
            box=Box.from_json(value["box"]) if value["box"] else None,
            words={str(k): str(v) for k, v in value["words"].items()},
            lines=tuple(Line.from_json(line) for line in value["lines"]),
        )


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed file. ``notices`` says what was left out or could not be read, in plain words."""

    title: str = ""
    passages: tuple[Passage, ...] = ()
    pictures: tuple[Picture, ...] = ()
    pages: int = 0
    notices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "title": self.title,
            "passages": [p.to_json() for p in self.passages],
            "pictures": [p.to_json() for p in self.pictures],
            "pages": self.pages,
            "notices": list(self.notices),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Document":
        """Read what :meth:`to_json` wrote."""
        return cls(
            title=str(value["title"]),
            passages=tuple(Passage.from_json(p) for p in value["passages"]),
            pictures=tuple(Picture.from_json(p) for p in value["pictures"]),
            pages=int(value["pages"]),
            notices=tuple(str(n) for n in value["notices"]),
        )
