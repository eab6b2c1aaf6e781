"""What the OpenAPI descriptions of both interfaces share: names, bodies, headers, problems.

Knows nothing of routes.
"""

from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same question with the same key is one turn for a day.",
    ),
]
#: The schema of a file
BINARY = {"type": "string", "format": "binary"}


def example(**values: Any) -> ConfigDict:
    """Return the configuration of a model that has an example."""
    return ConfigDict(json_schema_extra={"examples": [values]})


class Strict(BaseModel):
    """A request: unknown fields are refused, since a mistyped one would be lost in silence."""

    model_config = ConfigDict(extra="forbid")


class ProblemOut(BaseModel):
    """An RFC 9457 problem document."""

    model_config = example(
        type="https://bifocal.invalid/problems/invalid",
        title="A field has a value that cannot be used",
        status=422,
        detail="text: Field required",
        instance="urn:request:9f3b6c1d2e4f5a60",
        errors=[{"field": "text", "detail": "Field required"}],
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    errors: list[dict[str, str]] = []


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemOut, "description": why}
    for status, why in {
        400: "Cannot be read",
        401: "No good API key",
        404: "Absent, or not for this key",
        409: "In the way of another turn",
        413: "Too large",
        415: "Of a type that is not taken",
        422: "A field cannot be used",
        429: "Too many requests",
        502: "The model failed",
        503: "Overloaded or stopping",
    }.items()
}


def body(model: type[BaseModel], *, multipart: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a route that reads its own body says of it: JSON of ``model``, or a form with
    ``multipart`` as its schema."""
    content: dict[str, Any] = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    }
    if multipart is not None:
        content["multipart/form-data"] = {"schema": multipart}
    return {"requestBody": {"required": True, "content": content}}


def form(required: str, **fields: Any) -> dict[str, Any]:
    """Return what a route says of the form that it reads: the schemas of its fields, and which of
    them must be there."""
    schema = {"type": "object", "properties": fields, "required": [required]}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }
