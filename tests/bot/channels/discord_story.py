"""A bot in the small real Discord, for stories; and what must hold of every message there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from discord_double import SUPPRESS_EMBEDS, TOKEN, Discord
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import SecretStr

from bot import AsyncChatBot
from bot.channels.backend import Libraries
from bot.channels.discord_bot import DiscordChannel
from bot.channels.settings import DiscordSettings
from bot.service.stores.shared_redis import SharedRedis

LIGHTHOUSE = "How tall is the lighthouse?"


@dataclass
class Story:
    """A bot that is in Discord."""

    discord: Discord
    bot: AsyncChatBot
    redis: SharedRedis
    channel: DiscordChannel
    opened: list[str]  #: names of the libraries that were asked for

    async def asked(self, question: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until a message is answered, and return the messages of its answer."""

        def whole() -> list[dict[str, Any]]:
            found = self.discord.to(question)
            ended = [m for m in self.discord.mine() if m["components"]]
            return found if found and len(ended) >= count else []

        return list(await self.discord.until(whole))

    async def turns(self, conversation: str) -> list[str]:
        """Return the questions of a conversation."""
        return [t.question.text for t in (await self.bot.conversation(conversation)).turns]


class HalfChat(GenericFakeChatModel):
    """A model that says half of its answer, and the rest when it may."""

    messages: Any = iter(())
    half: ClassVar[asyncio.Event]
    asked: ClassVar[int]

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        HalfChat.asked += 1
        yield ChatGenerationChunk(message=AIMessageChunk(content="The first half"))
        await self.half.wait()
        yield ChatGenerationChunk(message=AIMessageChunk(content=" and the second."))


def half_chat() -> HalfChat:
    """Return the model at its beginning."""
    HalfChat.half, HalfChat.asked = asyncio.Event(), 0
    return HalfChat()


Play = Callable[..., AbstractAsyncContextManager[Story]]


@asynccontextmanager
async def calm_discord() -> AsyncIterator[Discord]:
    """A Discord. Whatever was said in it called nobody, and previewed nothing."""
    async with Discord() as made:
        yield made
    for message in made.mine():
        assert message.get("pinged", []) == []
        assert message.get("previews", []) == []
        assert message.get("hidden", []) == []  # embeds that nobody would see
        assert not message["content"] or message["flags"] & SUPPRESS_EMBEDS
    for call in made.transcript:
        if call.method in ("POST", "PATCH") and ("content" in call.body or "embeds" in call.body):
            assert call.body["allowed_mentions"]["parse"] == []


def settings_for(discord: Discord, **changes: Any) -> DiscordSettings:
    """Return settings that point to a double."""
    given: dict[str, Any] = {
        "token": SecretStr(TOKEN),
        "api_url": discord.api_url,
        "gateway_url": discord.gateway_url,
        "file_hosts": ("127.0.0.1",),
        "every": 0.2,
    }
    return DiscordSettings(**{**given, **changes})


def player(open_bot: Any, discord: Discord) -> Play:
    """Return what puts a bot over the demo's library into Discord; with an ``error`` it has no
    library."""

    @asynccontextmanager
    async def playing(
        model: Any = None, error: Exception | None = None, **changes: Any
    ) -> AsyncIterator[Story]:
        settings = settings_for(discord, **changes)
        named = {} if model else {"model_name": "extractive"}
        async with (
            open_bot(model, **named) as bot,
            await SharedRedis.of(bot.parts.settings) as redis,
        ):
            opened: list[str] = []

            async def opening(library: str) -> AsyncChatBot:
                opened.append(library)
                if error is not None:
                    raise error
                return bot  # type: ignore[no-any-return]

            libraries = Libraries(opening, settings.libraries)
            channel = DiscordChannel(settings, libraries, redis, identify=0)
            async with connected(channel, discord):
                yield Story(discord, bot, redis, channel, opened)

    return playing


@asynccontextmanager
async def connected(channel: DiscordChannel, discord: Discord) -> AsyncIterator[None]:
    """Run a channel, once it is connected."""
    running = asyncio.create_task(channel.run())
    waiting = asyncio.create_task(discord.until(lambda: discord.gateway.connected))
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        running.result()
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})
