"""The values that a turn is made of: its parts, its pictures, and what is known of it so far.

Knows nothing of the order of steps; :mod:`bot.turn` does.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from bot.ask_back import Asked
from bot.beside import Beside
from bot.captioner import Captioner
from bot.compose import Composition, Prompts
from bot.events import Citation
from bot.lines import CAPTION, NAME, one_line
from bot.models.choose import Capabilities
from bot.settings import Settings
from bot.summariser import Summariser
from memory.claims import Claim
from memory.history import History
from memory.messages import Conversation, PictureRef
from memory.recall import Reference
from prompts import Prompt
from retrievers.encoders import Encoder
from retrievers.evidence import Evidence, Line, Query
from retrievers.imaging import DecodedPicture
from retrievers.library import Library

#: What a turn of pictures alone asks
PICTURE_QUESTION = "What is this?"

ReadWords = Callable[[DecodedPicture], tuple[Line, ...]]
Weigh = Callable[[Query], Mapping[str, float]]


@dataclass(frozen=True)
class Parts:
    """What the steps work with; built once, by ``ChatBot``."""

    settings: Settings
    history: History
    library: Library
    text_encoder: Encoder
    picture_encoder: Encoder
    text_retriever: Runnable[Query, list[Evidence]]
    picture_retriever: Runnable[Query, list[Evidence]]
    weigh: Weigh
    read_words: ReadWords
    model: BaseChatModel
    model_name: str
    capabilities: Capabilities
    prompts: Prompts
    condense: Prompt
    summary: Prompt
    summarise: Prompt
    caption: Prompt
    beside: Beside
    summariser: Summariser
    captioner: Captioner


@dataclass(frozen=True)
class PictureInTurn:
    """A picture that this turn is about: a new one, or an earlier one that the words point at."""

    ref: PictureRef
    decoded: DecodedPicture
    new: bool
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class TurnState:
    """What is known of a turn so far. The first six fields are given, each step adds its own."""

    id: str
    conversation_id: str
    question: str
    given: tuple[DecodedPicture, ...] = ()
    captions: tuple[str, ...] = ()  # of ``given``, by their senders
    claim: Claim | None = None
    sender: str = ""
    # 1 load; where it asks back which picture was meant, the turn goes on with 8. What the person
    # said is another thing than the question when it answers what was asked back.
    conversation: Conversation = field(default_factory=lambda: Conversation(""))
    pictures: tuple[PictureInTurn, ...] = ()
    said: str = ""
    reference: Reference = field(default_factory=Reference)
    asks: Asked | None = None
    # 2 encode: what is searched for, and who made it of the question
    query: Query = field(default_factory=Query)
    how: str = ""
    # 3 retrieve: what the picture shows, by the words of the library's own; 4 fuse
    about: str = ""
    found: Mapping[str, list[Evidence]] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    # 5 compose, 6 generate
    prompt: Composition | None = None
    reply: BaseMessage | None = None
    # 7 cite
    citations: tuple[Citation, ...] = ()
    # all along
    notices: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def turn(self) -> str:
        """The id under which the turn is stored: an earlier one's when it is answered again."""
        return self.claim.again.id if self.claim and self.claim.again else self.id


def new_picture(
    number: int, given: DecodedPicture, sender: str = "", caption: str = ""
) -> PictureInTurn:
    """Return a picture that just came in, under the number that it will keep; ``caption`` is what
    its sender says that it shows."""
    ref = PictureRef(
        number=number,
        sha256=given.sha256,
        media_type=given.media_type,
        width=given.width,
        height=given.height,
        bytes=len(given.data),
        name=one_line(given.name, NAME),
        caption=one_line(caption, CAPTION),
        at=time.time(),
        who=sender,
    )
    return PictureInTurn(ref, given, new=True)


def shown_evidence(picture: PictureInTurn) -> Evidence:
    """Return a picture of the conversation as evidence; its id is ``shown:NUMBER``."""
    ref = picture.ref
    return Evidence(
        id=f"shown:{ref.number}",
        kind="picture",
        source=ref.name or f"picture {ref.number}",
        text="\n".join(line.text for line in picture.lines),
        caption=ref.caption,
        media=ref.sha256,
        size=(ref.width, ref.height),
        lines=picture.lines,
        score=1.0,
        scores={"shown": 1.0},
    )


def caption_of(picture: PictureInTurn) -> str:
    """Return what is known of what a picture shows, else the first writing in it, cut short: by it
    a later turn can speak of it."""
    if picture.ref.caption:
        return picture.ref.caption
    return one_line(" ".join(line.text for line in picture.lines[:40]), CAPTION)
