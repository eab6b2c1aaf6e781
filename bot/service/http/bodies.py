"""Reading the bodies of requests: JSON or a form, checked, each mistake named by its field.

Knows nothing of what is asked.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from bot.service.http.problems import Problem, invalid
from retrievers.imaging import MAX_BYTES

M = TypeVar("M", bound=BaseModel)

FILES, FIELDS = 64, 64  #: parts of a form, at most
_JSON, _FORM = "application/json", "multipart/form-data"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a form."""

    name: str
    data: bytes = field(repr=False)


def media_type(request: Request) -> str:
    """Return the type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, model: type[M]) -> M:
    """Return a JSON body as ``model``; a problem that names the field otherwise."""
    if media_type(request) != _JSON:
        raise Problem(415, "unsupported-media-type", f"send {_JSON}")
    return checked(model, await request.body())


async def read_either(request: Request, model: type[M]) -> tuple[M, list[File]]:
    """Return a body of JSON, or of a form whose files come beside its fields."""
    kind = media_type(request)
    if kind == _JSON:
        return checked(model, await request.body()), []
    if kind != _FORM:
        raise Problem(415, "unsupported-media-type", f"send {_JSON} or {_FORM}")
    values, files = await read_form(request)
    return checked(model, values), files


async def read_form(request: Request) -> tuple[dict[str, str], list[File]]:
    """Return the fields and the files of a form, capped in number and in size."""
    try:
        async with request.form(
            max_files=FILES, max_fields=FIELDS, max_part_size=MAX_BYTES
        ) as form:
            parts = form.multi_items()
            values = {name: value for name, value in parts if isinstance(value, str)}
            return values, [await _file(p) for _, p in parts if isinstance(p, UploadFile)]
    except HTTPException as error:
        raise Problem(400, "bad-request", f"the form cannot be read: {error.detail}") from error


async def _file(part: UploadFile) -> File:
    if (part.size or 0) > MAX_BYTES:
        raise Problem(413, "too-large", f"a picture has {MAX_BYTES:,} bytes at most")
    return File(part.filename or "", await part.read())


def checked(model: type[M], given: bytes | dict[str, str]) -> M:
    """Return ``given`` as ``model``; a problem that names every field that is wrong otherwise."""
    try:
        if isinstance(given, bytes):
            return model.model_validate_json(given)
        return model.model_validate(given)
    except ValidationError as error:
        raise of_validation(error.errors(include_url=False, include_input=False)) from None


def of_validation(errors: list[Any]) -> Problem:
    """Return the problem of what pydantic found wrong."""
    fields = [(_path(e["loc"]), str(e["msg"]).removeprefix("Value error, ")) for e in errors[:20]]
    name, trouble = fields[0]
    if errors[0]["type"] == "json_invalid":
        return Problem(400, "bad-request", f"the body is no JSON: {trouble}", fields=fields)
    return Problem(422, "invalid", f"{name}: {trouble}", fields=fields)


def _path(loc: tuple[int | str, ...]) -> str:
    """Return a field's place as people write it: ``pictures[0].data``."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return place.removeprefix(".") or "body"


def from_base64(text: str, where: str) -> bytes:
    """Return the bytes of base64 text (a ``data:`` address is taken, too), capped before work."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise Problem(413, "too-large", f"{where}: a picture has {MAX_BYTES:,} bytes at most")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(where, "not base64") from None
