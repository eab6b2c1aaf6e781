"""What all channels do with a question: a turn is run, and its answer is shown as it comes.

A channel gives an :class:`Incoming` and a :class:`Draft`, and :func:`answer` does the rest: the
first whole words at once (unless the answer is whole by then), then an edit at most each
``draft.every`` seconds, the whole answer at the end; it waits where a conversation or the model is
busy, or a served bot away, and says an error in one line. Knows nothing of any channel.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bot.channels.backend import Backend
from bot.channels.final import Drawn, Final, Footnote, final_of
from bot.channels.harmless import harmless, one_line
from bot.channels.outage import Outage, is_away
from bot.channels.readable import readable
from bot.channels.splitting import split
from bot.channels.working import Turns
from bot.errors import KNOWN_ERRORS, ServiceError
from bot.events import Answer, Done, Event, Token
from bot.lines import is_blank
from bot.sent import SentPicture
from bot.service.http.problems import problem_of
from bot.service.observability import logs
from memory.errors import HistoryUnavailable
from retrievers.errors import LibraryNotFound, PictureRefused

__all__ = [
    "Channel",
    "Draft",
    "Drawn",
    "Final",
    "Footnote",
    "Incoming",
    "Withdrawn",
    "answer",
    "left_turn",
    "line_of",
]

PATIENCE = 120.0  #: seconds that a question waits for a busy conversation or model
AGAIN = 1.0  #: seconds until a turn is run again whose memory could not be reached
GRACE = 0.05  #: seconds that the first words wait for the end: a quick answer needs no draft

_BEGUN = re.compile(r"\s*[!-~]{0,100}")  #: no more than one word, of which there may be more

_LINES = {
    "busy": "This conversation is busy with another question. Ask again in a moment.",
    "overloaded": "There is too much to do at the moment. Ask again in a minute.",
    "stopping": "The service is just being restarted. Ask again in a minute.",
    "unavailable": "Something that is needed cannot be reached now. Ask again in a minute.",
    "key-reused": "This message was answered before, with other words in it.",
    "model-failed": "The model did not answer. Ask again, or tell whoever runs this.",
    "internal": "Something went wrong here. Ask again, or tell whoever runs this.",
    "not-found": "This is no longer there.",
    "rate-limited": "More was asked than this bot may answer. Ask again later.",
    "unauthorized": "The service does not take this bot's key (BIFOCAL_KEY): tell whoever runs it.",
}
NOTHING = "Nothing was asked: send words, a picture, or both."
_AWAY = "The service that answers cannot be reached."
AWAY = f"{_AWAY} Your question is kept, and answered here when it is back."


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


class Withdrawn(Exception):
    """A question was edited or deleted while it was being answered; nothing more is shown of it."""


class Draft(Protocol):
    """One answer being written in a channel. Its methods are called one after another."""

    limit: int  #: characters of one message
    every: float  #: seconds between two edits, at least

    async def show(self, parts: Sequence[str]) -> None:
        """Show the text so far, harmless and split; the answer goes on."""

    async def wait(self, line: str) -> None:
        """Say in one harmless line, in place of what was shown, that the answer comes later."""

    async def finish(self, final: Final) -> None:
        """Show the whole answer, in place of what was shown."""

    async def fail(self, line: str) -> None:
        """Say in one harmless line why there is no answer, in place of what was shown."""


class Channel(Protocol):
    """A way in which people reach the bot."""

    name: str

    async def run(self) -> None:
        """Work until cancelled."""


async def answer(
    backend: Backend,
    message: Incoming,
    draft: Draft,
    *,
    places: AbstractAsyncContextManager[object] | None = None,
    patience: float = PATIENCE,
    withdrawn: asyncio.Event | None = None,
) -> Answer | None:
    """Answer a message in a draft; ``None`` when the draft was told why not.

    Whatever the draft raises is raised, when the turn has ended. ``patience`` is how long, in
    seconds, a busy conversation or model is waited for; ``places`` (``Worker.places``) is entered
    while the turn runs, not while it waits or its answer is shown. ``withdrawn``
    (``Taken.withdrawn``) ends the turn: then ``Withdrawn`` is raised, and what the draft has shown
    stays as it is.
    """
    withdrawn = withdrawn or asyncio.Event()
    unread = [f"{one_line(name, 80)} cannot be read here" for name in message.unsupported[:20]]
    if is_blank(message.text):
        message = replace(message, text="")
    if not message.text and not message.pictures and not message.again:
        await draft.fail(". ".join(unread) or NOTHING)
        return None
    writer = _Writer(draft)
    writing = asyncio.create_task(writer.run())
    try:
        turn = _with_what_can_be_seen(
            backend, message, writer, places or nullcontext(), patience, unread
        )
        done = await _unless(withdrawn, turn)
    except KNOWN_ERRORS as error:
        _log(error)
        await writer.end(writing)
        # whether an edited question without words has pictures is known where its turn is
        blank = message.again and not message.text and problem_of(error).kind == "invalid"
        await draft.fail(NOTHING if blank else line_of(error))
        return None
    except Withdrawn:
        await writer.stop(writing)
        raise
    except BaseException:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        raise
    final, _ = await asyncio.gather(
        final_of(backend, done, draft.limit, unread), writer.end(writing)
    )
    await draft.finish(final)
    return done


async def left_turn(backend: Backend, turns: Turns, conversation: str, text: str) -> str | None:
    """Return the id of the turn that a withdrawn question became all the same, if it did: it was
    stored just then, or by a process that died before it told."""
    found = await backend.conversation(conversation)
    if not found.turns or found.turns[-1].question.text != text.strip():
        return None
    turn = found.turns[-1].id
    return None if await turns.messages(conversation, turn) else turn


def line_of(error: BaseException) -> str:
    """Return what people in a channel are told of an error: one line, without secrets or paths."""
    if is_away(error):
        return f"{_AWAY} Ask again in a minute."
    if isinstance(error, LibraryNotFound):
        told = f"{_sentence(str(error))}; the setting libraries names it for this place."
        return one_line(told, 300)
    if isinstance(error, ServiceError):
        return _LINES.get(error.kind, _LINES["internal"])
    problem = problem_of(error)
    return one_line(_LINES.get(problem.kind) or _sentence(problem.detail), 300)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _log(error: BaseException) -> None:
    if problem_of(error).status >= 500:
        logs.tell("a turn of a channel failed", level="error", error=error)


async def _unless(withdrawn: asyncio.Event, turn: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a turn to its end, or raise ``Withdrawn`` and end it when that is set."""
    running, waiting = asyncio.create_task(turn), asyncio.create_task(withdrawn.wait())
    try:
        if not withdrawn.is_set():
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        raise Withdrawn
    finally:
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)


async def _with_what_can_be_seen(
    backend: Backend,
    message: Incoming,
    writer: "_Writer",
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
    writer: "_Writer",
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


async def _run(flow: AsyncGenerator[Event, None], writer: "_Writer") -> Answer:
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


class _Writer:
    """Shows a text that grows, in a task of its own, so that a slow channel holds up no model."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.text, self._waits = "", False
        self._more, self._ended = asyncio.Event(), asyncio.Event()
        self._showing = asyncio.Lock()

    def add(self, text: str) -> None:
        """Append to the text; it is worth showing when one word is whole."""
        self.text += text
        self._waits = False
        if not _BEGUN.fullmatch(self.text):
            self._more.set()

    async def wait(self, line: str) -> None:
        """Say that the answer comes later, unless that is what is shown."""
        async with self._showing:
            if not self._waits:
                self.text, self._waits = "", True
                await self._draft.wait(line)

    async def run(self) -> None:
        """Show the text whenever there is more of it, until the end."""
        await self._more.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), GRACE)
        while True:
            await self._more.wait()
            if self._ended.is_set():
                return
            self._more.clear()
            if parts := split(harmless(self.text), self._draft.limit):
                async with self._showing:
                    await self._draft.show(parts)
                await asyncio.sleep(self._draft.every)

    async def end(self, writing: "asyncio.Task[None]") -> None:
        """Wait for an edit under way, and for the pause behind it; raise what an edit raised."""
        self._ended.set()
        self._more.set()
        await writing

    async def stop(self, writing: "asyncio.Task[None]") -> None:
        """Wait for an edit under way, and show nothing more."""
        async with self._showing:
            writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
