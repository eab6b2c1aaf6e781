"""A request of the OpenAI-compatible interface becomes a turn: what is asked, of which bot, how.

The earlier messages of a request are its conversation, and nothing is kept; or else the turn goes
on with a conversation that is kept here, and the earlier messages are left alone. Knows nothing of
how an answer is sent.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bot.chatbot import AsyncChatBot
from bot.compose import Prompts, estimate_tokens
from bot.errors import BifocalError, TurnError
from bot.events import Event
from bot.notes import quote
from bot.service.access.rights import Access
from bot.service.http.problems import Problem, invalid
from bot.service.openai.answers import without_footnotes
from bot.service.openai.given_history import GivenHistory, GivenTurn
from bot.service.openai.messages import Address, Asked, MessageRefused, Said, read_messages
from bot.service.openai.schema import ChatCompletionRequest
from bot.service.served.bots import DEFAULT, Bots
from bot.turn_state import Parts
from prompts import Prompt, load_prompt
from retrievers.errors import LibraryNotFound, PictureRefused

ALIAS = "bifocal"  #: the model that is the default library
FETCHING = 30.0  #: seconds for all pictures of a request that are fetched

_OPTIONS = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")


class Fetcher(Protocol):
    """Fetches a picture from a public address."""

    async def fetch(self, url: str) -> bytes:
        """Return its bytes; one of ``BifocalError`` when it is not to be had."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What one side said, with its pictures here."""

    text: str
    pictures: tuple[bytes, ...] = field(default=(), repr=False)
    places: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Asking:
    """A turn that was read and checked; :meth:`events` takes it."""

    bot: AsyncChatBot
    question: Question
    earlier: tuple[GivenTurn, ...]
    where: str
    changes: dict[str, Any]
    notices: tuple[str, ...]
    conversation: str | None = None
    sender: str = ""

    async def events(self, key: str | None = None) -> AsyncGenerator[Event, None]:
        """Yield the turn's events; ``key`` is the idempotency key of one that is kept."""
        try:
            bot = self.bot.varied(**self.changes, **await self._history())
            flow = bot.stream(
                self.question.text,
                images=self.question.pictures,
                conversation=self.conversation,
                sender=self.sender,
                idempotency_key=key if self.conversation else None,
            )
            async with aclosing(flow) as events:
                async for event in events:
                    yield event
        except TurnError as error:
            if not isinstance(error.__cause__, PictureRefused):
                raise
            places = self.question.places
            place = places[0] if len(places) == 1 else f"{self.where}.content"
            raise invalid(place, str(error)) from error

    async def _history(self) -> dict[str, Any]:
        if self.conversation is not None:
            return {}
        try:
            history = await GivenHistory.of(self.earlier, self.bot.parts)
        except PictureRefused as error:
            raise invalid("messages", str(error)) from error
        return {"history": history, "keeps": False}


async def read_asking(
    given: ChatCompletionRequest, bot: AsyncChatBot, fetcher: Fetcher | None, most_fetched: int
) -> Asking:
    """Return the turn that a request asks of ``bot``; the problem of what cannot be taken.

    Web addresses are fetched by ``fetcher``, ``most_fetched`` bytes in all; None: not at all.
    """
    try:
        asked = await asyncio.to_thread(read_messages, given.messages)
    except MessageRefused as error:
        raise invalid(error.where, error.why) from None
    parts, kept = bot.parts, given.kept
    _check(asked, parts)
    changes, notices = _how(given, asked, parts)
    said = [asked.question] if kept else [*(q for q, _ in asked.earlier), asked.question]
    *questions, question = await _with_pictures(said, fetcher, most_fetched)
    earlier = tuple(
        GivenTurn(q.text, without_footnotes(answer.text), q.pictures, q.name)
        for q, (_, answer) in zip(questions, () if kept else asked.earlier, strict=True)
    )
    sender = question.name or given.user or ""
    return Asking(bot, question, earlier, asked.where, changes, notices, kept, sender)


async def bot_of(bots: Bots, access: Access, model: str) -> AsyncChatBot:
    """Return the bot of the library that ``model`` names; the problem of one that is not there for
    ``access``."""
    for library in (model, DEFAULT) if model == ALIAS else (model,):
        if access.may_read(library):
            try:
                return await bots.bot(access.tenant, library)
            except LibraryNotFound:
                continue
    raise no_model(model)


def no_model(model: str) -> Problem:
    """Return the one answer for models that are absent and those that are forbidden."""
    told = f"there is no model {model[:64]!r} that this key can see; /v1/models lists those"
    return Problem(404, "not-found", told, fields=[("model", "unknown")])


def _check(asked: Asked, parts: Parts) -> None:
    """Refuse a question that a turn would refuse, by its place in the messages."""
    settings, question = parts.settings, asked.question
    if not question.text.strip() and not question.pictures:
        raise invalid(asked.where, "nothing was asked: give a text, a picture, or both")
    if len(question.text) > settings.question_chars:
        most = f"the most is {settings.question_chars:,}"
        raise invalid(asked.where, f"a question of {len(question.text):,} characters, {most}")
    if len(question.pictures) > settings.pictures_per_turn:
        most = f"the most is {settings.pictures_per_turn}"
        raise invalid(asked.where, f"{len(question.pictures)} pictures in one question, {most}")


def _how(
    given: ChatCompletionRequest, asked: Asked, parts: Parts
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what of the bot's parts is another for this turn, and what could not be."""
    model, takes = parts.model_name, type(parts.model).model_fields
    wanted: dict[str, Any] = {
        name: value for name in _OPTIONS if (value := getattr(given, name)) is not None
    }
    if given.most_tokens:
        wanted["max_tokens"] = min(given.most_tokens, parts.settings.answer_tokens)
    if "seed" in wanted:
        wanted["seed"] %= 2**32
    if wanted.get("top_p") == 0:
        wanted["top_p"] = 1e-6  # the likeliest token alone
    left = [name for name in wanted if name not in takes]
    notices = [f"the model {model} takes no {', '.join(left)}: left out"] if left else []
    options = {name: value for name, value in wanted.items() if name in takes}
    if given.stop:
        if parts.capabilities.reads_evidence:
            raise invalid("stop", f"the model {model} quotes, and cannot be stopped; leave it out")
        options["stop"] = [given.stop] if isinstance(given.stop, str) else given.stop
    changes: dict[str, Any] = {"options": {**parts.options, **options}}
    if asked.system and parts.capabilities.reads_evidence:
        notices.append(f"the model {model} quotes, and follows no instructions: left out")
    elif asked.system:
        changes["prompts"] = _instructed(parts, "\n\n".join(asked.system))
    return changes, tuple(notices)


def _instructed(parts: Parts, instructions: str) -> Prompts:
    """Return the prompts with the caller's instructions below our own."""
    room = (parts.capabilities.context_tokens - parts.settings.answer_tokens) // 2
    if estimate_tokens(instructions) > room:
        raise invalid("messages", f"the instructions take more than {room} tokens, which is half of"
                      " the room that the model has; shorten them")  # fmt: skip
    own = load_prompt("instructions", parts.settings.prompts)
    text = f"{parts.prompts.answer.render()}\n\n{own.render(text=quote(instructions))}"
    escaped = text.replace("{", "{{").replace("}", "}}")
    return replace(parts.prompts, answer=Prompt("answer", escaped, frozenset()))


async def _with_pictures(
    said: Sequence[Said], fetcher: Fetcher | None, most: int
) -> list[Question]:
    """Return what was said with all of its pictures fetched."""
    room = most
    found = []
    try:
        async with asyncio.timeout(FETCHING):
            for one in said:
                pictures = []
                for picture in one.pictures:
                    if isinstance(picture, Address):
                        data = await _fetched(picture, fetcher)
                        room -= len(data)
                        if room < 0:
                            raise invalid(picture.where, f"more than {most:,} bytes were fetched")
                    else:
                        data = picture.data
                    pictures.append(data)
                places = tuple(picture.where for picture in one.pictures)
                found.append(Question(one.text, tuple(pictures), places, one.name))
    except TimeoutError:
        raise invalid("messages", f"the pictures could not be fetched within {FETCHING:.0f} s; send"
                      " them as data URIs") from None  # fmt: skip
    return found


async def _fetched(picture: Address, fetcher: Fetcher | None) -> bytes:
    if fetcher is None:
        raise invalid(picture.where, "web addresses are not fetched here; send the picture as a"
                      " data URI, or let serve.fetch_pictures be set")  # fmt: skip
    try:
        return await fetcher.fetch(picture.url)
    except BifocalError as error:
        raise invalid(picture.where, str(error)) from error
