"""What a channel costs: conversations at once over the webhook, with the extractive writer.

    python tests/benchmarks/bench_channels.py [--conversations 50] [--messages 4] [--deliveries 2]

Starts a real ``bifocal serve`` over the demo's library with a webhook that posts drafts, and is the
program at its other end: people in so many conversations write message after message, each of which
is delivered several times. Told are the time until a delivery is acknowledged, until the first
words of an answer are seen, and until the whole answer is; and how many were lost or doubled.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from bot import Settings
from bot.build import ingestor
from bot.channels.webhook_message import signed
from bot.demo import copy_library
from retrievers.library import Library

SECRET = SecretStr("the benchmark's own secret")
QUESTIONS = ("How tall is the lighthouse?", "When was the lighthouse built?",
             "What does the ferry cost?", "Which receipt is over 50?")  # fmt: skip


class Program:
    """The other end of the webhook."""

    def __init__(self) -> None:
        self.sent: dict[str, float] = {}
        self.acknowledged: list[float] = []
        self.first: dict[str, float] = {}
        self.whole: Counter[str] = Counter()
        self.failed: list[str] = []
        self.waiting: dict[str, asyncio.Event] = {}

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take what is posted, request after request."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                found = re.search(r"content-length: (\d+)", head)
                body = await reader.readexactly(int(found[1]) if found else 0)
                self.take(json.loads(body))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def take(self, told: dict[str, Any]) -> None:
        """Note what was told."""
        id, now = told["id"], time.perf_counter()
        self.first.setdefault(id, now - self.sent[id])
        if told["type"] == "draft":
            return
        self.whole[id] += 1
        if told["type"] == "failed":
            self.failed.append(told["reason"])
        self.waiting[id].set()

    async def converse(
        self, client: httpx.AsyncClient, name: int, messages: int, deliveries: int
    ) -> list[float]:
        """Write message after message in a conversation; return the seconds of whole answers."""
        spent = []
        for number in range(messages):
            id = f"{name}-{number}"
            text = QUESTIONS[(name + number) % len(QUESTIONS)]
            body = json.dumps({"id": id, "conversation": str(name), "text": text}).encode()
            self.waiting[id], self.sent[id] = asyncio.Event(), time.perf_counter()
            await asyncio.gather(*(self.deliver(client, body) for _ in range(deliveries)))
            async with asyncio.timeout(120):
                await self.waiting[id].wait()
            spent.append(time.perf_counter() - self.sent[id])
        return spent

    async def deliver(self, client: httpx.AsyncClient, body: bytes) -> None:
        """Deliver a message once."""
        began = time.perf_counter()
        answer = await client.post("/v1/webhook", content=body, headers=signed(SECRET, body))
        answer.raise_for_status()
        self.acknowledged.append(time.perf_counter() - began)


def line(name: str, seconds: list[float]) -> str:
    """Return the figures of one thing."""
    values = sorted(seconds)
    p50, p99 = values[len(values) // 2], values[min(len(values) - 1, len(values) * 99 // 100)]
    return f"{name}: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, most {values[-1] * 1000:.0f}"


async def measure(folder: Path, args: argparse.Namespace) -> None:
    """Run the service and the people."""
    program = Program()
    server = await asyncio.start_server(program.receive, "127.0.0.1", 0)
    log = folder / "log"
    given = {
        "BIFOCAL_WEBHOOK_SECRET": SECRET.get_secret_value(),
        "BIFOCAL_WEBHOOK_CALLBACK": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/",
        "BIFOCAL_WEBHOOK_DRAFTS": "true",
        "BIFOCAL_SERVE_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "bot", "serve", "--port", "0", "-m", "extractive"]
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, "-l", str(folder / "library"), stderr=out, env={**os.environ, **given}
        )
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # its log is a file
        async with httpx.AsyncClient(base_url=found[0], timeout=60, trust_env=False) as client:
            while not (await client.get("/readyz")).is_success:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await program.converse(client, 10**6, 1, 1)  # warm
            program.acknowledged.clear()
            program.first.clear()
            talks = (
                program.converse(client, n, args.messages, args.deliveries)
                for n in range(args.conversations)
            )
            spent = [one for talk in await asyncio.gather(*talks) for one in talk]
            await asyncio.sleep(2)  # for answers that should not come
    finally:
        process.terminate()
        await process.wait()
        server.close()
    asked = args.conversations * args.messages
    lost = asked + 1 - len(program.whole)
    doubled = sum(count > 1 for count in program.whole.values())
    print(f"{asked} messages in {args.conversations} conversations, {args.deliveries} deliveries")
    print(f"lost {lost}, doubled {doubled}, failed {len(program.failed)}")
    print(line("acknowledged", program.acknowledged))
    print(line("first words seen", list(program.first.values())))
    print(line("whole answer", spent))
    marks = lost == 0 and doubled == 0 and sorted(program.acknowledged)[-1] < 1
    print("within the marks" if marks else "NOT within the marks: 0 lost, 0 doubled, < 1 s")


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
