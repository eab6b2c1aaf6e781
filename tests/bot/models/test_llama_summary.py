"""Summaries that a real model of llama.cpp writes between the turns of a real conversation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.models.llama import LocalVisionChat
from bot.summariser import Job, writer
from bot.summary import missing
from prompts import load_prompt

POCKET = Path(__file__).parents[2] / "pocket" / "vlm" / "pocket-q8_0.gguf"
ASKED = ["Who owns boat 1250 of Skerrin?", "And what of Ines Carrow?", "Is it 38 m long?"]
FACTS = ["picture 1", "1250", "Skerrin", "Ines Carrow", "38 m"]


async def talk(bot: Any) -> list[Any]:
    await bot.ask("What is this?", images=[Image.new("RGB", (8, 8), "red")], conversation="c")
    said = []
    for text in (*ASKED, "And?"):
        said.append(await bot.ask(text, conversation="c"))
        await bot.parts.beside.settled()
    return said


@pytest.mark.parametrize("which", ["pocket", "tiny"])
async def test_a_real_model_sums_up_and_reads_what_it_lost_before_the_kept_turns(
    open_bot: Any, tiny: Path, which: str
) -> None:
    """Neither was taught to sum up: what they write is of little sense, and is kept or refused."""
    async with open_bot(
        model_name=f"llama:{POCKET if which == 'pocket' else tiny}",
        model_options={"threads": 1},
        history_turns=2,
        answer_tokens=32,
        context_tokens=2048,
        condense_seconds=0,
    ) as bot:
        answers = await talk(bot)
        recaps = await bot.parts.history.recaps("c")
    assert missing(FACTS, recaps[-1].text) == []
    assert any("in the prompt only as a summary" in n for n in answers[-1].notices)


async def test_a_real_model_that_never_ends_is_cut_off_and_its_summary_has_all_the_same(
    open_bot: Any, endless: Path, opened: Callable[..., LocalVisionChat]
) -> None:
    model = opened(endless, context_tokens=8192, max_tokens=4000)
    async with open_bot(history_turns=2) as bot:
        await talk(bot)
        await bot.parts.history._link.write(
            lambda client: client.hdel(bot.parts.history._store.key("c", "meta"), "recaps")
        )
        write = writer(model, load_prompt("summarise"), 8192, 500)
        bot.parts.summariser.offer(Job("c", 5, (4,), 500, write))
        await bot.parts.beside.settled()
        (recap,) = await bot.parts.history.recaps("c")
    assert (recap.turns, missing(FACTS, recap.text)) == (4, [])
    assert len(recap.text) <= 500
    assert not recap.text.startswith("Turn 1")
