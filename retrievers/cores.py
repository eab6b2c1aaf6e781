"""How many processor cores this process may use. Knows nothing of what they are for."""

import os


def usable_cores() -> int:
    """Return the cores that this process may run on, where the system tells, else all."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
