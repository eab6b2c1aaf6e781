"""A model's own chat template, rendered so that what people write can never become markup.

The template (Jinja, from the model's file) runs in a sandbox and sees placeholders in the place of
every content: words, pictures, and all that tools are called, say and are told. The result is cut
at the placeholders: what lies between is the template's own markup, in which control tokens count;
the contents are put back as they were and are only ever tokenised as plain text. Knows nothing of
tokens or of llama.cpp.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from jinja2 import TemplateError

from bot.errors import ModelError
from bot.models.llama.held import Held, Markup, Piece
from bot.models.llama.sandbox import TROUBLE, TooMuch, counted, environment, timed
from bot.models.llama.values import Line

__all__ = ["ChatTemplate", "Markup", "Piece"]

_PROBE = {
    "type": "function",
    "function": {
        "name": "probe",
        "description": "probe",
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
    },
}


class ChatTemplate:
    """The template of one model. ``bos`` and ``eos`` are the texts of those tokens, or empty.

    Rendering it may take ``seconds`` of one core.
    """

    def __init__(
        self, source: str, *, bos: str = "", eos: str = "", owner: str = "model", seconds: float = 5
    ) -> None:
        self.source, self.owner, self.seconds = source, owner, seconds
        self._names = {"bos_token": bos, "eos_token": eos}
        try:
            with counted():
                self._template = environment(_text, _to_json).from_string(source)
        except TROUBLE as error:
            raise ModelError(
                f"{owner}: its chat template cannot be read: {_line(error)}"
            ) from error

    @cached_property
    def supports_tools(self) -> bool:
        """Whether the template tells a model about tools: it is tried with one."""
        try:
            return bool(self._render([Line("user", ("hi",))], [_PROBE]))
        except ModelError:
            return False

    def render(self, lines: Sequence[Line], tools: Sequence[Mapping[str, Any]] = ()) -> list[Piece]:
        """Return markup, contents and pictures in the order in which the model reads them.

        ``tools`` are functions in OpenAI's form. Templates differ in what they take. In turn:
        contents as strings; contents as lists of text parts; both with the arguments of calls as
        JSON text; all again with the system's words put into the user's and neighbours of one role
        joined; lastly calls as words. Pictures stand inside the text: the vision code adds its own
        marks. Raises ``ModelError`` when every form is refused or loses a content.
        """
        if tools and not self.supports_tools:
            raise ModelError(
                f"{self.owner}: its chat template takes no tools; use a model that has them,"
                " or ask for JSON with response_format"
            )
        return self._render(lines, tools)

    def _render(self, lines: Sequence[Line], tools: Sequence[Mapping[str, Any]]) -> list[Piece]:
        refusal: Exception | None = None
        for way in _ways(lines, tools):
            try:
                pieces = self._try(way, tools)
            except TROUBLE as error:
                refusal = refusal or error
                if isinstance(error, TooMuch):
                    break
                continue
            if pieces is not None:
                return pieces
        why = f": {_line(refusal)}" if refusal else " and drops some of them"
        raise ModelError(f"{self.owner}: its chat template cannot take these messages{why}")

    def _try(self, way: "_Way", tools: Sequence[Mapping[str, Any]]) -> list[Piece] | None:
        held = Held(sliced=way.sliced)
        values = {
            "messages": [_message(line, held, way) for line in way.lines],
            "add_generation_prompt": True,
            **self._names,
        }
        if tools:
            values["tools"] = [held.data(tool) for tool in tools]
            held.needed.update(held.number(tool["function"]["name"]) for tool in tools)
        elif way.no_tools:
            values["tools"] = None
        token = _held.set(held)
        try:
            with counted(), timed(self.seconds):
                text = self._template.render(values)
        finally:
            _held.reset(token)
        return held.cut(text)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way of laying out messages for a template.

    ``typed``: contents are lists of parts. ``written``: arguments of calls are JSON text.
    ``sliced``: the template may cut JSON text apart. ``no_tools``: it is told that there are none.
    """

    lines: Sequence[Line]
    typed: bool = False
    written: bool = False
    sliced: bool = False
    no_tools: bool = True


def _ways(lines: Sequence[Line], tools: Sequence[object]) -> Iterator[_Way]:
    """Return the ways in which templates take messages, the usual ones first."""
    calls = any(line.calls for line in lines)
    both, no = (False, True), (False,)
    for shaped in (lines, _fold(lines)):
        for no_tools, sliced, written, typed in product(
            (True,) if tools else (True, False), both if calls else no, both if calls else no, both
        ):
            yield _Way(shaped, typed, written, sliced, no_tools)
    if calls:
        yield _Way(_spoken(lines))


_held: ContextVar[Held] = ContextVar("_held")


def _text(value: Any) -> str:
    """Return what a template prints: lists and mappings as Python writes them."""
    nested = isinstance(value, list | tuple | Mapping)
    return _held.get().write(value, repr) if nested else str(value)


def _to_json(
    value: Any, indent: int | None = None, separators: Any = None, sort_keys: bool = False, **_: Any
) -> str:
    def writer(restored: Any) -> str:
        return json.dumps(
            restored,
            ensure_ascii=False,
            indent=min(indent, 16) if indent is not None else None,
            separators=separators,
            sort_keys=sort_keys,
        )

    return _held.get().write(value, writer)


def _message(line: Line, held: Held, way: _Way) -> dict[str, Any]:
    words = "".join(held.part(part) for part in line.parts)
    content = [{"type": "text", "text": words}] if way.typed and words else words
    message: dict[str, Any] = {"role": line.role, "content": content}
    if line.calls:
        message["tool_calls"] = [_call(call, held, way.written) for call in line.calls]
    if line.role == "tool":
        message["tool_call_id"] = _id(line.call_id)
        message["name"] = held.data(line.name)
    return message


def _call(call: Mapping[str, Any], held: Held, written: bool) -> dict[str, Any]:
    arguments = call["arguments"]
    if written:
        arguments = json.dumps(arguments, ensure_ascii=False)
    function = {
        "name": held.data(call["name"], needed=True),
        "arguments": held.data(arguments, needed=True),
    }
    return {"id": _id(call.get("id")), "type": "function", "function": function}


def _id(given: object) -> str:
    """Return nine letters and digits for the id of a call: Mistral's template takes no others."""
    known = str(given or "")
    if re.fullmatch(r"[A-Za-z0-9]{9}", known, re.ASCII):
        return known
    return hashlib.sha256(known.encode("utf-8", "replace")).hexdigest()[:9]


def _fold(lines: Iterable[Line]) -> list[Line]:
    """Put the system's words before the next user's, and join neighbours of one role."""
    folded: list[Line] = []
    for line in lines:
        role = "user" if line.role == "system" else line.role
        last = folded[-1] if folded else None
        if last and last.role == role and role != "tool" and not (last.calls or line.calls):
            folded[-1] = Line(role, (*last.parts, "\n\n", *line.parts))
        else:
            folded.append(replace(line, role=role))
    return folded


def _spoken(lines: Iterable[Line]) -> list[Line]:
    """Put calls into the words of those who made them, for templates that know no calls."""
    spoken: list[Line] = []
    for line in lines:
        calls = [{"name": c["name"], "arguments": c["arguments"]} for c in line.calls]
        words = (json.dumps(calls, ensure_ascii=False),) if calls else ()
        spoken.append(replace(line, parts=(*line.parts, *words), calls=()))
    return spoken


def _line(error: BaseException | None) -> str:
    """Return what went wrong, on one line."""
    said = " ".join(str(error).split())[:200]
    return said if isinstance(error, TemplateError) and said else f"{type(error).__name__} {said}"
