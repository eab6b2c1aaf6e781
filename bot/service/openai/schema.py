"""What goes in and out of the OpenAI-compatible interface, as that API describes it.

Unknown fields of requests are ignored, as there; known ones of a wrong type are refused, and so is
what cannot be done here, each with the way out. Beside OpenAI's fields stand two of ours,
``conversation`` and ``citations``, and in answers ``bifocal``. Knows nothing of routes or turns.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from bot.service.http.openapi import Name

Citations = Literal["footnotes", "field", "both", "none"]
INPUTS, INPUT_CHARS = 2048, 8192  #: texts of a request for embeddings, and characters of each


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class StreamOptions(_Request):
    """How an answer is streamed."""

    include_usage: bool | None = None


class ResponseFormat(_Request):
    """The form of an answer: text."""

    type: str


class ChatCompletionRequest(_Request):
    """A chat so far; the last message is the question."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "default",
                    "messages": [{"role": "user", "content": "How tall is the lighthouse?"}],
                }
            ]
        },
    )

    model: Annotated[str, Field(min_length=1, max_length=256, description="A library's name.")]
    messages: list[dict[str, Any]]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    user: Annotated[str | None, Field(max_length=200, description="The name of who asks.")] = None
    metadata: dict[str, str] | None = None
    n: int | None = None
    response_format: ResponseFormat | None = None
    modalities: list[str] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    audio: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    conversation: Annotated[
        Name | None,
        Field(
            description="Go on with this conversation, which is kept here; of the messages only"
            " the last is used. `metadata.conversation` says the same."
        ),
    ] = None
    citations: Annotated[
        Citations | None, Field(description="Where citations are told; a setting says it else.")
    ] = None

    @field_validator("n")
    @classmethod
    def _one(cls, value: int | None) -> int | None:
        if value not in (None, 1):
            raise ValueError("one answer is given; ask again for another")
        return value

    @field_validator("response_format")
    @classmethod
    def _text(cls, value: ResponseFormat | None) -> ResponseFormat | None:
        if value is not None and value.type != "text":
            raise ValueError("answers are cited text; leave it out, or give text")
        return value

    @field_validator("modalities")
    @classmethod
    def _words(cls, value: list[str] | None) -> list[str] | None:
        if value and value != ["text"]:
            raise ValueError("answers are text alone; leave it out")
        return value

    @field_validator(
        "tools", "functions", "audio", "logprobs", "top_logprobs", "logit_bias",
        "web_search_options",
    )  # fmt: skip
    @classmethod
    def _unable(cls, value: Any, info: ValidationInfo) -> Any:
        if value:
            raise ValueError(f"there is no {info.field_name} here; leave it out")
        return value

    @field_validator("metadata")
    @classmethod
    def _named(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        if value and not 1 <= len(value.get("conversation", "-")) <= 256:
            raise ValueError("conversation: give 1 to 256 characters")
        return value

    @property
    def kept(self) -> str | None:
        """The name of the kept conversation that this goes on with."""
        return self.conversation or (self.metadata or {}).get("conversation")

    @property
    def most_tokens(self) -> int | None:
        """How long the answer may be; the newer name goes before the older."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with its tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class EmbeddingRequest(_Request):
    """Texts to make vectors of."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "text", "input": ["the lamp", "the tower"]}]}
    )

    model: Annotated[str, Field(min_length=1, max_length=256, description="`text`")]
    input: Any
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int | None, Field(ge=1)] = None

    @field_validator("input")
    @classmethod
    def _texts(cls, value: Any) -> list[str]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not texts or len(texts) > INPUTS:
            raise ValueError(f"give a text, or a list of 1 to {INPUTS}")
        for at, text in enumerate(texts):
            if isinstance(text, int | list):
                raise ValueError(  # noqa: TRY004
                    "tokens are another model's; send text (in LangChain:"
                    " check_embedding_ctx_length=False)"
                )
            if not isinstance(text, str) or not text:
                raise ValueError(f"number {at}: give a text that is not empty")
            if len(text) > INPUT_CHARS:
                raise ValueError(f"number {at}: {len(text):,} characters, the most is"
                                 f" {INPUT_CHARS:,}")  # fmt: skip
        return texts


_MODEL: dict[str, Any] = {
    "id": "default",
    "object": "model",
    "created": 1795726800,
    "owned_by": "bifocal",
}
_USAGE: dict[str, Any] = {"prompt_tokens": 697, "completion_tokens": 14, "total_tokens": 711}
_SAID: dict[str, Any] = {"role": "assistant", "content": "The lighthouse is 34 metres tall. [1]"}
_ANSWER: dict[str, Any] = {
    "id": "chatcmpl-5f0c7a1e9d",
    "object": "chat.completion",
    "created": 1795726800,
    "model": "default",
    "choices": [{"index": 0, "message": _SAID, "finish_reason": "stop"}],
    "usage": _USAGE,
}
_VECTORS: dict[str, Any] = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.11, -0.02, 0.4]}],
    "model": "text",
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
_ERROR: dict[str, Any] = {
    "error": {
        "message": "there is no library of that name that this key can see",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
}


class TokenDetails(BaseModel):
    """Of the tokens that were read, those that were known already."""

    cached_tokens: int = 0


class Usage(BaseModel):
    """Tokens, as the model counts them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: TokenDetails | None = None


class Extension(BaseModel):
    """What OpenAI's form has no place for. ``conversation`` is null where nothing is kept."""

    citations: list[dict[str, Any]] | None = None
    evidence: list[str] = []
    notices: list[str] = []
    conversation: str | None = None
    turn: str = ""
    found: bool = True


class ChatMessage(BaseModel):
    """An answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    bifocal: Extension | None = None


Finish = Literal["stop", "length"]


class Choice(BaseModel):
    """The one choice."""

    index: int = 0
    message: ChatMessage
    finish_reason: Finish
    logprobs: None = None


class ChatCompletion(BaseModel):
    """A whole answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ANSWER]})

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None


class Delta(BaseModel):
    """The next piece of an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    bifocal: Extension | None = None


class ChunkChoice(BaseModel):
    """The next piece of the one choice."""

    index: int = 0
    delta: Delta
    finish_reason: Finish | None = None
    logprobs: None = None


class ChatCompletionChunk(BaseModel):
    """A piece of an answer as it comes."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class Model(BaseModel):
    """What may be named as ``model``."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MODEL]})

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "bifocal"


class ModelList(BaseModel):
    """All of them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"object": "list", "data": [_MODEL]}]}
    )

    object: Literal["list"] = "list"
    data: list[Model]


class Embedding(BaseModel):
    """A vector: numbers, or base64 of 32-bit little-endian ones."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens, estimated."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingResponse(BaseModel):
    """Vectors, in the order of the texts."""

    model_config = ConfigDict(json_schema_extra={"examples": [_VECTORS]})

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorOut(BaseModel):
    """An error in OpenAI's form."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ERROR]})

    error: ErrorBody
