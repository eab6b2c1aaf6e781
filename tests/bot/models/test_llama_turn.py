"""A turn written by a real model of llama.cpp that is shown the picture of the question."""

from pathlib import Path
from typing import Any

from PIL import Image


async def test_a_local_model_is_shown_the_picture_and_says_what_it_sees(
    open_bot: Any, tiny: Path
) -> None:
    async with open_bot(model_name=f"llama:{tiny}") as bot:
        answer = await bot.ask("?", images=[Image.new("RGB", (64, 64), "red")], conversation="c")
        saved = await bot.conversation("c")
    assert answer.text == "I see red 😀."
    assert answer.evidence[0].pixels_shown
    assert saved.turns[0].answer.text == answer.text
