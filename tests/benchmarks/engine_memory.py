"""Memory of this process and all of its descendants, as Linux tells it."""

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return the resident bytes of this process, its children, theirs, and so on."""
    return sum(_resident(pid) for pid in _family(os.getpid()))


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # the thread has just ended
            continue
        for child in children:
            found += _family(int(child))
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:  # the process has just ended
        return 0
