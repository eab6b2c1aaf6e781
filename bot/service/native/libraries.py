"""``/v1/libraries``: which there are, and what their answers cite, opened.

Knows nothing of how sources get in (``sources.py``).
"""

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from bot.service.access.rights import Access
from bot.service.http.bodies import read_json
from bot.service.http.openapi import PROBLEMS, body
from bot.service.http.problems import Problem, invalid, not_found
from bot.service.http.requests import Who
from bot.service.native.library_schema import (
    Kind,
    LibrariesOut,
    LibraryAsked,
    LibraryOut,
    OpenedOut,
    WordsFoundOut,
    WordsFoundPage,
)
from bot.service.native.pictures import PICTURE, picture_response
from bot.service.served.names import LibraryNames, Names
from bot.show import picture_of
from retrievers.errors import LibraryError, PictureRefused
from retrievers.evidence import Box, Evidence
from retrievers.imaging import encode
from retrievers.library import Library

router = APIRouter(tags=["libraries"])
L = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="A library.")]
Sha = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="As in `media` of a citation.")]
Item = Annotated[
    str,
    Path(
        pattern=r"^(passage|picture):\d{1,18}$",
        description="As in `evidence` of a citation: `passage:12`.",
    ),
]
SIDE = 2048  #: pixels of the longer side of a picture that is drawn anew, at most
_BOX = re.compile(r"(?:[01]|[01]?\.\d{1,8})(?:,(?:[01]|[01]?\.\d{1,8})){3}", re.ASCII)


async def library_of(request: Request, access: Access, name: str, write: bool = False) -> Library:
    """Return a library that ``access`` may read, or write; else the problem of an absent one."""
    if not (access.may_write(name) if write else access.may_read(name)):
        raise not_found("library of that name")
    shelf = await request.app.state.bots.shelf(name)
    library: Library = shelf.library
    return library


def _counted(library: Library, name: str, access: Access) -> LibraryOut:
    sources = library.sources()
    skipped = sum(source.state == "skipped" for source in sources)
    return LibraryOut(
        name=name,
        sources=len(sources) - skipped,
        skipped=skipped,
        passages=sum(source.passages for source in sources),
        pictures=sum(source.pictures for source in sources),
        may_write=access.may_write(name),
    )


@router.get("/v1/libraries", responses=PROBLEMS)
async def list_libraries(request: Request, access: Who) -> LibrariesOut:
    """List the libraries that this key may read."""
    bots = request.app.state.bots

    def counted() -> list[LibraryOut]:
        found = []
        for name in bots.libraries():
            if access.may_read(name):
                with Library.open(bots.folder(name)) as library:  # without its indexes
                    found.append(_counted(library, name, access))
        return found

    return LibrariesOut(libraries=await asyncio.to_thread(counted))


@router.post("/v1/libraries", status_code=201, responses=PROBLEMS, openapi_extra=body(LibraryAsked))
async def make_library(request: Request, response: Response, access: Who) -> LibraryOut:
    """Make an empty library; the key must be one that may write it."""
    asked = await read_json(request, LibraryAsked)
    if not access.may_write(asked.name):
        raise not_found("library of that name")
    bots = request.app.state.bots
    if asked.name in await asyncio.to_thread(bots.libraries):
        raise Problem(409, "conflict", "a library of that name exists; choose another name")
    await bots.create(asked.name)
    response.headers["Location"] = f"/v1/libraries/{asked.name}"
    return await read_library(request, access, asked.name)


@router.get("/v1/libraries/{library}", responses=PROBLEMS)
async def read_library(request: Request, access: Who, library: L) -> LibraryOut:
    """Return what is in a library, in numbers."""
    opened = await library_of(request, access, library)
    return await asyncio.to_thread(_counted, opened, library, access)


@router.get(
    "/v1/libraries/{library}/media/{sha256}",
    response_class=Response,
    responses={200: PICTURE, **PROBLEMS},
)
async def read_media(
    request: Request,
    access: Who,
    library: L,
    sha256: Sha,
    box: Annotated[
        str, Query(max_length=80, description="`left,top,right,bottom`, each 0 to 1: drawn on it.")
    ] = "",
    side: Annotated[
        int | None, Query(ge=16, le=SIDE, description="Pixels of the longer side, at most.")
    ] = None,
) -> Response:
    """Return a picture of a library, as it is, or smaller and with a box as JPEG."""
    wanted = read_box(box)
    opened = await library_of(request, access, library)
    try:
        data = await asyncio.to_thread(opened.media, sha256)
    except LibraryError:
        raise not_found("picture of that hash") from None
    return await drawn(request, data, wanted, side)


def read_box(text: str) -> Box | None:
    """Return the box that a query names, if it names one."""
    if not text:
        return None
    values = [float(v) for v in text.split(",")] if _BOX.fullmatch(text) else []
    if not values or not (values[0] < values[2] <= 1 and values[1] < values[3] <= 1):
        raise invalid("box", "give left,top,right,bottom, each from 0 to 1, as in 0.1,0.2,0.5,0.6")
    return Box(*values)


async def drawn(request: Request, data: bytes, box: Box | None, side: int | None) -> Response:
    """Return a picture as it is stored, or drawn anew with a box and of at most that size."""
    if box is None and side is None:
        return picture_response(data)

    def draw() -> bytes:
        return encode(picture_of(data, box, side or SIDE), "image/jpeg")

    async with request.app.state.drawing:  # what is decoded takes memory
        try:
            return picture_response(await asyncio.to_thread(draw))
        except PictureRefused:
            raise Problem(410, "not-found", "what is stored there is no picture") from None


@router.get("/v1/libraries/{library}/find", responses=PROBLEMS)
async def find_words(
    request: Request,
    access: Who,
    library: L,
    q: Annotated[str, Query(min_length=1, max_length=1000, description="Words.")],
    kind: Annotated[Kind, Query(description="What is looked for.")] = "passage",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> WordsFoundPage:
    """Find passages or pictures by their words (BM25), without asking anybody to answer."""
    opened = await library_of(request, access, library)
    called: LibraryNames = await request.app.state.bots.names(library)

    def read() -> list[WordsFoundOut]:
        names = called.now()
        scores = dict(opened.search_words(q, kind=kind, k=limit))
        found = opened.evidence(list(scores)).values()
        return [WordsFoundOut(**_passage(e, names), score=round(scores[e.id], 4)) for e in found]

    return WordsFoundPage(found=await asyncio.to_thread(read))


@router.get("/v1/libraries/{library}/passages/{id}", responses=PROBLEMS)
async def read_passage(
    request: Request,
    access: Who,
    library: L,
    id: Item,
    around: Annotated[int, Query(ge=0, le=10, description="Passages before and after.")] = 1,
) -> OpenedOut:
    """Open what a citation points at, with what stands beside it; `picture:7` is a picture."""
    opened = await library_of(request, access, library)
    called: LibraryNames = await request.app.state.bots.names(library)

    def read() -> tuple[Evidence | None, list[Evidence], Names]:
        beside = opened.neighbours(id, around) if around else []
        found = opened.evidence([id, *beside])
        return found.get(id), [found[n] for n in beside if n in found], called.now()

    item, beside, names = await asyncio.to_thread(read)
    if item is None:
        raise not_found("passage of that id")
    number = int(id.partition(":")[2])
    return OpenedOut(
        **_passage(item, names),
        before=[_passage(e, names) for e in beside if int(e.id.partition(":")[2]) < number],
        after=[_passage(e, names) for e in beside if int(e.id.partition(":")[2]) > number],
    )


def _passage(item: Evidence, names: Names) -> Any:
    return {
        "id": item.id,
        "kind": item.kind,
        "source": names.shown(item.source),
        "page": item.page,
        "heading": item.heading,
        "form": item.form,
        "text": item.text,
        "caption": item.caption,
        "media": item.media,
        "box": item.box.to_json() if item.box else None,
    }
