"""What Discord costs: conversations at once with ``bifocal discord``, and marks that must hold.

    python tests/benchmarks/bench_discord.py [--conversations 50] [--messages 4] [--deliveries 2]

See ``chat_loop.py``. A conversation is a direct channel of a Discord that sets no limit of rate;
every other message is written, and the others are ``/ask``. Only commands are acknowledged in
Discord, and that is their first visible sign, too; of messages it is that somebody types. Ends
with 0 when all marks hold.
"""

import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bot" / "channels"))
from chat_loop import Seen, first, main
from discord_double import TOKEN, Call, Discord


class Direct:
    """The people of a Discord. See ``chat_loop.Chat``."""

    name = "discord"

    def __init__(self, discord: Discord) -> None:
        self._discord = discord
        self._asked = Counter[int]()
        discord.limit = 10**9

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["Direct"]:
        """Open a Discord."""
        async with Discord() as discord:
            yield cls(discord)

    def environment(self) -> dict[str, str]:
        """Return how Discord is reached."""
        return {
            "BIFOCAL_DISCORD_TOKEN": TOKEN,
            "BIFOCAL_DISCORD_API_URL": self._discord.api_url,
            "BIFOCAL_DISCORD_GATEWAY_URL": self._discord.gateway_url,
        }

    async def ready(self, log: Path) -> None:
        """Wait until the bot is connected."""
        await self._discord.until(lambda: self._discord.gateway.connected, 120)

    async def ask(self, person: int, text: str, deliveries: int) -> Seen:
        """Write in a person's direct channel, or use the command there."""
        discord, channel = self._discord, str(10_000 + person)
        if channel not in discord.channels:
            discord.direct(channel, channel)
        self._asked[person] += 1
        count, command = self._asked[person], self._asked[person] % 2 == 0
        known = len(discord.transcript)
        # the double's calls are timed by time.monotonic
        seen, ahead = Seen(), time.perf_counter() - time.monotonic()
        if command:
            token = await discord.command("ask", question=text, channel=channel, by=channel)
            places = (f"/webhooks/{discord.bot['id']}/{token}",)
        else:
            places = (f"/channels/{channel}/messages",)
            id = await discord.say(text, channel=channel, by=channel)
            for _ in range(deliveries - 1):
                await discord.repeat(id)
        await discord.until(lambda: self._whole(channel) >= count, 300)
        seen.whole = time.perf_counter()
        calls = [(call.at + ahead, call) for call in discord.transcript[known:]]
        if command:
            spent = discord.interactions[token]["acknowledged"]
            seen.acknowledged, seen.sign = [spent], seen.written + spent
        else:
            seen.sign = first(calls, lambda call: call.path == f"/channels/{channel}/typing")

        def shows(call: Call) -> bool:
            return call.path.startswith(places) and bool(call.body.get("content"))

        seen.text = first(calls, shows) or seen.whole
        return seen

    def _whole(self, channel: str) -> int:
        """Return how many answers in a channel are whole: those with buttons."""
        return sum(bool(message["components"]) for message in self._discord.mine(channel))

    def answers(self, person: int) -> list[str]:
        """Return the answers in a person's direct channel."""
        return self._discord.answers(str(10_000 + person))


if __name__ == "__main__":
    sys.exit(main(__doc__, Direct.opened))
