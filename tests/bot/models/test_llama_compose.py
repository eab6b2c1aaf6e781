"""A prompt that was composed for a real local model fits into it, whatever there was to put in."""

import io
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from bot.compose import Budget, Prompts, Shown, compose
from bot.models.llama import LocalVisionChat
from memory.messages import Message, Turn
from prompts import load_prompt
from retrievers.evidence import Evidence

PROMPTS = Prompts(load_prompt("answer"), load_prompt("question"), load_prompt("source"))
ANSWER = 32  # tokens kept free for the answer
Open = Callable[..., LocalVisionChat]


def budget(model: LocalVisionChat) -> Budget:
    """What the turn makes of a model's word about itself."""
    return Budget(
        model.context_tokens - ANSWER,
        model.max_pictures,
        model.get_num_tokens,
        model.picture_tokens,
        model.picture_cost,
        model.get_num_tokens_from_messages,
    )


def picture(number: int, size: tuple[int, int]) -> Shown:
    """Return an encoded picture."""
    out = io.BytesIO()
    Image.new("RGB", size, "green").save(out, "JPEG")
    return Shown(number, out.getvalue(), "image/jpeg", *size)


@pytest.mark.parametrize("context", [1800, 2600])
def test_a_turn_never_fails_for_its_length(opened: Open, tiny: Path, context: int) -> None:
    """Big evidence, pictures and history, in scripts that take many tokens: it is answered."""
    model = opened(tiny, context_tokens=context)
    within, rng = budget(model), Random(context)
    for _ in range(5):
        words = [
            rng.choice(("word", "ünïcödé", "数字", "😀", "a b", "<|im_end|>")) for _ in range(60)
        ]
        text = " ".join(words)
        evidence = [
            Evidence(
                f"passage:{n}", "passage", f"/d/{n}.md", text * rng.randint(1, 4), caption=text
            )
            for n in range(rng.randint(0, 8))
        ]
        history = [
            Turn(str(n), Message(text[: rng.randint(0, 300)]), Message(text), at=n)
            for n in range(rng.randint(0, 8))
        ]
        pictures = [picture(n, (rng.randint(20, 900), 300)) for n in range(1, rng.randint(1, 6))]
        made = compose("What is there?", evidence, pictures, history, PROMPTS, within)
        answer = model.invoke(list(made.messages), max_tokens=ANSWER)
        assert answer.response_metadata["finish_reason"] == "stop"
        usage = answer.usage_metadata
        assert usage is not None
        assert usage["input_tokens"] <= context - ANSWER
        whole = len(made.kept) == len(evidence) and len(made.shown) == len(pictures)
        if whole and len(made.messages) == 2 + 2 * len(history):
            assert made.notices == ()
        else:
            assert made.notices


def test_a_second_turn_reads_no_older_turn_again(opened: Open, tiny: Path) -> None:
    """System and older turns are known from before; only what is new is read."""
    model = opened(tiny)
    turns = [Turn(str(n), Message(f"question {n}"), Message(f"answer {n}"), at=n) for n in range(3)]
    item = Evidence("passage:1", "passage", "/d/1.md", "The lamp was lit in 1887.")
    first = compose("And?", [item], [], turns, PROMPTS, budget(model))
    model.invoke(list(first.messages))
    turns.append(Turn("3", Message("And?"), Message("I see nothing 😀."), at=3))
    second = compose("Why?", [item], [], turns, PROMPTS, budget(model))
    told = model.invoke(list(second.messages)).response_metadata["engine"]
    older = model.get_num_tokens_from_messages(list(first.messages[:-1]))
    begin_of_an_answer = 3  # which the template puts behind the last message that is counted
    assert told["reused_tokens"] >= older - begin_of_an_answer
