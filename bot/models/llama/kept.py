"""Bytes that are kept: in memory up to a budget, and, given a folder, on disk across restarts.

What was used least lately goes first. A file carries the SHA-256 of what it holds, and one that
does not match is never returned: it is deleted. Tenants have folders of their own. Knows nothing
of what the bytes mean.
"""

import contextlib
import hashlib
import os
import queue
import threading
from collections import OrderedDict
from pathlib import Path

_LATER = 64  # writes that may wait for the disk; more are not kept there


class Kept:
    """A store of named blobs; names have letters and digits only. Safe from any thread."""

    def __init__(self, budget: int, folder: Path | None = None, disk_budget: int = 0) -> None:
        self._budget, self._folder, self._disk_budget = budget, folder, disk_budget
        self._blobs: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._later: queue.Queue[tuple[Path, bytes] | None] = queue.Queue(_LATER)
        self._writer: threading.Thread | None = None

    def get(self, tenant: str, name: str) -> bytes | None:
        """Return the bytes, from memory or from the disk, or None."""
        with self._lock:
            blob = self._blobs.get((tenant, name))
            if blob is not None:
                self._blobs.move_to_end((tenant, name))
                return blob
        blob = self._read(tenant, name)
        if blob is not None:
            self._remember(tenant, name, blob)
        return blob

    def has(self, tenant: str, name: str) -> bool:
        """Return whether a blob is in memory, or its file is on the disk."""
        with self._lock:
            if (tenant, name) in self._blobs:
                return True
        return self._folder is not None and self._path(tenant, name).exists()

    def put(self, tenant: str, name: str, blob: bytes, *, to_disk: bool = True) -> None:
        """Keep ``blob``; on disk a little later, unless the disk cannot keep up."""
        self._remember(tenant, name, blob)
        if not to_disk or self._folder is None or len(blob) > self._disk_budget:
            return
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, daemon=True, name="llama-kept")
            self._writer.start()
        with contextlib.suppress(queue.Full):
            self._later.put_nowait((self._path(tenant, name), blob))

    def names(self, tenant: str) -> list[str]:
        """Return the names that a tenant has, in memory and on disk."""
        with self._lock:
            found = {name for owner, name in self._blobs if owner == tenant}
        if self._folder is not None:
            with contextlib.suppress(OSError):
                found.update(p.name for p in self._home(tenant).iterdir() if not p.suffix)
        return sorted(found)

    def drop(self, tenant: str, name: str) -> None:
        """Forget one blob."""
        with self._lock:
            self._bytes -= len(self._blobs.pop((tenant, name), b""))
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._path(tenant, name).unlink()

    def forget(self, tenant: str) -> None:
        """Forget all that a tenant has, what is yet to be written included."""
        self.flush()
        for name in self.names(tenant):
            self.drop(tenant, name)

    def flush(self) -> None:
        """Wait until what was to be written is on the disk."""
        if self._writer is not None:
            self._later.join()

    def close(self) -> None:
        """Finish writing; the memory is given back."""
        if self._writer is not None:
            self._later.put(None)
            self._writer.join()
            self._writer = None
        with self._lock:
            self._blobs.clear()
            self._bytes = 0

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._bytes

    def _remember(self, tenant: str, name: str, blob: bytes) -> None:
        if len(blob) > self._budget:
            return
        with self._lock:
            self._bytes += len(blob) - len(self._blobs.pop((tenant, name), b""))
            self._blobs[tenant, name] = blob
            while self._bytes > self._budget:
                _, old = self._blobs.popitem(last=False)
                self._bytes -= len(old)

    # the disk

    def _home(self, tenant: str) -> Path:
        assert self._folder is not None
        digest = hashlib.sha256(tenant.encode("utf-8", "surrogatepass"))  # one to one
        return self._folder / digest.hexdigest()[:32]

    def _path(self, tenant: str, name: str) -> Path:
        return self._home(tenant) / name

    def _read(self, tenant: str, name: str) -> bytes | None:
        if self._folder is None:
            return None
        path = self._path(tenant, name)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        if hashlib.sha256(data[32:]).digest() == data[:32]:
            return data[32:]
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def _write(self) -> None:
        while (item := self._later.get()) is not None:
            try:
                self._write_one(*item)
            except OSError:  # a full disk keeps nothing; answers do not need it
                pass
            finally:
                self._later.task_done()
        self._later.task_done()

    def _write_one(self, path: Path, blob: bytes) -> None:
        if path.exists():
            os.utime(path)
            return
        missing = [p for p in (path.parent, *path.parent.parents) if not p.exists()]
        for folder in reversed(missing):  # with parents=True only the last would be private
            folder.mkdir(mode=0o700, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(blob).digest())
            file.write(blob)
        part.replace(path)
        self._trim()

    def _trim(self) -> None:
        """Delete what was used least lately until the folder is within its budget."""
        assert self._folder is not None
        files = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                found = path.stat()
                files.append((found.st_mtime_ns, found.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files, key=lambda f: f[0]):
            if total <= self._disk_budget:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
