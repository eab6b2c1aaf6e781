"""What goes in and out of ``/v1/libraries``, ``/v1/sources`` and ``/v1/jobs``.

Knows nothing of routes.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bot.service.schema import LibraryName, Strict

Kind = Literal["passage", "picture"]
JobState = Literal["queued", "running", "done", "stopped", "failed"]


class LibraryOut(BaseModel):
    """A library that this key may read, and what is in it."""

    name: str
    sources: int
    skipped: int
    passages: int
    pictures: int
    may_write: bool


class LibrariesOut(BaseModel):
    """The libraries that this key may read."""

    libraries: list[LibraryOut]


class LibraryAsked(Strict):
    """A library that is to be made."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "manuals"}]})

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

    before: list[PassageOut]
    after: list[PassageOut]


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
