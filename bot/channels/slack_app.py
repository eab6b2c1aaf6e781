"""What Slack tells, taken in: stored before it is acknowledged, within three seconds.

Knows nothing of how a question is answered, nor how Slack is connected to.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import aiohttp
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.channels.backend import Backend, Libraries
from bot.channels.delivery import line_of
from bot.channels.final import why_lines
from bot.channels.inbox import Inbox
from bot.channels.outage import when_there
from bot.channels.slack_blocks import FEEDBACK, HELP, WHY, line, modal
from bot.channels.slack_command import CommandDraft
from bot.channels.slack_events import Note, note_of
from bot.channels.slack_threads import Threads
from bot.channels.working import Turns, Worker
from bot.errors import KNOWN_ERRORS
from bot.service.observability import logs
from memory.errors import ConversationNotFound
from memory.feedback import Rating

#: What is suggested to whoever opens the bot's messages
PROMPTS = (
    ("What is in the library?", "What is in the library?"),
    ("What does this picture show?", "What does the picture that I send next show?"),
    ("What can you do?", "help"),
)
MOST_QUESTION = 40_000  #: characters of a message that are stored


@dataclass(slots=True)
class SlackApp:
    """The listeners of the bot's app. ``bot`` is its own user id."""

    bot: str
    libraries: Libraries
    inbox: Inbox
    worker: Worker
    turns: Turns
    threads: Threads
    client: AsyncWebClient
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def made(self, signing_secret: str, logger: logging.Logger) -> AsyncApp:
        """Return the app. A listener that raises is not acknowledged: Slack delivers again."""
        app = AsyncApp(
            client=self.client,
            authorize=self._authorized(),
            signing_secret=signing_secret,
            process_before_response=True,  # acknowledged when a listener has stored it, not before
            logger=logger,
        )
        app.event("message")(self._heard())
        app.event("app_mention")(self._heard())
        app.event("app_home_opened")(self._opened())
        app.command("/bifocal")(self._commanded())
        app.action(FEEDBACK)(self._rated())
        app.action(WHY)(self._wondered())
        return app

    def _authorized(self) -> Callable[..., Awaitable[AuthorizeResult]]:
        async def authorized(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
            """Answer at once: asked of Slack, an event would be lost where Slack is down."""
            return AuthorizeResult(
                enterprise_id=enterprise_id,
                team_id=team_id,
                bot_user_id=self.bot,
                bot_token=self.client.token,
            )

        return authorized

    async def aclose(self) -> None:
        """End what is done beside the listeners."""
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(set(self.tasks))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_quietly(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # --- messages -----------------------------------------------------------------------------

    def _heard(self) -> Callable[..., Awaitable[None]]:
        async def heard(body: dict[str, Any]) -> None:
            note = note_of(body, self.bot)
            if note is not None and await self._is_for_us(note):
                await self._take(note)

        return heard

    async def _is_for_us(self, note: Note) -> bool:
        if note.direct or note.mentions(self.bot):
            return True
        if note.kind == "deletion":
            return await self._knows(note)
        if note.kind == "edit":  # of a question, not of what people say to each other
            asked = await self.inbox.waiting(note.id) is not None
            return asked or await self.turns.turn(note.conversation, note.id) is not None
        if note.thread == note.ts or note.speaks_to_others(self.bot):
            return False
        return await self._knows(note)

    async def _knows(self, note: Note) -> bool:
        return await self.threads.takes_part(note.conversation)

    async def _take(self, note: Note) -> None:
        note = replace(note, text=note.text[:MOST_QUESTION])  # what is too long is said to be so
        if note.kind == "question":
            await self.threads.begin(note.conversation, note.team, note.channel, note.user)
        taken = await self.inbox.take(
            note.ids, note.to_bytes(), line=note.conversation, about=note.about
        )
        if taken is not None:
            self.worker.begin(taken)

    def _opened(self) -> Callable[..., Awaitable[None]]:
        async def opened(event: dict[str, Any]) -> None:
            if event.get("tab") == "messages" and event.get("channel"):
                self._beside(self._suggest(str(event["channel"])))

        return opened

    async def _suggest(self, channel: str) -> None:
        await self.client.assistant_threads_setSuggestedPrompts(
            channel_id=channel,
            title="Ask about your documents and pictures",
            prompts=[{"title": title, "message": text} for title, text in PROMPTS],
        )

    # --- commands -----------------------------------------------------------------------------

    def _commanded(self) -> Callable[..., Awaitable[None]]:
        async def commanded(ack: Any, command: dict[str, Any]) -> None:
            verb, _, rest = str(command.get("text") or "").strip().partition(" ")
            place = str(command["team_id"]), str(command["channel_id"])
            if verb.lower() == "ask" and rest.strip():
                await self._take(_asked(command, rest.strip()))
                await ack()
            elif verb.lower() == "libraries":
                await ack(**_ephemeral(self._libraries(*place)))
            elif verb.lower() == "forget":
                await ack(**_ephemeral(await self._forget(*place, command)))
            else:
                await ack(**_ephemeral(HELP))

        return commanded

    def _libraries(self, team: str, channel: str) -> str:
        return f"Here answers the library “{self.libraries.name(f'{team}/{channel}', team)}”."

    async def _forget(self, team: str, channel: str, command: Mapping[str, Any]) -> str:
        user = str(command["user_id"])
        names = await self.threads.begun(team, channel, user)
        if not names:
            return "There is nothing to forget: you began no conversation here."
        told = CommandDraft(str(command.get("response_url") or ""), self.client, channel, user)
        self._beside(self._forget_all(names, team, channel, user, told))
        return f"Forgetting {_conversations(len(names))} that you began here…"

    async def _forget_all(
        self, names: list[str], team: str, channel: str, user: str, told: CommandDraft
    ) -> None:
        """Forget conversations, each whatever becomes of the others, and say how many are gone."""
        left: list[Exception] = []
        for name in names:
            try:
                backend = await self._backend(team, channel)
                with suppress(ConversationNotFound):  # its time has passed, or its question failed
                    await when_there(partial(backend.forget, name))
                await self.turns.forget(name)
                await self.threads.drop(name, team, channel, user)
            except Exception as error:
                logs.tell("Slack: a conversation was not forgotten", level="error", error=error)
                left.append(error)
        line = f"{_conversations(len(names) - len(left))} forgotten."
        if left:
            line += f" {_conversations(len(left))} could not be: {line_of(left[0])}"
            line += " Say /bifocal forget again for what is left."
        await told.wait(line)

    # --- buttons ------------------------------------------------------------------------------

    def _rated(self) -> Callable[..., Awaitable[None]]:
        async def rated(ack: Any, body: dict[str, Any], action: dict[str, Any]) -> None:
            value = _value(action)
            if value.get("r") in ("up", "down"):
                self._beside(self._rate(body, value))
            await ack()

        return rated

    async def _rate(self, body: Mapping[str, Any], value: Mapping[str, str]) -> None:
        """Keep what somebody says of an answer, and tell them."""
        user, channel = str(body["user"]["id"]), str(body["channel"]["id"])
        try:
            backend = await self._backend(str(body["team"]["id"]), channel)
            rating: Rating = "up" if value["r"] == "up" else "down"
            await backend.give_feedback(value["c"], value["t"], rating, sender=f"slack:{user}")
            told = "Noted, thank you."
        except KNOWN_ERRORS as error:
            told = line_of(error)
        await self.client.chat_postEphemeral(
            channel=channel,
            user=user,
            thread_ts=(body.get("message") or {}).get("thread_ts"),
            **line(told),
        )

    async def _backend(self, team: str, channel: str) -> Backend:
        return await self.libraries.of(f"{team}/{channel}", team)

    def _wondered(self) -> Callable[..., Awaitable[None]]:
        async def wondered(ack: Any, body: dict[str, Any], action: dict[str, Any]) -> None:
            if value := _value(action):
                place = str(body["team"]["id"]), str(body["channel"]["id"])
                self._beside(self._why(str(body["trigger_id"]), value, *place))
            await ack()

        return wondered

    async def _why(self, trigger: str, value: Mapping[str, str], team: str, channel: str) -> None:
        """Open a window at once, and show the evidence in it."""
        said = await self.client.views_open(trigger_id=trigger, view=modal(["Looking…"]))
        try:
            backend = await self._backend(team, channel)
            texts = why_lines(await backend.stored_answer(value["c"], value["t"]))
        except KNOWN_ERRORS as error:
            texts = [line_of(error)]
        await self.client.views_update(view_id=said["view"]["id"], view=modal(texts))


def _asked(command: Mapping[str, Any], text: str) -> Note:
    user = str(command["user_id"])
    return Note(
        kind="ask",
        team=str(command["team_id"]),
        channel=str(command["channel_id"]),
        ts=str(command["trigger_id"]),
        thread=user,
        user=user,
        text=text,
        respond=str(command.get("response_url") or ""),
    )


def _ephemeral(text: str) -> dict[str, Any]:
    return {"response_type": "ephemeral", **line(text)}


def _conversations(count: int) -> str:
    return f"{count} conversation{'s' * (count != 1)}"


def _value(action: Mapping[str, Any]) -> dict[str, str]:
    """Return what a button of ours carries; nothing where it is none of ours."""
    try:
        value = json.loads(action.get("value") or "")
    except ValueError:
        return {}
    known = isinstance(value, dict) and isinstance(value.get("c"), str)
    return value if known and isinstance(value.get("t"), str) else {}


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """Do what nobody waits for; what Slack refuses of it is logged."""
    try:
        await work
    except (SlackApiError, aiohttp.ClientError, OSError, *KNOWN_ERRORS) as error:
        logs.tell("Slack: something small was not done", level="warning", error=error)
