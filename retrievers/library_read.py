"""Reading a library: sources, evidence, vectors, media.

Knows nothing of writing, of encoders, or of FAISS. Any number of threads and processes may read
while one writes: each reading sees the state of one moment (SQLite's WAL).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrievers.document import Picture
from retrievers.evidence import Box, Evidence, Kind, Line, Vectors
from retrievers.library_media import Media
from retrievers.library_search import WordSearch
from retrievers.words import storable

_KEPT_PICTURES = 2048  # decoded pictures' words and lines in memory: some 20 MB


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was ingested, or skipped for a ``reason``.

    ``name`` is its identity: its absolute path as text, or any lasting name. ``indexed_at`` is in
    seconds since 1970; where it is 0, the library puts the present time.
    """

    name: str
    sha256: str
    size: int
    mtime_ns: int
    kind: str
    state: str = "indexed"
    reason: str = ""
    title: str = ""
    pages: int = 0
    passages: int = 0
    pictures: int = 0
    indexed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What a library holds. ``vectors`` is by space, ``bytes`` is the folder's size on disk."""

    sources: int
    skipped: int
    passages: int
    pictures: int
    vectors: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0


SOURCE_COLUMNS = ", ".join(f.name for f in fields(Source))


class LibraryReader(WordSearch):
    """The half of a library that reads; see :class:`retrievers.library.Library`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._media = Media(folder / "media")
        self._pictures: dict[int, Picture] = {}

    @property
    def identity(self) -> str:
        """A random name given at the library's making: its caches belong to no other."""
        return str(self._rows("SELECT value FROM meta WHERE key = 'identity'")[0][0])

    def source(self, name: str) -> Source | None:
        """Return the source of exactly that name."""
        found = self._rows(f"SELECT {SOURCE_COLUMNS} FROM sources WHERE name = ?", storable(name))
        return Source(*found[0]) if found else None

    def sources(self) -> list[Source]:
        """Return all sources by name."""
        return [
            Source(*row)
            for row in self._rows(f"SELECT {SOURCE_COLUMNS} FROM sources ORDER BY name")
        ]

    def counts(self) -> Counts:
        """Count what is in the library."""
        rows = self._rows(
            "SELECT count(*), count(*) FILTER (WHERE state = 'skipped'),"
            " total(passages), total(pictures) FROM sources"
        )
        held = self._rows(
            "SELECT name, (SELECT count(*) FROM vectors WHERE space = spaces.id)"
            " FROM spaces WHERE active ORDER BY name"
        )
        size = sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file())
        total, skipped, passages, pictures = (int(v) for v in rows[0])
        return Counts(total - skipped, skipped, passages, pictures, dict(held), size)

    def space(self, space: str) -> tuple[str, int] | None:
        """Return the name and dimension of the encoder that made a space, if there is one."""
        rows = self._rows("SELECT encoder, dimension FROM spaces WHERE name = ? AND active", space)
        return (str(rows[0][0]), int(rows[0][1])) if rows else None

    def generation(self, space: str) -> tuple[int, str, int]:
        """Return a number that changes when a space is re-encoded, its encoder and dimension.

        ``(-1, "", 0)`` for a space that no encoder has claimed.
        """
        rows = self._rows(
            "SELECT id, encoder, dimension FROM spaces WHERE name = ? AND active", space
        )
        return (int(rows[0][0]), str(rows[0][1]), int(rows[0][2])) if rows else (-1, "", 0)

    def evidence(
        self,
        ids: Sequence[str],
        score: Mapping[str, float] | None = None,
        scores: Mapping[str, Mapping[str, float]] | None = None,
    ) -> dict[str, Evidence]:
        """Return what the ids name, in their order; ids of what is gone are left out.

        By id, ``score`` and ``scores`` are what each evidence is given as its own.
        """
        score, scores = score or {}, scores or {}
        numbers = {id: number for id in ids if (number := item_number(id)) is not None}
        rows = self._rows(
            "SELECT items.id, items.kind, sources.name, text, page, heading, form"
            " FROM items JOIN sources ON sources.id = items.source"
            " WHERE items.id IN (SELECT value FROM json_each(?))",
            json.dumps(list(numbers.values())),
        )
        shown = self._pictures_of([row[0] for row in rows if row[1] == "picture"])
        found = {row[0]: row for row in rows}
        evidence: dict[str, Evidence] = {}
        for id, number in numbers.items():
            row = found.get(number)
            if row is None or id != f"{row[1]}:{number}":
                continue
            if row[1] == "passage" or number in shown:
                picture = shown.get(number)
                evidence[id] = _evidence(row, picture, score.get(id, 0.0), scores.get(id, {}))
        return evidence

    def _pictures_of(self, numbers: Sequence[int]) -> dict[int, Picture]:
        """Return pictures by item number; a number never means another one, so they are kept."""
        kept = self._pictures
        known = {n: picture for n in numbers if (picture := kept.get(n)) is not None}
        if len(known) == len(numbers):
            return known
        rows = self._rows(
            "SELECT item, value FROM pictures WHERE item IN (SELECT value FROM json_each(?))",
            json.dumps([n for n in numbers if n not in known]),
        )
        for number, value in rows:
            known[number] = _picture(json.loads(value))
        with self._idle_lock:
            kept.update(known)
            for number in list(kept)[: max(0, len(kept) - _KEPT_PICTURES)]:
                del kept[number]
        return known

    def vectors(
        self, space: str, kind: Kind, ids: Sequence[int] | None = None
    ) -> tuple[NDArray[np.int64], Vectors]:
        """Return item numbers ``(n,)`` int64, ascending, and their vectors ``(n, d)`` float32.

        With ``ids``, of these items only. Without a space of that name, ``d`` is 0.
        """
        among = "" if ids is None else " AND item IN (SELECT value FROM json_each(?))"
        values = () if ids is None else (json.dumps([int(i) for i in ids]),)
        with self._connection() as connection:
            connection.execute("BEGIN")  # the space and its rows at one moment
            try:
                active = connection.execute(
                    "SELECT id, dimension FROM spaces WHERE name = ? AND active", (space,)
                ).fetchone()
                number, width = active or (-1, 0)
                rows = connection.execute(
                    "SELECT item, vector FROM vectors JOIN items ON items.id = item"
                    f" WHERE space = ? AND kind = ?{among} ORDER BY item",
                    (number, kind, *values),
                ).fetchall()
            finally:
                connection.execute("COMMIT")
        numbers = np.array([row[0] for row in rows], dtype=np.int64)
        flat = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4")
        return numbers, flat.astype(np.float32).reshape(len(rows), width)

    def vector_ids(self, space: str, kind: Kind) -> NDArray[np.int64]:
        """Return the item numbers that have a vector in a space, ``(n,)`` int64, ascending."""
        rows = self._rows(
            "SELECT item FROM spaces JOIN vectors ON vectors.space = spaces.id"
            " JOIN items ON items.id = item"
            " WHERE spaces.name = ? AND active AND items.kind = ? ORDER BY item",
            space,
            kind,
        )
        return np.array([row[0] for row in rows], dtype=np.int64)

    def media(self, sha256: str) -> bytes:
        """Return a picture's encoded bytes; ``LibraryError`` when its file is gone or damaged."""
        return self._media.read(sha256)


def item_number(id: str) -> int | None:
    """Return N of ``"passage:N"`` or ``"picture:N"``; None for what is no such id."""
    kind, _, number = id.partition(":")
    if kind not in ("passage", "picture") or not (number.isascii() and number.isdigit()):
        return None
    return int(number) if len(number) < 19 else None


def _picture(value: Mapping[str, Any]) -> Picture:
    """Read what ``Picture.to_json`` wrote here: trusted, and in a third of ``from_json``'s time."""
    lines = tuple(Line(line["t"], Box(*line["b"]), line["c"]) for line in value["lines"])
    return replace(Picture.from_json({**value, "lines": []}), lines=lines)


def _evidence(
    row: Sequence[Any], picture: Picture | None, score: float, scores: Mapping[str, float]
) -> Evidence:
    number, kind, source, text, page, heading, form = row
    if picture is None:
        return Evidence(
            f"passage:{number}",
            "passage",
            source,
            text,
            page,
            heading,
            form,
            score=score,
            scores=scores,
        )
    return Evidence(
        id=f"{kind}:{number}",
        kind="picture",
        source=source,
        text=picture.own_text,
        page=page,
        heading=heading,
        form=form,
        caption=picture.caption,
        media=picture.sha256,
        size=(picture.width, picture.height),
        box=picture.box,
        lines=picture.lines,
        score=score,
        scores=scores,
    )
