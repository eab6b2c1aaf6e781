"""What a conversation holds: pure values, and the one place where their stored form is written.

Knows nothing of Redis, of models or of retrieval. Pictures are named by content hash; their bytes
travel beside these values. ``citations`` and ``ledger`` are JSON values that this package keeps
and gives back without looking into them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["user", "bot"]

FORMAT = 1  #: version of the stored form


@dataclass(frozen=True, slots=True)
class PictureRef:
    """A picture of a conversation. ``number`` counts from 1 and never changes or returns.

    ``sha256`` names the encoded bytes (``media_type``), ``bytes`` is their count, ``name`` the
    file name it came under, ``caption`` what is known of what it shows. ``at`` is when it came
    (seconds since 1970, UTC), ``who`` the name of the person who sent it; 0 and ``""`` when that
    is not known.
    """

    number: int
    sha256: str
    media_type: str
    width: int
    height: int
    bytes: int
    sender: Role = "user"
    name: str = ""
    caption: str = ""
    at: float = 0.0
    who: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the stored form; what is not known of its coming is left out."""
        known = {"at": self.at} if self.at else {}
        named = {"who": self.who} if self.who else {}
        return {
            "n": self.number,
            "sha": self.sha256,
            "type": self.media_type,
            "w": self.width,
            "h": self.height,
            "bytes": self.bytes,
            "by": self.sender,
            "name": self.name,
            "caption": self.caption,
            **known,
            **named,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "PictureRef":
        """Read what :meth:`to_json` wrote; ``KeyError``, ``TypeError``, ``ValueError`` if not."""
        return cls(
            number=int(value["n"]),
            sha256=str(value["sha"]),
            media_type=str(value["type"]),
            width=int(value["w"]),
            height=int(value["h"]),
            bytes=int(value["bytes"]),
            sender="bot" if value["by"] == "bot" else "user",
            name=str(value["name"]),
            caption=str(value["caption"]),
            at=float(value.get("at", 0.0)),
            who=str(value.get("who", "")),
        )


@dataclass(frozen=True, slots=True)
class Message:
    """What one side said: words, and the numbers of the pictures that came with them."""

    text: str = ""
    pictures: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"text": self.text, "pictures": list(self.pictures)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Message":
        """Read what :meth:`to_json` wrote."""
        return cls(text=str(value["text"]), pictures=tuple(int(n) for n in value["pictures"]))


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer. ``at`` is seconds since 1970 (UTC); ``id`` is unique for ever."""

    id: str
    question: Message
    answer: Message
    at: float
    citations: Sequence[Mapping[str, Any]] = ()
    ledger: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "v": FORMAT,
            "id": self.id,
            "at": self.at,
            "q": self.question.to_json(),
            "a": self.answer.to_json(),
            "citations": [dict(c) for c in self.citations],
            "ledger": dict(self.ledger),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Turn":
        """Read what :meth:`to_json` wrote; an unknown version is a ``ValueError``."""
        if value["v"] != FORMAT:
            raise ValueError(f"a turn of format {value['v']}, this version reads {FORMAT}")
        return cls(
            id=str(value["id"]),
            question=Message.from_json(value["q"]),
            answer=Message.from_json(value["a"]),
            at=float(value["at"]),
            citations=tuple(dict(c) for c in value["citations"]),
            ledger=dict(value["ledger"]),
        )


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is known of a conversation: its last turns, oldest first, and all of its pictures.

    ``total`` counts all turns, also those that were not loaded. A conversation that was never
    written to is this value, empty: starting one needs no ceremony. ``dropped`` are the numbers of
    pictures that were taken out; they do not return.
    """

    id: str
    turns: tuple[Turn, ...] = ()
    pictures: tuple[PictureRef, ...] = ()
    total: int = 0
    notices: tuple[str, ...] = ()
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the list of conversations.

    ``title`` is the first question, cut short, unless another was given. ``updated`` is the time of
    the last turn, in seconds since 1970 (UTC).
    """

    id: str
    title: str
    turns: int
    pictures: int
    updated: float


@dataclass(frozen=True, slots=True)
class Recap:
    """What a conversation's first ``turns`` turns come to, in a few words."""

    turns: int
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"turns": self.turns, "text": self.text}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Recap":
        """Read what :meth:`to_json` wrote."""
        return cls(turns=int(value["turns"]), text=str(value["text"]))
