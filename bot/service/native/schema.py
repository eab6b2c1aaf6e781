"""What goes in and out of the native interface, with examples: its OpenAPI description.

Answers leave as ``Answer.to_json`` makes them; the models below describe that form. Knows nothing
of routes.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from bot.service.http.openapi import Name, Strict, example

LibraryName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


# (a value that is null would be missing in the description: FastAPI leaves it out)
_CITATION = {
    "mark": 1, "kind": "picture", "evidence": "shown:1", "source": "lighthouse.jpg", "page": 1,
    "quote": "HEIGHT 34 m", "box": [0.12, 0.4, 0.36, 0.45], "media": 32 * "3f", "picture": 1,
}  # fmt: skip
_ENTRY = {
    "number": 1, "id": "shown:1", "kind": "picture", "source": "lighthouse.jpg", "page": 1,
    "caption": "a white lighthouse", "score": 0.91, "scores": {"bm25": 7.2, "look": 0.64},
    "in_prompt": True, "pixels_shown": True, "cited": True,
}  # fmt: skip


class PictureGiven(Strict):
    """A picture of a turn: its bytes as base64, or the id of one that was uploaded."""

    data: Annotated[str | None, Field(description="The encoded picture as base64.")] = None
    upload: Annotated[
        str | None, Field(max_length=64, description="The id that POST /v1/pictures gave.")
    ] = None
    name: Annotated[str, Field(max_length=200, description="Its file name.")] = ""
    alt: Annotated[
        str, Field(max_length=1000, description="What it shows, as its sender says.")
    ] = ""


class TurnAsked(Strict):
    """A question with text, pictures, or both."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"text": "How tall is the lighthouse?"},
                {
                    "text": "What is this?",
                    "pictures": [{"upload": "3f9c…", "alt": "a red boat"}],
                    "conversation": "c-7b1e",
                    "stream": True,
                },
            ]
        },
    )

    text: str = ""
    pictures: list[PictureGiven] = Field(default=[], max_length=64)
    conversation: Annotated[
        Name | None, Field(description="Go on with this one; a new one is begun without.")
    ] = None
    library: LibraryName = "default"
    sender: Annotated[str, Field(max_length=200, description="The name of who asks.")] = ""
    stream: Annotated[bool, Field(description="Answer with server-sent events.")] = False
    resumable: Annotated[
        bool,
        Field(
            description="Keep the turn going when the connection breaks: it can be taken up again"
            " at GET /v1/turns/{turn}/events with Last-Event-ID for a minute. Otherwise a client"
            " that leaves ends the turn."
        ),
    ] = False


class CitationOut(BaseModel):
    """What a mark [n] of the answer rests on. ``box`` is [left, top, right, bottom], 0 to 1."""

    mark: int
    kind: Literal["passage", "picture"]
    evidence: str
    source: str
    page: int | None
    quote: str
    box: Annotated[list[float] | None, Field(min_length=4, max_length=4)]
    media: str | None
    picture: int | None


class EvidenceOut(BaseModel):
    """A line of the ledger: what was found, how it scored, and what became of it."""

    number: int
    id: str
    kind: Literal["passage", "picture"]
    source: str
    page: int | None
    caption: str
    score: float
    scores: dict[str, float]
    in_prompt: bool
    pixels_shown: bool
    cited: bool


class ReferenceOut(BaseModel):
    """Words of the question and the pictures of the conversation that they meant."""

    phrase: str
    pictures: list[int]
    sure: bool
    shown: list[int]


class AnswerOut(BaseModel):
    """A whole answer."""

    model_config = example(
        text="The lighthouse is 34 metres tall. [1]",
        question="How tall is the lighthouse?",
        searched="",
        found=True,
        citations=[_CITATION],
        evidence=[_ENTRY],
        references=[],
        notices=[],
        timings={"retrieve": 4.1, "total": 21.5},
        conversation="c-7b1e",
        turn="5f0c7a1e9d",
        model="extractive",
        usage={},
    )

    text: str
    question: str
    searched: str
    found: bool
    citations: list[CitationOut]
    evidence: list[EvidenceOut]
    references: list[ReferenceOut]
    notices: list[str]
    timings: dict[str, float]
    conversation: str
    turn: str
    model: str
    usage: dict[str, int]
