"""An OpenAI chat request's ``messages``, read as what is asked and what was said before.

Pure reading: every cap comes before work, ``data:`` addresses are decoded, and web addresses are
kept as they are. Knows nothing of HTTP, of turns, nor of what the bytes of a picture show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memory.data_uris import DataUriRefused, read_data_uri
from retrievers.imaging import MAX_BYTES

MESSAGES = 1000  #: of a request at most
CHARS = 400_000  #: of all of them
PICTURES = 20  #: in all of them
ADDRESS = 2048  #: characters of a web address

_INSTRUCTING = ("system", "developer")
_TYPES = ("", "application/octet-stream")  # beside image/…: the decoder says what it is


class MessageRefused(ValueError):
    """A message cannot be taken: ``where`` is its place, as ``messages[1].content[0]``."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that came as bytes."""

    where: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """A picture that is somewhere in the web; nobody has looked there."""

    where: str
    url: str


@dataclass(frozen=True, slots=True)
class Said:
    """What one side said: words, pictures, and the name of a person where one was given."""

    text: str = ""
    pictures: tuple[Picture | Address, ...] = ()
    name: str = ""

    def joined(self, other: "Said") -> "Said":
        """Return this and what the same side said next as one."""
        text = "\n\n".join(part for part in (self.text, other.text) if part)
        return Said(text, (*self.pictures, *other.pictures), other.name or self.name)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with ``earlier`` questions and answers, and the caller's ``system`` texts."""

    question: Said
    where: str  #: of the question's message
    system: tuple[str, ...] = ()
    earlier: tuple[tuple[Said, Said], ...] = ()


def read_messages(messages: Sequence[Mapping[str, Any]]) -> Asked:
    """Return what is asked. Raises ``MessageRefused``.

    Neighbouring messages of one side are one; an answer that comes first has an empty question.
    """
    if not messages:
        raise MessageRefused("messages", "there is none; the last one must be the user's")
    if len(messages) > MESSAGES:
        raise MessageRefused("messages", f"{len(messages)}, the most is {MESSAGES}; leave out"
                             " the earliest")  # fmt: skip
    reader = _Reader()
    for at, message in enumerate(messages):
        reader.take(f"messages[{at}]", message)
    return reader.asked(f"messages[{len(messages) - 1}]")


class _Reader:
    """Takes messages one by one, and counts what is in them."""

    def __init__(self) -> None:
        self._system: list[str] = []
        self._sides: list[tuple[str, Said]] = []
        self._chars = self._pictures = 0
        self._where = ""  # of the last of the user's

    def take(self, where: str, message: Mapping[str, Any]) -> None:
        role = message.get("role")
        if role in _INSTRUCTING:
            said = self._said(where, message, pictures=False)
            if said.text.strip():
                self._system.append(said.text)
            return
        if role not in ("user", "assistant"):
            raise MessageRefused(f"{where}.role", _unknown_role(role))
        if role == "assistant" and (message.get("tool_calls") or message.get("function_call")):
            raise MessageRefused(f"{where}.tool_calls", "there are no tools here; leave out calls"
                                 " and their results")  # fmt: skip
        said = self._said(where, message, pictures=role == "user")
        self._where = where if role == "user" else self._where
        if self._sides and self._sides[-1][0] == role:
            said = self._sides.pop()[1].joined(said)
        self._sides.append((role, said))

    def asked(self, where: str) -> Asked:
        if not self._sides or self._sides[-1][0] != "user":
            raise MessageRefused(where, "the last message must be the user's")
        said = [each for _, each in self._sides]
        if self._sides[0][0] == "assistant":
            said.insert(0, Said())
        pairs = tuple(zip(said[:-1:2], said[1::2], strict=True))
        return Asked(said[-1], self._where, tuple(self._system), pairs)

    def _said(self, where: str, message: Mapping[str, Any], *, pictures: bool) -> Said:
        content, name = message.get("content"), message.get("name")
        name = name if isinstance(name, str) else ""
        place = f"{where}.content"
        if content is None and message.get("role") == "assistant":
            content = message.get("refusal") or ""
        if isinstance(content, str):
            return Said(self._counted(place, content), name=name)
        if not isinstance(content, list):
            raise MessageRefused(place, "give a text or a list of parts")
        texts: list[str] = []
        found: list[Picture | Address] = []
        for at, part in enumerate(content):
            here = f"{place}[{at}]"
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind in ("text", "refusal") and isinstance(part.get(kind), str):
                texts.append(self._counted(here, part[kind]))
            elif kind == "image_url" and pictures:
                found.append(self._picture(f"{here}.image_url", part.get("image_url")))
            else:
                raise MessageRefused(here, _unknown_part(kind, pictures))
        return Said("\n".join(texts), tuple(found), name)

    def _counted(self, where: str, text: str) -> str:
        self._chars += len(text)
        if self._chars > CHARS:
            raise MessageRefused(where, f"more than {CHARS:,} characters in all messages; leave"
                                 " out the earliest")  # fmt: skip
        return text

    def _picture(self, where: str, given: object) -> Picture | Address:
        if isinstance(given, Mapping):
            where, given = f"{where}.url", given.get("url")
        if not isinstance(given, str):
            raise MessageRefused(where, "give the picture as a data: address")
        self._pictures += 1
        if self._pictures > PICTURES:
            raise MessageRefused(
                where,
                f"more than {PICTURES} pictures in all messages; leave out the earliest, or have"
                " the conversation kept here (`conversation`)",
            )
        if given[:8].lower().startswith(("http://", "https://")):
            if len(given) > ADDRESS:
                raise MessageRefused(where, f"an address of more than {ADDRESS} characters")
            return Address(where, given)
        try:
            found = read_data_uri(given, MAX_BYTES)
        except DataUriRefused as error:
            raise MessageRefused(where, f"{error}; give data:image/png;base64,…") from None
        if not found.media_type.startswith("image/") and found.media_type not in _TYPES:
            raise MessageRefused(where, f"{found.media_type[:80]} is no picture's type")
        return Picture(where, found.data)


def _unknown_role(role: object) -> str:
    if role in ("tool", "function"):
        return "there are no tools here; leave out calls and their results"
    return "unknown; known are system, developer, user and assistant"


def _unknown_part(kind: object, pictures: bool) -> str:
    known = "text and image_url" if pictures else "text"
    if kind in ("text", "refusal", "image_url") and (pictures or kind != "image_url"):
        return f"a part of type {kind} without its {kind}"
    if isinstance(kind, str):
        return f"parts of type {kind[:40]!a} are not taken here; send {known}"
    return f"give parts with a type: {known}"
