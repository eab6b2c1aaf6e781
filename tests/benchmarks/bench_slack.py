"""What Slack costs: conversations at once with ``bifocal slack``, and marks that must hold.

    python tests/benchmarks/bench_slack.py [--conversations 50] [--messages 4] [--deliveries 2]

See ``chat_loop.py``. A conversation is a thread of direct messages; the first visible sign is the
status of its thread. Ends with 0 when all marks hold.
"""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "bot" / "channels"))
from chat_loop import Seen, first, main
from slack_double import SlackDouble

SHOWN = ("chat.startStream", "chat.postMessage")


class Slack:
    """The people of a workspace. See ``chat_loop.Chat``."""

    name = "slack"

    def __init__(self, slack: SlackDouble) -> None:
        self._slack = slack
        self._threads: dict[int, str] = {}

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["Slack"]:
        """Open a workspace."""
        async with SlackDouble() as slack:
            yield cls(slack)

    def environment(self) -> dict[str, str]:
        """Return how the workspace is reached."""
        return {
            "BIFOCAL_SLACK_BOT_TOKEN": self._slack.bot_token,
            "BIFOCAL_SLACK_APP_TOKEN": self._slack.app_token,
            "BIFOCAL_SLACK_API_URL": self._slack.api_url,
        }

    async def ready(self, log: Path) -> None:
        """Wait until the bot is connected."""
        await self._slack.until(lambda: self._slack.sockets, 120)

    async def ask(self, person: int, text: str, deliveries: int) -> Seen:
        """Write in a person's thread."""
        slack, known = self._slack, len(self._slack.calls)
        count = len(self.answers(person)) + 1
        seen = Seen()
        shown, (event,) = slack.write(
            text, channel="D1", thread=self._threads.get(person), user=f"U{person}"
        )
        thread = self._threads.setdefault(person, shown.ts)
        id = await slack.event(event, times=deliveries)
        await slack.until(lambda: len(slack.answers(thread)) >= count, 300)
        seen.whole = time.perf_counter()
        seen.acknowledged = slack.acks[id]
        calls = list(zip(slack.times, slack.calls, strict=True))[known:]

        def here(call: tuple[str, dict[str, Any]], *methods: str) -> bool:
            return call[0] in methods and call[1].get("thread_ts") == thread

        seen.sign = first(calls, lambda call: here(call, "assistant.threads.setStatus"))
        seen.text = first(calls, lambda call: here(call, *SHOWN)) or seen.whole
        return seen

    def answers(self, person: int) -> list[str]:
        """Return the whole answers in a person's thread."""
        thread = self._threads.get(person)
        return [one.read for one in self._slack.answers(thread)] if thread else []


if __name__ == "__main__":
    sys.exit(main(__doc__, Slack.opened))
