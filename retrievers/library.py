"""A library: what was ingested, in one folder. SQLite is the truth, media files lie beside it.

Knows nothing of how files are parsed, which encoders exist, or of FAISS, whose files are caches of
what is here. Each writing is one transaction: after a kill at any moment there is the old state or
the new one. A picture's file is on disk before the commit that names it, and is deleted only under
the write lock, after the commit that drops its last use.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace as changed
from pathlib import Path
from types import TracebackType

import numpy as np

from retrievers.document import Document
from retrievers.encoders import Encoder
from retrievers.errors import EncoderMismatch, LibraryError
from retrievers.evidence import Vectors
from retrievers.imaging import read_picture
from retrievers.library_names import resolve
from retrievers.library_read import Counts, LibraryReader, Source, item_number
from retrievers.library_schema import FILE, prepare
from retrievers.library_write import (
    drop_content,
    items_without_vector,
    put_content,
    put_source,
    put_vectors,
    stage_space,
    switch_space,
)
from retrievers.words import storable

__all__ = ["Counts", "Library", "Source", "encoded_text", "item_number"]

SPACES = ("text", "look")


def encoded_text(heading: str, text: str) -> str:
    """Return what a text encoder is given of a passage or of a picture's words."""
    return f"{heading}\n{text}" if heading else text


class Library(LibraryReader):
    """One library, open for reading and writing; also a context manager.

    Safe in threads: a connection serves one thread at a time. Several processes may read while
    one writes; writers wait for one another.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._write_lock = threading.Lock()
        self._claims: dict[str, tuple[str, int]] = {}

    @classmethod
    def open(cls, folder: str | Path, *, create: bool = False) -> "Library":
        """Open the library in ``folder``; with ``create``, make it where there is none.

        Raises ``LibraryError`` when there is none, when it is damaged, or when a newer version of
        this software made it.
        """
        path = Path(folder).expanduser().absolute()
        if not create and not (path / FILE).is_file():
            raise LibraryError(f"{path}: no library here; make one with `bifocal ingest`")
        try:
            if create:
                (path / "media").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryError(
                f"{path}: cannot make it: {error.strerror or error}; give another folder"
            ) from error
        library = cls(path)
        try:
            with library._connection() as connection:
                prepare(connection, path, create=create)
        except BaseException:
            library.close()
            raise
        return library

    def __enter__(self) -> "Library":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction; it moves the version, and is rolled back by any error."""
        with self._write_lock, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def replace(
        self,
        source: Source,
        document: Document,
        blobs: Mapping[str, bytes],
        vectors: Mapping[str, Vectors],
    ) -> None:
        """Put a source's content in place of what was there of it, in one transaction.

        ``blobs`` holds the pictures' encoded bytes by SHA-256. ``vectors["text"]`` is
        (n_passages + n_pictures, d) float32, passages first; ``vectors["look"]`` is
        (n_pictures, d). Rows of zeros are not stored. Either space may be absent.

        Raises ``LibraryError`` for a shape that does not fit, a space that was not claimed or a
        picture without bytes; ``EncoderMismatch`` when the space has been re-encoded meanwhile.
        """
        staged = self._media.stage(blobs)
        try:
            with self._writing() as connection:
                self._keep_media(document, staged, blobs)
                drop_content(connection, source.name)
                held = changed(
                    source,
                    state="indexed",
                    title=source.title or document.title,
                    pages=source.pages or document.pages,
                    passages=len(document.passages),
                    pictures=len(document.pictures),
                    reason=source.reason or "; ".join(document.notices),
                )
                number = put_source(connection, held)
                passages, pictures = put_content(connection, number, held, document)
                for space, rows in vectors.items():
                    items = [*passages, *pictures] if space == "text" else pictures
                    made = self._space_for(connection, space, rows, len(items))
                    put_vectors(connection, made, items, rows)
        finally:
            self._media.unstage(staged)
        self._drop_media()

    def _keep_media(
        self, document: Document, staged: dict[str, Path], blobs: Mapping[str, bytes]
    ) -> None:
        try:
            self._media.keep(staged, blobs)
        except OSError as error:
            raise LibraryError(
                f"{self.folder}: cannot be written ({error.strerror}): make room, or give this"
                " user write access to the folder"
            ) from error
        for picture in document.pictures:
            if not self._media.path(picture.sha256).exists():
                raise LibraryError(f"picture {picture.sha256[:12]}: its bytes were not given")

    def _space_for(
        self, connection: sqlite3.Connection, space: str, rows: Vectors, count: int
    ) -> int:
        found = connection.execute(
            "SELECT id, encoder, dimension FROM spaces WHERE name = ? AND active", (space,)
        ).fetchone()
        if found is None:
            raise LibraryError(f"space {space!r}: no encoder has claimed it; call claim() first")
        number, encoder, dimension = found
        claimed = self._claims.get(space)
        if claimed is not None and claimed != (encoder, dimension):
            raise _mismatch(space, encoder, claimed[0])
        if rows.shape != (count, dimension):
            raise LibraryError(
                f"space {space!r}: vectors of shape {rows.shape} where {(count, dimension)} belongs"
            )
        if not np.isfinite(rows).all():
            raise LibraryError(f"space {space!r}: {encoder} gave vectors that are not finite")
        return int(number)

    def skip(self, source: Source, reason: str) -> None:
        """Record that a source was skipped and why; what was there of it goes."""
        with self._writing() as connection:
            drop_content(connection, source.name)
            skipped = changed(
                source, state="skipped", reason=reason, passages=0, pictures=0, pages=0
            )
            put_source(connection, skipped)
        self._drop_media()

    def touch(self, name: str, *, size: int, mtime_ns: int) -> None:
        """Note that a source's file looks new and holds the same."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE sources SET size = ?, mtime_ns = ? WHERE name = ?",
                (size, mtime_ns, storable(name)),
            )

    def forget(self, name: str) -> None:
        """Drop a source by its full name, or by a relative path or an end of it that is unique.

        Raises ``LibraryError`` that names the nearest when there is none, or all when several.
        """
        names = [row[0] for row in self._rows("SELECT name FROM sources")]
        full = resolve(storable(name), names, self.folder)
        with self._writing() as connection:
            drop_content(connection, full)
            connection.execute("DELETE FROM sources WHERE name = ?", (full,))
        self._drop_media()

    def _drop_media(self) -> None:
        """Delete the files that no picture uses any more, under the write lock."""
        if not self._rows("SELECT 1 FROM dropped LIMIT 1"):
            return
        with self._writing() as connection:
            rows = connection.execute(
                "SELECT sha256 FROM dropped"
                " WHERE NOT EXISTS (SELECT 1 FROM pictures WHERE sha256 = dropped.sha256)"
            ).fetchall()
            self._media.drop(row[0] for row in rows)
            connection.execute("DELETE FROM dropped")

    def sweep(self) -> int:
        """Delete media files that killed writers left behind; return how many."""
        with self._writing() as connection:
            rows = connection.execute("SELECT DISTINCT sha256 FROM pictures").fetchall()
            return self._media.sweep({row[0] for row in rows})

    def check(self) -> list[str]:
        """Read everything and return what is wrong, one line each; slow, empty when all is well."""
        wrong = [row[0] for row in self._rows("PRAGMA integrity_check(10)") if row[0] != "ok"]
        for (sha256,) in self._rows("SELECT DISTINCT sha256 FROM pictures"):
            try:
                self.media(sha256)
            except LibraryError as error:
                wrong.append(str(error))
        return wrong

    def claim(self, space: str, encoder: Encoder) -> None:
        """Say that ``encoder`` makes a space's vectors: recorded at first use.

        Raises ``EncoderMismatch`` when another encoder's vectors are there.
        """
        mine = (encoder.name, encoder.dimension)
        if self.space(space) != mine:
            with self._writing() as connection:
                found = connection.execute(
                    "SELECT id, encoder, dimension FROM spaces WHERE name = ? AND active", (space,)
                ).fetchone()
                if found is not None and found[1:] != mine:
                    if connection.execute(
                        "SELECT 1 FROM vectors WHERE space = ? LIMIT 1", (found[0],)
                    ).fetchone():
                        raise _mismatch(space, found[1], encoder.name)
                    connection.execute("DELETE FROM spaces WHERE id = ?", (found[0],))
                if found is None or found[1:] != mine:
                    connection.execute(
                        "INSERT INTO spaces (name, encoder, dimension, active) VALUES (?, ?, ?, 1)",
                        (space, *mine),
                    )
        self._claims[space] = mine

    def reencode(self, space: str, encoder: Encoder, *, batch: int = 64) -> Iterator[int]:
        """Make a space's vectors anew with another encoder; yield how many are done.

        New vectors are put beside the old ones, batch by batch, and one transaction switches at
        the end: until then, and after a kill, the old space serves. Run again with the same
        encoder, it goes on where it stopped. What others add meanwhile is encoded too.

        Raises ``LibraryError`` for an unknown space, ``EncoderError`` from the encoder.
        """
        if space not in SPACES:
            raise LibraryError(f"{space!r}: no such space; there are {' and '.join(SPACES)}")
        with self._writing() as connection:
            number = stage_space(connection, space, encoder.name, encoder.dimension)
        done = 0
        while not self._switched(space, number):
            with self._connection() as connection:
                missing = items_without_vector(
                    connection, number, only_pictures=space == "look", limit=batch
                )
            rows = self._encode(space, encoder, missing)
            with self._writing() as connection:
                if not connection.execute(
                    "SELECT 1 FROM spaces WHERE id = ? AND NOT active", (number,)
                ).fetchone():
                    raise LibraryError(f"space {space!r}: another process re-encodes it as well")
                put_vectors(connection, number, [m[0] for m in missing], rows, empty=True)
            done += len(missing)
            yield done
        self._claims[space] = (encoder.name, encoder.dimension)

    def _switched(self, space: str, number: int) -> bool:
        """Make the staged space the active one if it lacks nothing; say whether it was done."""
        only_pictures = space == "look"
        with self._connection() as connection:
            if items_without_vector(connection, number, only_pictures=only_pictures, limit=1):
                return False
        with self._writing() as connection:
            if items_without_vector(connection, number, only_pictures=only_pictures, limit=1):
                return False  # another process added something meanwhile
            switch_space(connection, space, number)
        return True

    def _encode(
        self, space: str, encoder: Encoder, items: Sequence[tuple[int, str, str, str]]
    ) -> Vectors:
        """Return ``(len(items), d)`` float32; zeros for items without words or a whole picture."""
        rows = np.zeros((len(items), encoder.dimension), dtype=np.float32)
        if space == "text":
            worded = [i for i, item in enumerate(items) if item[2].strip()]
            texts = [encoded_text(items[i][1], items[i][2]) for i in worded]
            if texts:
                rows[worded] = encoder.encode_texts(texts)
        elif items:
            rows[:] = encoder.encode_pictures(
                [read_picture(self.media(item[3])).image for item in items]
            )
        return rows


def _mismatch(space: str, held: str, asked: str) -> EncoderMismatch:
    setting = "picture_encoder" if space == "look" else "text_encoder"
    return EncoderMismatch(
        f"space {space!r} was made with the encoder {held}, not {asked}: set {setting} back to what"
        " made it, or make the index anew with `bifocal reencode`"
    )
