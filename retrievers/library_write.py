"""The statements that write a library's rows; each runs inside a transaction of its caller.

Knows nothing of transactions, media files or encoders.
"""

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import astuple
from dataclasses import replace as changed
from pathlib import PurePath

import numpy as np

from retrievers.document import Document
from retrievers.evidence import Vectors
from retrievers.library_read import SOURCE_COLUMNS, Source
from retrievers.words import clean, indexed, storable


def put_source(connection: sqlite3.Connection, source: Source) -> int:
    """Write a source's row, over an older one of its name; return its number."""
    if not source.indexed_at:
        source = changed(source, indexed_at=time.time())
    columns = SOURCE_COLUMNS.split(", ")
    values = astuple(source)[1:]
    news = ", ".join(f"{c} = excluded.{c}" for c in columns[1:])
    row = connection.execute(
        f"INSERT INTO sources ({SOURCE_COLUMNS}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT (name) DO UPDATE SET {news} RETURNING id",
        [storable(source.name), *(clean(v) if isinstance(v, str) else v for v in values)],
    ).fetchall()
    return int(row[0][0])


def put_content(
    connection: sqlite3.Connection, number: int, source: Source, document: Document
) -> tuple[list[int], list[int]]:
    """Write a document's passages and pictures; return the item numbers of both, in their order.

    Each is found by its source's title and file name as well.
    """
    stem = PurePath(source.name).stem
    title = source.title if stem in source.title else f"{source.title}\n{stem}"
    passages = [
        _put_item(connection, "passage", number, p.page, (title, p.heading, p.text), p.form)
        for p in document.passages
    ]
    pictures = []
    for picture in document.pictures:
        words = (title, "", picture.text)
        item = _put_item(connection, "picture", number, picture.page, words, picture.role)
        connection.execute(
            "INSERT INTO pictures VALUES (?, ?, ?)",
            (item, picture.sha256, json.dumps(picture.to_json(), separators=(",", ":"))),
        )
        connection.execute("DELETE FROM dropped WHERE sha256 = ?", (picture.sha256,))
        pictures.append(item)
    return passages, pictures


def _put_item(
    connection: sqlite3.Connection,
    kind: str,
    source: int,
    page: int | None,
    words: tuple[str, str, str],
    form: str,
) -> int:
    title, heading, text = words
    item = connection.execute(
        "INSERT INTO items (kind, source, page, heading, form, text) VALUES (?, ?, ?, ?, ?, ?)",
        (kind, source, page, clean(heading), form, clean(text)),
    ).lastrowid
    assert item is not None
    connection.execute(
        "INSERT INTO words (rowid, title, heading, text) VALUES (?, ?, ?, ?)",
        (item, indexed(title), indexed(heading), indexed(text)),
    )
    return item


def drop_content(connection: sqlite3.Connection, name: str) -> None:
    """Delete a source's passages, pictures and vectors; note the media that may be unused now."""
    name = storable(name)
    of_source = "SELECT items.id FROM items JOIN sources ON sources.id = source WHERE name = ?"
    connection.execute(
        f"INSERT OR IGNORE INTO dropped SELECT sha256 FROM pictures WHERE item IN ({of_source})",
        (name,),
    )
    connection.execute(f"DELETE FROM words WHERE rowid IN ({of_source})", (name,))
    connection.execute(f"DELETE FROM items WHERE id IN ({of_source})", (name,))


def put_vectors(
    connection: sqlite3.Connection,
    space: int,
    items: Sequence[int],
    rows: Vectors,
    *,
    empty: bool = False,
) -> None:
    """Write ``rows`` ``(len(items), d)``; rows of zeros not at all, or with ``empty`` as empty."""
    stored = np.ascontiguousarray(rows, dtype="<f4")
    worded = [bool(row.any()) for row in stored]
    connection.executemany(
        "INSERT OR REPLACE INTO vectors (item, space, vector)"
        " SELECT id, ?, ? FROM items WHERE id = ?",  # an item may be gone since it was encoded
        [
            (space, row.tobytes() if keep else b"", item)
            for item, row, keep in zip(items, stored, worded, strict=True)
            if keep or empty
        ],
    )


def stage_space(connection: sqlite3.Connection, space: str, encoder: str, dimension: int) -> int:
    """Return the number of a space being re-encoded: one that was cut short, or a new one."""
    found = connection.execute(
        "SELECT id FROM spaces WHERE name = ? AND NOT active AND encoder = ? AND dimension = ?",
        (space, encoder, dimension),
    ).fetchone()
    if found is not None:
        return int(found[0])
    connection.execute("DELETE FROM spaces WHERE name = ? AND NOT active", (space,))
    number = connection.execute(
        "INSERT INTO spaces (name, encoder, dimension, active) VALUES (?, ?, ?, 0)",
        (space, encoder, dimension),
    ).lastrowid
    assert number is not None
    return number


def items_without_vector(
    connection: sqlite3.Connection, space: int, *, only_pictures: bool, limit: int
) -> list[tuple[int, str, str, str]]:
    """Return up to ``limit`` items (number, heading, text, media hash) a space lacks."""
    return connection.execute(
        "SELECT items.id, heading, text, coalesce(sha256, '') FROM items"
        " LEFT JOIN pictures ON pictures.item = items.id"
        " WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE vectors.item = items.id AND space = ?)"
        f"{' AND sha256 IS NOT NULL' if only_pictures else ''} ORDER BY items.id LIMIT ?",
        (space, limit),
    ).fetchall()


def switch_space(connection: sqlite3.Connection, space: str, number: int) -> None:
    """Make a re-encoded space the active one; the old one goes with its vectors."""
    connection.execute("DELETE FROM spaces WHERE name = ? AND id <> ?", (space, number))
    connection.execute("DELETE FROM vectors WHERE space = ? AND vector = x''", (number,))
    connection.execute("UPDATE spaces SET active = 1 WHERE id = ?", (number,))
