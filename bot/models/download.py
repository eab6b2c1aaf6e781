"""Fetches a pinned file: resumed where it was left, checked whole before it gets its name.

A file is written as ``NAME.part`` and renamed once its size and SHA-256 are those that were
pinned, so nothing that has the final name is unfinished or foreign. Needs no ETag to resume: a
part that does not belong to what follows fails the hash. Knows nothing of models or terminals.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bot.errors import ModelError
from bot.models.catalog import HUB, PinnedFile

if TYPE_CHECKING:
    import httpx

CHUNK = 1 << 20
MARGIN = 256 << 20  #: bytes of the disk that are left free
TRIES = 4  #: connections in a row that may bring nothing new
SECONDS = 30.0  #: to connect, and between two pieces of data

Progress = Callable[[int], None]
"""Called with the bytes that are done of a file, those of an earlier attempt included."""


class Unreachable(ModelError):
    """No network, or a server that does not give the file."""


def quiet(done: int) -> None:
    """Report no progress."""


def fetch(file: PinnedFile, folder: Path, progress: Progress = quiet) -> Path:
    """Return ``folder/NAME`` with exactly the pinned content; fetch what is missing of it.

    A file that is there already, put by hand for instance, is only checked. An interrupted
    download (a signal, a broken line) leaves ``NAME.part`` and goes on from there the next time.
    ``HF_ENDPOINT`` names a mirror instead of huggingface.co; the hash holds for it all the same.

    Raises ``Unreachable`` without a network, and ``ModelError``, one line with the way out: no
    room, another process at work on it, a size or a hash that is not the pinned one (then what was
    fetched is deleted).
    """
    final = folder / file.name
    part = folder / f"{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, file):
            if final.exists():
                _check_there(final, file, progress)
                return final
            check_room((file,), folder)
            try:
                digest = _complete(part, file, progress)
            finally:
                if not part.stat().st_size:
                    part.unlink()
            _accept(part, file, digest)
            part.replace(final)
            _sync_folder(folder)
    except OSError as error:
        raise ModelError(f"{final}: {error.strerror or error}") from error
    return final


def check(path: Path, size: int, sha256: str, progress: Progress = quiet) -> None:
    """Raise ``ModelError`` unless the file has that size and that SHA-256."""
    found = path.stat().st_size
    if found != size:
        raise ModelError(f"{path}: has {found:,} bytes, not {size:,}: damaged, or another file")
    if (digest := hash_file(path, progress)) != sha256:
        raise ModelError(f"{path}: its SHA-256 is {digest}, not {sha256}: damaged, or another file")


def _check_there(path: Path, file: PinnedFile, progress: Progress) -> None:
    try:
        check(path, file.size, file.sha256, progress)
    except ModelError as error:
        raise ModelError(f"{error}; delete it and run the command again") from error


def hash_file(path: Path, progress: Progress = quiet) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
            progress(done := done + len(piece))
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path, file: PinnedFile) -> Iterator[None]:
    """Hold the folder's lock; it falls with the process that holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ModelError(
            f"{file.name}: another process is fetching it into {folder}; wait for it"
        ) from error
    try:
        yield
    finally:
        lock.release()


def check_room(files: Sequence[PinnedFile], folder: Path) -> None:
    """Raise ``ModelError`` when what is missing of ``files`` does not fit on the folder's disk."""
    need = sum(_missing(file, folder) for file in files)
    disk = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(disk).free
    if need and need + MARGIN > free:
        names = " and ".join(file.name for file in files)
        raise ModelError(
            f"{names}: {_gigabytes(need + MARGIN)} of disk are needed, {disk} has"
            f" {_gigabytes(free)}; make room, or set `models` to a folder on another disk"
        )


def _missing(file: PinnedFile, folder: Path) -> int:
    if (folder / file.name).exists():
        return 0
    part = folder / f"{file.name}.part"
    return max(0, file.size - (part.stat().st_size if part.exists() else 0))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


class _Part:
    """The unfinished file: the bytes it has, and their SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size, self.digest = file, 0, hashlib.sha256()

    def read(self) -> None:
        """Take in what an earlier attempt left."""
        self._file.seek(0)
        while piece := self._file.read(CHUNK):
            self.size += len(piece)
            self.digest.update(piece)

    def append(self, piece: bytes) -> None:
        self._file.write(piece)
        self.size += len(piece)
        self.digest.update(piece)

    def clear(self) -> None:
        self._file.truncate(0)
        self.size, self.digest = 0, hashlib.sha256()

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def _complete(path: Path, file: PinnedFile, progress: Progress) -> str:
    """Fetch the rest of the part at ``path`` and return the SHA-256 of the whole."""
    import httpx

    at_once = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)
    with path.open("a+b") as out, httpx.Client(follow_redirects=True, timeout=SECONDS) as client:
        part = _Part(out)
        part.read()
        if part.size > file.size:
            part.clear()
        progress(part.size)
        left = TRIES
        while (have := part.size) < file.size:
            error: Exception | None = None
            try:
                _receive(client, file, part, progress)
            except (httpx.RequestError, httpx.InvalidURL) as caught:
                error = caught
            left = TRIES if part.size > have else left - 1
            if part.size < file.size and (not left or isinstance(error, at_once)):
                reason = " ".join(str(error or "it sends nothing").split()) or repr(error)
                raise Unreachable(f"{hub()} cannot be reached ({reason})") from error
        part.sync()
        return part.digest.hexdigest()


def _receive(client: "httpx.Client", file: PinnedFile, part: _Part, progress: Progress) -> None:
    """Ask once for what ``part`` lacks, and append it as it comes."""
    headers = {"Range": f"bytes={part.size}-", "Accept-Encoding": "identity"}
    with client.stream("GET", file.url(hub()), headers=headers) as response:
        if response.status_code not in (200, 206):
            status = response.status_code
            raise Unreachable(f"{response.url.host} answers {status} for {file.name}")
        ranged = response.status_code == 206
        _check_offer(file, response, part.size if ranged else 0)
        if not ranged:  # the server knows no ranges: all from the start
            part.clear()
        for piece in response.iter_raw():
            if part.size + len(piece) > file.size:
                raise ModelError(
                    f"{response.url}: sends more than the {file.size:,} bytes that"
                    f" {file.name} has; it is another file, or something between alters it"
                )
            part.append(piece)
            progress(part.size)


def _check_offer(file: PinnedFile, response: "httpx.Response", have: int) -> None:
    """Refuse at once what cannot become the pinned file: a login page, another revision."""
    length = response.headers.get("Content-Length", "")
    offered = f"{have + int(length):,}" if length.isdecimal() else "an unknown number of"
    begins = response.headers.get("Content-Range", f"bytes {have}-")
    if offered != f"{file.size:,}" or not begins.startswith(f"bytes {have}-"):
        raise ModelError(
            f"{response.url}: offers {offered} bytes, not the {file.size:,} of {file.name};"
            " it is another file, or something between alters it"
        )


def hub() -> str:
    """Return the address that repositories are fetched from."""
    return os.environ.get("HF_ENDPOINT") or HUB


def _accept(part: Path, file: PinnedFile, digest: str) -> None:
    if digest != file.sha256:
        part.unlink()
        raise ModelError(
            f"{file.name}: what was fetched has the SHA-256 {digest}, not {file.sha256};"
            " it was deleted; run the command again, and if it stays so,"
            " the file was altered on its way"
        )


def _sync_folder(folder: Path) -> None:
    """Make the new name last a power cut, where folders can be synced."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
