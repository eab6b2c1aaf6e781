"""What all channels do with a question: a turn is run, and its answer is shown as it comes.

A channel gives an :class:`Incoming` and a :class:`Draft`, and :func:`answer` does the rest: the
answer as it grows (``writing``), all of it at the end, or in one line why there is none
(``reasons``); waiting and trying again are ``running``'s. Knows nothing of any channel.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any, Protocol

from bot.channels.backend import Backend
from bot.channels.final import Drawn, Final, Footnote, final_of
from bot.channels.harmless import one_line
from bot.channels.reasons import AWAY, NOTHING, line_of
from bot.channels.running import PATIENCE, Incoming, run_turn
from bot.channels.working import Turns
from bot.channels.writing import Draft, Writer
from bot.errors import KNOWN_ERRORS
from bot.events import Answer
from bot.lines import is_blank
from bot.service.http.problems import problem_of
from bot.service.observability import logs

__all__ = [
    "AWAY",
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


class Withdrawn(Exception):
    """A question was edited or deleted while it was being answered; nothing more is shown of it."""


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
    writer = Writer(draft)
    writing = asyncio.create_task(writer.run())
    try:
        turn = run_turn(backend, message, writer, places or nullcontext(), patience, unread)
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
