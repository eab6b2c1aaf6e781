"""Tools of a local model: their schemas for an answer that must call one, and calls in answers.

Models write calls in several ways: ``<tool_call>`` around JSON (Hermes, Qwen) or around
``<function=NAME>`` (Qwen-Coder), ``[TOOL_CALLS]`` before a list (Mistral), ``<|python_tag|>`` or
nothing before an object (Llama 3). Knows nothing of models or of LangChain's messages.
"""

import json
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.errors import ModelError

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_TAKING_ALL = ("[TOOL_CALLS]", "<|python_tag|>")
_MARKS = (_OPEN, *_TAKING_ALL)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)
_FUNCTION = re.compile(r"<function=([^>\n]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a model wrote. ``arguments`` is a JSON object as text, unless ``error`` says
    what is wrong with it: then it is what was written."""

    name: str
    arguments: str
    error: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(12)[:9])


class CallReader:
    """Finds calls in an answer while it comes.

    Words before a call are given at once, a call when it is whole. An answer that begins as JSON
    is held to its end: it is a call if it names one of ``tools``, and words otherwise.
    """

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self._names = {str(tool["function"]["name"]) for tool in tools}
        self._held = ""
        self._began = False  # something but white space was seen
        self._after_call = False  # no words since then

    def feed(self, text: str) -> list[str | Call]:
        """Return the words and calls that are certain after ``text``."""
        self._held += text
        found: list[str | Call] = []
        while True:
            head = self._held.lstrip()
            if not self._began and (not head or _may_be_json(head)):
                return found
            self._began = True
            at, mark = min(
                ((self._held.find(m), m) for m in _MARKS if m in self._held), default=(-1, "")
            )
            if at < 0:
                keep = max(_overlap(self._held, m) for m in _MARKS)
                found.extend(self._words(len(self._held) - keep))
                return found
            found.extend(self._words(at))
            self._held = self._held.lstrip()
            end = self._held.find(_CLOSE)
            if mark != _OPEN or end < 0:
                return found
            found.extend(_calls(self._held[len(_OPEN) : end]))
            self._after_call = True
            self._held = self._held[end + len(_CLOSE) :]

    def finish(self) -> list[str | Call]:
        """Return what was held back when the answer has ended."""
        text, self._held = self._held, ""
        for mark in _MARKS:
            if text.startswith(mark):
                return list(_calls(text.removeprefix(mark)))
        if not self._began and (calls := _bare_calls(text, self._names)):
            return list(calls)
        return [text] if text.strip() or (text and not self._after_call) else []

    def _words(self, size: int) -> list[str]:
        """Take words from what is held, without the white space behind them or behind a call."""
        words = self._held[:size].rstrip()
        self._held = self._held[len(words) :]
        if not words:
            return []
        if self._after_call:
            words = words.lstrip()
        self._after_call = False
        return [words]


def must_call(tools: Sequence[Mapping[str, Any]], name: str | None) -> dict[str, Any]:
    """Return the JSON schema of a call: of the tool of that name, or of any when it is None."""
    functions = [tool["function"] for tool in tools]
    named = [f for f in functions if name in (None, f["name"])]
    if not named:
        known = ", ".join(f["name"] for f in functions) or "none"
        raise ModelError(f"tool_choice {name!r}: no such tool; there is {known}")
    shapes: list[dict[str, Any]] = [
        {
            "type": "object",
            "properties": {
                "name": {"const": f["name"]},
                "arguments": f.get("parameters") or {"type": "object"},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for f in named
    ]
    return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}


def _may_be_json(head: str) -> bool:
    """Return whether an answer that begins so may be a call without a mark."""
    if head.startswith(_TAKING_ALL[0][: len(head)]) or head.startswith(_TAKING_ALL[0]):
        return len(head) < len(_TAKING_ALL[0])
    return head[0] in "{[" or any(f.startswith(head[: len(f)]) for f in ("```json", "```\n"))


def _overlap(text: str, mark: str) -> int:
    """Return how many characters at the end of ``text`` may begin ``mark``."""
    sizes = range(min(len(text), len(mark) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(mark[:size])), 0)


def _calls(text: str) -> Iterator[Call]:
    """Return the calls in what stands where only calls do."""
    if functions := _FUNCTION.findall(text):
        for name, body in functions:
            given = {key: _value(value) for key, value in _PARAMETER.findall(body)}
            yield Call(name.strip(), json.dumps(given, ensure_ascii=False))
        return
    try:
        values = _values(text)
    except ValueError as error:
        yield Call("", text.strip(), f"not JSON: {error}")
        return
    yield from map(_call, values)


def _bare_calls(text: str, names: Collection[str]) -> list[Call]:
    """Return the calls that an answer consists of; none where it is anything else."""
    fenced = _FENCE.fullmatch(text.strip())
    try:
        values = _values(fenced[1] if fenced else text)
    except ValueError:
        return []
    calls = [_call(value) for value in values]
    return calls if all(call.name in names and not call.error for call in calls) else []


def _values(text: str) -> list[Any]:
    """Return the JSON values of a text, lists opened, one after another or ``;`` between."""
    decoder, values, at = json.JSONDecoder(), list[Any](), 0
    text = text.strip()
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        values.extend(value if isinstance(value, list) else [value])
        while at < len(text) and text[at] in " \t\r\n;,":
            at += 1
    if not values:
        raise ValueError("nothing there")
    return values


def _call(value: Any) -> Call:
    written = json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = {**value, **value["function"]}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return Call("", written, "no name of a tool")
    keys = ("arguments", "parameters", "args")
    arguments: Any = next((value[key] for key in keys if key in value), {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            return Call(value["name"], arguments, f"arguments are not JSON: {error}")
    if not isinstance(arguments, dict):
        return Call(value["name"], json.dumps(arguments), "arguments are no JSON object")
    given = {"id": value["id"]} if isinstance(value.get("id"), str) and value["id"] else {}
    return Call(value["name"], json.dumps(arguments, ensure_ascii=False), **given)


def _value(text: str) -> Any:
    """Return what a parameter holds: JSON where it is, else the words."""
    try:
        return json.loads(text)
    except ValueError:
        return text
