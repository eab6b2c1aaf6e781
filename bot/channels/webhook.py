"""A channel for any program: signed JSON comes in, the answer is posted to the operator's callback.

What a body holds, and how it is signed, is in ``webhook_message.py``; ``docs/channels.md`` walks
through this file. Knows nothing of what is on the other side.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bot.channels.backend import Libraries, OpenLibrary
from bot.channels.delivery import Incoming, Withdrawn, answer, left_turn, line_of
from bot.channels.inbox import Inbox, Taken
from bot.channels.room import Room
from bot.channels.settings import WebhookSettings
from bot.channels.webhook_callback import Callback, WebhookDraft
from bot.channels.webhook_message import Message, authentic
from bot.channels.working import TRIES, Turns, Worker
from bot.errors import KNOWN_ERRORS
from bot.service.http.bodies import checked
from bot.service.http.problems import Problem, invalid
from bot.service.stores.shared_redis import SharedRedis
from memory.errors import HistoryUnavailable, TurnNotFound

router = APIRouter(tags=["webhook"])
MOST_HELD = 256 * 1024 * 1024  #: bytes of the bodies with pictures that are read at a time
WORDS = 64 * 1024  #: bytes of a body that holds no pictures to speak of


class Webhook:
    """The channel of one process. Made by :func:`opened`."""

    name = "webhook"

    def __init__(self, settings: WebhookSettings, opening: OpenLibrary, redis: SharedRedis,
                 lifetime: float | None, client: httpx.AsyncClient) -> None:  # fmt: skip
        self.settings, self.callback = settings, Callback(settings, client)
        self._libraries = Libraries(opening, settings.libraries)
        self._turns = Turns(redis, self.name, lifetime)
        self.inbox = Inbox(redis, self.name)
        self.worker = Worker(self.inbox, self._work, at_once=settings.at_once)
        self._room = Room(MOST_HELD)

    async def run(self) -> None:
        """Work until cancelled."""
        async with self.inbox, self.worker:
            await asyncio.Event().wait()

    async def answer(
        self, message: Message, withdrawn: asyncio.Event | None = None, *, last: bool = True
    ) -> dict[str, Any]:
        """Do what a message asks for, and return what is told of it. ``HistoryUnavailable`` is
        raised unless this is the ``last`` try."""
        conversation = f"webhook:{message.conversation}"
        draft = WebhookDraft(self.callback, self.settings, message)
        try:
            backend = await self._libraries.of(message.place)
            old = await self._turns.turn(conversation, message.of) if message.of else None
            if message.type == "delete":
                with contextlib.suppress(TurnNotFound):  # it was deleted before
                    if old and message.of:
                        await backend.delete_turn(conversation, old)
                        await self._turns.drop(conversation, message.of)
                return {}
            asked = Incoming(conversation, message.sender, message.text, *message.sent(),
                             key=message.id, again=old)  # fmt: skip
            try:
                done = await answer(backend, asked, draft, places=self.worker.places,
                                    withdrawn=withdrawn)  # fmt: skip
                turn = done.turn if done else None
            except Withdrawn:
                draft.take_back()
                turn = old or await left_turn(backend, self._turns, conversation, message.text)
            if turn:
                await self._turns.save(conversation, turn, message.of or message.id)
        except (*KNOWN_ERRORS, Problem) as error:
            if isinstance(error, HistoryUnavailable) and not last:
                raise
            await draft.fail(line_of(error))
        return draft.told

    async def _work(self, taken: Taken) -> None:
        size = len(taken.message)
        async with self._room.of(size if size > WORDS else 0):
            message, last = checked(Message, taken.message), taken.tries >= TRIES
            told = await self.answer(message, taken.withdrawn, last=last)
        if told:
            await self.callback.post_surely(told, lambda: self._attempt(taken))

    async def _attempt(self, taken: Taken) -> int:
        """Return the number of the next attempt to post, which is kept before that is made."""
        number = int(taken.note or 0) + 1
        await self.inbox.note(taken, str(number).encode())
        return number


@router.post("/v1/webhook")
async def receive(request: Request) -> Response:
    """Take a message: stored before it is acknowledged (202), or answered at once (``wait``)."""
    channel: Webhook = request.app.state.webhook
    body = await authentic(channel.settings.secret, request)
    message = checked(Message, body)
    if message.wait:
        async with request.app.state.admission.turn():
            return JSONResponse(await channel.answer(message))
    if channel.settings.callback is None:
        raise invalid("wait", "must be true: webhook.callback, where answers go, is not set")
    line, about = message.conversation, message.of
    if taken := await channel.inbox.take([message.id], body, line=line, about=about):
        channel.worker.begin(taken)
    return JSONResponse({"taken": taken is not None}, 202)


@asynccontextmanager
async def opened(
    settings: WebhookSettings, opening: OpenLibrary, redis: SharedRedis, lifetime: float | None
) -> AsyncIterator[Webhook | None]:
    """Open the channel if it has a secret."""
    if settings.secret is None:
        yield None
        return
    async with httpx.AsyncClient(timeout=30) as client:
        channel = Webhook(settings, opening, redis, lifetime, client)
        async with channel.inbox, channel.worker:
            yield channel
