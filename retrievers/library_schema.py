"""How a library lies on disk: the tables, their version, and connections to them.

Knows nothing of documents, encoders or FAISS. Tables:

- ``meta``      the library's identity and the counter that grows with every write
- ``sources``   one row a file that was ingested or skipped
- ``items``     passages and pictures in one AUTOINCREMENT sequence: a number is never used again
- ``pictures``  what only pictures have, by item
- ``spaces``    vector spaces; a name has one active row, a second one while it is being re-encoded
- ``vectors``   one float32 little-endian row an item and space
- ``words``     FTS5 over all items, so that BM25 of passages and of pictures' words compare
- ``dropped``   media files that no picture uses any more and that are still to be deleted
"""

import sqlite3
import uuid
from pathlib import Path

from retrievers.errors import LibraryError

FILE = "library.sqlite"
VERSION = 1
APPLICATION = 0x42464C31  # "BFL1"
BUSY_SECONDS = 30.0

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('indexed', 'skipped')), reason TEXT NOT NULL,
    title TEXT NOT NULL, pages INTEGER NOT NULL, passages INTEGER NOT NULL,
    pictures INTEGER NOT NULL, indexed_at REAL NOT NULL
);
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('passage', 'picture')),
    source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    page INTEGER, heading TEXT NOT NULL, form TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX items_by_source ON items (source, kind, page);
CREATE TABLE pictures (
    item INTEGER PRIMARY KEY REFERENCES items ON DELETE CASCADE,
    sha256 TEXT NOT NULL, value TEXT NOT NULL
);
CREATE INDEX pictures_by_media ON pictures (sha256);
CREATE TABLE spaces (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL, encoder TEXT NOT NULL, dimension INTEGER NOT NULL,
    active INTEGER NOT NULL
);
CREATE UNIQUE INDEX spaces_active ON spaces (name) WHERE active;
CREATE TABLE vectors (
    item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
    space INTEGER NOT NULL REFERENCES spaces ON DELETE CASCADE,
    vector BLOB NOT NULL,
    PRIMARY KEY (item, space)
);
CREATE INDEX vectors_by_space ON vectors (space, item);
CREATE VIRTUAL TABLE words USING fts5 (
    title, heading, text, tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TABLE dropped (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open one connection; it may pass between threads, but serves one at a time.

    ``synchronous=FULL``: a committed transaction survives a power cut. ``NORMAL`` could lose the
    last commits, and item numbers that a conversation already cites would then be given again.
    One commit a file makes the price small.
    """
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -16000")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, folder: Path, *, create: bool) -> None:
    """Check that the database is a library of this version; with ``create``, make it one.

    Raises ``LibraryError`` when it is something else, unfinished, or made by a newer version.
    """
    if create and connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise LibraryError(f"{folder}: its file system cannot hold a library (no SQLite WAL)")
    application, version = _stamp(connection)
    if (application, version) == (0, 0) and create:
        _make(connection, folder)
        application, version = _stamp(connection)
    if application != APPLICATION:
        raise LibraryError(
            f"{folder}: {FILE} is not a Bifocal library, or its making was cut short;"
            " move it away and run `bifocal ingest` again"
        )
    if version > VERSION:
        raise LibraryError(
            f"{folder}: made by a newer version of Bifocal (schema {version}, this one reads"
            f" {VERSION}); upgrade Bifocal"
        )
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    wanted = {"meta", "sources", "items", "pictures", "spaces", "vectors", "words", "dropped"}
    if lost := sorted(wanted - names):
        raise LibraryError(
            f"{folder}: damaged, the table {lost[0]} is missing; ingest into a new folder"
        )


def _stamp(connection: sqlite3.Connection) -> tuple[int, int]:
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    return application, int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make(connection: sqlite3.Connection, folder: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _stamp(connection) == (0, 0):  # no other process was faster
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise LibraryError(f"{folder}: {FILE} is the database of something else")
            for statement in TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES ('version', 0)")
            connection.execute("INSERT INTO meta VALUES ('identity', ?)", (uuid.uuid4().hex,))
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
