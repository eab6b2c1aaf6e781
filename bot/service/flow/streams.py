"""An answer on its way: events as they come, or the whole; a client that leaves ends it.

A response here owns the turn that it sends: the turn's place in the queue, its claim and the
model's work are given back when the last byte is out, when the client is gone, or when the service
stops. Knows nothing of what a turn is about.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from fastapi.sse import format_sse_event
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bot.service.http.problems import RETRY, Problem, problem_of

T = TypeVar("T")

PING = 15.0  #: seconds of silence after which a comment is sent, so that proxies keep the line
Frames = AsyncGenerator[bytes, None]


def _stopped() -> Problem:
    return Problem(503, "stopping", "the service was stopped; ask again", retry_after=RETRY)


class ClientGone(Exception):
    """The client left before it had its answer."""


def frame(kind: str, value: dict[str, Any], id: str | None = None) -> bytes:
    """Return a server-sent event."""
    text = json.dumps(value, ensure_ascii=False)
    return format_sse_event(event=kind, data_str=text, id=id)


async def gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Return what ``work`` returns; it is cancelled when the client leaves (``ClientGone``), and
    when the service stops before it is through (a problem of status 503).

    The request's body must have been read.
    """
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone(request.receive))
    stopping = asyncio.ensure_future(request.app.state.cut.wait())
    try:
        await asyncio.wait({doing, leaving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientGone if leaving.done() else _stopped()
        return doing.result()
    finally:
        for task in (doing, leaving, stopping):
            task.cancel()
        await asyncio.wait({doing, leaving, stopping})
        if not doing.cancelled():
            doing.exception()  # seen


class EventStream(Response):
    """Sends frames of server-sent events as they come. Made by :meth:`begun`."""

    media_type = "text/event-stream"

    def __init__(self, first: bytes, rest: Frames, stopping: asyncio.Event) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._first, self._rest, self._stopping = first, rest, stopping

    @classmethod
    async def begun(cls, request: Request, frames: Frames) -> "EventStream":
        """Return the response once its first frame is there, so that what fails before it is an
        ordinary problem."""
        first = asyncio.ensure_future(anext(frames))
        try:
            begun = await unless_gone(request, first)
        except BaseException:
            await frames.aclose()
            raise
        return cls(begun, frames, request.app.state.cut)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        sending = asyncio.ensure_future(self._send(scope, send))
        leaving = asyncio.ensure_future(gone(receive))
        stopping = asyncio.ensure_future(self._stopping.wait())
        waiting = {sending, leaving, stopping}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and not sending.done() and not leaving.done():
                await _ended(sending)
                await self._say_stopped(scope, send)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            await self._rest.aclose()
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error

    async def _send(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        try:
            async for data in with_pings(self._rest):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except (OSError, TimeoutError):  # nobody reads any more
            return
        except Exception as error:
            await self._say(scope, send, problem_of(error))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _say_stopped(self, scope: Scope, send: Send) -> None:
        with suppress(OSError, TimeoutError):
            await self._say(scope, send, _stopped())
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _say(self, scope: Scope, send: Send, problem: Problem) -> None:
        body = self.told(problem, scope.get("state", {}).get("request_id", ""))
        await send({"type": "http.response.body", "body": body, "more_body": True})

    def told(self, problem: Problem, id: str) -> bytes:
        """Return the frame that says why the stream ends early; ``id`` is the request's."""
        return frame("error", {"type": "error", "problem": problem.to_json(id)})


async def _ended(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    await asyncio.wait({task})


async def with_pings(frames: Frames, every: float = PING) -> AsyncIterator[bytes]:
    """Yield ``frames``, and a comment whenever none has come for a while."""
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(frames))
            done, _ = await asyncio.wait({coming}, timeout=every)
            if not done:
                yield b": still here\n\n"
                continue
            try:
                data = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield data
    finally:
        if coming is not None:
            await _ended(coming)


async def held(
    place: Callable[[], Any], events: Callable[[], AsyncGenerator[T, None]]
) -> AsyncGenerator[T, None]:
    """Yield ``events()`` while holding the context ``place()``; both end with this generator."""
    async with place(), aclosing(events()) as flow:
        async for event in flow:
            yield event
