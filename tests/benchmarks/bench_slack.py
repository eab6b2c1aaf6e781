"""What Slack costs: conversations at once with ``bifocal slack`` and the extractive writer.

    python tests/benchmarks/bench_slack.py [--conversations 50] [--messages 4] [--deliveries 2]

Starts a real ``bifocal slack`` over the demo's library, and a small Slack on loopback that it is
connected to; this process has to be two cores' share, too. People in so many threads write message
after message, each of which is delivered several times. Told are the seconds until a delivery is
acknowledged, the first visible sign (a status), the first words, the whole answer; and how many
answers were lost or doubled.
"""

import argparse
import asyncio
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bot import Settings
from bot.build import ingestor
from bot.demo import copy_library
from retrievers.library import Library

QUESTIONS = ("How tall is the lighthouse?", "When was the lighthouse built?",
             "What does the ferry cost?", "How long is the Guillemot?")  # fmt: skip


def double() -> Any:
    """Return the module of the small Slack."""
    path = Path(__file__).parents[1] / "bot" / "channels" / "slack_double.py"
    spec = importlib.util.spec_from_file_location("slack_double", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["slack_double"] = module
    spec.loader.exec_module(module)
    return module


class People:
    """Writes in threads, and measures."""

    def __init__(self, slack: Any) -> None:
        self.slack = slack
        self.whole: list[float] = []
        self.sign: list[float] = []
        self.words: list[float] = []
        self.asked = 0

    async def converse(self, name: int, messages: int, deliveries: int) -> str:
        """Write message after message in one thread; return its name."""
        thread: str | None = None
        for number in range(messages):
            text = QUESTIONS[(name + number) % len(QUESTIONS)]
            began, calls = time.perf_counter(), len(self.slack.calls)
            shown, (event,) = self.slack.write(text, channel="D1", thread=thread, user=f"U{name}")
            root = thread = thread or shown.ts
            self.asked += 1
            await self.slack.event(event, times=deliveries)
            count = number + 1
            await self.slack.until(lambda r=root, c=count: len(self.slack.answers(r)) >= c, 300)
            self.whole.append(time.perf_counter() - began)
            self._note(calls, began, root)
        assert thread is not None
        return thread

    def _note(self, calls: int, began: float, thread: str) -> None:
        found = list(zip(self.slack.calls, self.slack.times, strict=True))[calls:]
        own = [(m, at - began) for (m, args), at in found if args.get("thread_ts") == thread]
        self.sign += [at for method, at in own if method == "assistant.threads.setStatus"][:1]
        shown = ("chat.startStream", "chat.postMessage")
        self.words += [at for method, at in own if method in shown][:1]


def line(name: str, seconds: list[float]) -> str:
    """Return the figures of one thing."""
    values = sorted(seconds)
    p50, p99 = values[len(values) // 2], values[min(len(values) - 1, len(values) * 99 // 100)]
    return f"{name}: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, most {values[-1] * 1000:.0f}"


async def measure(folder: Path, args: argparse.Namespace) -> None:
    """Run the bot and the people."""
    async with double().SlackDouble() as slack:
        given = {
            "BIFOCAL_SLACK_BOT_TOKEN": slack.bot_token,
            "BIFOCAL_SLACK_APP_TOKEN": slack.app_token,
            "BIFOCAL_SLACK_API_URL": slack.api_url,
        }
        command = [sys.executable, "-m", "bot", "slack", "-m", "extractive"]
        with (folder / "log").open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command, "-l", str(folder / "library"), stderr=out, env={**os.environ, **given}
            )
        try:
            await slack.until(lambda: slack.sockets, 120)
            await People(slack).converse(10**6, 1, 1)  # warm
            slack.acks.clear()
            people, before = People(slack), len(slack.answers())
            talks = (people.converse(n, args.messages, args.deliveries)
                     for n in range(args.conversations))  # fmt: skip
            threads = await asyncio.gather(*talks)
            await asyncio.sleep(2)  # for answers that should not come
        finally:
            process.terminate()
            await process.wait()
        lost = sum(max(0, args.messages - len(slack.answers(t))) for t in threads)
        doubled = len(slack.answers()) - before - people.asked + lost
        acks = [one for many in slack.acks.values() for one in many]
    print(f"{people.asked} messages in {args.conversations} threads, {args.deliveries} deliveries")
    print(f"lost {lost}, doubled {doubled}, acknowledgements {len(acks)}")
    print(line("acknowledged", acks))
    print(line("first visible sign", people.sign))
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
