"""The pictures' bytes on disk: ``media/ab/<sha256>``, written whole or not at all.

Knows nothing of SQLite. A file is written under a temporary name, synced, and renamed; the folder
is synced after that. Whoever calls holds the library's write lock while renaming and deleting.
"""

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from retrievers.errors import LibraryError

_NAME = re.compile(r"[0-9a-f]{64}")
_STALE_SECONDS = 3600.0


class Media:
    """Files by the SHA-256 of what they hold, under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Return where the file of that hash lies; ``LibraryError`` for what is not a hash."""
        if not _NAME.fullmatch(sha256):
            raise LibraryError(f"{sha256[:80]!r}: not the SHA-256 of a picture")
        return self._folder / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        """Return a file's bytes; ``LibraryError`` when it is gone or not what its name says."""
        try:
            data = self.path(sha256).read_bytes()
        except OSError as error:
            raise LibraryError(
                f"picture {sha256[:12]}: its file is gone from {self._folder}; ingest its source"
                " again"
            ) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise LibraryError(
                f"picture {sha256[:12]}: its file in {self._folder} is damaged; delete the file"
                " and ingest its source again"
            )
        return data

    def stage(self, blobs: Mapping[str, bytes]) -> dict[str, Path]:
        """Write what is not there yet under temporary names, synced; return them by hash.

        Raises ``LibraryError`` for bytes that are not what their hash says.
        """
        staged: dict[str, Path] = {}
        try:
            for sha256, data in blobs.items():
                target = self.path(sha256)
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise LibraryError(f"picture {sha256[:12]}: its bytes have another hash")
                if target.exists() and target.stat().st_size == len(data):
                    continue
                temporary = self._folder / f".{os.getpid()}-{secrets.token_hex(8)}.tmp"
                staged[sha256] = temporary
                write_synced(temporary, data)
        except OSError as error:
            self.unstage(staged)
            raise LibraryError(
                f"{self._folder}: cannot be written ({error.strerror or error}): make room, or give"
                " this user write access to the folder"
            ) from error
        except BaseException:
            self.unstage(staged)
            raise
        return staged

    def keep(self, staged: dict[str, Path], blobs: Mapping[str, bytes]) -> None:
        """Give the staged files their names, and make sure that every blob is there.

        A file that was there when staging may have been dropped since: it is written again.
        """
        folders: set[Path] = set()
        for sha256 in blobs:  # their bytes may be read from disk: only when they are needed
            target = self.path(sha256)
            temporary = staged.pop(sha256, None)
            if temporary is None and target.exists():
                continue
            if temporary is None:
                temporary = self._folder / f".{os.getpid()}-{secrets.token_hex(8)}.tmp"
                write_synced(temporary, blobs[sha256])
            if not target.parent.is_dir():
                target.parent.mkdir(exist_ok=True)
                folders.add(self._folder)
            temporary.replace(target)
            folders.add(target.parent)
        for folder in folders:
            sync_folder(folder)

    def unstage(self, staged: dict[str, Path]) -> None:
        """Delete temporary files that were not kept."""
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)

    def drop(self, hashes: Iterable[str]) -> None:
        """Delete files; those that are not there are not missed."""
        for sha256 in hashes:
            self.path(sha256).unlink(missing_ok=True)

    def sweep(self, used: set[str]) -> int:
        """Delete what a killed writer left behind: old temporary files, files not in ``used``.

        Returns how many were deleted.
        """
        gone = 0
        for path in self._folder.glob(".*.tmp"):
            if path.stat().st_mtime < time.time() - _STALE_SECONDS:
                path.unlink(missing_ok=True)
                gone += 1
        for path in self._folder.glob("??/*"):
            if _NAME.fullmatch(path.name) and path.name not in used:
                path.unlink(missing_ok=True)
                gone += 1
        return gone


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has a folder's names; where folders cannot be opened, do nothing."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
