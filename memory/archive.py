"""A conversation as one file, and back: whole, or refused in one line.

The file is a zip of ``conversation.json`` (format, name, turns, pictures' references, the numbers
that were dropped) and ``pictures/SHA256.ext``. It is read as something that anyone may have made:
every entry's name, number and size is checked before it is unpacked, no more is unpacked than was
announced, every picture must be the one its hash names, and nothing is stored before all of that is
done. Nothing is ever written to a name from the file. Knows nothing of Redis.
"""

import asyncio
import hashlib
import json
import os
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from memory.errors import ArchiveRefused, HistoryDamaged, conversation_not_found
from memory.history import History
from memory.messages import PictureRef, Turn

FORMAT = 1  #: version of the file
TEXT = "conversation.json"
TEXT_BYTES = 128 << 20  #: the most that ``conversation.json`` may hold
PICTURE_BYTES = 64 << 20  #: the most that a picture may hold
ENTRIES = 20_000  #: the most entries
DIRECTORY_BYTES = 4 << 20  #: the most that the list of entries may take
HIGHEST = 2**31 - 1  #: the highest number of a picture
ENDING = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
}
PICTURE = re.compile(r"pictures/([0-9a-f]{64})\.[a-z]{2,5}", re.ASCII)

Tell = Callable[[int, int], None]  #: (pictures done, pictures in all)
Check = Callable[[str, Sequence[Turn], Sequence[PictureRef]], None]  #: raises for what is refused


@dataclass(frozen=True, slots=True)
class Carried:
    """What was written to a file or read from one; ``notices`` say what was not in it."""

    name: str
    turns: int
    pictures: int
    notices: tuple[str, ...] = ()


async def export_conversation(
    history: History, name: str, file: Path, tell: Tell = lambda done, of: None
) -> Carried:
    """Write a conversation to ``file``, which must not be there yet; a broken end leaves none.

    A turn that cannot be read, and a picture whose bytes are gone, is left out and named in the
    notices, in the file too. Raises ``ConversationNotFound`` and ``ArchiveRefused``.
    """
    found = await history.load(name)
    if not found.total:
        raise conversation_not_found(name)
    if await asyncio.to_thread(file.exists):
        raise ArchiveRefused(f"{file} is there already: name another file, or remove it")
    notices, gone = list(found.notices), list[str]()
    part = None
    try:
        handle, made = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:60]}.")
        part = Path(made)
        with os.fdopen(handle, "wb") as raw, zipfile.ZipFile(raw, "w", allowZip64=False) as target:
            wanted = {ref.sha256: ref for ref in found.pictures}
            for done, (sha, ref) in enumerate(wanted.items(), 1):
                try:
                    data = await history.picture(name, ref.number)
                except HistoryDamaged as error:
                    notices.append(str(error))
                    gone.append(sha)
                else:
                    await asyncio.to_thread(target.writestr, _entry(sha, ref.media_type), data)
                tell(done, len(wanted))
            text = _json(
                {
                    "format": FORMAT,
                    "id": name,
                    "turns": [turn.to_json() for turn in found.turns],
                    "pictures": [ref.to_json() for ref in found.pictures],
                    "dropped": list(found.dropped),
                    "gone": gone,
                    "notices": notices,
                }
            )
            if len(text) > TEXT_BYTES:
                raise ArchiveRefused(
                    f"conversation {name!r} is too long for one file ({len(text) >> 20} MB of text,"
                    f" {TEXT_BYTES >> 20} MB may be): fork it at a turn, and export that"
                )
            await asyncio.to_thread(target.writestr, TEXT, text, zipfile.ZIP_DEFLATED)
        await asyncio.to_thread(part.replace, file)
    except (OSError, zipfile.LargeZipFile) as error:
        raise ArchiveRefused(f"{file} cannot be written: {_reason(error)}") from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()
    return Carried(name, len(found.turns), len(found.pictures), tuple(notices))


async def import_conversation(
    history: History,
    file: Path,
    name: str | None = None,
    tell: Tell = lambda done, of: None,
    check: Check = lambda name, turns, pictures: None,
) -> Carried:
    """Store the conversation of ``file``, under its own name unless another is given.

    Raises ``ArchiveRefused`` for a file that is damaged, or not of this form, and
    ``ConversationExists`` for a name that is taken; nothing is stored then. ``check`` sees what
    was read and raises a ``ValueError`` or ``TypeError`` for what it refuses.
    """
    with ExitStack() as stack:
        with _said_of(file):
            raw = stack.enter_context(await asyncio.to_thread(file.open, "rb"))
            _check_directory(*_tail(raw))
            source = stack.enter_context(zipfile.ZipFile(raw))
            content = await asyncio.to_thread(_read, source)
            called = content.name if name is None else name
            await asyncio.to_thread(check, called, content.turns, content.pictures)

        async def pixels(sha: str) -> bytes | None:
            with _said_of(file):  # it was read before, and may have changed since
                entry = content.entries.get(sha)
                return await asyncio.to_thread(_unpack, source, entry) if entry else None

        count = len({picture.sha256 for picture in content.pictures})
        await history.create(
            called,
            content.turns,
            content.pictures,
            pixels,
            lambda done: tell(done, count),
            content.dropped,
        )
    return Carried(called, len(content.turns), len(content.pictures), content.notices)


@contextmanager
def _said_of(file: Path) -> Iterator[None]:
    """Make whatever a damaged file raises one line that names it."""
    try:
        yield
    except (ArchiveRefused, *_BROKEN) as error:
        raise ArchiveRefused(
            f"{file} cannot be read as a conversation: {_reason(error)}; nothing was imported"
        ) from error


#: What the standard library raises for an archive that is damaged, encrypted or unusual
_BROKEN = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    UnicodeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
)


@dataclass(frozen=True, slots=True)
class _Content:
    name: str
    turns: tuple[Turn, ...]
    pictures: tuple[PictureRef, ...]
    dropped: tuple[int, ...]
    notices: tuple[str, ...]
    entries: Mapping[str, zipfile.ZipInfo]  #: of pictures, by SHA-256


def _tail(raw: Any) -> tuple[int, bytes]:
    size: int = raw.seek(0, os.SEEK_END)
    raw.seek(max(0, size - 42))
    return size, raw.read(42)


def _check_directory(size: int, tail: bytes) -> None:
    """Refuse a list of entries that is too long, before it is read: ``tail`` is the file's end."""
    end = tail[-22:]
    if len(end) < 22 or end[:4] != b"PK\x05\x06" or end[20:] != b"\0\0":
        _refuse("no export of a conversation, or cut off")
    count, length = struct.unpack("<HI", end[10:16])
    if b"PK\x06\x07" in tail[:20] or count > ENTRIES or length > min(size, DIRECTORY_BYTES):
        _refuse(f"more than {ENTRIES:,} entries")


def _read(source: zipfile.ZipFile) -> _Content:
    """Return what the archive holds, all of it checked."""
    text, entries = _entries(source)
    value = json.loads(_unpack(source, text), parse_constant=_refuse_constant)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        _refuse(f"not of format {FORMAT}, which this version reads")
    turns = tuple(Turn.from_json(item) for item in value["turns"])
    pictures = tuple(PictureRef.from_json(item) for item in value["pictures"])
    if not turns or len({turn.id for turn in turns}) != len(turns):
        _refuse("it has no turns, or two of the same id")
    numbers = {picture.number for picture in pictures}
    if len(numbers) != len(pictures) or min(numbers, default=1) < 1:
        _refuse("two of its pictures have the same number")
    dropped = _dropped(value.get("dropped", []), numbers)
    known = {picture.sha256: picture for picture in pictures}
    if strange := entries.keys() - known.keys():
        _refuse(f"picture {min(strange)[:12]}… is in it that no turn knows")
    for sha, entry in entries.items():
        data = _unpack(source, entry)
        if hashlib.sha256(data).hexdigest() != sha or len(data) != known[sha].bytes:
            _refuse(f"picture {known[sha].number} is not the one its hash names")
    notices = tuple(str(text) for text in value["notices"])
    if missing := known.keys() - entries.keys() - set(value["gone"]):
        _refuse(f"{len(missing)} of its pictures are missing")
    return _Content(str(value["id"]), turns, pictures, dropped, notices, entries)


def _dropped(value: Any, numbers: set[int]) -> tuple[int, ...]:
    """Return the numbers that are not given again; ``numbers`` are those of its pictures. Files of
    earlier versions have none."""
    if not isinstance(value, list) or not all(type(number) is int for number in value):
        _refuse("its dropped pictures are no list of numbers")
    if len(value) > ENTRIES or max([*value, *numbers], default=1) > HIGHEST:
        _refuse(f"more than {ENTRIES:,} dropped pictures, or a number above {HIGHEST:,}")
    if min(value, default=1) < 1 or numbers & set(value):
        _refuse("a dropped picture is in it, or has no number")
    return tuple(sorted(set(value)))


def _entries(source: zipfile.ZipFile) -> tuple[zipfile.ZipInfo, dict[str, zipfile.ZipInfo]]:
    """Return the text's entry and those of the pictures; refuse any other, and too large ones."""
    text: zipfile.ZipInfo | None = None
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in source.infolist():
        match = PICTURE.fullmatch(entry.filename)
        most = PICTURE_BYTES if match else TEXT_BYTES
        if entry.file_size > most:
            _refuse(f"an entry of {entry.file_size >> 20} MB, the most is {most >> 20}")
        if match and match[1] not in entries:
            entries[match[1]] = entry
        elif entry.filename == TEXT and text is None:
            text = entry
        else:
            _refuse(f"an entry that does not belong there: {entry.filename[:80]!r}")
    if text is None:
        _refuse(f"no {TEXT} in it")
    return text, entries


def _unpack(source: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the bytes of an entry, never more than its list announced."""
    with source.open(entry) as packed:
        data = packed.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        _refuse("an entry is not as long as announced")
    return data


def _entry(sha256: str, media_type: str) -> str:
    return f"pictures/{sha256}.{ENDING.get(media_type, 'bin')}"


def _json(value: dict[str, Any]) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, indent=1).encode()
    except UnicodeEncodeError:  # a lone surrogate has an ASCII form only
        return json.dumps(value, indent=1).encode()


def _refuse(reason: str) -> NoReturn:
    raise ArchiveRefused(reason)


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"{name} is no number")


def _reason(error: BaseException) -> str:
    said = " ".join(str(error.strerror if isinstance(error, OSError) else error).split())
    return (said or type(error).__name__)[:200]
