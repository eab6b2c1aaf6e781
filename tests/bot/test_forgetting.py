"""What a forgotten conversation leaves behind: nothing, of its own tenant."""

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from PIL import Image
from pydantic import Field

from bot import AsyncChatBot, ChatBot, ModelError
from bot.build import QueryPictureReader, engine_cache
from bot.models.llama.kept import Kept


class Keeps(GenericFakeChatModel):
    """A model that keeps what it reads by tenant, as the local one does, and may have died."""

    told: list[str] = Field(default_factory=list)
    dead: bool = False

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="Seen."))

    def forget(self, tenant: str) -> None:
        """Note who was forgotten."""
        if self.dead:
            raise ModelError("the model's process ended")
        self.told.append(tenant)


def left(folder: Path) -> dict[str, list[str]]:
    kept = Kept(0, folder, 100)
    return {tenant: kept.names(tenant) for tenant in ("default", "other")}


def leave(folder: Path) -> None:
    kept = Kept(0, folder, 100)
    for tenant in ("default", "other"):
        kept.put(tenant, "ab12", tenant.encode())
    kept.close()


async def test_forgetting_and_deleting_drop_what_the_model_and_the_reader_keep(
    open_bot: Any,
) -> None:
    """The tenant's; and when the model's process is gone, what it left on the disk."""
    folder = engine_cache() / "model" / "sequences"
    leave(folder)
    async with open_bot() as opened:
        model = Keeps(messages=iter(()))
        bot = AsyncChatBot(replace(opened.parts, model=model))
        reader = bot.parts.read_words
        assert isinstance(reader, QueryPictureReader)
        red = Image.new("RGB", (40, 30), "red")
        turn = await bot.ask("What is this?", images=[red], conversation="c")
        await bot.ask("And this?", conversation="c")
        assert len(reader._read) == 1
        await bot.delete_turn("c", turn.turn)
        assert len(reader._read) == 0
        await bot.forget("c")
        assert model.told == ["default", "default"]
        assert left(folder) == {"default": ["ab12"], "other": ["ab12"]}
        model.dead = True
        await bot.ask("What?", conversation="c")
        await bot.forget("c")
        assert left(folder) == {"default": [], "other": ["ab12"]}


def test_the_command_drops_what_models_left_on_the_disk(demo_library: Path) -> None:
    """It runs without the model; other tenants' stays."""
    folder = engine_cache() / "model" / "pictures"
    leave(folder)
    with ChatBot.open(demo_library) as bot:
        bot.ask("How tall is the lighthouse?", conversation="c")
    command = [sys.executable, "-m", "bot", "conversations", "forget", "c", "-l"]
    subprocess.run([*command, str(demo_library)], check=True, capture_output=True, timeout=120)
    assert left(folder) == {"default": [], "other": ["ab12"]}
