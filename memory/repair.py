"""Mends an embedded store that was refused as damaged: ``python -m memory.repair FOLDER``.

Knows nothing of what the file holds. Redis' own checker does the cutting: it is the same program
as redis-server, called by another name.
"""

import argparse
import fcntl
import re
import shutil
import subprocess
import sys
from pathlib import Path

from memory.errors import HistoryUnavailable
from memory.redis_server import Lock, find_server


def repair(folder: Path, server: Path | None = None) -> str:
    """Cut the damaged end of a folder's append-only file, and return what was done, in a line.

    What is cut is the torn end of a write, or everything from the first garbled byte on. A copy of
    the whole file stays beside it (``*.damaged-N``). Raises ``HistoryUnavailable``.
    """
    binary = server or find_server()[0]
    parts = sorted((folder / "appendonlydir").glob("*.incr.aof"), key=_sequence)
    file = parts[-1] if parts else folder / "appendonly.aof"
    if not file.is_file():
        raise HistoryUnavailable(f"there is no append-only file in {folder}")
    lock = Lock(folder / "server.lock")
    try:
        if not lock.take(fcntl.LOCK_EX):
            raise HistoryUnavailable(f"a redis-server is using {folder}: stop it first")
        number = 1
        while (copy := file.with_name(f"{file.name}.damaged-{number}")).exists():
            number += 1
        shutil.copy2(file, copy)
        done = subprocess.run(
            ["redis-check-aof", "--fix", str(file)],
            executable=binary,
            input=b"y\n",
            capture_output=True,
            check=False,
        )
    finally:
        lock.close()
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        raise HistoryUnavailable(f"{file} cannot be repaired ({said[-1] if said else 'no reason'})")
    cut = copy.stat().st_size - file.stat().st_size
    return f"{cut} bytes were cut from {file}; what it was before is {copy}"


def _sequence(path: Path) -> int:
    found = re.search(r"\.(\d+)\.incr\.aof$", path.name)
    return int(found[1]) if found else 0


def main(argv: list[str] | None = None) -> int:
    """Run :func:`repair` on the folder named, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m memory.repair",
        description="Cut the damaged end of an embedded store's append-only file; a copy is kept.",
    )
    parser.add_argument("folder", type=Path)
    try:
        said = repair(parser.parse_args(argv).folder)
    except HistoryUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
