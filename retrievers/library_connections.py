"""Connections to a library's database, lent to one thread at a time.

Knows nothing of tables. SQLite's errors come out as ``LibraryError``, in one line.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrievers.errors import LibraryError
from retrievers.library_schema import FILE, connect


class Connections:
    """As many connections as threads that read at the same moment; kept open between readings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._idle: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    def close(self) -> None:
        """Close every connection; the library cannot be used after that."""
        with self._idle_lock:
            self._closed = True
            idle, self._idle = self._idle, []
        if self._process == os.getpid():
            for connection in idle:
                connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to one thread at a time; SQLite's errors become ``LibraryError``."""
        if self._process != os.getpid():  # after a fork the parent's connections are not ours
            self._inherited, self._idle = self._idle, []  # nor may they be closed here
            self._process = os.getpid()
        with self._idle_lock:
            if self._closed:
                raise LibraryError(f"{self.folder}: this library was closed; open it again")
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                connection = connect(self.folder / FILE)
            yield connection
        except sqlite3.Error as error:
            raise LibraryError(f"{self.folder}: {_explain(error, self.folder / FILE)}") from error
        finally:
            if connection is not None:
                with self._idle_lock:
                    if not self._closed:
                        self._idle.append(connection)
                        connection = None
            if connection is not None:
                connection.close()

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(sql, values).fetchall()


def _explain(error: sqlite3.Error, file: Path) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return "another process has been writing for too long; try again when it is done"
    if "malformed" in text or "not a database" in text:
        return f"the database is damaged ({text}); ingest into a new folder"
    if "readonly" in text or ("unable to open" in text and file.is_file()):
        return "cannot be written: give this user write access to the folder"
    if "unable to open" in text:
        return "its database cannot be opened; make a library with `bifocal ingest`"
    return text
