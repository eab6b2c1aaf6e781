"""Discord as the stage of the stories that every channel must live through (see conftest.py).

A conversation of a story is a thread that the bot opened. Its answer is whole when nothing waits to
be done.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discord_double import TOKEN, Discord, File

from bot.service.stores.shared_redis import SharedRedis
from memory.redis_history import RedisHistory

NAMES = {b"\xff\xd8": ("photo.jpg", "image/jpeg")}


@dataclass
class Answered:
    """An answer as people see it, to the message ``of``."""

    of: str
    text: str
    pictures: list[bytes]


class DiscordStage:
    """``bifocal discord`` in a process of its own, and people in threads."""

    def __init__(self, discord: Discord, library: Path) -> None:
        self._discord, self._library = discord, library
        self._processes: list[asyncio.subprocess.Process] = []
        self.memory = library  #: whose Redis keeps the conversations
        self._said: dict[str, Answered] = {}
        self._told: list[Answered] = []
        self._people: dict[str, str] = {}

    async def start(self, **environment: str) -> None:
        """Start a process, and wait until it listens."""
        given = {
            "BIFOCAL_MODEL": "extractive",
            "BIFOCAL_LIBRARY": str(self._library),
            "BIFOCAL_DISCORD_TOKEN": TOKEN,
            "BIFOCAL_DISCORD_MESSAGE_CONTENT": "true",
            "BIFOCAL_DISCORD_API_URL": self._discord.api_url,
            "BIFOCAL_DISCORD_GATEWAY_URL": self._discord.gateway_url,
            "BIFOCAL_DISCORD_FILE_HOSTS": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "discord"),
            env={**os.environ, **given, **environment},
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._processes.append(process)
        await self._connected()

    async def _connected(self) -> None:
        """Wait until every process listens, and no other one."""
        gateway, count = self._discord.gateway, len(self._processes)
        await self._discord.until(lambda: gateway.connected == count, 120)

    async def kill(self) -> None:
        """End the oldest process at once."""
        process = self._processes.pop(0)
        process.kill()
        await process.wait()
        await self._connected()

    async def stop(self) -> None:
        """End all processes in order."""
        for process in self._processes:
            process.terminate()
        async with asyncio.timeout(120):
            for process in self._processes:
                await process.wait()

    async def say(
        self,
        conversation: str,
        text: str,
        *,
        pictures: Sequence[bytes] = (),
        sender: str = "",
        times: int = 1,
    ) -> str:
        """Write a message in a thread."""
        by = self._people.setdefault(sender, str(len(self._people) + 1))
        files = [File(*_named(data)) for data in pictures]
        thread = await self._thread(conversation)
        message = await self._discord.say(text, by=by, channel=thread, files=files)
        for _ in range(times - 1):
            await self._discord.repeat(message)
        return message

    async def edit(self, conversation: str, message: str, text: str) -> None:
        """Change a message."""
        await self._discord.edit(message, text)

    async def delete(self, conversation: str, message: str) -> None:
        """Delete a message."""
        await self._discord.delete(message)

    async def answers(self, count: int) -> list[Answered]:
        """Wait until so many answers were shown, and return all that were."""

        async def left(client: Any) -> int:
            return int(await client.hlen("bifocal:x:{discord}:messages"))

        folder = self._library / "redis"
        async with await SharedRedis.open(folder=folder) as redis, asyncio.timeout(120):
            while await redis.read(left) or len(self._collected()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return self._told

    async def remembered(self, conversation: str) -> list[str]:
        """Return the questions that memory keeps of a conversation."""
        folder, thread = self.memory / "redis", _thread_of(conversation)
        async with await RedisHistory.open(folder=folder, tenant="default") as history:
            found = await history.load(f"discord:100:{thread}")
        return [turn.question.text for turn in found.turns]

    async def _thread(self, conversation: str) -> str:
        id = _thread_of(conversation)
        if id not in self._discord.channels:
            await self._discord.thread(id, conversation)
        return id

    def _collected(self) -> list[Answered]:
        """Return the whole answers, with those that came since the last time."""
        group: list[dict[str, Any]] = []
        groups: list[list[dict[str, Any]]] = []
        for message in self._discord.mine():
            if message.get("message_reference"):
                group = []
                groups.append(group)
            group.append(message)
        for group in groups:
            question = str(group[0]["message_reference"]["message_id"])
            notes = [e.get("description", "") for m in group for e in m["embeds"]]
            words = "\n".join([*(m["content"] for m in group if m["content"]), *notes])
            pictures = [p for m in group for p in self._discord.pixels.get(m["id"], [])]
            told = Answered(question, words, pictures)
            if self._said.get(question) != told:
                self._said[question] = told
                self._told.append(told)
        return self._told


def _thread_of(conversation: str) -> str:
    return str(7000 + int.from_bytes(conversation.encode()[:6], "big"))


def _named(data: bytes) -> tuple[str, bytes, str]:
    name, kind = NAMES.get(data[:2], ("picture.png", "image/png"))
    return name, data, kind
