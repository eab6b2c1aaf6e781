"""What goes in and out of ``/v1/conversations``: its part of the OpenAPI description.

Knows nothing of routes.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from bot.service.http.openapi import Name, Strict, example
from bot.service.native.schema import LibraryName

_LINE = {"id": "skerrin", "title": "A trip to Skerrin", "turns": 3, "pictures": 1,
         "updated": 1795726800.0}  # fmt: skip
_TURN = {
    "id": "5f0c7a1e9d", "at": 1795726800.0,
    "question": {"text": "How tall is the lighthouse?", "pictures": [1]},
    "answer": {"text": "The lighthouse is 34 metres tall. [1]", "pictures": []}, "citations": [],
}  # fmt: skip
_PICTURE = {
    "number": 1, "name": "lighthouse.jpg", "caption": "a white lighthouse",
    "media_type": "image/jpeg", "width": 640, "height": 480, "bytes": 48213,
    "sha256": "9c1e0f7a" * 8, "by": "user",
    "sender": "Anna", "at": 1795726800.0,
}  # fmt: skip
_FOUND = {
    "conversation": "skerrin", "title": "A trip to Skerrin", "turn": "5f0c7a1e9d", "number": 1,
    "at": 1795726800.0, "by": "bot", "line": "The lighthouse is 34 metres tall.",
    "marks": [[4, 14]],
}  # fmt: skip


class ConversationLine(BaseModel):
    """A line of the list of conversations; ``updated`` is in seconds since 1970."""

    id: str
    title: str
    turns: int
    pictures: int
    updated: float


class ConversationPage(BaseModel):
    """A page of the list, the conversation last written first; ``total`` counts all of them."""

    model_config = example(conversations=[_LINE], offset=0, total=1)

    conversations: list[ConversationLine]
    offset: int
    total: int


class FoundOut(BaseModel):
    """A turn that was found: the line where most of the words stand, and their spans in it."""

    conversation: str
    title: str
    turn: str
    number: int
    at: float
    by: Literal["user", "bot"]
    line: str
    marks: list[tuple[int, int]]


class SearchOut(BaseModel):
    """What a search found; ``partial`` tells that there may be more."""

    model_config = example(found=[_FOUND], conversations=1, turns=3, partial=False, notices=[])

    found: list[FoundOut]
    conversations: int
    turns: int
    partial: bool
    notices: list[str]


class SaidOut(BaseModel):
    """What one side said: words, and the numbers of the pictures that came with them."""

    text: str
    pictures: list[int]


class TurnOut(BaseModel):
    """A turn of a conversation; its whole ledger is at ``…/turns/{turn}``."""

    id: str
    at: float
    question: SaidOut
    answer: SaidOut
    citations: list[dict[str, Any]]


class PictureOut(BaseModel):
    """A picture of a conversation, under the number that it keeps."""

    number: int
    sha256: str
    name: str
    caption: str
    media_type: str
    width: int
    height: int
    bytes: int
    by: Literal["user", "bot"]
    sender: str
    at: float


class ConversationOut(BaseModel):
    """A conversation: its last turns, oldest first, and all of its pictures.

    ``total`` counts all of its turns; ``dropped`` are numbers of pictures that were taken out.
    """

    model_config = example(
        id="skerrin",
        title="A trip to Skerrin",
        total=1,
        turns=[_TURN],
        pictures=[_PICTURE],
        dropped=[],
        notices=[],
    )

    id: str
    title: str
    total: int
    turns: list[TurnOut]
    pictures: list[PictureOut]
    dropped: list[int]
    notices: list[str]


class RenameAsked(Strict):
    """Another title for a conversation: one line of 80 characters at most."""

    model_config = example(title="About the lighthouse")

    title: Annotated[str, Field(min_length=1, max_length=1000)]


class ForkAsked(Strict):
    """A copy of a conversation, up to and with ``turn`` (all of it without), under ``name``."""

    model_config = example(name="another way", turn="5f0c…")

    turn: Annotated[str | None, Field(max_length=128)] = None
    name: Name | None = None


class EditAsked(Strict):
    """Other words for a turn's question, which is then answered again in its place."""

    model_config = example(text="How tall is the lighthouse in feet?", stream=True)

    text: Annotated[str, Field(min_length=1)]
    library: LibraryName = "default"
    stream: bool = False


class AgainAsked(Strict):
    """A turn that is to be answered again."""

    model_config = example(stream=True)

    library: LibraryName = "default"
    stream: bool = False


class CarriedOut(BaseModel):
    """A conversation that was copied or taken in; ``notices`` say what was missing."""

    model_config = example(id="skerrin again", turns=1, pictures=1, notices=[])

    id: str
    turns: int
    pictures: int
    notices: list[str]
