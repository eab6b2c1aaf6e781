"""Summaries of older turns are made beside the turns, never in their way.

A conversation whose window is about to move is put on the list of :mod:`bot.beside`. When an answer
comes in between, when the model takes longer than ``summary_seconds``, when it fails, or when there
is none, the lines of :mod:`bot.summary` are the summary. Nothing waits for this: a turn that comes
before its summary puts those lines together itself. Knows nothing of prompts for answers, of
retrieval or of Redis.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from bot.ask_back import question_of, said_in
from bot.beside import Beside, Interrupted, Troubles
from bot.citations import MARK
from bot.earlier import window
from bot.models.explain import explain
from bot.notes import quote
from bot.summary import checked, fit, handle, lines_of
from memory.errors import HistoryDamaged
from memory.history import History
from memory.messages import Conversation, Recap, Turn
from prompts import Prompt

AT_ONCE = 8  #: turns that a model adds to a summary at once
LINES = 256  #: turns that get lines at once; of those before them only the pictures are named
LATER = 16  #: turns that may have come since a conversation was put on the list

Write = Callable[[str, Sequence[Turn], Conversation], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Job:
    """A conversation of ``total`` turns, and the places (from 0) at which its window begins.

    ``write`` asks the model for a summary of an earlier summary and more turns; None: no model."""

    conversation: str
    total: int
    starts: tuple[int, ...]
    chars: int
    write: Write | None = None


def starts(first: int, fitting: int, loaded: int, total: int, most: int) -> tuple[int, ...]:
    """Return where the windows of this prompt and the two next ones begin.

    ``loaded`` turns were there for this prompt, of which ``fitting`` fitted; the next one has
    ``total``, of which ``most`` are loaded. As many are taken to fit as did, or more where all
    did: a guess, since the next question's evidence is not known. Two, so that a summary that is
    broken off by the next answer is there for the one after it.
    """
    places = {first}
    for ahead in (0, 1):
        coming = min(total + ahead, most)
        fits = coming if fitting == loaded else min(coming, fitting)
        places.add(window(fits, coming, total + ahead - coming))
    return tuple(sorted(place for place in places if 0 < place <= total))


class Summariser:
    """Has summaries made, and tells what went wrong with them."""

    def __init__(self, history: History, beside: Beside, seconds: float) -> None:
        self._history, self._beside, self._seconds = history, beside, seconds
        self._troubles = Troubles()

    def offer(self, job: Job) -> None:
        """Have the summaries of a conversation made; returns at once, and never fails."""
        if job.starts:
            note = partial(self._note, job)
            self._beside.offer("summary", job.conversation, partial(self._work, job), note)

    def trouble(self, conversation: str) -> str:
        """Return, once, why a conversation's last summary is not the model's, or was not kept."""
        return self._troubles.tell(conversation)

    def _note(self, job: Job, trouble: str) -> None:
        self._troubles.note(job.conversation, trouble)

    async def _work(self, job: Job) -> None:
        for start in job.starts:
            await self._make(job, start)

    async def _make(self, job: Job, start: int) -> None:
        """Make the summary of the turns before ``start``, unless there is one."""
        try:
            known = await self._history.recaps(job.conversation)
        except HistoryDamaged:
            known = ()
        if any(recap.turns == start for recap in known):
            return
        base = max((r for r in known if r.turns < start), key=lambda r: r.turns, default=None)
        begin = base.turns if base else 0
        asked = job.total - begin + LATER
        loaded = await self._history.load(job.conversation, last=asked)
        there = min(loaded.total, asked)
        before = loaded.total - there  # turns that were not loaded
        added = loaded.turns[max(0, begin - before) : max(0, start - before)]
        if len(loaded.turns) != there or len(added) != start - begin:
            self._note(job, "it was not made: turns have changed, or are damaged")
            return
        text = await self._text(job, base.text if base else "", added, begin, loaded)
        kept = [recap for recap in known if recap.turns >= job.starts[0] or recap is base]
        recaps = sorted([*kept, Recap(start, text)], key=lambda r: r.turns)
        if not await self._history.save_recaps(
            job.conversation, recaps, known, begin, added, loaded.dropped
        ):
            self._note(job, "it was not kept: turns or pictures have changed meanwhile")

    async def _text(
        self, job: Job, before: str, turns: Sequence[Turn], begin: int, whole: Conversation
    ) -> str:
        references = {picture.number: picture for picture in whole.pictures}
        early = turns[:-AT_ONCE] if job.write is not None else turns
        if early:
            far, near = early[:-LINES], early[-LINES:]
            shown = (n for t in far for n in (*t.question.pictures, *t.answer.pictures))
            lines = await asyncio.to_thread(lines_of, near, begin + len(far) + 1, references)
            pictures = ", ".join(handle(n, references) for n in shown)
            before = fit([*before.split("\n"), pictures, *lines], job.chars)
        if len(early) == len(turns) or job.write is None:
            return before
        late = turns[len(early) :]
        try:
            async with asyncio.timeout(self._seconds):
                written = await self._beside.ask(partial(job.write, before, late, whole))
            return await asyncio.to_thread(checked, written, before, late, references, job.chars)
        except TimeoutError:
            self._note(job, f"the model had not written it within {self._seconds:g} s")
        except (ValueError, Interrupted) as error:
            self._note(job, str(error))
        except Exception as error:  # whatever a model's client raises: the lines do
            self._note(job, explain(error, "the model"))
        lines = await asyncio.to_thread(lines_of, late, begin + len(early) + 1, references)
        return fit([*before.split("\n"), *lines], job.chars)


def writer(model: BaseChatModel, prompt: Prompt, context_tokens: int, chars: int) -> Write:
    """Return what asks ``model`` for a summary of ``chars`` characters at most, or not many more.

    What it reads takes about half of ``context_tokens``.
    """

    async def write(before: str, turns: Sequence[Turn], whole: Conversation) -> str:
        references = {picture.number: picture for picture in whole.pictures}
        each = max(200, context_tokens * 3 // 2 // (2 * len(turns)))
        shown = []
        for turn in turns:
            numbers = (*turn.question.pictures, *turn.answer.pictures)
            pictures = [f"({handle(n, references)}) " for n in numbers]
            asked = "".join(pictures) + question_of(turn)[:each]
            said = MARK.sub("", said_in(turn))[:each]
            shown.append(f"<turn>\nPerson: {quote(asked)}\nAnswer: {quote(said)}\n</turn>")
        words = prompt.render(before=quote(before) or "(nothing yet)", turns="\n".join(shown))
        reply = ""
        async with aclosing(model.astream([HumanMessage(words)])) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                reply += str(chunk.text)
                if len(reply) > 2 * chars:
                    break
        return reply

    return write
