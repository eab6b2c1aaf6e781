"""How soon the web page is there, and how soon a token is in it.

    python tests/benchmarks/bench_page.py [--rounds 10]

A real service on loopback over the demo's library, and a real Chromium. The first paint is the
browser's own figure (``first-contentful-paint``) for a tab with nothing cached. A token's delay
runs from the moment in which the model says it, so it holds the service's part, too, until the
page's text has changed; both clocks are this machine's.
"""

import argparse
import asyncio
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from playwright.async_api import Browser, async_playwright

from bot import Settings
from bot.build import ingestor
from bot.demo import copy_library
from bot.service.app import create_app
from retrievers.library import Library

PAINT, TOKEN = 1500.0, 150.0  #: the marks, in ms
#: Notes when the text of the last answer changes
WATCH = """() => { window.seen = []; new MutationObserver(() => {
  const all = document.querySelectorAll('.words');
  if (all.length && all[all.length - 1].innerText.trim())
    window.seen.push(performance.timeOrigin + performance.now());
}).observe(document.body, {subtree: true, childList: true, characterData: true}) }"""


class Timed(BaseChatModel):
    """Says one word a turn at once, which it notes, and another a little later."""

    reads_evidence: bool = False
    context_tokens: int = 8192
    said: list[float] = []  # noqa: RUF012 - pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "timed"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        self.said.append(time.time() * 1000)
        yield ChatGenerationChunk(message=AIMessageChunk(content="first "))
        await asyncio.sleep(0.3)
        yield ChatGenerationChunk(message=AIMessageChunk(content="last"))


async def measure(browser: Browser, url: str, model: Timed, rounds: int) -> None:
    """Print the table."""
    paints: list[float] = []
    delays: list[float] = []
    for _ in range(rounds):
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(url)
        await page.wait_for_selector("textarea")
        paints.append(
            await page.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            )
        )
        await page.evaluate(WATCH)
        await page.fill("textarea", "How tall is the lighthouse?")
        await page.keyboard.press("Enter")
        await page.wait_for_selector('[aria-label="Why this answer"]')
        delays.append(await page.evaluate("window.seen[0]") - model.said[-1])
        await context.close()
    print(f"{'':34}{'p50':>9}{'worst':>9}{'mark':>9}")
    for name, found, mark in (
        ("first paint, nothing cached, ms", paints, PAINT),
        ("first token, said to shown, ms", delays, TOKEN),
    ):
        print(f"{name:34}{statistics.median(found):9.1f}{max(found):9.1f}{mark:9.0f}")


async def main(rounds: int) -> None:
    """Serve the demo's library, and measure."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as bound:
        folder = Path(name)
        copy_library(folder / "files")
        settings = Settings.load(
            model="extractive", library=folder / "library", serve={"libraries": folder / "more"}
        )
        with Library.open(folder / "library", create=True) as library:
            ingestor(settings, library).run([folder / "files"])
        bound.bind(("127.0.0.1", 0))
        app = create_app(settings)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        running = asyncio.create_task(server.serve([bound]))
        while not server.started:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.05)
        model, bots = Timed(), app.inner.state.bots
        bots.engines = replace(bots.engines, model=model, model_name="timed")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            await measure(browser, f"http://127.0.0.1:{bound.getsockname()[1]}", model, rounds)
            await browser.close()
        server.should_exit = True
        await running


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    asyncio.run(main(parser.parse_args().rounds))
