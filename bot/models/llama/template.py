"""A model's own chat template, rendered so that what people write can never become markup.

The template (Jinja, from the model's file) runs in a sandbox and sees placeholders in the place of
every content. The result is cut at the placeholders: what lies between is the template's own
markup, in which control tokens count; the contents are put back as they were and are only ever
tokenised as plain text. Knows nothing of tokens or of llama.cpp.
"""

import datetime
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from PIL import Image

from bot.errors import ModelError
from bot.models.llama.content import Line

_LONGEST = 1 << 20  # characters a template may make by repetition


@dataclass(frozen=True, slots=True)
class Markup:
    """Text of the template itself, in which control tokens count."""

    text: str


Piece = Markup | str | Image.Image


class _Refusal(TemplateError):
    """The template called ``raise_exception``: it cannot take these messages."""


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(v) if isinstance(v, str | list | tuple) else abs(v) for v in (left, right)]
        if operator == "**" or sizes[0] * sizes[1] > _LONGEST:
            raise SecurityError(f"{operator} makes too much")
        return super().call_binop(context, operator, left, right)


class ChatTemplate:
    """The template of one model. ``bos`` and ``eos`` are the texts of those tokens, or empty."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "", owner: str = "model") -> None:
        self.source, self.owner = source, owner
        self._names = {"bos_token": bos, "eos_token": eos}
        environment = _environment()
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ModelError(f"{owner}: its chat template cannot be read: {error}") from error

    def render(self, lines: Sequence[Line]) -> list[Piece]:
        """Return markup, contents and pictures in the order in which the model reads them.

        Templates differ in what they take. In turn: contents as strings; contents as lists of
        text parts; and both again with the system's words put into the user's and neighbours of
        one role joined. Pictures stand inside the text: the vision code adds its own marks.
        Raises ``ModelError`` when every form is refused or loses a content.
        """
        refusal: Exception | None = None
        for shape in (lambda given: given, _fold):
            shaped = shape(list(lines))
            for typed in (False, True):
                try:
                    pieces = self._try(shaped, typed=typed)
                except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
                    refusal = refusal or error
                    continue
                if pieces is not None:
                    return pieces
        why = f": {refusal}" if refusal else " and drops some of them"
        raise ModelError(f"{self.owner}: its chat template cannot take these messages{why}")

    def _try(self, lines: Sequence[Line], *, typed: bool) -> list[Piece] | None:
        nonce = 10**12 + secrets.randbelow(10**12)
        parts = [part for line in lines for part in line.parts]
        numbers = iter(range(len(parts)))
        messages: list[dict[str, Any]] = []
        for line in lines:
            held = "".join(f"\ue000{nonce}.{next(numbers)}\ue001" for _ in line.parts)
            content = [{"type": "text", "text": held}] if typed else held
            messages.append({"role": line.role, "content": content})
        text = self._template.render(
            messages=messages, add_generation_prompt=True, tools=None, **self._names
        )
        pieces: list[Piece] = []
        seen: set[int] = set()
        for n, stretch in enumerate(re.split(f"\ue000{nonce}\\.(\\d+)\ue001", text)):
            if n % 2:
                seen.add(int(stretch))
                pieces.append(parts[int(stretch)])
            elif stretch:
                pieces.append(Markup(stretch))
        return pieces if len(seen) == len(parts) and str(nonce) not in _markup(pieces) else None


def _markup(pieces: Iterable[Piece]) -> str:
    return "".join(p.text for p in pieces if isinstance(p, Markup))


def _fold(lines: list[Line]) -> list[Line]:
    """Put the system's words before the next user's, and join neighbours of one role."""
    folded: list[Line] = []
    for line in lines:
        role = "user" if line.role == "system" else line.role
        if folded and folded[-1].role == role:
            folded[-1] = Line(role, (*folded[-1].parts, "\n\n", *line.parts))
        else:
            folded.append(Line(role, line.parts))
    return folded


def _environment() -> SandboxedEnvironment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment


def _refuse(message: str) -> NoReturn:
    raise _Refusal(message)


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _now(form: str) -> str:
    return datetime.datetime.now().astimezone().strftime(form)
