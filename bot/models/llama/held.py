"""Contents behind placeholders, while a template puts its markup around them.

What a template is given holds no word of a person, a document or a tool, only marks with a number
in them, which are drawn anew each time. Knows nothing of templates.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.models.llama.values import Pixels

#: Words of JSON schemas, which templates look up and compare: they stay as they are
_WORDS = frozenset(
    "additionalProperties allOf anyOf array boolean const default definitions description enum"
    " examples exclusiveMaximum exclusiveMinimum format function integer items maxItems maxLength"
    " maximum minItems minLength minimum multipleOf name not null nullable number object oneOf"
    " parameters pattern prefixItems properties required return strict string title type"
    " uniqueItems $defs $ref".split()
)


@dataclass(frozen=True, slots=True)
class Markup:
    """Text of the template itself, in which control tokens count."""

    text: str


Piece = Markup | str | Pixels


class Held:
    """The contents of one rendering, each behind a placeholder."""

    def __init__(self, *, sliced: bool) -> None:
        self._sliced = sliced
        self._nonce = str(10**12 + secrets.randbelow(10**12))
        self._mark = re.compile(f"\ue000{self._nonce}\\.(\\d+)\ue001")
        self._contents: list[str | Pixels] = []
        self._inside: dict[int, set[int]] = {}  # numbers of what a text was put together from
        self._numbers: dict[str, int] = {}
        self._parts: set[int] = set()  # numbers of what is said in messages
        self.needed: set[int] = set()  # what the template must not lose

    def part(self, content: str | Pixels) -> str:
        """Return a placeholder of a content's own, which must come out."""
        number = len(self._contents)
        self._contents.append(content)
        self._parts.add(number)
        self.needed.add(number)
        return self._placeholder(number)

    def number(self, text: str) -> int:
        """Return the number of a text: the same text has the same placeholder."""
        if text not in self._numbers:
            self._numbers[text] = len(self._contents)
            self._contents.append(text)
        return self._numbers[text]

    def data(self, value: Any, *, needed: bool = False) -> Any:
        """Return a JSON value with placeholders for its strings and keys, known words excepted."""
        if isinstance(value, str):
            if value in _WORDS and not needed:
                return value
            if needed:
                self.needed.add(self.number(value))
            return self._placeholder(self.number(value))
        if isinstance(value, Mapping):
            return {
                self.data(str(k), needed=needed): self.data(v, needed=needed)
                for k, v in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.data(item, needed=needed) for item in value]
        return value

    def write(self, value: Any, writer: Callable[[Any], str]) -> str:
        """Return a placeholder for ``writer(value)``, in which contents are as they were.

        For a template that cuts such texts apart: the text, with placeholders for what stands
        between the quotes.
        """
        if self._sliced:
            return writer(self._quoted(value, writer))
        used: set[int] = set()
        text = writer(self._restore(value, used))
        if writer is repr and used & self._parts:
            raise TypeError("it writes a message as Python does")
        number = self.number(text)
        self._inside.setdefault(number, set()).update(used)
        return self._placeholder(number)

    def cut(self, text: str) -> list[Piece] | None:
        """Return the pieces of a rendered text, or None where a content was lost."""
        pieces: list[Piece] = []
        seen: set[int] = set()
        for n, stretch in enumerate(self._mark.split(text)):
            if n % 2:
                number = int(stretch)
                seen |= {number} | self._inside.get(number, set())
                pieces.append(self._contents[number])
            elif stretch:
                pieces.append(Markup(stretch))
        damaged = any(isinstance(p, Markup) and self._nonce in p.text for p in pieces)
        return None if damaged or not self.needed <= seen else pieces

    def _restore(self, value: Any, used: set[int]) -> Any:
        if isinstance(value, str):
            return self._mark.sub(lambda found: self._content(int(found[1]), used), value)
        if isinstance(value, Mapping):
            return {self._restore(k, used): self._restore(v, used) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._restore(item, used) for item in value]
        return value

    def _quoted(self, value: Any, writer: Callable[[Any], str]) -> Any:
        if isinstance(value, str) and self._mark.search(value):
            used: set[int] = set()
            number = self.number(writer(self._restore(value, used))[1:-1])
            self._inside.setdefault(number, set()).update(used)
            return self._placeholder(number)
        if isinstance(value, Mapping):
            return {self._quoted(k, writer): self._quoted(v, writer) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._quoted(item, writer) for item in value]
        return value

    def _content(self, number: int, used: set[int]) -> str:
        content = self._contents[number]
        if not isinstance(content, str):
            raise TypeError("it writes a picture as text")
        used |= {number} | self._inside.get(number, set())
        return content

    def _placeholder(self, number: int) -> str:
        return f"\ue000{self._nonce}.{number}\ue001"
