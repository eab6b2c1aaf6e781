"""``/v1/pictures``: upload a picture once, and use it in turns by its id."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from bot.service.http.bodies import media_type, read_form
from bot.service.http.openapi import BINARY, PROBLEMS, example
from bot.service.http.problems import Problem, not_found
from bot.service.http.requests import Who
from retrievers.imaging import read_picture

router = APIRouter(tags=["pictures"])
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
#: What a route that returns a picture says of it
PICTURE: dict[str, Any] = {
    "description": "The picture.",
    "content": {"image/*": {"schema": BINARY}},
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": BINARY},
                    "required": ["file"],
                }
            },
        },
    }
}


class UploadOut(BaseModel):
    """A picture that was uploaded."""

    model_config = example(
        id=32 * "3f", media_type="image/jpeg", width=640, height=480, bytes=48213
    )

    id: str
    media_type: str
    width: int
    height: int
    bytes: int


@router.post("/v1/pictures", status_code=201, responses=PROBLEMS, openapi_extra=_BODY)
async def upload_picture(request: Request, access: Who) -> UploadOut:
    """Upload a picture, as the body itself or as the file of a form; it is kept for an hour."""
    if media_type(request) == "multipart/form-data":
        _, files = await read_form(request)
        if len(files) != 1:
            raise Problem(422, "invalid", "file: give one file", fields=[("file", "give one")])
        name, data = files[0].name, files[0].data
    else:
        name, data = "", await request.body()
    picture = await asyncio.to_thread(read_picture, data, name=name)
    await request.app.state.uploads.save(access.tenant, picture.sha256, picture.data)
    return UploadOut(
        id=picture.sha256,
        media_type=picture.media_type,
        width=picture.width,
        height=picture.height,
        bytes=len(picture.data),
    )


@router.get("/v1/pictures/{id}", responses={200: PICTURE, **PROBLEMS}, response_class=Response)
async def read_upload(request: Request, access: Who, id: Id) -> Response:
    """Return a picture that was uploaded."""
    data = await request.app.state.uploads.read(access.tenant, id)
    if data is None:
        raise not_found("picture")
    return picture_response(data)


@router.delete("/v1/pictures/{id}", status_code=204, responses=PROBLEMS)
async def forget_upload(request: Request, access: Who, id: Id) -> None:
    """Forget a picture before its hour is over; turns that used it keep it."""
    if not await request.app.state.uploads.drop(access.tenant, id):
        raise not_found("picture")


_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif",
          b"RIFF": "image/webp"}  # fmt: skip


def picture_response(data: bytes) -> Response:
    """Return a stored picture; what is stored are PNG, JPEG, GIF and WebP only."""
    kind = next((t for head, t in _TYPES.items() if data.startswith(head)), None)
    if kind is None:
        raise Problem(500, "internal", "a stored picture is damaged")
    return Response(
        data,
        media_type=kind,
        headers={
            "Cache-Control": "private, max-age=3600, immutable",
            "Content-Disposition": "inline",
        },
    )
