"""What Slack tells, taken in: stored before it is acknowledged, within three seconds.

Knows nothing of how a question is answered, nor how Slack is connected to.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.channels.backend import Libraries
from bot.channels.delivery import line_of
from bot.channels.final import NOTICE, evidence_lines, stored_answer
from bot.channels.harmless import one_line
from bot.channels.inbox import Inbox
from bot.channels.slack_blocks import FEEDBACK, HELP, WHY, line, modal
from bot.channels.slack_events import Note, note_of
from bot.channels.slack_threads import Threads
from bot.channels.working import Turns, Worker
from bot.errors import KNOWN_ERRORS
from bot.service import logs
from bot.service.feedback_store import Feedback, Full, Said
from memory.errors import ConversationNotFound

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
    tenant: str
    libraries: Libraries
    inbox: Inbox
    worker: Worker
    turns: Turns
    threads: Threads
    feedback: Feedback
    client: AsyncWebClient
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def made(self, signing_secret: str, logger: logging.Logger) -> AsyncApp:
        """Return the app. A listener that raises is not acknowledged: Slack delivers again."""
        app = AsyncApp(
            client=self.client,
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
        if note.kind != "question":
            return note.direct or note.mentions(self.bot) or await self._knows(note)
        if note.direct or note.mentions(self.bot):
            return True
        if note.thread == note.ts or note.speaks_to_others(self.bot):
            return False
        return await self._knows(note)

    async def _knows(self, note: Note) -> bool:
        return await self.threads.takes_part(note.conversation)

    async def _take(self, note: Note) -> None:
        if len(note.text) > MOST_QUESTION:
            return  # longer than Slack lets people write
        if note.kind == "question":
            await self.threads.begin(note.conversation, note.team, note.channel, note.user)
        taken = await self.inbox.take(note.ids, note.to_bytes())
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
                await ack(**_ephemeral(await self._forget(*place, str(command["user_id"]))))
            else:
                await ack(**_ephemeral(HELP))

        return commanded

    def _libraries(self, team: str, channel: str) -> str:
        return f"Here answers the library “{self.libraries.name(f'{team}/{channel}', team)}”."

    async def _forget(self, team: str, channel: str, user: str) -> str:
        names = await self.threads.begun(team, channel, user)
        if not names:
            return "There is nothing to forget: you began no conversation here."
        self._beside(self._forget_all(names, team, channel, user))
        return f"Forgetting {len(names)} conversation{'s' * (len(names) > 1)} that you began here."

    async def _forget_all(self, names: list[str], team: str, channel: str, user: str) -> None:
        backend = await self.libraries.of(f"{team}/{channel}", team)
        for name in names:
            with suppress(ConversationNotFound):  # its time has passed, or its question failed
                await backend.forget(name)
            await self.turns.forget(name)
            await self.threads.drop(name, team, channel, user)

    # --- buttons ------------------------------------------------------------------------------

    def _rated(self) -> Callable[..., Awaitable[None]]:
        async def rated(ack: Any, body: dict[str, Any], action: dict[str, Any]) -> None:
            value, user = _value(action), str(body["user"]["id"])
            rating = value.get("r")
            if value and rating in ("up", "down"):
                said = Said(value["c"], value["t"], cast(Literal["up", "down"], rating),
                            sender=user, at=time.time())  # fmt: skip
                with suppress(Full):  # enough was said of this conversation
                    await self.feedback.save(self.tenant, said)
                self._beside(self._thank(body, user))
            await ack()

        return rated

    async def _thank(self, body: Mapping[str, Any], user: str) -> None:
        message = body.get("message") or {}
        await self.client.chat_postEphemeral(
            channel=str(body["channel"]["id"]),
            user=user,
            thread_ts=message.get("thread_ts"),
            **line("Noted, thank you."),
        )

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
            backend = await self.libraries.of(f"{team}/{channel}", team)
            answer = await stored_answer(backend, value["c"], value["t"])
            found = evidence_lines(answer) or ["Nothing was found."]
            asked = one_line(answer.searched, NOTICE)
            searched = [f"Searched for: {asked}"] if asked else []
            texts = [*searched, *found]
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
    except (SlackApiError, *KNOWN_ERRORS) as error:
        logs.tell("Slack: something small was not done", level="warning", error=error)
