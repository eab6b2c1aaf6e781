"""The events of a turn as they come from a service, read on where a connection broke.

Knows nothing of what is asked. Each event arrives once and in its order: a resumable turn is taken
up again behind the last event that arrived whole, for as long as the service keeps it.
"""

import json
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
import httpx
from httpx_sse import EventSource, SSEError

from bot.errors import KNOWN_ERRORS, ServiceError
from bot.events import (
    Answer,
    Citation,
    Cited,
    Done,
    Event,
    EvidenceFound,
    LedgerEntry,
    Notice,
    Token,
)
from bot.remote.problems import Meaning, Told
from bot.remote.wire import Broken, Wire

KEPT = 60.0  #: seconds for which a broken stream is taken up again
PAUSE = 0.2  #: seconds before the first try to do so
_PLACE = re.compile(r"/v1/turns/[0-9a-f]{32}/events")

Media = Callable[[Citation], bytes]


def event_of(value: Any, media: Callable[[Answer], Media]) -> Event:
    """Read what ``Event.to_json`` wrote, but for the evidence's text; ``ServiceError`` for what
    is of another form. ``media`` gives an answer the way to its pictures."""
    try:
        match value["type"]:
            case "evidence":
                entries = [LedgerEntry.from_json(one) for one in value["evidence"]]
                return EvidenceFound(tuple(entry.evidence for entry in entries))
            case "token":
                return Token(str(value["text"]))
            case "citation":
                return Cited(Citation.from_json(value))
            case "notice":
                return Notice(str(value["text"]))
            case "done":
                answer = Answer.from_json(value)
                return Done(replace(answer, media=media(answer)))
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise ServiceError("the service sends an event of another form; is its version another?")


async def sent_events(response: httpx.Response) -> AsyncGenerator[tuple[str, str, Any], None]:
    """Yield the id, the kind and the value of server-sent events as they come."""
    try:
        async for sse in EventSource(response).aiter_sse():
            yield sse.id, sse.event, json.loads(sse.data)
    except (SSEError, ValueError):
        raise ServiceError("the service sends something that is no stream of events") from None


class Reading:
    """One turn that is read from a service."""

    def __init__(self, wire: Wire, meaning: Meaning, media: Callable[[Answer], Media]) -> None:
        self._wire, self._meaning, self._media = wire, meaning, media
        self._place = ""  #: where the turn is taken up again, if it can be
        self._last = ""  #: id of the last event that arrived
        self._ended = False
        self._broke: float | None = None  #: when (s), until something arrives again

    async def events(self, method: str, path: str, **request: Any) -> AsyncGenerator[Event, None]:
        """Ask, and yield the events. Whoever stops reading ends the turn."""
        meaning = self._meaning
        try:
            while not self._ended:
                try:
                    async with self._wire.answer(method, path, meaning, **request) as response:
                        self._take_place(response)
                        async for event in self._of(response):
                            yield event
                except httpx.TransportError as error:
                    broken = self._wire.unreachable(Broken(error))
                except ServiceError as error:
                    if error.status or error.kind or self._broke is None:
                        raise
                    broken = error  # the service is not back yet
                else:
                    broken = self._wire.unreachable(Broken(EOFError()))
                if not self._ended:
                    await self._pause(broken)
                    method, path, meaning = "GET", self._place, Meaning(absent=_gone)
                    request = {"headers": {"Last-Event-ID": self._last} if self._last else {}}
        finally:
            if not self._ended and self._place:
                await self._end()

    def _take_place(self, response: httpx.Response) -> None:
        place = response.headers.get("location", "")
        if not self._place and _PLACE.fullmatch(place):
            self._place = place

    async def _of(self, response: httpx.Response) -> AsyncGenerator[Event, None]:
        async for id, kind, value in sent_events(response):
            self._broke, self._last = None, id
            if kind == "error":
                self._ended = True
                problem = value.get("problem") if isinstance(value, dict) else None
                raise self._meaning.error(Told.of(500, problem))
            event = event_of(value, self._media)
            self._ended = isinstance(event, Done)
            yield event

    async def _pause(self, broken: ServiceError) -> None:
        """Wait before the turn is taken up again; raise ``broken`` when it cannot be, or not any
        more."""
        now = time.monotonic()
        if self._broke is None:
            self._broke = now
        if not self._place or now - self._broke > KEPT:
            raise broken
        await anyio.sleep(PAUSE + (now - self._broke) / 4)

    async def _end(self) -> None:
        """End the turn at the service, in a few seconds or not at all."""
        address = self._place.removesuffix("/events")
        with anyio.CancelScope(shield=True), anyio.move_on_after(5), suppress(*KNOWN_ERRORS):
            await self._wire.data("DELETE", address, Meaning())


def _gone(detail: str) -> Exception:
    return ServiceError(
        "the connection broke, and the service does not have the turn any more; ask again with the"
        " same idempotency_key", kind="gone",
    )  # fmt: skip
