"""Follow-up questions that a real model of llama.cpp is asked to write anew."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from bot.condense import rewrite
from bot.models.llama import LocalVisionChat
from memory.messages import Message, Turn
from prompts import load_prompt

TURNS = [Turn("1", Message("What do I see?"), Message("I see red."), at=0)]
POCKET = Path(__file__).parents[2] / "pocket" / "vlm" / "pocket-q8_0.gguf"


async def test_a_model_that_is_writing_for_someone_else_is_let_go_in_time_and_left_free(
    endless: Path, opened: Callable[..., LocalVisionChat]
) -> None:
    """It writes one answer at a time, and one is under way that never ends."""
    model = opened(endless, parallel=1, context_tokens=32768, max_tokens=16000)
    async with aclosing(model.astream("go on")) as busy:  # type: ignore[type-var]
        await anext(busy)
        with pytest.raises(TimeoutError):
            await rewrite(model, load_prompt("condense"), "And red?", TURNS, 0.2)
        await anext(busy)
    async with asyncio.timeout(60), aclosing(model.astream("go on")) as free:  # type: ignore[type-var]
        await anext(free)


async def test_a_real_models_reply_is_cut_at_its_first_line_or_when_it_goes_on_and_on(
    endless: Path, tiny: Path, opened: Callable[..., LocalVisionChat]
) -> None:
    model = opened(endless, context_tokens=32768, max_tokens=16000)
    with pytest.raises(ValueError, match=r"more than a question|not said"):
        await rewrite(model, load_prompt("condense"), "And red?", TURNS, 60)
    assert await rewrite(opened(tiny), load_prompt("condense"), "And red?", TURNS, 60) == (
        "I see red 😀."
    )


async def test_with_a_small_real_model_the_turn_is_answered_and_says_what_was_searched_for(
    open_bot: Any,
) -> None:
    async with open_bot(
        model_name=f"llama:{POCKET}",
        model_options={"threads": 1},
        context_tokens=2048,
        answer_tokens=32,
        condense_seconds=60,
    ) as bot:
        await bot.ask("Who owns the boat Petrel?", conversation="c")
        answer = await bot.ask("And how long is it?", conversation="c")
        saved = (await bot.conversation("c")).turns
    assert len(saved) == 2
    assert "; by the " in answer.searched
    assert "Petrel" in f"{saved[1].ledger['query']} {saved[1].ledger['context']}"
