"""LangChain's messages as turns, and turns as LangChain's messages: pure functions.

A human message begins a turn. Everything until the next one belongs to it: the answer, calls of
tools and their results, further answers. What was said by the human is the turn's question, what
the model said is its answer (several answers are parted by an empty line), so that a conversation
reads the same whichever way it was written. What LangChain knows beyond that (ids, tool calls,
usage, metadata, the order of parts) lies in the turn's ledger under ``langchain``::

    {"v": 1, "messages": [{"type": "human"}, {"type": "ai", "id": …, "tool_calls": […]}, …]}

A message's content is left out there where it is the question or the answer. Words that were edited
in the turn since go before those in its ledger. A turn that Bifocal wrote has no such entry: it is
a human and an AI message.

Knows nothing of Redis or of how pictures are decoded.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import (
    BaseMessage,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)

from memory.errors import HistoryError
from memory.langchain_pictures import Given, is_picture, replaced, slots, take
from memory.messages import Message, PictureRef, Turn

FORMAT = 1  #: version of the entry in the ledger
TYPES = ("human", "ai", "system", "tool", "function", "chat")
MESSAGE_BYTES = 1_000_000  #: of a message's JSON, without its pictures
TURN_BYTES = 4_000_000  #: of a turn's; the next message begins another turn
PICTURES = 32  #: that come with one call

Entry = dict[str, Any]

_LISTS = (  # what every message has, mostly empty
    "additional_kwargs",
    "response_metadata",
    "tool_calls",
    "invalid_tool_calls",
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was taken in: its stored form, its pictures by slot, what was not kept."""

    entry: Entry
    size: int  #: bytes of its JSON, without pictures
    pictures: tuple[tuple[Entry, Given], ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """Which of ``TYPES`` it is."""
        return str(self.entry["type"])


@dataclass(frozen=True, slots=True)
class Draft:
    """A turn to be stored, with its new pictures and their bytes by SHA-256."""

    turn: Turn
    pictures: tuple[PictureRef, ...] = ()
    blobs: Mapping[str, bytes] | None = None


def take_in(messages: Sequence[BaseMessage]) -> list[Taken]:
    """Return the stored form of messages; ``HistoryError`` for what cannot be kept."""
    taken = [_take_in(message) for message in messages]
    if (count := sum(len(t.pictures) for t in taken)) > PICTURES:
        raise HistoryError(f"{count} pictures at once, the most is {PICTURES}")
    return taken


def _take_in(message: BaseMessage) -> Taken:
    message = message_chunk_to_message(message)
    if message.type not in TYPES:
        raise HistoryError(
            f"a message of type {message.type!r}: a conversation keeps {', '.join(TYPES)}"
        )
    pictures: list[tuple[Entry, Given]] = []

    def take_out(block: Mapping[str, Any]) -> Entry:
        given, slot = take(block)
        pictures.append((slot, given))
        return slot

    data = message_to_dict(message.model_copy(update={"content": ""}))["data"]
    entry: Entry = {"type": message.type}
    notices = []
    for name, value in data.items():
        unset = value is None or (name in _LISTS and not value)
        if unset or name in ("type", "content"):
            continue
        if _is_json(value):
            entry[name] = value
        else:
            notices.append(f"{name} of a message of type {message.type} is not JSON: not kept")
    content = message.content
    entry["content"] = (
        content if isinstance(content, str) else replaced(content, is_picture, take_out)
    )
    if not _is_json(entry["content"]):
        raise HistoryError(
            f"a {message.type} message with parts that are not JSON: give pictures as image parts"
        )
    if (size := len(json.dumps(entry))) > MESSAGE_BYTES:
        raise HistoryError(
            f"a {message.type} message of {size:,} bytes without its pictures, the most is"
            f" {MESSAGE_BYTES:,}"
        )
    return Taken(entry, size, tuple(pictures), tuple(notices))


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def groups(taken: Sequence[Taken]) -> list[list[Taken]]:
    """Return messages turn by turn."""
    found: list[list[Taken]] = []
    types: list[str] = []
    size = 0
    for message in taken:
        if not found or _begins(message, types) or size + message.size > TURN_BYTES:
            found.append([])
            types, size = [], 0
        found[-1].append(message)
        types.append(message.type)
        size += message.size
    return found


def _begins(message: Taken, before: Sequence[str]) -> bool:
    """Tell whether a message begins a turn after one with messages of the types ``before``."""
    return message.type == "human" and ("human" in before or "ai" in before)


def goes_on(turn: Turn, group: Sequence[Taken]) -> bool:
    """Tell whether messages belong to a turn that was stored before."""
    kept = _kept(turn)
    if kept is None or _begins(group[0], [str(entry["type"]) for entry in kept]):
        return False
    return len(json.dumps(kept)) + sum(message.size for message in group) <= TURN_BYTES


def draft(
    group: Sequence[Taken], known: Sequence[PictureRef], first: int, before: Turn | None = None
) -> Draft:
    """Return the turn that ``group`` makes, or makes of ``before``.

    ``known`` are the conversation's pictures; new ones are numbered from ``first`` on.
    """
    refs: list[PictureRef] = []
    blobs: dict[str, bytes] = {}
    by_number = {ref.number: ref for ref in known}
    for message in group:
        for slot, given in message.pictures:
            claimed = by_number.get(given.number)
            if claimed is not None and claimed.sha256 == given.sha256:
                slot["picture"] = given.number  # it came from here
                continue
            slot["picture"] = first + len(refs)
            refs.append(_ref(given, slot["picture"], message.type))
            blobs[given.sha256] = given.data
    entries = [*(stored_entries(before) if before else ()), *(t.entry for t in group)]
    notices = [notice for message in group for notice in message.notices]
    if before is not None:
        notices = [*before.ledger.get("notices", ()), *notices]
    return Draft(_turn(entries, notices, before), tuple(refs), blobs)


def _ref(given: Given, number: int, type_: str) -> PictureRef:
    return PictureRef(
        number,
        given.sha256,
        given.media_type,
        given.width,
        given.height,
        len(given.data),
        "user" if type_ == "human" else "bot",
        given.name,
        given.caption,
    )


def _turn(entries: Sequence[Entry], notices: Sequence[str], before: Turn | None) -> Turn:
    asked, said = _words_of(entries)
    shown: dict[bool, list[int]] = {True: [], False: []}
    for entry in entries:
        numbers = shown[entry["type"] in ("human", "system")]
        for slot in slots(entry["content"]):
            if slot["picture"] not in numbers:
                numbers.append(slot["picture"])
    kept = [_shortened(entry, asked, said) for entry in entries]
    return Turn(
        id=before.id if before else uuid.uuid4().hex,
        question=Message(asked, tuple(shown[True])),
        answer=Message(said, tuple(shown[False])),
        at=time.time(),
        citations=before.citations if before else (),
        ledger={
            **(before.ledger if before else {}),
            "langchain": {"v": FORMAT, "messages": kept},
            "notices": list(notices),
        },
    )


def _words_of(entries: Sequence[Entry]) -> tuple[str, str]:
    """Return what the human said and what the model said."""
    asked = [words(e["content"]) for e in entries if e["type"] == "human"]
    said = [words(e["content"]) for e in entries if e["type"] == "ai"]
    return "\n\n".join(filter(None, asked)), "\n\n".join(filter(None, said))


def words(content: str | list[Any]) -> str:
    """Return the words of a message's content: its text parts, a line each."""
    if isinstance(content, str):
        return content
    parts = (p if isinstance(p, str) else _text_of(p) for p in content)
    return "\n".join(part for part in parts if part)


def _text_of(part: object) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else ""
    return text if isinstance(text, str) else ""


def _shortened(entry: Entry, asked: str, said: str) -> Entry:
    """Leave out content that the turn says already."""
    own = {"human": asked, "ai": said}.get(entry["type"])
    if isinstance(entry["content"], str) and entry["content"] == own:
        return {key: value for key, value in entry.items() if key != "content"}
    return entry


def _kept(turn: Turn) -> list[Entry] | None:
    """Return the messages in a turn's ledger as they were stored, if there are any."""
    value = turn.ledger.get("langchain")
    if not isinstance(value, Mapping) or value.get("v") != FORMAT:
        return None
    kept = value.get("messages")
    if not isinstance(kept, list) or not all(
        isinstance(entry, dict) and entry.get("type") in TYPES for entry in kept
    ):
        return None
    return kept


def stored_entries(turn: Turn) -> list[Entry]:
    """Return the messages of a turn, with slots for pictures; edited words go first."""
    kept = _kept(turn)
    if kept is None:
        return _own_entries(turn)
    own = {"human": turn.question.text, "ai": turn.answer.text}
    entries = [{"content": own.get(entry["type"], ""), **entry} for entry in kept]
    asked, said = _words_of(entries)
    if asked != turn.question.text:
        _reword(entries, "human", turn.question.text)
    if said != turn.answer.text:
        _reword(entries, "ai", turn.answer.text)
    return entries


def _reword(entries: list[Entry], type_: str, text: str) -> None:
    """Put ``text`` in the place of all words of one side; pictures and calls stay."""
    places = [place for place, entry in enumerate(entries) if entry["type"] == type_]
    if not places:
        at = 0 if type_ == "human" else len(entries)
        entries.insert(at, {"type": type_, "content": text})
        return
    for place in places:
        content = entries[place]["content"]
        said: str | list[Any] = text if place == places[-1] else ""
        if isinstance(content, list):
            others = [part for part in content if not isinstance(part, str) and not _text_of(part)]
            said = [*([{"type": "text", "text": said}] if said else []), *others]
        entries[place] = {**entries[place], "content": said}


def _own_entries(turn: Turn) -> list[Entry]:
    """Return a turn that Bifocal wrote as a human and an AI message."""
    entries: list[Entry] = []
    for type_, said in (("human", turn.question), ("ai", turn.answer)):
        pictures = [{"type": "image", "picture": number} for number in said.pictures]
        text = [{"type": "text", "text": said.text}] if said.text else []
        entries.append(
            {
                "type": type_,
                "id": f"{turn.id}-{type_}",
                "content": [*text, *pictures] if pictures else said.text,
            }
        )
    known = {"turn": turn.id, "citations": [dict(c) for c in turn.citations]}
    if model := turn.ledger.get("model"):
        known["model_name"] = model
    entries[1]["response_metadata"] = known
    return entries


def numbers_in(turn: Turn) -> list[int]:
    """Return the numbers of the pictures that a turn's messages show, in order."""
    return [slot["picture"] for entry in stored_entries(turn) for slot in slots(entry["content"])]


def messages_of(turn: Turn, show: Mapping[int, Entry]) -> list[BaseMessage]:
    """Return a turn's messages; ``show`` has a block for the number of each picture."""
    try:
        return [_message(entry, show) for entry in stored_entries(turn)]
    except (ValueError, TypeError, KeyError):  # another program wrote it: the words are still ours
        said = replace(turn, question=Message(turn.question.text), answer=Message(turn.answer.text))
        return [_message(entry, {}) for entry in _own_entries(said)]


def _message(entry: Entry, show: Mapping[int, Entry]) -> BaseMessage:
    def shown(slot: Mapping[str, Any]) -> Entry:
        block = dict(show[slot["picture"]])
        if block["type"] == "image":
            block.update({"id": slot["id"]} if "id" in slot else {})
            block["extras"] = {**slot.get("extras", {}), **block.get("extras", {})}
        return block

    data = {**entry, "content": replaced(entry["content"], _is_slot, shown)}
    return messages_from_dict([{"type": entry["type"], "data": data}])[0]


def _is_slot(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "image" and isinstance(block.get("picture"), int)


def follow(turn: Turn, moved: Mapping[int, int]) -> Turn:
    """Return a turn whose new pictures were given other numbers; ``moved`` has new ones by old."""
    kept = _kept(turn)
    if kept is None:
        return turn

    def change(slot: Mapping[str, Any]) -> Entry:
        return {**slot, "picture": moved.get(slot["picture"], slot["picture"])}

    entries = [
        {**e, "content": replaced(e["content"], _is_slot, change)} if "content" in e else e
        for e in kept
    ]
    return replace(turn, ledger={**turn.ledger, "langchain": {"v": FORMAT, "messages": entries}})
