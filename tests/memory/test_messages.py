"""The stored form of what a conversation holds, and its names in Redis."""

import json
from dataclasses import replace

import pytest

from memory.assembly import read_picture, read_turn, renumber, title
from memory.errors import HistoryDamaged
from memory.messages import Message, PictureRef, Turn
from memory.records import (
    conversation_key,
    decode_name,
    encode_name,
    pack,
    picture_key,
    picture_pattern,
    unpack,
)

TURN = Turn(
    id="t1",
    question=Message("Was ist das? 这是什么？ \ud83d\n\x00", (1, 2)),
    answer=Message("A dog.", (3,)),
    at=1234.5,
    citations=({"n": 1, "picture": 2, "box": [0.1, 0.2, 0.3, 0.4]},),
    ledger={"a": {"b": [1, 2.5, None, True, "x"]}},
)
PICTURE = PictureRef(3, "ab" * 32, "image/webp", 640, 480, 12345, "bot", "Hund.webp", "ein Hund")

NAMES = [
    "c1",
    "",
    "*",
    "a?b[c]",
    "{x}",
    "}:{",
    "a:b",
    "a/b",
    "ünï🎈",
    "\ud800",
    "%41",
    "A",
    "a b\n",
]


def test_a_turn_round_trips() -> None:
    assert Turn.from_json(json.loads(json.dumps(TURN.to_json()))) == TURN
    assert read_turn(pack(TURN.to_json())) == TURN


def test_a_picture_reference_round_trips() -> None:
    assert PictureRef.from_json(json.loads(json.dumps(PICTURE.to_json()))) == PICTURE
    assert read_picture(pack(PICTURE.to_json())) == PICTURE


def test_when_a_picture_came_and_from_whom_is_kept_and_may_be_missing() -> None:
    """``at`` and ``who`` round-trip; a record from before they were is read with neither."""
    known = replace(PICTURE, at=1764176400.5, who="Anna")
    assert read_picture(pack(known.to_json())) == known
    assert {"at", "who"}.isdisjoint(PICTURE.to_json())
    assert PictureRef.from_json(PICTURE.to_json()) == PICTURE


def test_a_turn_of_another_format_is_refused() -> None:
    value = TURN.to_json() | {"v": 99}
    with pytest.raises(ValueError, match="format 99"):
        Turn.from_json(value)
    assert read_turn(pack(value)) is None


def test_every_single_flipped_bit_of_a_record_is_noticed() -> None:
    record = pack(TURN.to_json())
    for place in range(len(record)):
        for bit in range(8):
            flipped = bytearray(record)
            flipped[place] ^= 1 << bit
            with pytest.raises(HistoryDamaged):
                unpack(bytes(flipped))


def test_a_record_cut_short_is_noticed() -> None:
    record = pack(PICTURE.to_json())
    for size in range(len(record)):
        with pytest.raises(HistoryDamaged):
            unpack(record[:size])


def test_a_record_is_little_longer_than_its_json() -> None:
    plain = json.dumps(TURN.to_json() | {"q": Message("hello").to_json()}).encode()
    assert len(pack(TURN.to_json() | {"q": Message("hello").to_json()})) <= len(plain) + 8


def test_any_name_is_one_name_and_no_pattern() -> None:
    encoded = [encode_name(name) for name in NAMES]
    assert [decode_name(name) for name in encoded] == NAMES
    assert len(set(encoded)) == len(NAMES)
    assert not set("".join(encoded)) & set("*?[]\\{}:/ \n^")


def test_keys_of_two_tenants_or_conversations_never_meet() -> None:
    keys = [conversation_key(t, c, "turns") for t in NAMES for c in NAMES]
    keys += [picture_key(t, "ab" * 32, "bytes") for t in NAMES]
    assert len(set(keys)) == len(keys)


def test_all_keys_of_a_conversation_share_one_hash_tag() -> None:
    tags = set()
    for part in ("turns", "pictures", "meta"):
        key = conversation_key("t{}", "c}{", part)
        assert key.count("{") == key.count("}") == 1
        tags.add(key.partition("{")[2].partition("}")[0])
    assert len(tags) == 1
    assert picture_key("a", "00", "bytes").startswith(picture_pattern("a").removesuffix("*"))
    assert not picture_key("ab", "00", "bytes").startswith(picture_pattern("a").removesuffix("*"))


def test_only_new_pictures_are_numbered_anew() -> None:
    turn = Turn("t", Message("and these?", (1, 4, 5)), Message("", (4,)), 0.0)
    new = [PictureRef(n, f"{n}" * 64, "image/png", 1, 1, 1) for n in (4, 5)]
    stored, refs = renumber(turn, new, 6)
    assert stored.question.pictures == (1, 6, 7)
    assert stored.answer.pictures == (6,)
    assert [ref.number for ref in refs] == [6, 7]
    assert renumber(turn, new, 4) == (turn, tuple(new))


def test_a_title_is_one_short_line() -> None:
    long = Turn("t", Message("why  \n is " + "it so " * 40), Message(), 0.0)
    assert len(title(long, ())) <= 80
    assert "\n" not in title(long, ())
    assert title(Turn("t", Message(), Message(), 0.0), (PICTURE,)) == "(Hund.webp)"
