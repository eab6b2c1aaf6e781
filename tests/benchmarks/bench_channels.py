"""What the webhook costs: conversations at once with ``bifocal serve``, and marks that must hold.

    python tests/benchmarks/bench_channels.py [--conversations 50] [--messages 4] [--deliveries 2]

See ``chat_loop.py``. This process is the program at the other end of the webhook, which gets
drafts, too. Ends with 0 when all marks hold.
"""

import asyncio
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from aiohttp import web
from chat_loop import Seen, main
from pydantic import SecretStr

from bot.channels.webhook_message import signed

SECRET = SecretStr("the benchmark's own secret")


class Program:
    """The program at the other end of the webhook. See ``chat_loop.Chat``."""

    name = "serve"

    def __init__(self, callback: str) -> None:
        self._callback = callback
        self._client = httpx.AsyncClient()
        self._seen: dict[str, Seen] = {}
        self._came: dict[str, asyncio.Event] = {}
        self._answers = defaultdict[int, list[str]](list)

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["Program"]:
        """Listen for answers."""
        app = web.Application(client_max_size=1 << 28)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        program: Program

        async def take(request: web.Request) -> web.Response:
            program.take(await request.json())
            return web.Response()

        app.router.add_post("/", take)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        program = cls(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        try:
            yield program
        finally:
            await program._client.aclose()
            await runner.cleanup()

    def environment(self) -> dict[str, str]:
        """Return the settings of the webhook."""
        return {
            "BIFOCAL_WEBHOOK_SECRET": SECRET.get_secret_value(),
            "BIFOCAL_WEBHOOK_CALLBACK": self._callback,
            "BIFOCAL_WEBHOOK_DRAFTS": "true",
            "BIFOCAL_SERVE_LOG_LEVEL": "error",
        }

    async def ready(self, log: Path) -> None:
        """Wait until the service is there."""
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.05)  # its log is a file
        self._client = httpx.AsyncClient(base_url=found[0], timeout=60, trust_env=False)
        while not (await self._client.get("/readyz")).is_success:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def take(self, told: dict[str, object]) -> None:
        """Note what the service posts."""
        id, now = str(told["id"]), time.perf_counter()
        seen = self._seen[id]
        seen.text = seen.text or now
        if told["type"] == "draft":
            return
        seen.whole = now
        parts = told.get("parts", [told.get("reason")])
        self._answers[int(id.split("/")[0])].append(str(parts))
        self._came[id].set()

    async def ask(self, person: int, text: str, deliveries: int) -> Seen:
        """Hand a message in, and wait for its answer."""
        id = f"{person}/{sum(name.startswith(f'{person}/') for name in self._seen)}"
        body = json.dumps({"id": id, "conversation": str(person), "text": text}).encode()
        seen = self._seen[id] = Seen()
        self._came[id] = asyncio.Event()
        seen.acknowledged = await asyncio.gather(*(self._post(body) for _ in range(deliveries)))
        async with asyncio.timeout(300):
            await self._came[id].wait()
        return seen

    async def _post(self, body: bytes) -> float:
        """Deliver a message once; return the seconds that took."""
        began = time.perf_counter()
        sent = await self._client.post("/v1/webhook", content=body, headers=signed(SECRET, body))
        sent.raise_for_status()
        return time.perf_counter() - began

    def answers(self, person: int) -> list[str]:
        """Return the answers in a person's conversation."""
        return self._answers[person]


if __name__ == "__main__":
    sys.exit(main(__doc__, Program.opened))
