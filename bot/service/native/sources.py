"""``/v1/sources``: what is in a library, uploaded and removed.

Knows nothing of how files are taken in (``jobs.py``), nor where they lie (``upload_files.py``).
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bot.service.http.bodies import FILES, media_type
from bot.service.http.openapi import BINARY, PROBLEMS, form
from bot.service.http.problems import Problem, invalid, not_found
from bot.service.http.replies import Json
from bot.service.http.requests import Who
from bot.service.http.segments import SegmentRoute
from bot.service.ingestion.jobs import Jobs, TooMany
from bot.service.ingestion.upload_files import clean_name, keep
from bot.service.native.libraries import library_of
from bot.service.native.library_schema import JobOut, SourceOut, SourcesOut
from bot.service.served.names import UPLOADS, LibraryNames, Names
from retrievers.errors import LibraryError
from retrievers.library import Library, Source

router = APIRouter(tags=["sources"], route_class=SegmentRoute)
InLibrary = Annotated[str, Query(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Name = Annotated[
    str, Path(min_length=1, max_length=512, description="As the list calls it; percent-encoded.")
]
_FORM = form("files", files={"type": "array", "items": BINARY, "minItems": 1, "maxItems": FILES})


@router.get("/v1/sources", response_model=SourcesOut, responses=PROBLEMS)
async def list_sources(
    request: Request,
    access: Who,
    library: InLibrary = "default",
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """List what is in a library, and what was skipped and why, by name."""
    opened = await library_of(request, access, library)
    called: LibraryNames = await request.app.state.bots.names(library)

    def read() -> list[SourceOut]:
        names = called.now()
        shown = [_source(source, names) for source in opened.sources()]
        return sorted(shown, key=lambda source: source.name)

    found = await asyncio.to_thread(read)
    page = [source.model_dump() for source in found[offset : offset + limit]]
    return Json({"sources": page, "offset": offset, "total": len(found)})


def _source(source: Source, names: Names) -> SourceOut:
    return SourceOut(
        name=names.shown(source.name),
        kind=source.kind,
        state="skipped" if source.state == "skipped" else "indexed",
        reason=names.clean(source.reason, [source.name]),
        title=source.title,
        bytes=source.size,
        pages=source.pages,
        passages=source.passages,
        pictures=source.pictures,
        indexed_at=source.indexed_at,
        uploaded=names.is_upload(source.name),
    )


@router.post(
    "/v1/sources",
    status_code=202,
    response_model=JobOut,
    responses=PROBLEMS,
    openapi_extra=_FORM,
)
async def upload_sources(request: Request, access: Who, library: InLibrary = "default") -> Response:
    """Upload files into a library; they are taken in by a job, which is returned.

    A file replaces an earlier upload of its name.
    """
    opened = await library_of(request, access, library, write=True)
    state = request.app.state
    jobs: Jobs = state.jobs
    if state.admission.stopping:
        raise Problem(503, "stopping", "the service is stopping; ask again", retry_after=5)
    if media_type(request) != "multipart/form-data":
        raise Problem(415, "unsupported-media-type", "send multipart/form-data with files")
    try:
        jobs.check()
        paths = await _received(request, opened)
        job = await jobs.submit(access.tenant, library, opened, paths)
    except TooMany:
        told = "many uploads are being taken in; ask again later"
        raise Problem(503, "overloaded", told, retry_after=10) from None
    return Json(job, 202, headers={"Location": f"/v1/jobs/{job['id']}"})


async def _received(request: Request, library: Library) -> list[Any]:
    """Put the files of a form into the library's folder, once all of them have names."""
    try:
        async with request.form(max_files=FILES, max_fields=4) as form:
            parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
            if not parts:
                raise invalid("files", "give one file or several")
            names = [clean_name(part.filename or "") for part in parts]
            if twice := sorted(name for name in set(names) if names.count(name) > 1):
                raise invalid("files", f"two files would be called {twice[0]!r}; rename one")
            pairs = zip(parts, names, strict=True)
            return [await keep(part, library.folder, name) for part, name in pairs]
    except HTTPException as error:
        raise Problem(400, "bad-request", f"the form cannot be read: {error.detail}") from error
    except OSError:
        told = "the files cannot be stored now; the operator's log says why"
        raise Problem(503, "unavailable", told, retry_after=60) from None


@router.delete("/v1/sources/{name}", status_code=204, responses=PROBLEMS)
async def remove_source(
    request: Request, access: Who, name: Name, library: InLibrary = "default"
) -> None:
    """Remove a source from a library, and the file if it was uploaded; answers that cited it keep
    their words."""
    opened = await library_of(request, access, library, write=True)
    names = await request.app.state.bots.names(library)
    if not await asyncio.to_thread(_remove, opened, names.now, name):
        raise not_found("source of that name")


def _remove(library: Library, called: Callable[[], Names], name: str) -> bool:
    """Remove what is called so; whether there was such a thing. No name is ever made a path."""
    names = called()
    real = names.real(name)
    folder = library.folder / UPLOADS
    files = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    if real is not None:
        try:
            library.forget(real)
        except LibraryError:  # another request was faster
            return False
        if not names.is_upload(real):
            return True
    elif name not in files or name.startswith("."):
        return False
    if name in files:
        files[name].unlink(missing_ok=True)
    return True
