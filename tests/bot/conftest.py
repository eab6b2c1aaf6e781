"""The demo's files, ingested once by the real ingestion; bots over copies of that library."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel

from bot import AsyncChatBot, ChatBot, Settings
from bot.build import ingestor
from bot.demo import copy_library
from bot.models.choose import capabilities
from retrievers.library import Library

OpenBot = Callable[..., AbstractAsyncContextManager[AsyncChatBot]]


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the demo's files."""
    folder = tmp_path_factory.mktemp("demo") / "files"
    copy_library(folder)
    return folder


@pytest.fixture(scope="session")
def _demo_library(demo_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "library"
    settings = Settings(library=folder)
    with Library.open(folder, create=True) as library:
        report = ingestor(settings, library).run([demo_files])
    assert report.skipped == []
    return folder


@pytest.fixture
def demo_library(_demo_library: Path, tmp_path: Path) -> Path:
    """A library of the demo's files that a test may change."""
    return Path(shutil.copytree(_demo_library, tmp_path / "library"))


@pytest.fixture
def open_bot(demo_library: Path) -> OpenBot:
    """Open a bot over the demo's library. ``model`` may be any LangChain chat model,
    ``model_name`` one that the settings can name."""

    @asynccontextmanager
    async def opened(
        model: BaseChatModel | None = None, *, model_name: str | None = None, **changes: Any
    ) -> AsyncIterator[AsyncChatBot]:
        named: dict[str, Any] = {"model": model_name} if model_name else {}
        async with ChatBot.aopen(demo_library, **named, **changes) as bot:
            if model is not None:
                parts = replace(
                    bot.parts, model=model, model_name="scripted", capabilities=capabilities(model)
                )
                bot = AsyncChatBot(parts)
            yield bot

    return opened
