"""What Discord costs: conversations at once, with the extractive writer and the real discord.py.

    python tests/benchmarks/bench_discord.py [--conversations 50] [--messages 4] [--deliveries 2]

Starts a real ``bifocal discord`` over the demo's library against a small Discord on loopback that
sets no limit of rate. People in so many direct channels write message after message, each of which
is delivered several times. Told are the times until the first sign (that somebody types), the first
words and the whole answer; and how many were lost or doubled.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bot" / "channels"))
from bench_channels import QUESTIONS, line
from discord_double import Discord
from discord_stage import DiscordStage

from bot import Settings
from bot.build import ingestor
from bot.demo import copy_library
from retrievers.library import Library


class People:
    """Those who ask."""

    def __init__(self, discord: Discord) -> None:
        self._discord = discord
        self.asked: dict[str, str] = {}  #: channel by question
        self.sign: list[float] = []
        self.words: list[float] = []
        self.whole: list[float] = []

    async def converse(self, number: int, messages: int, deliveries: int) -> None:
        """Write message after message in a direct channel."""
        channel = self._discord.direct(str(10_000 + number), str(10_000 + number))
        path = f"/channels/{channel}/typing"
        for count in range(messages):
            text = QUESTIONS[(number + count) % len(QUESTIONS)]
            began, known = time.monotonic(), len(self._discord.transcript)
            id = await self._discord.say(text, channel=channel, by=channel)
            self.asked[id] = channel
            for _ in range(deliveries - 1):
                await self._discord.repeat(id)
            sent = f"/channels/{channel}/messages"
            await self._discord.until(partial(self._ended, channel, count + 1), 120)
            self.whole.append(time.monotonic() - began)
            calls = [c for c in self._discord.transcript[known:] if c.method == "POST"]
            self.sign.append(next((c.at for c in calls if c.path == path), began + 9) - began)
            self.words.append(next(c.at for c in calls if c.path == sent) - began)

    def _ended(self, channel: str, count: int) -> bool:
        """Return whether so many answers are whole in a channel."""
        return sum(bool(m["components"]) for m in self._discord.mine(channel)) >= count


async def measure(folder: Path, args: argparse.Namespace) -> None:
    """Run the bot and the people."""
    async with Discord() as discord:
        discord.limit = 10**9
        stage, people = DiscordStage(discord, folder / "library"), People(discord)
        try:
            await stage.start()
            await people.converse(-1, 1, 1)  # warm
            people.sign.clear()
            people.words.clear()
            people.whole.clear()
            many = range(args.conversations)
            await asyncio.gather(
                *(people.converse(n, args.messages, args.deliveries) for n in many)
            )
            await asyncio.sleep(2)  # for answers that should not come
        finally:
            await stage.stop()
        answers = [len(discord.to(id)) for id in people.asked]
    asked = args.conversations * args.messages
    print(f"{asked} messages in {args.conversations} conversations, {args.deliveries} deliveries")
    print(f"lost {answers.count(0)}, doubled {sum(count > 1 for count in answers)}")
    print(line("first sign", people.sign))
    print(line("first words", people.words))
    print(line("whole answer", people.whole))


def main() -> None:
    """Read the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conversations", type=int, default=50)
    parser.add_argument("--messages", type=int, default=4)
    parser.add_argument("--deliveries", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_library(folder / "files")
        with Library.open(folder / "library", create=True) as library:
            ingestor(Settings(library=folder / "library"), library).run([folder / "files"])
        asyncio.run(measure(folder, args))


if __name__ == "__main__":
    main()
