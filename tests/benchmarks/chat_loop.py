"""The loop of the benchmarks of chats: people in conversations at once, and what they see.

Two runs, each with a real ``bifocal`` process over the demo's library and a small chat on loopback
in this process. First people write message after message, delivered several times each, which
``extractive`` answers. Then each asks one question of a model that says a word every 0.2 s, to
tell how long its first word takes to be seen. Knows nothing of any chat: a benchmark gives one.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from bot import Settings
from bot.build import ingestor
from bot.demo import copy_library
from retrievers.library import Library

#: What people ask, and what stands in a right answer
QUESTIONS = (
    ("How tall is the lighthouse?", "34 metres"),
    ("When was the lighthouse built?", "1871"),
    ("What does the ferry cost?", "9.50"),
    ("How long is the Guillemot?", "14.8"),
)
WORDS = [f" word{number}" for number in range(20)]  #: of the model that takes its time
PAUSE = 0.2  #: seconds between two of its words
ACKNOWLEDGED, SIGN, TEXT = 1.0, 1.0, 1.5  #: marks, seconds at p99
SETTLE = 2.0  #: seconds in which answers would come that should not


@dataclass
class Seen:
    """What somebody saw of a message, by the clock ``time.perf_counter``."""

    written: float = field(default_factory=time.perf_counter)
    acknowledged: Sequence[float] = ()  #: seconds that each delivery took
    sign: float | None = None  #: when something showed that it is worked at
    text: float = 0.0  #: when the first words were there
    whole: float = 0.0  #: when the answer was


class Chat(Protocol):
    """A small chat on loopback with a bot in it. ``name`` is the command of ``bifocal``."""

    name: str

    def environment(self) -> dict[str, str]:
        """Return the settings with which the bot gets there."""
        raise NotImplementedError

    async def ready(self, log: Path) -> None:
        """Wait until the bot is there."""

    async def ask(self, person: int, text: str, deliveries: int) -> Seen:
        """Write in a person's conversation, and wait until the answer is whole."""
        raise NotImplementedError

    def answers(self, person: int) -> list[str]:
        """Return the whole answers in a person's conversation, in order."""
        raise NotImplementedError


#: Opens a chat in which nobody is yet
OpenChat = Callable[[], AbstractAsyncContextManager[Chat]]


class SlowModel:
    """A server of OpenAI's interface whose model says one word after another."""

    def __init__(self) -> None:
        self.began: dict[int, float] = {}  #: when the first word was said, by person
        self.url = ""

    @asynccontextmanager
    async def served(self) -> AsyncIterator["SlowModel"]:
        """Listen on a free port of loopback."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        asked = json.dumps((await request.json())["messages"][-1])
        person = re.search(r"I am person (\d+)\.", asked)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, word in enumerate(WORDS):  # a space comes with the word behind it
            if number == 0 and person is not None:
                self.began[int(person[1])] = time.perf_counter()
            chunk = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            told = json.dumps({"id": "1", "object": "chat.completion.chunk", "choices": [chunk]})
            await response.write(f"data: {told}\n\n".encode())
            await asyncio.sleep(PAUSE)
        await response.write(b"data: [DONE]\n\n")
        return response


@dataclass
class Figures:
    """What was measured; times in seconds."""

    acknowledged: list[float] = field(default_factory=list)
    sign: list[float] = field(default_factory=list)
    words: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)  #: from the model's first word to the eye
    asked: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    spent: float = 0.0

    def add(self, seen: Seen) -> None:
        """Take in what somebody saw."""
        self.acknowledged += seen.acknowledged
        if seen.sign is not None:
            self.sign.append(seen.sign - seen.written)
        self.words.append(seen.text - seen.written)
        self.whole.append(seen.whole - seen.written)

    def count(self, expected: Sequence[str], answers: Sequence[str]) -> None:
        """Count how many answers of a conversation are missing, too many, or not right."""
        self.asked += len(expected)
        self.lost += max(0, len(expected) - len(answers))
        self.doubled += max(0, len(answers) - len(expected))
        pairs = zip(expected, answers, strict=False)
        self.wrong += sum(fact not in answer for fact, answer in pairs)


async def _quick(chat: Chat, figures: Figures, args: argparse.Namespace) -> None:
    """Have everybody write message after message, which ``extractive`` answers."""

    async def converse(person: int) -> list[str]:
        expected = []
        for number in range(args.messages):
            text, fact = QUESTIONS[(person + number) % len(QUESTIONS)]
            figures.add(await chat.ask(person, text, args.deliveries))
            expected.append(fact)
        return expected

    await chat.ask(-1, QUESTIONS[0][0], 1)  # warm
    began = time.perf_counter()
    people = range(args.conversations)
    expected = await asyncio.gather(*map(converse, people))
    figures.spent = time.perf_counter() - began
    await asyncio.sleep(SETTLE)
    for person in people:
        figures.count(expected[person], chat.answers(person))


async def _slow(chat: Chat, figures: Figures, model: SlowModel, args: argparse.Namespace) -> None:
    """Have everybody ask once, and note how long the model's first word took to be seen."""

    async def ask(person: int) -> None:
        seen = await chat.ask(person, f"I am person {person}. Tell me a story.", args.deliveries)
        figures.acknowledged += seen.acknowledged
        if seen.sign is not None:
            figures.sign.append(seen.sign - seen.written)
        figures.first.append(seen.text - model.began[person])

    await chat.ask(-1, "Tell me a story.", 1)  # warm
    people = range(args.conversations)
    await asyncio.gather(*map(ask, people))
    await asyncio.sleep(SETTLE)
    for person in people:
        figures.count([WORDS[-1].strip()], chat.answers(person))


@asynccontextmanager
async def _bot(chat: Chat, library: Path, **environment: str) -> AsyncIterator[None]:
    """Run ``bifocal`` in that chat, over a copy of a library: what was seen before is not known."""
    own = Path(shutil.copytree(library, library.with_name(uuid.uuid4().hex)))
    log, port = own / "log", ("--port", "0") if chat.name == "serve" else ()
    command = [sys.executable, "-m", "bot", chat.name, "-l", str(own), *port]
    given = {**os.environ, "NO_PROXY": "127.0.0.1", **chat.environment(), **environment}
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, stderr=out, env=given)
    try:
        await chat.ready(log)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _measure(opened: OpenChat, library: Path, args: argparse.Namespace) -> Figures:
    figures = Figures()
    async with opened() as chat, _bot(chat, library, BIFOCAL_MODEL="extractive"):
        await _quick(chat, figures, args)
    async with opened() as chat, SlowModel().served() as model:
        slow = {"MODEL": "openai:slow", "MODEL_URL": model.url, "MODEL_KEY": "none"}
        named = {f"BIFOCAL_{name}": value for name, value in slow.items()}
        async with _bot(chat, library, **named):
            await _slow(chat, figures, model, args)
    return figures


def _row(name: str, seconds: list[float], mark: float | None = None) -> bool:
    """Print the figures of one thing; return whether its mark holds."""
    if not seconds:
        return True
    values = sorted(seconds)
    p50, p99 = values[len(values) // 2], values[min(len(values) - 1, len(values) * 99 // 100)]
    holds = mark is None or p99 < mark
    told = "" if mark is None else f"p99 < {mark * 1000:.0f} {'holds' if holds else 'FAILS'}"
    print(f"{name:38}{p50 * 1000:8.0f}{p99 * 1000:8.0f}{values[-1] * 1000:8.0f}   {told}".rstrip())
    return holds


def _print(figures: Figures, args: argparse.Namespace) -> bool:
    """Print the table; return whether all marks hold."""
    print(f"{'ms':38}{'p50':>8}{'p99':>8}{'most':>8}   mark")
    held = [
        _row("acknowledgement", figures.acknowledged, ACKNOWLEDGED),
        _row("first visible sign", figures.sign, SIGN),
        _row("first text after the model's first word", figures.first, TEXT),
        _row("first text, extractive", figures.words),
        _row("whole answer, extractive", figures.whole),
    ]
    for name in ("lost", "doubled", "wrong"):
        count: int = getattr(figures, name)
        held.append(count == 0)
        print(f"{name:38}{count:8}{'':19}0 {'holds' if count == 0 else 'FAILS'}")
    turns = args.conversations * args.messages
    print(f"{'turns a second, extractive':38}{turns / figures.spent:8.1f}")
    return all(held)


def main(about: str, opened: OpenChat) -> int:
    """Read the options, measure, print a table; return 0 when all marks hold, else 1."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--conversations", type=int, default=50)
    parser.add_argument("--messages", type=int, default=4, help="in each, one after another")
    parser.add_argument("--deliveries", type=int, default=2, help="of each message")
    args = parser.parse_args()
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{args.conversations} conversations at once on {os.cpu_count()} cores, load {load}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_library(folder / "files")
        with Library.open(folder / "library", create=True) as library:
            ingestor(Settings(library=folder / "library"), library).run([folder / "files"])
        figures = asyncio.run(_measure(opened, folder / "library", args))
    return 0 if _print(figures, args) else 1


def first(calls: Sequence[tuple[float, Any]], true: Callable[[Any], bool]) -> float | None:
    """Return when the first call came of which something is true."""
    return next((at for at, call in calls if true(call)), None)
