"""What a local model does with its room: a full memory, a packed one, a step given up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.errors import ModelError
from bot.models.llama.files import ModelFiles
from bot.models.llama.values import Sampling

Open = Callable[..., Any]
TOLD = Sampling(logprobs=3)


def fill(engine: Any, tokens: int) -> list[int]:
    """Read tokens behind the engine's back, into sequences of which it does not know."""
    native = engine.engine._native
    used = list(range(native.sequences - 1, native.sequences - 1 - -(-tokens // 128), -1))
    for sequence in used:
        assert native.read([5] * 128, range(128), [sequence] * 128, ()) == 0
    return used


class TestFull:
    """llama.cpp finds no place, although by the engine's own count there is one."""

    @pytest.fixture
    def engine(self, endless: Path, driven: Open) -> Any:
        """Room for 512 tokens, in one memory for all."""
        return driven(
            ModelFiles(endless, None),
            serve=False,
            parallel=2,
            context_tokens=256,
            kv_unified=True,
            kv_tokens=512,
        )

    def test_what_rests_is_dropped_for_what_is_asked(self, engine: Any) -> None:
        """A conversation that rests makes room, and the answer is that of an empty memory."""
        before = engine.ask(("user", "y" * 150), tenant="new", max_tokens=5, sampling=TOLD)
        for sequence in engine.engine._sequences._all:
            engine.engine._sequences.clear(sequence)
        engine.ask(("user", "x" * 100), tenant="rests", max_tokens=2)
        fill(engine, 256)
        asked = engine.ask(("user", "y" * 150), tenant="new", max_tokens=5, sampling=TOLD)
        assert asked.outcome.written == 5
        assert [one.text for one in asked.logprobs] == [one.text for one in before.logprobs]
        assert engine.engine.stats()["kept_tokens"] < 200, "what rested is gone"

    def test_where_nothing_rests_one_answer_ends_and_says_why(self, engine: Any) -> None:
        """The error names the setting; when there is room again, all is answered."""
        used = fill(engine, 384)
        with pytest.raises(ModelError, match="memory is full; raise kv_tokens"):
            engine.ask(("user", "y" * 200), max_tokens=5)
        for sequence in used:
            engine.engine._native.clear(sequence)
        assert engine.ask(("user", "y" * 200), max_tokens=5).outcome.written == 5


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_a_packed_memory_answers_and_comes_back(
    endless: Path, driven: Open, tmp_path: Path, kv_type: str
) -> None:
    """Keys and values of fewer bits: turns go on where the last ended, after a restart too."""
    settings = {"kv_type": kv_type, "parallel": 2, "cache": tmp_path}
    line = ("user", "a red thing and " * 20)
    engine = driven(ModelFiles(endless, None), **settings)
    first = engine.ask(line, max_tokens=4)
    more = [line, ("assistant", first.text), ("user", "and?")]
    second = engine.ask(*more, max_tokens=4)
    assert second.outcome.read < 60 < second.outcome.reused
    engine.close()
    again = driven(ModelFiles(endless, None), **settings).ask(*more, max_tokens=4)
    assert again.outcome.read < 60 < again.outcome.reused
    assert again.text == second.text


def test_a_long_prompt_gives_its_step_up_for_a_short_one(endless: Path, driven: Open) -> None:
    """However often short ones come, never twice running: it is read, and all is as if alone."""
    engine = driven(
        ModelFiles(endless, None), parallel=2, context_tokens=1024, step_seconds=0.0, serve=False
    )
    native, shorts = engine.engine._native, list[Any]()
    alone = engine.ask(("user", "y" * 20), tenant="alone", max_tokens=1, sampling=TOLD)
    longest = engine.ask(("user", "x" * 600), tenant="alone", max_tokens=2, sampling=TOLD)

    def come(_: object) -> bool:
        """Ask something short while a step for the long prompt goes on, as another thread may."""
        if engine.engine._scheduler._long_step and all(short.ended.is_set() for short in shorts):
            given = {"tenant": f"s{len(shorts)}", "max_tokens": 1, "sampling": TOLD}
            shorts.append(engine.start(("user", "y" * 20), **given))
        return bool(native._flag[0] != b"\0")

    stop = native._low.ggml_abort_callback(come)
    native._low.llama_set_abort_callback(native._context, stop, None)
    try:
        long = engine.start(("user", "x" * 600), tenant="long", max_tokens=2, sampling=TOLD)
        steps = 0
        while not long.ended.is_set():
            engine.step()
            steps += 1
            assert steps < 1000, "the long prompt is never read"
    finally:
        native._low.llama_set_abort_callback(native._context, native._stop, native._flag)
    while not all(short.ended.is_set() for short in shorts):
        engine.step()
    assert len(shorts) > 10
    assert engine.engine.stats()["given_up_steps"] > 10
    assert long.outcome.read == long.outcome.prompt, "no token counts twice"
    assert [t.text for t in long.logprobs] == [t.text for t in longest.logprobs]
    for short in shorts:
        assert [t.text for t in short.logprobs] == [t.text for t in alone.logprobs]
