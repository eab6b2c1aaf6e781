"""Frames between a program and its local model's process: plain values as JSON, pixels as bytes.

A frame is two sizes (little-endian: JSON 4 bytes, pixels 8), a JSON object, and the bytes of its
pictures in order. Nothing is unpickled, sizes are capped, and what is read is checked field by
field: neither side trusts the other. Knows nothing of processes, threads or models.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import IO, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from bot.errors import ModelBusy, ModelError
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

MOST_JSON = 64 << 20  # bytes
MOST_PIXELS = 448 << 20  # bytes; a frame is 512 MiB at most
_HEAD = struct.Struct("<IQ")
_encode = json.JSONEncoder(separators=(",", ":")).encode

Frame = tuple[dict[str, Any], bytes]
Said = Delta | Outcome | ModelError
T = TypeVar("T")


class WireError(ModelError):
    """What was read is no frame, or not one that was to be expected."""


# frames


def pack(body: Mapping[str, Any], pixels: Sequence[bytes] = ()) -> list[bytes]:
    """Return a frame's bytes, in pieces. Raises ``ModelError`` for what no frame can hold."""
    try:
        text = _encode(body).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"a request cannot be sent to the model's process: {error}; use plain JSON values"
        ) from error
    size = sum(map(len, pixels))
    for what, bytes_, most in (("words", len(text), MOST_JSON), ("pictures", size, MOST_PIXELS)):
        if bytes_ > most:
            raise ModelError(
                f"a request's {what} take {bytes_ >> 20} MiB, {most >> 20} MiB at most can be sent"
                f" to the model's process: send fewer or smaller {what}"
            )
    return [_HEAD.pack(len(text), size) + text, *pixels]


def read(file: IO[bytes]) -> Frame | None:
    """Return the next frame, or None where the other side has ended, in mid-frame too.

    Raises ``WireError`` for sizes over the caps and for what is no JSON object.
    """
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    text_size, size = _HEAD.unpack(head)
    if text_size > MOST_JSON or size > MOST_PIXELS:
        raise WireError(f"a frame of {text_size} + {size} bytes")
    text = file.read(text_size)
    pixels = file.read(size) if size else b""
    if len(text) < text_size or len(pixels) < size:
        return None
    try:
        body = json.loads(text.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"no JSON: {error}") from error
    return typed(body, dict), pixels


def typed(value: Any, kind: type[T]) -> T:
    """Return ``value`` if it is of this kind, else raise ``WireError``."""
    if not isinstance(value, kind):
        raise WireError(f"{type(value).__name__} in the place of {kind.__name__}")
    return value


# flat values: Options, Sampling, Outcome, Info


def flat(kind: type[T], data: Any) -> T:
    """Return a value of a flat dataclass from its ``dataclasses.asdict``, or ``WireError``."""
    given = typed(data, dict)
    hints = get_type_hints(kind)
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for name in names ^ set(given):
        raise WireError(f"{kind.__name__}.{name}")
    for name in names:
        if not _fits(given[name], hints[name]):
            raise WireError(f"{kind.__name__}.{name} is {given[name]!r:.80}")
    return kind(**given)


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if hint is NoneType:
        return value is None
    return isinstance(value, int | float if hint is float else hint)


# what a program says


def opening(files: ModelFiles, options: Options) -> dict[str, Any]:
    """Return the JSON form of what a model is opened with."""
    paths = (files.text, files.projector, options.cache)
    return {
        "paths": [None if p is None else str(p) for p in paths],
        "options": {**asdict(options), "cache": None},
    }


def read_opening(body: Mapping[str, Any]) -> tuple[ModelFiles, Options]:
    """Read :func:`opening`; as the others, raises ``WireError`` for what is none."""
    text, projector, cache = (
        None if p is None else Path(typed(p, str)) for p in _list(body, "paths", 3)
    )
    if text is None:
        raise WireError("no text model")
    options = flat(Options, {**typed(body.get("options"), dict), "cache": cache})
    return ModelFiles(text, projector), options


def lines_out(lines: Sequence[Line]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the JSON form of lines, and their pixels in order."""
    pixels = [p.data for line in lines for p in line.parts if isinstance(p, Pixels)]
    told = [
        {
            "role": line.role,
            "parts": [
                p if isinstance(p, str) else [p.width, p.height, len(p.data)] for p in line.parts
            ],
            "calls": list(map(dict, line.calls)),
            "call_id": line.call_id,
            "name": line.name,
        }
        for line in lines
    ]
    return told, pixels


def lines_in(data: Any, pixels: bytes) -> tuple[Line, ...]:
    """Read :func:`lines_out`; a picture has all of its pixels, or none (only its size matters)."""
    at = 0

    def part(value: Any) -> str | Pixels:
        nonlocal at
        if isinstance(value, str):
            return value
        width, height, size = (typed(n, int) for n in _items(value, 3))
        if width < 1 or height < 1 or size not in (0, width * height * 3):
            raise WireError(f"a picture of {width}x{height} in {size} bytes")
        at += size
        return Pixels(width, height, pixels[at - size : at])

    lines = tuple(
        Line(
            role=typed(line["role"], str),
            parts=tuple(part(p) for p in _list(line, "parts")),
            calls=tuple(typed(c, dict) for c in _list(line, "calls")),
            call_id=typed(line["call_id"], str),
            name=typed(line["name"], str),
        )
        for line in map(_line, typed(data, list))
    )
    if at != len(pixels):
        raise WireError(f"{len(pixels)} bytes of pixels where {at} were told")
    return lines


def _line(value: Any) -> dict[str, Any]:
    line = typed(value, dict)
    if line.keys() != {"role", "parts", "calls", "call_id", "name"}:
        raise WireError(f"a line of {sorted(map(str, line))}")
    return line


def request_out(request: Request) -> tuple[dict[str, Any], list[bytes]]:
    """Return the JSON form of a request, and its pixels in order."""
    lines, pixels = lines_out(request.lines)
    told = {
        "lines": lines,
        "max_tokens": request.max_tokens,
        "sampling": asdict(request.sampling),
        "stops": list(request.stops),
        "tenant": request.tenant,
        "seconds": request.seconds,
        "tools": list(map(dict, request.tools)),
    }
    return told, pixels


def request_in(data: Any, pixels: bytes) -> Request:
    """Read :func:`request_out`."""
    told = typed(data, dict)
    seconds = told.get("seconds")
    return Request(
        lines=lines_in(told.get("lines"), pixels),
        max_tokens=typed(told.get("max_tokens"), int),
        sampling=flat(Sampling, told.get("sampling")),
        stops=tuple(typed(s, str) for s in _list(told, "stops")),
        tenant=typed(told.get("tenant"), str),
        seconds=None if seconds is None else _number(seconds),
        tools=tools_in(told.get("tools")),
    )


def tools_in(data: Any) -> tuple[dict[str, Any], ...]:
    """Read tools."""
    return tuple(typed(tool, dict) for tool in typed(data, list))


# what a model's process says


def said_out(said: Said) -> dict[str, Any]:
    """Return the JSON form of a stretch of an answer, of its end, or of its failure."""
    if isinstance(said, Delta):
        if not said.logprobs:
            return {"text": said.text}
        told = [[p.text, p.logprob, list(map(list, p.top))] for p in said.logprobs]
        return {"text": said.text, "logprobs": told}
    if isinstance(said, Outcome):
        return {"outcome": asdict(said)}
    retry_after = said.retry_after if isinstance(said, ModelBusy) else None
    return {"error": str(said), "retry_after": retry_after}


def said_in(body: Mapping[str, Any]) -> Said:
    """Read :func:`said_out`."""
    if "text" in body:
        logprobs = body.get("logprobs")
        told = () if logprobs is None else tuple(_logprobs(logprobs))
        return Delta(typed(body["text"], str), told)
    if "outcome" in body:
        return flat(Outcome, body["outcome"])
    words = typed(body.get("error"), str)
    retry_after = body.get("retry_after")
    return ModelError(words) if retry_after is None else ModelBusy(words, _number(retry_after))


def _logprobs(data: Any) -> Iterator[LogProb]:
    for one in typed(data, list):
        text, logprob, top = _items(one, 3)
        pairs = (_items(pair, 2) for pair in typed(top, list))
        told = tuple((typed(word, str), _number(value)) for word, value in pairs)
        yield LogProb(typed(text, str), _number(logprob), told)


def info_in(data: Any) -> Info:
    """Read the ``dataclasses.asdict`` of what a model is."""
    return flat(Info, data)


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise WireError(f"{type(value).__name__} in the place of a number")
    return float(value)


def _list(body: Mapping[str, Any], name: str, size: int | None = None) -> list[Any]:
    return _items(body.get(name), size)


def _items(value: Any, size: int | None) -> list[Any]:
    found = typed(value, list)
    if size is not None and len(found) != size:
        raise WireError(f"{len(found)} in the place of {size}")
    return found
