"""Measures a local model on this machine: reading, first words, writing, memory.

Talks to it through ``LocalVisionChat`` alone, as any program would. Knows nothing of what the
answers say.
"""

import sys
import time
from typing import Any

QUESTION = "Describe this picture in detail: what is where, and in which colours?"
FOLLOW_UP = "And which of these things is the largest? Explain why you think so."
SIDE = 448  #: of the picture that is drawn, in pixels


def bench(
    files: str, *, tokens: int = 64, context: int = 4096, threads: int | None = None
) -> dict[str, float | None]:
    """Load ``TEXT.gguf[+PROJECTOR.gguf]``, ask about a drawn picture, ask on; return what it took.

    ``tokens``: the longest answer. A model that sees nothing is asked in words alone. Seconds,
    tokens a second, and gigabytes of memory at the most, as far as the system tells (None where it
    does not). Raises ``ModelError``.
    """
    from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

    from bot.models.llama import LocalVisionChat, picture_part

    begun = time.perf_counter()
    model = LocalVisionChat.open(files, context_tokens=context, threads=threads, max_tokens=tokens)
    try:
        loaded = time.perf_counter() - begun
        words: dict[str, Any] = {"type": "text", "text": QUESTION}
        content: list[str | dict[Any, Any]] = [words]
        if model.pictures:
            content.insert(0, picture_part(_draw()))
        messages: list[BaseMessage] = [HumanMessage(content)]
        first = _ask(model, messages)
        messages += [AIMessage(first["text"]), HumanMessage(FOLLOW_UP)]
        second = _ask(model, messages)
    finally:
        model.close()
    return {
        "seconds_to_load": round(loaded, 2),
        "pictures": int(bool(model.pictures)),
        "prompt_tokens": first["read"],
        "prompt_tokens_a_second": round(first["read"] / first["wait"], 1),
        "seconds_to_first_token": round(first["wait"], 2),
        "seconds_to_first_token_of_a_follow_up": round(second["wait"], 2),
        "tokens_written_a_second": _rate(first, second),
        "gigabytes_of_memory": _memory(),
    }


def _ask(model: Any, messages: list[Any]) -> dict[str, Any]:
    """Return the answer, the seconds to its first text and from there to its end, and counts."""
    begun = time.perf_counter()
    first: float | None = None
    text, read, written = "", 0, 0
    for chunk in model.stream(messages):
        if chunk.text and first is None:
            first = time.perf_counter()
        text += chunk.text
        if chunk.usage_metadata:
            read = chunk.usage_metadata["input_tokens"]
            written = chunk.usage_metadata["output_tokens"]
    ended = time.perf_counter()
    first = ended if first is None else first
    return {
        "text": text,
        "read": read,
        "written": written,
        "wait": first - begun,
        "writing": ended - first,
    }


def _rate(*answers: dict[str, Any]) -> float | None:
    """Return the tokens a second behind the first one, over all answers."""
    tokens = sum(max(0, answer["written"] - 1) for answer in answers)
    seconds = sum(answer["writing"] for answer in answers)
    return round(tokens / seconds, 1) if tokens and seconds > 0 else None


def _draw() -> Any:
    """Return a picture of three things, the same every time."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 60, 190, 210), fill="red")
    draw.ellipse((240, 40, 420, 220), fill="blue")
    draw.polygon(((120, 410), (320, 410), (220, 250)), fill="green")
    return image


def _memory() -> float | None:
    """Return the most memory, in GB, that this process or a child of it that has ended held."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in
    most = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return round(most * unit / 1e9, 2)
