"""SIGTERM drains: row 24. A few rounds in the ordinary run; fifty with ``BIFOCAL_FULL=1``."""

import asyncio
import io
import os
import random
import re
import socket
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw, ImageFont

ROUNDS = 50 if os.environ.get("BIFOCAL_FULL") else 4
GRACE = 1  #: seconds
UNDER_WAY = re.compile(r"^bifocal_turns_running(\{.*\})? [1-9]", re.MULTILINE)


async def last_event(client: httpx.AsyncClient, body: dict[str, Any], begun: asyncio.Event) -> str:
    """Ask, and return the kind of the last event that comes, or the status of what is none."""
    last = ""
    async with client.stream("POST", "/v1/turns", json=body) as answer:
        if not answer.headers["content-type"].startswith("text/event-stream"):
            await answer.aread()
            return str(answer.status_code)
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                last = value
                if value == "token":
                    begun.set()
    return last


async def begins(event: asyncio.Event, asking: asyncio.Task[str]) -> None:
    """Wait until a stream has begun; one that ended before is told."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({waiting, asking}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert event.is_set(), f"it ended before its first word: {asking.result()}"


def processes_of(folder: Path) -> list[str]:
    """Return the commands of processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


@pytest.mark.timeout(ROUNDS * 300)
async def test_a_service_that_is_stopped_ends_every_stream_with_a_word_and_leaves_nothing_behind(
    run_service: Any, dribble: Any, demo_library: Path
) -> None:
    """One process and two by turns; streams that would never end, one that does, one that goes on
    without its client, a turn that is not streamed, and connections that do nothing."""
    chance, spent = random.Random(24), []
    for number in range(ROUNDS):
        options = ("--workers", "2") if number % 2 else ()
        async with run_service(
            *options,
            BIFOCAL_MODEL="openai:x",
            BIFOCAL_MODEL_URL=dribble.url,
            BIFOCAL_MODEL_KEY="k",
            BIFOCAL_SERVE_GRACE_SECONDS=str(GRACE),
        ) as running:
            begun = [asyncio.Event() for _ in range(4)]
            stream: dict[str, Any] = {"text": "Tell me all", "stream": True}
            asked = [
                asyncio.create_task(last_event(running.client, body, event))
                for body, event in zip(
                    [stream, stream, {**stream, "resumable": True}, {"text": "Tell me all"}],
                    begun,
                    strict=True,
                )
            ]
            port = int(running.url.rpartition(":")[2])
            idle, half = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
            with idle, half:
                half.sendall(b"POST /v1/turns HTTP/1.1\r\nHost: loc")
                async with asyncio.timeout(240):
                    for event, task in zip(begun[:3], asked, strict=False):
                        await begins(event, task)
                brief = {"text": "Tell me briefly", "stream": True}
                asked.append(
                    asyncio.create_task(last_event(running.client, brief, asyncio.Event()))
                )
                await asyncio.sleep(chance.random() / 4)
                spent.append(await running.stop())
                for connection in (idle, half):
                    connection.settimeout(30)
                    assert connection.recv(100) == b""
            ends = [await task for task in asked]
            assert ends[:4] == ["error", "error", "error", "503"], running.log.read_text()
            assert ends[4] in ("done", "error", "503")
            assert running.process.returncode == 0
            assert "Traceback" not in running.log.read_text()
        assert processes_of(demo_library) == []
    assert max(spent) < 30  # against hanging; the figure is what counts
    told = f"{ROUNDS} stops, {GRACE} s of grace: {min(spent):.2f} to {max(spent):.2f} s"
    told += f", median {statistics.median(spent):.2f} s\n"
    sys.stdout.write(told)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_picture_that_is_being_read_does_not_hold_up_the_end(
    run_service: Any, workers: str
) -> None:
    """Its writing takes a minute to read, in a thread that cannot be stopped."""
    page = Image.new("RGB", (3800, 3000), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=26)
    for y in range(0, page.height, 34):
        words = " ".join(f"word{(y * 7 + n) % 997}" for n in range(42))
        draw.text((5, y), words, fill="black", font=font)
    page.save(held := io.BytesIO(), "PNG")
    files = {"pictures": ("page.png", held.getvalue(), "image/png")}
    async with run_service("--workers", workers, BIFOCAL_SERVE_GRACE_SECONDS=str(GRACE)) as running:
        asking = asyncio.create_task(
            running.client.post("/v1/turns", data={"text": "What is this?"}, files=files)
        )
        async with asyncio.timeout(240):
            while not UNDER_WAY.search(  # noqa: ASYNC110 - another process
                (await running.client.get("/metrics")).text
            ):
                await asyncio.sleep(0.02)
        spent = await running.stop()
        assert (await asking).status_code == 503
        assert running.process.returncode == 0, running.log.read_text()
    assert spent < 30  # against waiting for the thread


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_that_cannot_start_says_why_and_does_not_end_with_0(
    demo_library: Path, workers: str
) -> None:
    command = [sys.executable, "-m", "bot", "serve", "--port", "0", "-l", str(demo_library)]
    done = subprocess.run(
        [*command, "-m", "extractive", "--workers", workers],
        env={**os.environ, "BIFOCAL_REDIS_URL": "redis://:sekrit@127.0.0.1:9/0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "Redis at redis://127.0.0.1:9 cannot be reached" in done.stderr
    assert "sekrit" not in done.stderr
