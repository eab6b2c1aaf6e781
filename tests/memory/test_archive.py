"""A conversation as one file: it comes back exactly, and a damaged one is refused whole."""

import hashlib
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memory import archive
from memory.archive import TEXT, Carried, export_conversation, import_conversation
from memory.errors import (
    ArchiveRefused,
    ConversationExists,
    ConversationNotFound,
    HistoryError,
    PictureNotFound,
)
from memory.messages import PictureRef, Turn
from memory.records import conversation_key, picture_key
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
Change = Callable[[dict[str, bytes]], None]


@pytest.fixture
def history(history_anywhere: RedisHistory) -> RedisHistory:
    """Return a history on the embedded server, and one on a cluster."""
    return history_anywhere


@pytest.fixture
async def exported(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture, tmp_path: Path
) -> Path:
    """Conversation c1 in a file: three turns, two pictures of the same bytes, and another."""
    (one, blobs), (two, _), (three, more) = (
        make_picture(1, b"same" * 400, name="a.png"),
        make_picture(2, b"same" * 400),
        make_picture(3),
    )
    await history.save("c1", make_turn("what?", (1, 2)), (one, two), blobs)
    turn = make_turn('two lines\n"quoted" \ud800 \x00 漢字', at=1234567890.123456)
    await history.save("c1", replace(turn, ledger={"x": [1, 0.1, None, {"y": "z"}]}))
    await history.save("c1", make_turn(pictures=(1, 3)), (three,), more)
    file = tmp_path / "c1.zip"
    done = await export_conversation(history, "c1", file)
    assert done == Carried("c1", 3, 3)
    return file


def entries(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as source:
        return {name: source.read(name) for name in source.namelist()}


def write(file: Path, content: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", kind) as target:
        for name, data in content.items():
            target.writestr(name, data)
    return file


def content_of(file: Path) -> bytes:
    return file.read_bytes()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def untouched(history: RedisHistory) -> None:
    """Nothing but c1 is there, and nothing holds a picture besides it."""
    assert [line.id for line in await history.conversations()] == ["c1"]
    client: Any = history._link.client
    keys = [key.decode() for key in await client.keys(picture_key(history.tenant, "*", "holders"))]
    for key in keys:
        assert await client.zcard(key) == 1


async def test_a_conversation_comes_back_exactly_under_its_own_name_and_another(
    history: RedisHistory, exported: Path
) -> None:
    """Turns, citations, ledgers, references, numbers and bytes; and the file is the same again."""
    before = await history.load("c1")
    assert await import_conversation(history, exported, "copy") == Carried("copy", 3, 3)
    assert replace(await history.load("copy"), id="c1") == before
    await history.forget("c1")
    told: list[tuple[int, int]] = []
    await import_conversation(history, exported, tell=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]
    assert await history.load("c1") == before
    for picture in before.pictures:
        data = await history.picture("c1", picture.number)
        assert hashlib.sha256(data).hexdigest() == picture.sha256
    again = exported.with_name("again.zip")
    await export_conversation(history, "c1", again)
    assert entries(again) == entries(exported)
    await history.forget("copy")
    assert await history.picture("c1", 3)


async def test_the_next_turn_of_an_imported_conversation_goes_on_from_there(
    history: RedisHistory, exported: Path, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """New pictures get the next numbers."""
    await import_conversation(history, exported, "copy")
    ref, blobs = make_picture(1, b"new")
    stored = await history.save("copy", make_turn("more?", (1,)), (ref,), blobs)
    assert stored.question.pictures == (4,)
    assert (await history.load("copy")).total == 4


async def test_what_is_taken_or_not_there_is_one_line_and_changes_nothing(
    history: RedisHistory, exported: Path, tmp_path: Path
) -> None:
    """A name, a file, a folder, a conversation."""
    with pytest.raises(ConversationExists, match="give another name"):
        await import_conversation(history, exported)
    with pytest.raises(ArchiveRefused, match="is there already"):
        await export_conversation(history, "c1", exported)
    with pytest.raises(ArchiveRefused, match="cannot be written"):
        await export_conversation(history, "c1", tmp_path / "none" / "x.zip")
    with pytest.raises(ConversationNotFound):
        await export_conversation(history, "none", tmp_path / "x.zip")
    with pytest.raises(ArchiveRefused, match="cannot be read"):
        await import_conversation(history, tmp_path / "none.zip")
    with pytest.raises(ArchiveRefused):
        await import_conversation(history, tmp_path)
    assert names(tmp_path) == {"c1.zip"}
    await untouched(history)


async def test_a_picture_that_is_gone_is_said_and_the_rest_is_carried(
    history: RedisHistory, exported: Path, tmp_path: Path
) -> None:
    """Its reference and caption stay, on the other side too; a damaged turn is named."""
    client: Any = history._link.client
    ref = (await history.load("c1")).pictures[2]
    await client.delete(picture_key(history.tenant, ref.sha256, "bytes"))
    await client.lset(conversation_key(history.tenant, "c1", "turns"), 1, b"damaged")
    done = await export_conversation(history, "c1", tmp_path / "gone.zip")
    assert (done.turns, done.pictures, len(done.notices)) == (2, 3, 2)
    back = await import_conversation(history, tmp_path / "gone.zip", "back")
    assert back.notices == done.notices
    assert (await history.load("back")).pictures[2] == ref
    await history.forget("back")
    await history.forget("c1")
    assert await client.keys(picture_key(history.tenant, "*", "*").replace("{", "?")) == []


async def test_a_number_that_was_dropped_does_not_return_in_an_imported_conversation(
    history: RedisHistory,
    exported: Path,
    tmp_path: Path,
    make_turn: MakeTurn,
    make_picture: MakePicture,
) -> None:
    """The highest one and one between; what still speaks of them is told that they were dropped,
    and a copy of the copy knows them, too."""
    await history.drop("c1", 3)
    await history.drop("c1", 1)
    await export_conversation(history, "c1", tmp_path / "one.zip")
    await import_conversation(history, tmp_path / "one.zip", "two")
    await export_conversation(history, "two", tmp_path / "two.zip")
    await import_conversation(history, tmp_path / "two.zip", "three")
    for name in ("two", "three"):
        loaded = await history.load(name)
        assert ([p.number for p in loaded.pictures], loaded.dropped) == ([2], (1, 3))
        with pytest.raises(PictureNotFound, match="was dropped"):
            await history.picture(name, 3)
        ref, blobs = make_picture(1, b"new")
        stored = await history.save(name, make_turn("more?", (1,)), (ref,), blobs)
        assert stored.question.pictures == (4,)
    counts = {line.id: line.pictures for line in await history.conversations()}
    assert counts == {"c1": 1, "two": 2, "three": 2}


async def test_a_file_that_does_not_tell_of_dropped_pictures_is_imported(
    history: RedisHistory, exported: Path, tmp_path: Path
) -> None:
    """Those written before there was such a field have none."""
    content = entries(exported)
    value = json.loads(content[TEXT])
    assert value.pop("dropped") == []
    content[TEXT] = json.dumps(value).encode()
    await import_conversation(history, write(tmp_path / "old.zip", content), "old")
    loaded = await history.load("old")
    assert ([p.number for p in loaded.pictures], loaded.dropped) == ([1, 2, 3], ())


def _text(**changes: Any) -> Change:
    def change(content: dict[str, bytes]) -> None:
        value = json.loads(content[TEXT])
        value.update(changes)
        content[TEXT] = json.dumps(value).encode()

    return change


def _rename(new: str) -> Change:
    def change(content: dict[str, bytes]) -> None:
        content[new] = content.pop(next(name for name in content if name != TEXT))

    return change


def _add(name: str) -> Change:
    return lambda content: content.update({name: b"x"})


def _raw(text: bytes) -> Change:
    return lambda content: content.update({TEXT: text})


def _other_bytes(content: dict[str, bytes]) -> None:
    content[next(name for name in content if name != TEXT)] = b"not these"


def _twice(content: dict[str, bytes]) -> None:
    value = json.loads(content[TEXT])
    value["turns"] *= 2
    content[TEXT] = json.dumps(value).encode()


def _no_text(content: dict[str, bytes]) -> None:
    del content[TEXT]


CHANGES: dict[str, Change] = {
    "another format": _text(format=2),
    "no turns": _text(turns=[]),
    "turns of nothing": _text(turns=[{}]),
    "turns that are no list": _text(turns=7),
    "no pictures": _text(pictures=[]),
    "pictures of nothing": _text(pictures=[None]),
    "a turn twice": _twice,
    "dropped pictures that are no list": _text(dropped=7),
    "a dropped picture that is no number": _text(dropped=["4"]),
    "a dropped picture that is there": _text(dropped=[2]),
    "a dropped picture below the first": _text(dropped=[0]),
    "a dropped picture of a number without end": _text(dropped=[10**40]),
    "too many dropped pictures": _text(dropped=list(range(4, 30_000))),
    "no JSON": _raw(b"{"),
    "no object": _raw(b"[]"),
    "deep": _raw(b"[" * 100_000),
    "not a number": _raw(b'{"format": NaN}'),
    "no UTF-8": _raw(b"\xff\xfe"),
    "no text": _no_text,
    "other bytes": _other_bytes,
    "up": _rename("../../evil.png"),
    "root": _rename("/etc/passwd"),
    "back": _rename("pictures\\..\\x.png"),
    "another folder": _add("pictures/../../x"),
    "a strange file": _add("readme.txt"),
    "a folder": _add("pictures/"),
    "a strange picture": _add(f"pictures/{'0' * 64}.png"),
    "a short hash": _add("pictures/00.png"),
    "a Unicode digit": _add(f"pictures/{'0' * 63}٣.png"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_file_of_another_form_is_refused_whole(
    history: RedisHistory, exported: Path, tmp_path: Path, name: str
) -> None:
    """One line, nothing stored, nothing written beside it."""
    content = entries(exported)
    CHANGES[name](content)
    file = write(tmp_path / "changed.zip", content)
    with pytest.raises(ArchiveRefused, match="nothing was imported") as caught:
        await import_conversation(history, file, "new")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"c1.zip", "changed.zip"}
    await untouched(history)


async def test_a_bomb_is_refused_before_it_is_unpacked(
    history: RedisHistory, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too large an entry, too many entries, a text that is longer than its list says."""
    monkeypatch.setattr(archive, "TEXT_BYTES", 1 << 20)
    monkeypatch.setattr(archive, "PICTURE_BYTES", 1 << 20)
    content = entries(exported)
    large = write(tmp_path / "1.zip", {**content, TEXT: b" " * (2 << 20)}, zipfile.ZIP_DEFLATED)
    assert large.stat().st_size < 20_000
    picture = {**content, f"pictures/{'0' * 64}.png": bytes(2 << 20)}
    many = {**content, **{f"{number}": b"" for number in range(archive.ENTRIES)}}
    for number, bomb in enumerate((picture, many), 2):
        write(tmp_path / f"{number}.zip", bomb, zipfile.ZIP_DEFLATED)
    for number, words in ((1, "an entry of 2 MB"), (2, "an entry of 2 MB"), (3, "entries")):
        with pytest.raises(ArchiveRefused, match=words):
            await import_conversation(history, tmp_path / f"{number}.zip", "new")
    data = bytearray(content_of(exported))
    at = data.rfind(TEXT.encode()) - 46  # its line in the list: the size is at byte 24
    assert data[at : at + 4] == b"PK\x01\x02"
    data[at + 24 : at + 28] = (100).to_bytes(4, "little")
    (tmp_path / "4.zip").write_bytes(data)
    with pytest.raises(ArchiveRefused):
        await import_conversation(history, tmp_path / "4.zip", "new")
    await untouched(history)


async def test_a_damaged_file_is_refused_or_is_the_same(
    history: RedisHistory, exported: Path, tmp_path: Path
) -> None:
    """Cut off anywhere, and with bytes changed anywhere: never a part, never an unclear error."""
    chance = random.Random(11)
    whole, before = content_of(exported), await history.load("c1")
    file = tmp_path / "damaged.zip"
    refused: list[HistoryError] = []
    for number in range(120):
        data = bytearray(whole)
        if number < 30:
            del data[chance.randrange(len(data)) :]
        else:
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
        file.write_bytes(data)
        try:
            await import_conversation(history, file, "new")
        except HistoryError as error:
            refused.append(error)
        else:
            assert replace(await history.load("new"), id="c1") == before
            await history.forget("new")
    assert len(refused) > 80
    assert all(isinstance(error, ArchiveRefused) and "\n" not in str(error) for error in refused)
    await untouched(history)


async def test_a_large_archive_form_is_refused(
    history: RedisHistory, exported: Path, tmp_path: Path
) -> None:
    """A zip64 end, a comment, and an encrypted entry are none that Bifocal writes."""
    content = entries(exported)
    commented = tmp_path / "comment.zip"
    write(commented, content)
    with zipfile.ZipFile(commented, "a") as target:
        target.comment = b"hello"
    whole = content_of(exported)
    large = tmp_path / "large.zip"
    large.write_bytes(whole[:-22] + b"PK\x06\x07" + bytes(16) + whole[-22:])
    locked = bytearray(whole)
    locked[6] |= 1
    at = locked.rfind(b"PK\x01\x02")
    locked[at + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    for name in ("comment.zip", "large.zip", "locked.zip"):
        with pytest.raises(ArchiveRefused):
            await import_conversation(history, tmp_path / name, "new")
    await untouched(history)
