"""Answers that are values: a model held to a schema, and its answer read as one.

Knows nothing of how the model is held to it.
"""

import json
from collections.abc import Callable
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, ValidationError


def structured(
    model: BaseChatModel,
    schema: dict[str, Any] | type,
    method: str,
    *,
    include_raw: bool,
    **kwargs: Any,
) -> Runnable[LanguageModelInput, Any]:
    """Return ``model`` with answers of ``schema``; see ``LocalVisionChat.with_structured_output``.

    ``include_raw`` gives ``{"raw", "parsed", "parsing_error"}`` instead of raising.
    """
    if method not in ("json_schema", "json_mode"):
        raise ValueError(f"method {method!r}: there is json_schema, json_mode and function_calling")
    shape = convert_to_json_schema(schema)
    wanted: dict[str, Any] = {"type": "json_object"}
    if method == "json_schema":
        name = shape.get("title", "answer")
        wanted = {"type": "json_schema", "json_schema": {"name": name, "schema": shape}}
    bound = model.bind(
        response_format=wanted,
        ls_structured_output_format={"kwargs": {"method": method}, "schema": shape},
        **kwargs,
    )
    read = RunnableLambda(_reader(schema), name="read_value")
    if not include_raw:
        return bound | read
    raised = RunnablePassthrough.assign(
        parsed=(lambda found: found["raw"]) | read, parsing_error=lambda _: None
    )
    caught = raised.with_fallbacks(
        [RunnablePassthrough.assign(parsed=lambda _: None)], exception_key="parsing_error"
    )
    return RunnableMap(raw=bound) | caught


def _reader(schema: dict[str, Any] | type) -> Callable[[BaseMessage], Any]:
    """Return what reads a whole answer as a value of ``schema``: a Pydantic class or a mapping."""

    def read(message: BaseMessage) -> Any:
        text = str(message.text)
        reason = message.response_metadata.get("finish_reason")
        if reason not in (None, "stop"):
            raise OutputParserException(
                f"the answer was cut ({reason}) before its value ended; raise max_tokens",
                llm_output=text,
            )
        try:
            if isinstance(schema, type) and issubclass(schema, BaseModel):
                return schema.model_validate_json(text)
            return json.loads(text)
        except (ValidationError, ValueError) as error:
            raise OutputParserException(
                f"the answer is no {getattr(schema, '__name__', 'JSON')}: {error}", llm_output=text
            ) from error

    return read
