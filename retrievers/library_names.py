"""Finds the source that somebody means by a name: a path as it was ingested, or the end of one.

Knows nothing of the database; it is given the names that are there.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from retrievers.errors import LibraryError


def resolve(name: str, names: Sequence[str], folder: Path) -> str:
    """Return which of ``names`` is meant: it as it is, as a path from here, or as a unique end.

    Raises ``LibraryError`` that names all when several are meant, or the nearest when none is;
    ``folder`` is the library's, for that message.
    """
    end = PurePath(os.path.normpath(name)).parts if name.strip() else ()
    if not end:
        raise LibraryError(f"{name!r}: give a source's name; `bifocal sources` lists them")
    here = os.path.abspath(Path(name).expanduser())  # noqa: PTH100 - links keep their own names
    for full in (name, here):
        if full in names:
            return full
    same = sorted(known for known in names if PurePath(known).parts[-len(end) :] == end)
    if len(same) == 1:
        return same[0]
    if same:
        raise LibraryError(
            f"{name}: several sources have this name: {', '.join(same[:5])}; give the whole path"
        )
    short = {Path(known).name: known for known in sorted(names)}
    near = [short[n] for n in difflib.get_close_matches(Path(name).name, list(short), n=3)]
    way = f"; did you mean {', '.join(near)}?" if near else "; `bifocal sources` lists them"
    raise LibraryError(f"{name}: no such source in {folder}{way}")
