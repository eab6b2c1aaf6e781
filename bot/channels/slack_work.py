"""What is done with a message from Slack: answered, answered again, or forgotten.

Memory follows Slack: an edited question is answered again in the same place, a deleted one is
forgotten with its answer. Knows nothing of how messages come.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.channels.backend import Backend, Libraries
from bot.channels.delivery import Incoming, Withdrawn, answer, left_turn, line_of
from bot.channels.inbox import Inbox, Lost, Taken
from bot.channels.outage import when_there
from bot.channels.slack_blocks import HELP, QUIET, escaped, line
from bot.channels.slack_command import CommandDraft
from bot.channels.slack_draft import Place, SlackDraft, clear_away
from bot.channels.slack_errors import NOT_IN, code_of, is_down
from bot.channels.slack_events import Note, files_of, mentioned, words
from bot.channels.slack_files import Fetched, Files
from bot.channels.slack_people import People
from bot.channels.slack_status import Waiting
from bot.channels.slack_threads import Threads
from bot.channels.slack_turns import SlackTurns, is_turn, no_turn
from bot.channels.working import TRIES, Turns, Unreachable
from bot.errors import KNOWN_ERRORS
from bot.service.observability import logs
from memory.errors import HistoryUnavailable, TurnNotFound

MOST_NAMES = 5  #: people named in a message whose names are looked up
TITLE = 60  #: characters of a thread's title


@dataclass(slots=True)
class SlackWork:
    """Does what a :class:`Note` of the inbox asks for. ``bot`` is the bot's own user id."""

    client: AsyncWebClient
    bot: str
    libraries: Libraries
    inbox: Inbox
    turns: Turns
    threads: Threads
    files: Files
    people: People
    every: float
    most_pictures: int
    ephemeral: bool
    places: AbstractAsyncContextManager[object] | None = None  #: entered while a turn runs

    async def do(self, taken: Taken) -> None:
        """Do it; whatever fails is tried again, and said in the end. Where the bot may not write
        (any more), nothing is tried again."""
        note = Note.from_bytes(taken.message)
        try:
            await self._do(taken)
        except SlackApiError as error:
            said = code_of(error)
            logs.tell("Slack refused", level="warning", said=said, channel=note.channel)
            if said not in NOT_IN:
                await self._give_up(note, taken, error)
                raise
        except (Lost, Unreachable):
            raise
        except Exception as error:
            await self._give_up(note, taken, error)
            raise

    async def _give_up(self, note: Note, taken: Taken, error: Exception) -> None:
        """Say after the last try that a question will not be answered."""
        if taken.tries >= TRIES and note.kind in ("question", "edit"):
            with contextlib.suppress(SlackApiError, aiohttp.ClientError, TimeoutError):
                await self._clear_away(note, _noted(taken))
                await self._say(note, line_of(error))

    async def _do(self, taken: Taken) -> None:
        note = Note.from_bytes(taken.message)
        try:
            if note.kind == "deletion":
                await self._delete(note)
            elif note.kind == "edit":
                await self._again(note, taken)
            elif note.kind == "ask":
                await self._command(note, taken)
            elif await self._known.of(note) is None:  # else a process died after it was answered
                await self._question(note, taken)
        except KNOWN_ERRORS as error:  # a library that is not there, Redis that is down
            if taken.tries < TRIES and isinstance(error, HistoryUnavailable):
                raise
            await self._draft(note, taken).fail(line_of(error))
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise Unreachable from error
        except SlackApiError as error:
            if is_down(error):
                raise Unreachable from error
            raise

    # --- questions ----------------------------------------------------------------------------

    async def _question(self, note: Note, taken: Taken, root: str = "") -> None:
        """Answer a question; ``root`` is the message that the bot began its thread with."""
        await self._clear_away(note, _noted(taken))
        if taken.withdrawn.is_set():
            return await self._take_back(note)
        draft = self._draft(note, taken, root=root)
        try:
            await self._answer(note, taken, draft)
        except Withdrawn:
            await self._take_back(note, draft)

    async def _answer(self, note: Note, taken: Taken, draft: SlackDraft) -> None:
        done = None
        async with Waiting(self.client, _place(note), draft) as waiting:
            if note.incomplete:
                note = replace(note, files=await self._look_up(note))
            async with self.files.room(note.files, self.most_pictures):
                fetched = await self.files.fetch(note.files, self.most_pictures)
                asked = await self._incoming(note, fetched)
                await waiting.said()
                if asked.text.lower() == "help" and not asked.pictures:
                    await draft.fail(HELP)
                elif fetched.missing and not (asked.text or asked.pictures):
                    await draft.fail(fetched.missing)
                else:
                    backend = await self._backend(note)
                    done = await answer(
                        backend, asked, draft, places=self.places, withdrawn=taken.withdrawn
                    )
        await self._known.remember(note, draft, done.turn if done else no_turn(note))
        if done is not None and fetched.missing:
            await self._say(note, fetched.missing)
        if done is not None and note.direct and note.ts == note.thread:
            await self._title(note, asked.text or "A picture")

    async def _take_back(self, note: Note, draft: SlackDraft | None = None) -> None:
        """Take away what is shown of an answer whose question was edited or deleted meanwhile;
        what is to be done about that comes next."""
        if draft is not None:
            await clear_away(self.client, note.channel, draft.messages, draft.files)
        with contextlib.suppress(SlackApiError):
            await self.client.assistant_threads_setStatus(
                channel_id=note.channel, thread_ts=note.thread, status=""
            )
        backend, text = await self._backend(note), await self._words(note.text)
        left = await left_turn(backend, self.turns, note.conversation, text)
        given = [f"given/{id}" for id in note.given] if left else []
        await self.turns.save(note.conversation, left or no_turn(note), note.id, *given)

    def _draft(
        self, note: Note, taken: Taken, old: Sequence[str] = (), root: str = ""
    ) -> SlackDraft:
        async def noting(shown: list[str], files: list[str]) -> None:
            told = {"root": root, "shown": shown, "files": files}
            if not await self.inbox.note(taken, json.dumps(told).encode()):
                await self._clear_away(note, told)  # whoever has it now shows its own
                raise Lost

        noted = None if old else noting  # what stands in an old answer's place is not cleared away
        return SlackDraft(self.client, _place(note), every=self.every, old=old, noting=noted)

    async def _clear_away(self, note: Note, noted: Mapping[str, Any]) -> None:
        """Delete what was noted of an answer that was not finished."""
        shown, files = noted.get("shown", []), noted.get("files", [])
        await clear_away(self.client, note.channel, shown, files)

    async def _incoming(self, note: Note, fetched: Fetched) -> Incoming:
        return Incoming(
            conversation=note.conversation,
            sender=await self.people.name(note.user),
            text=await self._words(note.text),
            pictures=fetched.pictures,
            unsupported=fetched.unsupported,
            key=note.key,
        )

    async def _words(self, text: str) -> str:
        named = mentioned(text, self.bot)[:MOST_NAMES]
        names = {user: await self.people.name(user) for user in named}
        return words(text, self.bot, lambda user: names.get(user, user))

    async def _look_up(self, note: Note) -> list[dict[str, Any]]:
        """Return the files of a message of which only a mention is known."""
        try:
            said = await self.client.conversations_replies(
                channel=note.channel, ts=note.thread, oldest=note.ts, latest=note.ts,
                inclusive=True, limit=10,
            )  # fmt: skip
        except SlackApiError:
            return []  # it may not read the channel: the words are what there is
        found = [m for m in said.get("messages") or [] if m.get("ts") == note.ts]
        return files_of(found[0]) if found else []

    async def _title(self, note: Note, text: str) -> None:
        title = " ".join(text.split())
        title = title if len(title) <= TITLE else f"{title[: TITLE - 1]}…"
        try:
            await self.client.assistant_threads_setTitle(
                channel_id=note.channel, thread_ts=note.thread, title=title
            )
        except SlackApiError:
            return  # a thread without a title is one, too

    async def _say(self, note: Note, text: str) -> None:
        await self.client.chat_postMessage(
            channel=note.channel, thread_ts=note.thread, **line(text)
        )

    @property
    def _known(self) -> SlackTurns:
        return SlackTurns(self.client, self.turns)

    async def _backend(self, note: Note) -> Backend:
        return await self.libraries.of(f"{note.team}/{note.channel}", note.team)

    # --- edits and deletions ------------------------------------------------------------------

    async def _again(self, note: Note, taken: Taken) -> None:
        turn = await self._known.of(note)
        if turn is not None and is_turn(turn):
            if note.given == await self._known.given(note, turn):
                await self._reworded(note, taken, turn)
                return
            await self._forget(note, turn)  # with other pictures it is another question
            await self.turns.save(note.conversation, no_turn(note), note.id)
        elif turn is not None:
            await self._known.drop(note, *await self._known.shown(note, turn))
        elif not (note.direct or note.mentions(self.bot)):
            return
        await self.threads.begin(note.conversation, note.team, note.channel, note.user)
        await self._question(replace(note, kind="question"), taken)

    async def _reworded(self, note: Note, taken: Taken, turn: str) -> None:
        """Answer a question again, in the place of its answer."""
        shown, files = await self._known.shown(note, turn)
        backend, text = await self._backend(note), await self._words(note.text)
        draft, done = self._draft(note, taken, shown), None
        asked = Incoming(note.conversation, text=text, again=turn)
        try:
            async with Waiting(self.client, _place(note), draft):
                done = await answer(
                    backend, asked, draft, places=self.places, withdrawn=taken.withdrawn
                )
            await self._known.drop(note, shown, files, keep=draft.messages)
        except Withdrawn:  # what is shown is the next edit's, or goes with the deletion
            pass
        await self._known.remember(note, draft, done.turn if done else turn)

    async def _delete(self, note: Note) -> None:
        turn = await self._known.of(note)
        if turn is None:
            return
        await self._forget(note, turn)
        await self.turns.drop(note.conversation, note.id)

    async def _forget(self, note: Note, turn: str) -> None:
        """Forget a turn, and take away what was shown of it."""
        shown, files = await self._known.shown(note, turn)
        if is_turn(turn):
            backend = await self._backend(note)
            with contextlib.suppress(TurnNotFound):  # it is gone already
                await when_there(lambda: backend.delete_turn(note.conversation, turn))
        await self._known.drop(note, shown, files)

    # --- commands -----------------------------------------------------------------------------

    async def _command(self, note: Note, taken: Taken) -> None:
        """Answer ``/bifocal ask``: to the asker alone, or in a new thread of the channel."""
        alone = CommandDraft(note.respond, self.client, note.channel, note.user)
        try:
            if self.ephemeral:
                asked = await self._incoming(note, Fetched())
                await answer(await self._backend(note), asked, alone, places=self.places)
                return
            root = _noted(taken).get("root") or await self._begin_thread(note)
        except KNOWN_ERRORS as error:
            await alone.fail(line_of(error))
            return
        except SlackApiError as error:
            if code_of(error) not in NOT_IN:
                raise
            await alone.fail("I am not in this channel: /invite me first, or ask me directly.")
            return
        noted = {**_noted(taken), "root": root}
        await self.inbox.note(taken, json.dumps(noted).encode())
        question = replace(note, kind="question", ts=root, thread=root)
        await self.threads.begin(question.conversation, note.team, note.channel, note.user)
        await self._question(question, taken, root)

    async def _begin_thread(self, note: Note) -> str:
        said = await self.client.chat_postMessage(
            channel=note.channel, text=f"<@{note.user}> asks: {escaped(note.text)}", **QUIET
        )
        return str(said["ts"])


def _place(note: Note) -> Place:
    return Place(note.team, note.channel, note.thread, note.user)


def _noted(taken: Taken) -> dict[str, Any]:
    """Return what a process noted that began with the message before."""
    noted: dict[str, Any] = json.loads(taken.note or b"{}")
    return noted
