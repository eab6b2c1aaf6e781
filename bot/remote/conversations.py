"""Conversations of a service, read into the values that a history in this process gives.

Knows nothing of turns under way.
"""

import json
import uuid
from dataclasses import asdict, replace
from typing import Any

from bot.errors import ServiceError
from bot.events import Answer
from bot.remote.problems import Meaning
from bot.remote.wire import Wire, segment
from memory.errors import (
    ConversationNotFound,
    FeedbackFull,
    HistoryError,
    PictureNotFound,
    TurnNotFound,
)
from memory.feedback import Said
from memory.found import Found, SearchResult
from memory.messages import Conversation, Message, PictureRef, Summary, Turn
from retrievers.errors import LibraryError

MOST_TURNS = 5000  #: of a conversation in one answer
PAGE = 500
FOUND = 200  #: turns that a search finds at most


def json_body(value: Any) -> bytes:
    """Return JSON as it is sent; what has no UTF-8 form is sent as ``?``."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def of_conversation(name: str) -> Meaning:
    """Return what problems mean where a conversation is asked for."""
    told = f"there is no conversation {name!r} that this key can see"
    return Meaning(absent=lambda _: ConversationNotFound(told))


def of_picture(number: int) -> Meaning:
    """Return what problems mean where a conversation's picture is asked for."""
    told = f"the conversation has no picture {number} that this key can see"
    return Meaning(absent=lambda _: PictureNotFound(told))


def of_turn(conversation: str, turn: str) -> Meaning:
    """Return what problems mean where a turn is asked for."""

    def absent(said: str) -> Exception:
        if "library" in said:
            return LibraryError(said)
        return TurnNotFound(
            f"conversation {conversation!r} has no turn {turn!r} that this key can see"
        )

    return Meaning(absent=absent, conflict=HistoryError)


def turn_at(conversation: str, turn: str) -> str:
    """Return the address of a turn."""
    return f"/v1/conversations/{segment(conversation)}/turns/{segment(turn)}"


def picture_at(conversation: str, number: int) -> str:
    """Return the address of a conversation's picture."""
    return f"/v1/conversations/{segment(conversation)}/pictures/{int(number)}"


async def libraries(wire: Wire) -> list[str]:
    """Return the names of the libraries that the key may read."""
    value = await wire.json("GET", "/v1/libraries", Meaning())
    try:
        return [str(one["name"]) for one in value["libraries"]]
    except (KeyError, TypeError, ValueError):
        raise other_form() from None


async def read(wire: Wire, name: str, last: int = MOST_TURNS) -> Conversation:
    """Return a conversation; empty when there is none of that name."""
    address = f"/v1/conversations/{segment(name)}"
    try:
        value = await wire.json("GET", address, of_conversation(name), params={"last": last})
    except ConversationNotFound:
        return Conversation(name)
    try:
        turns = tuple(_turn(one) for one in value["turns"])
        total = int(value["total"])
        left = [f"only the last {last} of {total} turns were fetched"] if total > last > 1 else []
        return Conversation(
            id=name,
            turns=turns,
            pictures=tuple(_picture(one) for one in value["pictures"]),
            total=total,
            notices=(*map(str, value["notices"]), *left),
            dropped=tuple(int(number) for number in value["dropped"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise other_form() from None


def other_form() -> ServiceError:
    """Return the error of an answer that cannot be read."""
    return ServiceError("the service answers in another form; is its version another?")


def _turn(value: Any) -> Turn:
    return Turn(
        id=str(value["id"]),
        question=Message.from_json(value["question"]),
        answer=Message.from_json(value["answer"]),
        at=float(value["at"]),
        citations=tuple(dict(one) for one in value["citations"]),
    )


def _picture(value: Any) -> PictureRef:
    return PictureRef(
        number=int(value["number"]),
        sha256=str(value.get("sha256", "")),
        media_type=str(value["media_type"]),
        width=int(value["width"]),
        height=int(value["height"]),
        bytes=int(value["bytes"]),
        sender="bot" if value["by"] == "bot" else "user",
        name=str(value["name"]),
        caption=str(value["caption"]),
        at=float(value["at"]),
        who=str(value["sender"]),
    )


async def last_turn(wire: Wire, conversation: str) -> str:
    """Return the id of the last turn; ``ConversationNotFound`` when there is none."""
    found = await read(wire, conversation, last=1)
    if not found.turns:
        raise ConversationNotFound(f"there is no conversation {conversation!r} with turns")
    return found.turns[-1].id


async def stored_answer(wire: Wire, conversation: str, turn: str, library: str) -> Answer:
    """Return the answer of a stored turn; sources have the names that ``library`` gives them."""
    value = await wire.json(
        "GET", turn_at(conversation, turn), of_turn(conversation, turn), params={"library": library}
    )
    try:
        return Answer.from_json(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise other_form() from None


async def give_feedback(wire: Wire, said: Said) -> None:
    """Say what an answer is worth."""
    given = {name: value for name, value in asdict(said).items() if name != "at"}
    await wire.json(
        "POST",
        "/v1/feedback",
        replace(of_turn(said.conversation, said.turn), conflict=FeedbackFull),
        content=json_body(given),
        headers={"Content-Type": "application/json"},
    )


async def listed(wire: Wire, offset: int, limit: int | None) -> list[Summary]:
    """Return a line for each conversation, page by page."""
    found: list[Summary] = []
    if offset < 0:
        return found
    while limit is None or len(found) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        params = {"offset": offset + len(found), "limit": size}
        value = await wire.json("GET", "/v1/conversations", Meaning(), params=params)
        try:
            lines = [
                Summary(
                    str(v["id"]), str(v["title"]), int(v["turns"]), int(v["pictures"]),
                    float(v["updated"]),
                )
                for v in value["conversations"]
            ]  # fmt: skip
        except (KeyError, TypeError, ValueError):
            raise other_form() from None
        found += lines
        if len(lines) < size:
            break
    return found


async def rename(wire: Wire, conversation: str, title: str) -> None:
    """Give a conversation another title."""
    await wire.data(
        "PATCH",
        f"/v1/conversations/{segment(conversation)}",
        of_conversation(conversation),
        content=json_body({"title": title}),
        headers={"Content-Type": "application/json"},
    )


async def search(wire: Wire, words: str, limit: int) -> SearchResult:
    """Return the last turns in which every word stands."""
    params = {"q": words.encode("utf-8", "replace").decode(), "limit": min(limit, FOUND)}
    value = await wire.json("GET", "/v1/conversations/search", Meaning(), params=params)
    try:
        found = tuple(
            Found(
                conversation=str(v["conversation"]),
                title=str(v["title"]),
                turn=int(v["number"]),
                id=str(v["turn"]),
                at=float(v["at"]),
                by="bot" if v["by"] == "bot" else "user",
                line=str(v["line"]),
                marks=tuple((int(a), int(b)) for a, b in v["marks"]),
            )
            for v in value["found"]
        )
        return SearchResult(
            found,
            int(value["conversations"]),
            int(value["turns"]),
            bool(value["partial"]),
            tuple(str(text) for text in value["notices"]),
        )
    except (KeyError, TypeError, ValueError):
        raise other_form() from None


async def fork(wire: Wire, conversation: str, name: str | None, turn: str | None) -> str:
    """Copy a conversation up to and with a turn; return the copy's name."""
    name = name or f"c-{uuid.uuid4().hex[:12]}"
    asked = {"name": name, **({"turn": turn} if turn is not None else {})}

    def absent(said: str) -> Exception:
        return TurnNotFound(f"conversation {conversation!r} has no turn {turn!r}")

    meaning = of_conversation(conversation)
    try:
        await wire.data(
            "POST",
            f"/v1/conversations/{segment(conversation)}/fork",
            Meaning(absent=absent) if turn is not None else meaning,
            again=False,
            content=json_body(asked),
            headers={"Content-Type": "application/json"},
        )
    except TurnNotFound:
        if not (await read(wire, conversation, last=1)).total:
            raise meaning.absent("") from None
        raise
    return name
