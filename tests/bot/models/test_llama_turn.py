"""A turn written by a real model of llama.cpp that is shown the picture of the question."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.errors import TurnError

ONE = {"threads": 1}


async def test_a_local_model_is_shown_the_picture_and_says_what_it_sees(
    open_bot: Any, tiny: Path
) -> None:
    async with open_bot(model_name=f"llama:{tiny}", model_options=ONE) as bot:
        answer = await bot.ask("?", images=[Image.new("RGB", (64, 64), "red")], conversation="c")
        saved = await bot.conversation("c")
    assert answer.text == "I see red 😀."
    assert answer.evidence[0].pixels_shown
    assert saved.turns[0].answer.text == answer.text


async def test_a_local_model_gets_the_bots_tenant_time_limit_and_a_private_cache(
    open_bot: Any, tiny: Path
) -> None:
    async with open_bot(model_name=f"llama:{tiny}", model_options=ONE, tenant="acme") as bot:
        model = bot.parts.model
        assert (model.tenant, model.seconds) == ("acme", bot.parts.settings.answer_seconds)
        cache = model.process.options.cache
        assert cache == Path(os.environ["XDG_CACHE_HOME"]) / "bifocal" / "engine"
        assert cache.stat().st_mode & 0o777 == 0o700


async def test_an_answer_that_the_model_ends_at_its_time_limit_is_not_saved_as_whole(
    open_bot: Any, endless: Path
) -> None:
    """The model's own limit comes first here; half an answer is an error all the same."""
    options = {**ONE, "seconds": 0.3}
    async with open_bot(
        model_name=f"llama:{endless}",
        model_options=options,
        context_tokens=32768,
        answer_tokens=16000,
    ) as bot:
        with pytest.raises(TurnError, match="no whole answer within"):
            await bot.ask("go on", conversation="c")
        assert (await bot.conversation("c")).turns == ()
