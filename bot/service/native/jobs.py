"""``/v1/jobs``: how far the taking in of uploaded files is, as it goes on, and its end.

Knows nothing of who works at a job.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from bot.service.access.rights import Access
from bot.service.flow.streams import EventStream, frame
from bot.service.http.openapi import PROBLEMS
from bot.service.http.problems import not_found
from bot.service.http.replies import Json
from bot.service.http.requests import Who
from bot.service.ingestion.jobs import Jobs
from bot.service.native.library_schema import JobOut

router = APIRouter(tags=["sources"])
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="As POST /v1/sources gave it.")]
_EVENTS = {
    "description": "`progress` with the job whenever it has changed, and `end` with it at last.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


async def _job(request: Request, access: Access, id: str) -> dict[str, Any]:
    """Return a job of a library that the key may write; the problem of an absent one otherwise."""
    jobs: Jobs = request.app.state.jobs
    job = await jobs.read(access.tenant, id)
    if job is None or not access.may_write(job["library"]):
        raise not_found("job of that id")
    return job


@router.get("/v1/jobs/{id}", response_model=JobOut, responses=PROBLEMS)
async def read_job(request: Request, access: Who, id: Id) -> Response:
    """Return how far a job is, and what became of each file."""
    return Json(await _job(request, access, id))


@router.get("/v1/jobs/{id}/events", response_class=Response, responses={200: _EVENTS, **PROBLEMS})
async def follow_job(request: Request, access: Who, id: Id) -> Response:
    """Follow a job by server-sent events until it is over."""
    await _job(request, access, id)
    jobs: Jobs = request.app.state.jobs

    async def frames() -> AsyncGenerator[bytes, None]:
        number = 0
        async with aclosing(jobs.watch(access.tenant, id)) as steps:
            async for job in steps:
                number += 1
                yield frame("end" if job["ended"] is not None else "progress", job, str(number))

    return await EventStream.begun(request, frames())


@router.delete("/v1/jobs/{id}", status_code=202, response_model=JobOut, responses=PROBLEMS)
async def stop_job(request: Request, access: Who, id: Id) -> Response:
    """Stop a job after the file in hand; what was taken in stays."""
    job = await _job(request, access, id)
    if job["ended"] is None:
        jobs: Jobs = request.app.state.jobs
        await jobs.stop(access.tenant, id)
    return Json(job, 202)
