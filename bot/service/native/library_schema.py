"""What goes in and out of ``/v1/libraries``, ``/v1/sources`` and ``/v1/jobs``.

Knows nothing of routes.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from bot.service.http.openapi import Strict, example
from bot.service.native.schema import LibraryName

Kind = Literal["passage", "picture"]
JobState = Literal["queued", "running", "done", "stopped", "failed"]


_LIBRARY = {"name": "manuals", "sources": 12, "skipped": 1, "passages": 340, "pictures": 25,
            "may_write": True}  # fmt: skip
_PASSAGE = {
    "id": "picture:12", "kind": "picture", "source": "skerrin-guide.pdf", "page": 3,
    "heading": "The lighthouse", "form": "figure", "text": "HEIGHT 34 m", "caption": "Figure 2",
    "media": 32 * "3f", "box": [0.1, 0.2, 0.6, 0.5],
}  # fmt: skip
_SOURCE = {
    "name": "skerrin-guide.md", "kind": "markdown", "state": "indexed", "reason": "",
    "title": "A guide to Skerrin", "bytes": 4112, "pages": 0, "passages": 9, "pictures": 0,
    "indexed_at": 1795726800.0, "uploaded": True,
}  # fmt: skip


class LibraryOut(BaseModel):
    """A library that this key may read, and what is in it."""

    model_config = example(**_LIBRARY)

    name: str
    sources: int
    skipped: int
    passages: int
    pictures: int
    may_write: bool


class LibrariesOut(BaseModel):
    """The libraries that this key may read."""

    model_config = example(libraries=[_LIBRARY])

    libraries: list[LibraryOut]


class LibraryAsked(Strict):
    """A library that is to be made."""

    model_config = example(name="manuals")

    name: LibraryName


class PassageOut(BaseModel):
    """A passage of a source, or a picture of one (``media`` is then its SHA-256)."""

    id: str
    kind: Kind
    source: str
    page: int | None
    heading: str
    form: str
    text: str
    caption: str
    media: str | None
    box: Annotated[list[float] | None, Field(min_length=4, max_length=4)]


class OpenedOut(PassageOut):
    """A passage, with those that stand before and after it in its source."""

    model_config = example(**_PASSAGE, before=[], after=[{**_PASSAGE, "id": "passage:13"}])

    before: list[PassageOut]
    after: list[PassageOut]


class WordsFoundOut(PassageOut):
    """A passage or picture that was found by its words; a higher score is better."""

    score: float


class WordsFoundPage(BaseModel):
    """What was found by its words, best first."""

    model_config = example(found=[{**_PASSAGE, "score": 7.2}])

    found: list[WordsFoundOut]


class SourceOut(BaseModel):
    """A source of a library: a file that was indexed, or skipped for a ``reason``."""

    name: str
    kind: str
    state: Literal["indexed", "skipped"]
    reason: str
    title: str
    bytes: int
    pages: int
    passages: int
    pictures: int
    indexed_at: float
    uploaded: bool


class SourcesOut(BaseModel):
    """A page of a library's sources, by name; ``total`` counts all of them."""

    model_config = example(sources=[_SOURCE], offset=0, total=1)

    sources: list[SourceOut]
    offset: int
    total: int


class JobFileOut(BaseModel):
    """What became of a file of a job."""

    name: str
    state: Literal["waiting", "indexed", "unchanged", "skipped"]
    reason: str


class JobOut(BaseModel):
    """The taking in of files, as far as it is. Kept for a day after its last step."""

    model_config = example(
        id=16 * "3f", library="manuals", state="stopped", reason="",
        files=[{"name": "pump.pdf", "state": "indexed", "reason": ""},
               {"name": "valve.pdf", "state": "waiting", "reason": ""}],
        done=1, total=2, pages=14, passages=61, pictures=9, file="valve.pdf", step=3, steps=20,
        created=1795726800.0, ended=1795726831.0,
    )  # fmt: skip

    id: str
    library: str
    state: JobState
    reason: str
    files: list[JobFileOut]
    done: int
    total: int
    pages: int
    passages: int
    pictures: int
    file: str
    step: int
    steps: int
    created: float
    ended: float | None
