"""A client that leaves frees a real model: row 22, with llama.cpp in `bifocal serve`.

A few rounds in the ordinary run; two hundred with ``BIFOCAL_FULL=1``.
"""

import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

ABORTS = 200 if os.environ.get("BIFOCAL_FULL") else 6
TOKENS = 32_768  #: of the model's context
LONG = 24_000  #: characters of a prompt that takes the model most of a minute to read


def asked(instructions: str, **options: Any) -> dict[str, Any]:
    """Return the body of a streamed chat completion."""
    lines = [
        {"role": "system", "content": instructions},
        {"role": "user", "content": "How tall is the lighthouse?"},
    ]
    return {"model": "default", "messages": lines, "stream": True, **options}


async def leave(client: httpx.AsyncClient, body: dict[str, Any], pause: float, words: bool) -> None:
    """Ask, and hang up ``pause`` seconds after the first word, or after the frame that comes before
    all words: none follows, since the prompt is still being read."""
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200, await answer.aread()
        lines = answer.aiter_lines()
        while (content := said(await anext(lines))) is None or (words and not content):
            pass
        if words:
            await asyncio.sleep(pause)
            return
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(first_word(lines), pause)


async def first_word(lines: AsyncIterator[str]) -> str:
    """Read on until there are words, and return them."""
    while not (content := said(await anext(lines))):
        pass
    return content


def said(line: str) -> str | None:
    """Return the words in a line of a stream; ``None`` where none could be."""
    if not line.startswith("data: {"):
        return None
    choices = json.loads(line.removeprefix("data: "))["choices"]
    return choices[0]["delta"].get("content") if choices else None


async def freed(client: httpx.AsyncClient) -> float:
    """Return after how many seconds another question has its first word."""
    began = time.monotonic()
    body = {**asked("Be brief.", max_completion_tokens=1), "stream": False}
    answer = await client.post("/v1/chat/completions", json=body)
    while answer.status_code == 503 and time.monotonic() - began < 240:
        await asyncio.sleep(0.01)
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.json()["usage"]["completion_tokens"] == 1, answer.text
    return time.monotonic() - began


@pytest.mark.timeout(600 + ABORTS * 30)
async def test_clients_that_leave_free_the_only_place_of_a_real_model(
    run_service: Any, pocket: ModuleType, tmp_path: Path
) -> None:
    """Half of them while it reads a prompt of its own for each, half while it writes without end;
    there is one place, and nobody may wait for it."""
    model: Path = pocket.make_text_model(tmp_path / "endless.gguf", endless=True, trained_on=TOKENS)
    chance = random.Random(22)
    spent: dict[str, list[float]] = {"writing": [], "reading": []}
    async with run_service(
        BIFOCAL_MODEL=f"llama:{model}",
        BIFOCAL_MODEL_OPTIONS=json.dumps({"threads": 1, "parallel": 1}),
        BIFOCAL_CONTEXT_TOKENS=str(TOKENS),
        BIFOCAL_ANSWER_TOKENS=str(TOKENS // 2),
        BIFOCAL_ANSWER_SECONDS="600",
        BIFOCAL_SERVE_TURNS_AT_ONCE="1",
        BIFOCAL_SERVE_TURNS_WAITING="0",
    ) as running:
        await freed(running.client)
        for number in range(ABORTS):
            does = "reading" if number % 2 else "writing"
            size = LONG if does == "reading" else 100
            body = asked(f"{chance.random()} " + "x y " * (size // 4))
            await leave(running.client, body, chance.random(), does == "writing")
            spent[does].append(await freed(running.client))
        assert await running.stop() < 120
        assert running.process.returncode == 0
        assert "Traceback" not in running.log.read_text()
    for does, seconds in spent.items():
        assert max(seconds) < 30  # against reading or writing on; the figure is what counts
        told = f"{len(seconds)} left while {does}: the next one's first word after"
        told += f" {statistics.median(seconds):.2f} s (median), {max(seconds):.2f} s at most\n"
        sys.stdout.write(told)
