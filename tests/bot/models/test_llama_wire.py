"""Frames between a program and its local model's process."""

import io
import json
import math
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bot.errors import ModelBusy, ModelError
from bot.models.llama import wire
from bot.models.llama.files import ModelFiles
from bot.models.llama.values import (
    Delta,
    Info,
    Line,
    LogProb,
    Options,
    Outcome,
    Pixels,
    Request,
    Sampling,
)

ODD = 'a\0\n"\\ 😀 \ud800 \u2028 <|im_end|> <__media__>'
PICTURES = (Pixels(2, 1, b"redgrn"), Pixels(1, 1, b"blu"), Pixels(3, 3, b""))
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
REQUEST = Request(
    lines=(
        Line("system", (ODD,)),
        Line("user", (PICTURES[0], "and", PICTURES[1], PICTURES[2], "")),
        Line("assistant", (), calls=({"name": "look", "arguments": {"at": 1.5}, "id": "c1"},)),
        Line("tool", ("3",), call_id="c1", name="look"),
    ),
    max_tokens=7,
    sampling=Sampling(0.5, 0.9, 3, 0.1, 42, grammar='root ::= "a"', logprobs=2),
    stops=("\n", ODD),
    tenant="tenant 😀",
    seconds=1.5,
    tools=(TOOL,),
)


def through(body: dict[str, Any], pixels: list[bytes] | None = None) -> wire.Frame:
    """Send a frame through bytes."""
    frame = wire.read(io.BytesIO(b"".join(wire.pack(body, pixels or []))))
    assert frame is not None
    return frame


def test_a_request_comes_through_unchanged() -> None:
    body, pixels = through(*wire.request_out(REQUEST))
    assert wire.request_in(body, pixels) == REQUEST


@pytest.mark.parametrize(
    "said",
    [
        Delta(ODD),
        Delta("", (LogProb("a", -0.5, (("a", -0.5), ("b", -math.inf))), LogProb(ODD, -1.0))),
        Outcome("stop"),
        Outcome("cancelled", 9, 8, 7, 6, 5, 4, 3.5, 2.5),
    ],
)
def test_what_a_model_says_comes_through_unchanged(said: wire.Said) -> None:
    assert wire.said_in(through(wire.said_out(said))[0]) == said


def test_errors_come_through_with_their_kind_and_words() -> None:
    error = wire.said_in(through(wire.said_out(ModelError(ODD)))[0])
    busy = wire.said_in(through(wire.said_out(ModelBusy("busy", 2.5)))[0])
    assert type(error) is ModelError
    assert str(error) == ODD
    assert isinstance(busy, ModelBusy)
    assert (str(busy), busy.retry_after) == ("busy", 2.5)


@pytest.mark.parametrize("cache", [None, Path("a folder/😀")])
def test_files_and_options_come_through_unchanged(cache: Path | None) -> None:
    files = ModelFiles(Path("/a/text \udcff.gguf"), Path("eyes.gguf") if cache else None)
    options = Options(kv_tokens=5, threads=1, kv_type="q8_0", step_seconds=1, cache=cache)
    assert wire.read_opening(through(wire.opening(files, options))[0]) == (files, options)


def test_what_a_model_is_comes_through_unchanged() -> None:
    info = Info("n", 4096, True, 1024, False, True, "f" * 64, "small")
    assert wire.info_in(through(asdict(info))[0]) == info


def test_frames_follow_each_other_and_end_where_the_other_side_ended() -> None:
    frames = [({"n": n}, b"x" * n) for n in range(3)]
    data = b"".join(b"".join(wire.pack(body, [pixels])) for body, pixels in frames)
    file = io.BytesIO(data)
    assert [wire.read(file) for _ in range(4)] == [*frames, None]
    for end in range(len(data)):
        file = io.BytesIO(data[:end])
        while wire.read(file) is not None:
            pass  # a frame cut short is an end, wherever it was cut


@pytest.mark.parametrize(
    "sizes", [(wire.MOST_JSON + 1, 0), (2, wire.MOST_PIXELS + 1), (2**32 - 1, 2**64 - 1)]
)
def test_a_frame_over_the_caps_is_refused_before_it_is_read(sizes: tuple[int, int]) -> None:
    file = io.BytesIO(struct.pack("<IQ", *sizes) + b"{}")
    with pytest.raises(wire.WireError, match="a frame of"):
        wire.read(file)
    assert file.tell() == 12


def test_more_than_a_frame_holds_is_refused_with_the_way_out() -> None:
    with pytest.raises(ModelError, match=r"words take 64 MiB.*fewer or smaller words"):
        wire.pack({"text": "x" * wire.MOST_JSON})
    with pytest.raises(ModelError, match=r"pictures take 448 MiB.*fewer or smaller pictures"):
        wire.pack({}, [bytes(wire.MOST_PIXELS // 2)] * 2 + [b"x"])


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes"])
def test_what_is_no_json_cannot_be_sent(value: object) -> None:
    with pytest.raises(ModelError, match="plain JSON"):
        wire.pack({"tools": [value]})
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ModelError, match="plain JSON"):
        wire.pack({"tools": deep})


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"1", b"\xff{}", '{"é":1}'.encode(), b"[" * 100_000, b'{"a":01}']
)
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.read(io.BytesIO(struct.pack("<IQ", len(text), 0) + text))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of JSON data with one value replaced."""
    copy = json.loads(json.dumps(data))
    at = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("lines",), None),
        (("lines", 0), "user"),
        (("lines", 0, "role"), 1),
        (("lines", 0, "more"), 1),
        (("lines", 0, "parts"), "words"),
        (("lines", 1, "parts", 0), [2, 1]),
        (("lines", 1, "parts", 0), [2, 1, 5]),
        (("lines", 1, "parts", 0), [2, 1, 0]),
        (("lines", 1, "parts", 0), [-2, -1, 6]),
        (("lines", 1, "parts", 0), [0, 1, 0]),
        (("lines", 1, "parts", 0), [2.0, 1, 6]),
        (("lines", 1, "parts", 0), None),
        (("lines", 2, "calls", 0), "look"),
        (("max_tokens",), "7"),
        (("sampling", "seed"), "1"),
        (("sampling", "more"), 1),
        (("sampling", "temperature"), None),
        (("stops",), "\n"),
        (("stops", 0), 1),
        (("tenant",), None),
        (("seconds",), "1"),
        (("tools", 0), "look"),
    ],
)
def test_a_request_of_another_form_is_refused(path: tuple[Any, ...], value: object) -> None:
    told, pixels = wire.request_out(REQUEST)
    assert wire.request_in(json.loads(json.dumps(told)), b"".join(pixels)) == REQUEST
    with pytest.raises(wire.WireError):
        wire.request_in(changed(told, path, value), b"".join(pixels))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": 1},
        {"text": "a", "logprobs": [["a"]]},
        {"text": "a", "logprobs": [["a", "b", []]]},
        {"text": "a", "logprobs": [["a", -1, [["a"]]]]},
        {"outcome": {}},
        {"outcome": asdict(Outcome("stop")) | {"reason": "tired"}},
        {"outcome": asdict(Outcome("stop")) | {"read": "1"}},
        {"error": None},
        {"error": "a", "retry_after": "soon"},
    ],
)
def test_an_answer_of_another_form_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(wire.WireError):
        wire.said_in(body)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk through all places in JSON data."""
    if path:
        yield path
    steps = data.items() if isinstance(data, dict) else enumerate(data)
    for step, value in steps:
        if isinstance(value, dict | list):
            yield from places(value, (*path, step))
        else:
            yield (*path, step)


ODDITIES: tuple[Any, ...] = (None, True, -1, 10**30, 0.5, "", "x", [], [[]], {}, {"a": 1})


def test_nothing_but_a_refusal_comes_of_any_oddity_in_any_place() -> None:
    told, pixels = wire.request_out(REQUEST)
    opening = wire.opening(ModelFiles(Path("a")), Options())
    ends: list[tuple[Any, Callable[[Any], object]]] = [
        (told, lambda data: wire.request_in(data, b"".join(pixels))),
        (opening, wire.read_opening),
        (wire.said_out(Outcome("stop")), wire.said_in),
        (wire.said_out(Delta("a", (LogProb("a", -1.0, (("b", -2.0),)),))), wire.said_in),
        (wire.said_out(ModelBusy("a", 1.0)), wire.said_in),
    ]
    tried = refused = 0
    for data, read in ends:
        for path in places(data):
            for oddity in ODDITIES:
                tried += 1
                try:
                    read(changed(data, path, oddity))
                except wire.WireError:
                    refused += 1
    assert tried > 600
    assert refused > tried // 2


def test_nothing_but_a_refusal_or_an_end_comes_of_damaged_bytes() -> None:
    told, pixels = wire.request_out(REQUEST)
    whole = b"".join(wire.pack(told, pixels))
    dice = random.Random(7)
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        file = io.BytesIO(
            bytes(data[: dice.randint(0, len(data))] if dice.random() < 0.3 else data)
        )
        try:
            while (frame := wire.read(file)) is not None:
                wire.request_in(*frame)
        except wire.WireError:
            continue
