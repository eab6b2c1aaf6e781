"""What may be asked of a local model: every setting of an answer, checked, and made a request.

Knows nothing of processes or of how answers come back.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bot.errors import ModelError
from bot.models.llama.tools import must_call
from bot.models.llama.values import Line, Request, Sampling

_MOST_LOGPROBS = 20


class Settings(BaseModel):
    """How answers are written; ``temperature`` 0 always takes the likeliest token."""

    max_tokens: int = Field(512, ge=1)
    temperature: float = Field(0.0, ge=0, allow_inf_nan=False)
    top_p: float = Field(0.95, gt=0, le=1)
    top_k: int = Field(40, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**32)
    tenant: str = "default"
    seconds: float | None = Field(None, gt=0)


class Asked(Settings):
    """The settings of one answer. Make one with :func:`asked`."""

    model_config = ConfigDict(extra="forbid")

    grammar: str | None = None
    response_format: Any = None
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=_MOST_LOGPROBS)
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | bool | dict[str, Any] | None = None

    @field_validator("tools", mode="before")
    @classmethod
    def _convert(cls, tools: Sequence[Any] | None) -> tuple[dict[str, Any], ...]:
        return tool_forms(tools or ())

    def request(self, lines: Sequence[Line], stop: Sequence[str] | None) -> Request:
        """Return the request for these lines."""
        schema = self._schema()
        sampling = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            seed=self.seed,
            grammar=self.grammar,
            json_schema=None if schema is None else json.dumps(schema),
            logprobs=self.top_logprobs if self.logprobs or self.top_logprobs else -1,
        )
        return Request(
            lines=tuple(lines),
            max_tokens=self.max_tokens,
            sampling=sampling,
            stops=tuple(stop or ()),
            tenant=self.tenant,
            seconds=self.seconds,
            tools=self.told,
        )

    @property
    def told(self) -> tuple[dict[str, Any], ...]:
        """The tools that the model is told of."""
        return () if self.tool_choice == "none" else self.tools

    def _schema(self) -> Any:
        """Return the JSON schema that the answer keeps to, None where it is free."""
        found = [s for s in (_format(self.response_format), self._choice()) if s is not None]
        if len(found) + (self.grammar is not None) > 1:
            raise ModelError(
                "llama: more than one of grammar, response_format and tool_choice; give one"
            )
        return found[0] if found else None

    def _choice(self) -> dict[str, Any] | None:
        choice = self.tool_choice
        if choice in (None, False, "auto", "none"):
            return None
        if choice in (True, "any", "required"):
            return must_call(self.tools, None)
        if isinstance(choice, Mapping):
            choice = choice.get("function", choice).get("name")
        return must_call(self.tools, str(choice))


def asked(settings: Settings, given: Mapping[str, Any]) -> Asked:
    """Return ``settings`` with what was given with one call; ``ModelError`` says what is wrong."""
    usual = {name: getattr(settings, name) for name in Settings.model_fields}
    try:
        return Asked(**(usual | dict(given)))
    except ValidationError as error:
        raise ModelError(f"llama: {told_wrong(error, Asked)}") from error


def tool_forms(tools: Sequence[Any], *, strict: bool | None = None) -> tuple[dict[str, Any], ...]:
    """Return tools in OpenAI's form; ``ModelError`` for what is no tool."""
    try:
        return tuple(convert_to_openai_tool(tool, strict=strict) for tool in tools)
    except (TypeError, ValueError) as error:
        raise ModelError(f"llama: tools: {' '.join(str(error).split())[:200]}") from error


def told_wrong(error: ValidationError, known: type[BaseModel]) -> str:
    """Return on one line which value was wrong, and how."""
    detail = error.errors(include_url=False)[0]
    name = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"unknown {name}; known: {', '.join(known.model_fields)}"
    return (
        f"{name} is {str(detail['input'])[:60]!r}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
    )


def _format(given: Any) -> Any:
    """Return the schema of an OpenAI ``response_format``, or of a Pydantic class."""
    if given is None:
        return None
    if isinstance(given, type):
        return convert_to_json_schema(given)
    kind: Literal["text", "json_object", "json_schema"] | Any = (
        given.get("type") if isinstance(given, Mapping) else given
    )
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    schema = given.get("json_schema") if kind == "json_schema" else None
    if not isinstance(schema, Mapping) or not isinstance(schema.get("schema"), Mapping):
        raise ModelError(
            'llama: response_format takes {"type": "json_object"} or'
            ' {"type": "json_schema", "json_schema": {"name": NAME, "schema": SCHEMA}}'
        )
    return schema["schema"]
