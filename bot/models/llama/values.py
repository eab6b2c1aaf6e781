"""What passes between a program and the process of its local model: plain values.

Knows nothing of messages, of processes or of llama.cpp.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

KVType = Literal["f16", "q8_0", "q4_0"]
FlashAttention = Literal["auto", "on", "off"]
Reason = Literal["stop", "length", "time", "cancelled"]

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is loaded, and what it may use.

    ``context_tokens``: prompt and answer of one request together, at most what the model was
    trained on. ``parallel``: answers written at once. ``kv_unified``: all sequences share one
    memory of ``kv_tokens`` (None: twice ``context_tokens``), else each of ``parallel`` has one of
    ``context_tokens``; None shares it on a GPU only, because on a processor each answer's attention
    is then computed over everybody's tokens. ``waiting``: requests that may wait; more are refused
    as busy. ``batch``: tokens read in one step at most. ``step_seconds``:
    how long one step of reading should take, so that those who are being answered go on.
    ``threads`` None: all cores the process may use. ``gpu_layers`` None: as many as fit on a GPU.
    ``repack``: lay weights out anew for this processor; None does where it is safe.
    ``flash_attention`` auto: on a GPU, and where ``kv_type`` needs it; on a processor it makes
    writing slower.
    ``picture_bytes``, ``sequence_bytes``: memory for kept picture encodings and for the states of
    conversations that were put aside. ``cache``: a private folder where both outlast the process
    (None: memory only), of ``cache_bytes`` at most.
    """

    context_tokens: int = 8192
    parallel: int = 2
    kv_unified: bool | None = None
    kv_tokens: int | None = None
    waiting: int = 64
    batch: int = 512
    step_seconds: float = 0.05
    threads: int | None = None
    gpu_layers: int | None = None
    repack: bool | None = None
    kv_type: KVType = "f16"
    flash_attention: FlashAttention = "auto"
    picture_bytes: int = 256 * MIB
    sequence_bytes: int = 512 * MIB
    cache: Path | None = None
    cache_bytes: int = 2048 * MIB


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. ``temperature`` 0 takes the likeliest and ignores the rest.

    ``min_p`` leaves out tokens less likely than that share of the likeliest. ``grammar`` is GBNF,
    ``json_schema`` a JSON schema as text; one of them at most, and the answer then keeps to it.
    ``logprobs``: how many of the likeliest tokens are told with each token; -1 tells none.
    """

    temperature: float = 0.0
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.0
    seed: int | None = None
    grammar: str | None = None
    json_schema: str | None = None
    logprobs: int = -1


@dataclass(frozen=True, slots=True)
class Pixels:
    """An upright picture: 8-bit RGB, row by row; ``data`` has ``width * height * 3`` bytes."""

    width: int
    height: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """What one side says: ``parts`` are words and pictures, in order.

    ``calls`` are tools that the assistant called, each ``{"name", "arguments", "id"}`` with
    ``arguments`` a JSON object; a line of the role ``tool`` answers the call of ``call_id``.
    """

    role: str
    parts: tuple[str | Pixels, ...]
    calls: tuple[Mapping[str, Any], ...] = ()
    call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What to answer, and how.

    ``stops`` end the answer and are not part of it. ``tenant``: nothing that was read for one
    tenant is used for another. ``seconds`` ends the answer, None never. ``tools`` are functions in
    OpenAI's form, for models whose template has tools.
    """

    lines: tuple[Line, ...]
    max_tokens: int = 512
    sampling: Sampling = Sampling()
    stops: tuple[str, ...] = ()
    tenant: str = "default"
    seconds: float | None = None
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class LogProb:
    """A token's text and the natural logarithm of its probability, before sampling settings.

    ``top`` are the likeliest tokens in its place, likeliest first.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A stretch of an answer, in whole characters (empty when only ``logprobs`` are new)."""

    text: str
    logprobs: tuple[LogProb, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer went; the last that is heard of it.

    ``prompt`` tokens were asked for: ``reused`` were known from before, ``read`` anew.
    ``encoded`` pictures went through the projector, ``kept`` did not have to. ``queue_s``: seconds
    until the first step; ``prompt_s``: from there to the first token.
    """

    reason: Reason
    prompt: int = 0
    reused: int = 0
    read: int = 0
    written: int = 0
    encoded: int = 0
    kept: int = 0
    queue_s: float = 0.0
    prompt_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Info:
    """What a loaded model is. ``picture_side``: longer side, in pixels, of the largest picture of
    which it uses every pixel; larger ones are shrunk before they are sent to it."""

    name: str
    context_tokens: int
    sees: bool
    picture_side: int
    tools: bool
    cuts: bool
    fingerprint: str
    description: str = ""
