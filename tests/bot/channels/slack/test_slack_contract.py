"""The stories that every channel lives through, with ``bifocal slack`` as a process of its own."""

import asyncio
import importlib.util
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile_pictures import held, malformed

from bot.service.stores.shared_redis import SharedRedis
from memory.redis_history import RedisHistory

if TYPE_CHECKING:
    from slack_double import Shown as Message
    from slack_double import SlackDouble

_spec = importlib.util.spec_from_file_location(
    "channel_contract", Path(__file__).parents[1] / "test_contract.py"
)
assert _spec is not None
assert _spec.loader is not None
_contract = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_contract)
globals().update({n: made for n, made in vars(_contract).items() if n.startswith("test_")})


@dataclass
class Shown:
    """See ``tests/bot/channels/conftest.py``."""

    of: str
    text: str
    pictures: list[bytes] = field(default_factory=list)


class SlackStage:
    """``bifocal slack``, and the people of a Slack. A conversation is a thread of direct messages.

    See ``Stage`` in ``tests/bot/channels/conftest.py``.
    """

    def __init__(self, slack: "SlackDouble", library: Path, folder: Path) -> None:
        self._slack, self._library, self._folder = slack, library, folder
        self._processes: list[asyncio.subprocess.Process] = []
        self.memory = library  #: whose Redis keeps the conversations
        self._roots: dict[str, str] = {}
        self._said: dict[str, Message] = {}
        self._of: dict[str, str] = {}  #: message of an answer -> its question

    async def start(self, **environment: str) -> None:
        """Start a process, and wait until it is connected."""
        given = {
            "BIFOCAL_MODEL": "extractive",
            "BIFOCAL_SLACK_BOT_TOKEN": self._slack.bot_token,
            "BIFOCAL_SLACK_APP_TOKEN": self._slack.app_token,
            "BIFOCAL_SLACK_API_URL": self._slack.api_url,
            "BIFOCAL_SLACK_FILE_HOSTS": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
            **environment,
        }
        command = [sys.executable, "-m", "bot", "slack", "-l", str(self._library)]
        with (self._folder / f"log-{uuid.uuid4().hex}").open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command, stderr=out, env={**os.environ, **given}
            )
        self._processes.append(process)
        await self._connected()

    async def _connected(self) -> None:
        """Wait until every process listens, and no other one."""
        count = len(self._processes)
        await self._slack.until(lambda: len(self._slack.sockets) == count, 120)

    @property
    def pid(self) -> int:
        """The process that was started last."""
        return self._processes[-1].pid

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
                assert await process.wait() == 0

    async def say(
        self,
        conversation: str,
        text: str,
        *,
        pictures: Sequence[bytes] = (),
        sender: str = "Anna",
        times: int = 1,
    ) -> str:
        """Write a message."""
        files = [self._slack.file(f"{n}.png", data) for n, data in enumerate(pictures, 1)]
        root = self._roots.get(conversation)
        shown, events = self._slack.write(
            text, user=f"U{sender.upper()}", channel="D1", thread=root, files=files
        )
        self._roots.setdefault(conversation, shown.ts)
        self._said[shown.ts] = shown
        for event in events:
            await self._slack.event(event, times=times)
        return shown.ts

    async def edit(self, conversation: str, message: str, text: str) -> None:
        """Change a message."""
        await self._slack.edit(self._said[message], text)

    async def delete(self, conversation: str, message: str) -> None:
        """Delete a message."""
        await self._slack.remove(self._said.pop(message))

    async def answers(self, count: int) -> list[Shown]:
        """Wait for answers, and until nothing is left to be done."""
        await self._slack.until(lambda: len(self._whole()) >= count, 120)
        await self._idle()
        found = [Shown(self._question(m), m.read) for m in self._whole()]
        for upload in self._slack.uploads:
            found[-1].pictures.append(upload["data"])
        return found

    def _whole(self) -> list["Message"]:
        """The answers and the lines in their place, as they were when they were whole."""
        return [m for m in self._slack.whole
                if m.blocks and m.blocks[-1]["type"] in ("actions", "context")]  # fmt: skip

    def _question(self, answer: "Message") -> str:
        """The question that an answer belongs to: within a thread they are answered in order."""
        if answer.ts not in self._of:
            asked = [m.ts for m in self._said.values()
                     if answer.thread_ts in (m.ts, m.thread_ts)]  # fmt: skip
            answered = set(self._of.values())
            self._of[answer.ts] = next(ts for ts in sorted(asked) if ts not in answered)
        return self._of[answer.ts]

    async def _idle(self) -> None:
        async def left(client: Any) -> int:
            return int(await client.hlen("bifocal:x:{slack}:messages"))

        folder = self._library / "redis"
        async with await SharedRedis.open(folder=folder) as redis, asyncio.timeout(60):
            while await redis.read(left):  # noqa: ASYNC110 - another process's work
                await asyncio.sleep(0.05)

    async def remembered(self, conversation: str) -> list[str]:
        """Return the questions that memory keeps."""
        folder = self.memory / "redis"
        async with await RedisHistory.open(folder=folder, tenant="default") as history:
            found = await history.load(f"slack:T1:D1:{self._roots[conversation]}")
        return [turn.question.text for turn in found.turns]


@pytest.fixture(params=["here", "beside"])
def open_stage(
    request: pytest.FixtureRequest,
    slack: "SlackDouble",
    demo_library: Path,
    tmp_path: Path,
    beside: Callable[[Any], Any],
) -> Callable[..., Any]:
    """Return what opens the stage, over a bot of its own or a served one; keywords are environment
    variables of whoever answers."""
    told = request.node.originalname == _contract.BESIDE
    if request.param == "beside" and not (_contract.FULL or told):
        pytest.skip("over a served bot only with BIFOCAL_FULL=1")

    @asynccontextmanager
    async def opened(**environment: str) -> AsyncIterator[Any]:
        stage: Any
        if request.param == "here":
            stage = SlackStage(slack, demo_library, tmp_path)
        else:
            stage = beside(SlackStage(slack, tmp_path / "beside", tmp_path))
        try:
            await stage.start(**environment)
            yield stage
        finally:
            await stage.stop()
        written = "".join(log.read_text() for log in tmp_path.glob("log-*"))  # noqa: ASYNC240
        assert slack.bot_token not in written
        assert slack.app_token not in written

    return opened


@pytest.mark.timeout(900)
async def test_malformed_pictures_do_not_fill_the_memory(
    slack: "SlackDouble", demo_library: Path, tmp_path: Path, picture: Any
) -> None:
    """Row 8: no more than 300 MB, in the process of the bot."""
    many = 2000 if _contract.FULL else 48

    async def ask(data: bytes) -> None:
        asked = await slack.say("What is this?", channel="D1", files=[slack.file("p.png", data)])
        await slack.until(lambda: slack.answers(asked.ts), 300)

    stage = SlackStage(slack, demo_library, tmp_path)
    try:
        await stage.start()
        await ask(picture())  # loads what reads the writing in pictures
        before = held(stage.pid, "VmRSS")
        work = list(malformed(many))
        for at in range(0, many, 4):
            await asyncio.gather(*map(ask, work[at : at + 4]))
        grown = held(stage.pid, "VmHWM") - before
    finally:
        await stage.stop()
    sys.stdout.write(f"{many} answered, {grown:.0f} MB more at most\n")
    assert grown <= 300
