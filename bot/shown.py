"""Pictures of the library that earlier answers showed, so that "the chart you showed" finds them.

They are in the citations of the turns. One gets a lasting number of the conversation, and its
pixels are kept with it, when a person first speaks of it: numbers that nobody asked for would make
"the third picture" another one than people count. Knows nothing of how words are read.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from bot.lines import CAPTION, NAME, one_line
from bot.show import source_name
from bot.turn_state import PictureInTurn
from memory.messages import Conversation, PictureRef, Turn
from memory.recall import Reference
from retrievers.errors import LibraryError
from retrievers.imaging import read_picture

#: Pictures that are offered, the last ones shown
MOST = 8
#: Endings of files that are one picture; a picture of a document does not go by its name
_PICTURE_FILES = frozenset(".png .jpg .jpeg .webp .gif .bmp .tif .tiff".split())


def offered(conversation: Conversation, first: int) -> list[PictureRef]:
    """Return the pictures that answers showed and that have no number yet, in their order.

    They are numbered from ``first`` on for the time being; their size is not known.
    """
    known = {picture.sha256 for picture in conversation.pictures}
    shown: dict[str, PictureRef] = {}
    for turn in conversation.turns:
        for sha, ref in _shown_in(turn):
            if sha not in known:
                shown.pop(sha, None)  # it counts where it was shown last
                shown[sha] = ref
    return [replace(ref, number=n) for n, ref in enumerate(list(shown.values())[-MOST:], first)]


def settled(
    reference: Reference, offers: Sequence[PictureRef], first: int
) -> tuple[Reference, list[PictureRef]]:
    """Return those offered pictures that a reference speaks of, numbered on from ``first``, and the
    reference with these numbers."""
    meant = {*reference.numbers, *reference.ambiguous}
    taken = [ref for ref in offers if ref.number in meant]
    new = {ref.number: number for number, ref in enumerate(taken, first)}

    def moved(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(new.get(n, n) for n in numbers)

    found = tuple(replace(one, numbers=moved(one.numbers)) for one in reference.found)
    reference = replace(
        reference,
        numbers=moved(reference.numbers),
        ambiguous=moved(reference.ambiguous),
        found=found,
    )
    return reference, [replace(ref, number=new[ref.number]) for ref in taken]


async def there(
    reference: Reference, offers: Sequence[PictureRef], read: Callable[[str], bytes]
) -> tuple[Reference, list[PictureRef], dict[str, bytes], list[str]]:
    """Return the reference without offered pictures that the library has no more, the offered
    pictures that it speaks of, their bytes by SHA-256, and what is to be said; ``read`` gives a
    picture's bytes."""
    meant = {*reference.numbers, *reference.ambiguous}
    data: dict[str, bytes] = {}
    said: list[str] = []
    gone: set[int] = set()
    for ref in offers:
        if ref.number in meant:
            try:
                data[ref.sha256] = await asyncio.to_thread(read, ref.sha256)
            except LibraryError as error:
                said.append(f"a picture that was shown is no longer there: {error}")
                gone.add(ref.number)

    def left(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n for n in numbers if n not in gone)

    reference = replace(
        reference,
        numbers=left(reference.numbers),
        ambiguous=left(reference.ambiguous),
        found=tuple(replace(one, numbers=left(one.numbers)) for one in reference.found),
    )
    return reference, [ref for ref in offers if ref.sha256 in data], data, said


async def taken_in(ref: PictureRef, data: bytes, at: float) -> PictureInTurn:
    """Return an offered picture with its pixels, as one of the turn's."""
    decoded = await asyncio.to_thread(read_picture, data, name=ref.name)
    ref = replace(
        ref,
        sha256=decoded.sha256,
        media_type=decoded.media_type,
        width=decoded.width,
        height=decoded.height,
        bytes=len(decoded.data),
        at=at,
    )
    return PictureInTurn(ref, decoded, new=True)


def _shown_in(turn: Turn) -> Iterator[tuple[str, PictureRef]]:
    captions = {e.get("number"): e.get("caption") for e in _maps(turn.ledger.get("evidence"))}
    for citation in _maps(turn.citations):
        sha = citation.get("media")
        if citation.get("kind") != "picture" or citation.get("picture") or not sha:
            continue
        name = source_name(str(citation.get("source", "")))
        caption = captions.get(citation.get("mark")) or citation.get("quote") or ""
        is_file = PurePosixPath(name.lower()).suffix in _PICTURE_FILES
        yield (
            str(sha),
            PictureRef(
                number=0,
                sha256=str(sha),
                media_type="",
                width=0,
                height=0,
                bytes=0,
                sender="bot",
                name=one_line(name, NAME) if is_file else "",
                caption=one_line(str(caption), CAPTION),
            ),
        )


def _maps(values: Any) -> list[Mapping[str, Any]]:
    return [v for v in values if isinstance(v, Mapping)] if isinstance(values, list | tuple) else []
