"""The files of a local model: named, found, and looked into before native code opens them.

llama.cpp parses what it is given in the process that asks, so a file that is missing, foreign or
cut short is refused here, from its header alone. Knows nothing of what the weights mean, and is
no proof that a file is whole: that is what a pinned hash is for.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.errors import ModelError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_MOST = 1 << 24  # more keys, tensors or array items than any model has
_DEEPEST = 3
#: By the last part of a key: more than any model has, and enough to make llama.cpp take memory by
#: the gigabyte, or to be a negative number there
_LARGEST = {"block_count": 1 << 12, "image_size": 1 << 12, "context_length": (1 << 31) - 1}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The text model, and the projector that gives it eyes, where there is one."""

    text: Path
    projector: Path | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of itself: its architecture, its name, how many tensors it holds, and
    the whole numbers among its keys."""

    architecture: str
    name: str
    tensors: int
    numbers: Mapping[str, int] = field(default_factory=dict)


def parse_files(text: str) -> ModelFiles:
    """Read ``TEXT.gguf`` or ``TEXT.gguf+PROJECTOR.gguf``.

    Without a projector, the ``mmproj*.gguf`` beside the text model is taken when there is exactly
    one. Raises ``ModelError`` when a file is missing or is not what it was named as.
    """
    given = text.strip()
    if not given:
        raise ModelError("llama: names no file; write llama:MODEL.gguf")
    first, plus, second = given.rpartition(".gguf+")
    if plus and not Path(given).expanduser().exists():
        text_path = Path(first + ".gguf").expanduser()
        projector: Path | None = Path(second).expanduser()
    else:
        text_path, projector = Path(given).expanduser(), None
    _check_kind(text_path, projector=False)
    if projector is None:
        beside = sorted(p for p in text_path.parent.glob("*mmproj*.gguf") if p != text_path)
        projector = beside[0] if len(beside) == 1 else None
    if projector is not None:
        _check_kind(projector, projector=True)
    return ModelFiles(text_path, projector)


def _check_kind(path: Path, *, projector: bool) -> None:
    header = read_header(path)
    if projector and header.architecture != "clip":
        raise ModelError(
            f"{path}: a model of architecture {header.architecture!r}, not a projector;"
            " after the + comes the mmproj file"
        )
    if not projector and header.architecture == "clip":
        raise ModelError(
            f"{path}: a projector, not a text model; write llama:TEXT.gguf+{path.name}"
        )


def read_header(path: Path) -> Header:
    """Read a GGUF file's keys and tensor list, and check that its data reaches as far as they say.

    Raises ``ModelError`` for a file that is missing, empty, no GGUF, or cut short.
    """
    try:
        if path.is_dir():
            raise ModelError(f"{path}: a folder; name the .gguf file in it")
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise ModelError(f"{path}: not a GGUF file (it does not begin with GGUF)")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, path).header()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ModelError(f"{path}: {reason}; llama: needs the path of a .gguf file") from error
    except (struct.error, IndexError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path}: a damaged GGUF file, perhaps cut short; fetch it again"
        ) from error


class _Reader:
    """Walks through a header; anything out of bounds or out of reason is a ``ValueError``."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path, self.at = data, path, 4

    def header(self) -> Header:
        (version,) = self._take("I")
        if version not in VERSIONS:
            raise ModelError(f"{self.path}: GGUF version {version}; versions 2 and 3 can be read")
        tensors, keys = self._count(), self._count()
        found: dict[str, Any] = {}
        for _ in range(keys):
            key = self._string()
            value = self._value(self._take("I")[0])
            if isinstance(value, str | int):
                found[key] = value
            if isinstance(value, int) and value > _LARGEST.get(key.rpartition(".")[2], value):
                raise ValueError(key)
        furthest = max((self._tensor_offset() for _ in range(tensors)), default=-1)
        alignment = int(found.get("general.alignment", 32))
        if alignment < 1:
            raise ValueError("alignment")
        start = -(-self.at // alignment) * alignment
        if tensors and start + furthest >= len(self.data):
            raise ValueError("the data ends before the last tensor begins")
        return Header(
            architecture=str(found["general.architecture"]),
            name=str(found.get("general.name", "")),
            tensors=tensors,
            numbers={key: value for key, value in found.items() if isinstance(value, int)},
        )

    def _tensor_offset(self) -> int:
        self._string()
        (dimensions,) = self._take("I")
        if dimensions > 8:
            raise ValueError("dimensions")
        self._take(f"{dimensions}Q")
        _, offset = self._take("IQ")
        return int(offset)

    def _take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def _count(self) -> int:
        (count,) = self._take("Q")
        if count > _MOST:
            raise ValueError("count")
        return int(count)

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self.data):
            raise ValueError("cut short")

    def _string(self) -> str:
        (size,) = self._take("Q")
        begin = self.at
        self._skip(size)
        return self.data[begin : self.at].decode("utf-8", "replace")

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._take(_SCALARS[kind])[0]
        (inner,) = self._take("I")
        count = self._count()
        if inner == _STRING:
            for _ in range(count):
                (size,) = self._take("Q")
                self._skip(size)
        elif inner == _ARRAY:
            if depth >= _DEEPEST:
                raise ValueError("arrays in arrays")
            for _ in range(count):
                self._value(inner, depth + 1)
        else:
            self._skip(count * struct.calcsize("<" + _SCALARS[inner]))
        return None
