"""A turn of a channel, run with patience: it waits where a conversation or the model is busy, or a
served bot away, and goes on without pictures that cannot be read. Knows nothing of any channel, nor
of what becomes of the answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace

from bot.channels.backend import Backend
from bot.channels.outage import Outage, is_away
from bot.channels.readable import readable
from bot.channels.reasons import AWAY
from bot.channels.writing import Writer
from bot.errors import KNOWN_ERRORS
from bot.events import Answer, Done, Event, Token
from bot.sent import SentPicture
from bot.service.http.problems import problem_of
from memory.errors import HistoryUnavailable
from retrievers.errors import PictureRefused

__all__ = ["PATIENCE", "Incoming", "run_turn"]

PATIENCE = 120.0  #: seconds that a question waits for a busy conversation or model
AGAIN = 1.0  #: seconds until a turn is run again whose memory could not be reached


@dataclass(frozen=True, slots=True)
class Incoming:
    """A question from a channel.

    ``conversation`` is a stable name (``slack:T1:C1:1700.1``), ``key`` the message's own, so that
    it is one turn however often it comes. ``unsupported`` are names of files that came along and
    cannot be read; what is among ``pictures`` and none is left out of the question likewise.
    ``again`` is the id of the turn whose question was edited: ``text`` replaces it.
    """

    conversation: str
    sender: str = ""
    text: str = ""
    pictures: Sequence[SentPicture] = ()
    unsupported: Sequence[str] = ()
    key: str | None = None
    again: str | None = None


async def run_turn(
    backend: Backend,
    message: Incoming,
    writer: Writer,
    places: AbstractAsyncContextManager[object],
    patience: float,
    unread: list[str],
) -> Answer:
    """Run the turn; once more without the pictures for which it is refused, named in ``unread``."""
    try:
        return await _patiently(backend, message, writer, places, patience)
    except KNOWN_ERRORS as error:
        if not message.pictures or problem_of(error).kind != "picture-refused":
            raise
        pictures, refused = await readable(message.pictures)
        if not refused:
            raise
    unread += [f"left out {line}" for line in refused]
    if not pictures and not message.text:
        raise PictureRefused("; ".join(unread))
    seen = replace(message, pictures=pictures)
    return await _patiently(backend, seen, writer, places, patience)


async def _patiently(
    backend: Backend,
    message: Incoming,
    writer: Writer,
    places: AbstractAsyncContextManager[object],
    patience: float,
) -> Answer:
    """Run the turn; once more, while there is patience, where something says when to try again, or
    where the service is away."""
    clock = asyncio.get_running_loop().time
    until, outage = clock() + patience, Outage()
    while True:
        try:
            async with places:
                return await _run(_turn(backend, message), writer)
        except KNOWN_ERRORS as error:
            if is_away(error):
                await writer.wait(AWAY)
                if not await outage.wait():
                    raise
                until = clock() + patience
                continue
            wait = _retry_after(error)
            if wait is None or clock() + wait > until:
                raise
        await asyncio.sleep(wait)


def _turn(backend: Backend, message: Incoming) -> AsyncGenerator[Event, None]:
    if message.again is not None:
        return backend.stream_again(message.conversation, message.again, message.text)
    return backend.stream(
        message.text,
        images=message.pictures,
        conversation=message.conversation,
        sender=message.sender,
        idempotency_key=message.key,
    )


async def _run(flow: AsyncGenerator[Event, None], writer: Writer) -> Answer:
    writer.text = ""
    answer: Answer | None = None
    async with aclosing(flow) as events:
        async for event in events:
            if isinstance(event, Token):
                writer.add(event.text)
            elif isinstance(event, Done):
                answer = event.answer
    if answer is None:
        raise HistoryUnavailable("the turn ended without an answer; ask again")
    return answer


def _retry_after(error: BaseException) -> float | None:
    """Return after how many seconds to try again; ``None`` where that does not help."""
    seen: BaseException | None = error
    while seen is not None:
        wait = getattr(seen, "retry_after", None)
        if isinstance(wait, (int, float)):
            return min(30.0, max(0.1, float(wait)))
        if isinstance(seen, HistoryUnavailable):
            return AGAIN
        seen = seen.__cause__
    return None
