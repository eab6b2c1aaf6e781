"""The small library that ships with Bifocal, and the questions that ``bifocal demo`` asks it.

The files are plain package data, written and drawn for this project by
``tests/pocket/make_demo.py``. Knows nothing of ingestion or of answering: ``expect`` and
``source`` are what a right answer says and rests on, for those who check.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """One question of the demo.

    ``expect`` stands in a right answer and ``source`` names the library file it rests on (at
    ``page``, from 1, where the file has pages). ``picture`` is sent along with ``text``. A question
    that ``follows`` is asked in the conversation of the one before it, any other in a new one.
    """

    text: str
    picture: Path | None
    expect: str
    source: str
    follows: bool
    page: int | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any], pictures: Path) -> "DemoQuestion":
        """Read one entry of ``questions.json``; ``pictures`` is the folder of its picture."""
        return cls(
            text=str(value["text"]),
            picture=pictures / str(value["picture"]) if value.get("picture") else None,
            expect=str(value["expect"]),
            source=str(value["source"]),
            follows=bool(value.get("follows", False)),
            page=int(value["page"]) if value.get("page") is not None else None,
        )


def library_files() -> tuple[tuple[str, Traversable], ...]:
    """Return name and content of each of the library's files, sorted by name."""
    found = (files(__name__) / "library").iterdir()
    return tuple(sorted(((f.name, f) for f in found if f.is_file()), key=lambda pair: pair[0]))


def copy_library(folder: Path) -> tuple[Path, ...]:
    """Write the library's files into ``folder``, which is made, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in library_files():
        paths.append(folder / name)
        paths[-1].write_bytes(content.read_bytes())
    return tuple(paths)


def questions() -> tuple[DemoQuestion, ...]:
    """Return the demo's questions in the order they are asked.

    Pictures are paths into the installed package, which must therefore lie unpacked on disk, as
    every installer leaves it.
    """
    listed = json.loads((files(__name__) / "questions.json").read_text(encoding="utf-8"))
    with as_file(files(__name__) / "questions") as pictures:
        return tuple(DemoQuestion.from_json(value, pictures) for value in listed)
