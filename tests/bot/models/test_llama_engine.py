"""The engine, in this process: many answers at once, long prompts beside short ones, ends."""

import ctypes
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.errors import ModelBusy, ModelError
from bot.models.llama.eyes import Stretch
from bot.models.llama.files import ModelFiles
from bot.models.llama.prompt import Mark, positions_of, tokens_of
from bot.models.llama.values import LogProb, Pixels, Sampling

Open = Callable[..., Any]
Models = dict[str, ModelFiles]

TOLD = Sampling(logprobs=5)
WORDS = "I see user system assistant red green blue nothing".split()
SEEN, UNSEEN = "I see {} 😀.", "I see nothing 😀."


def noise(seed: int, width: int = 64, height: int = 64) -> Pixels:
    """Return a picture of noise."""
    rng = np.random.default_rng(seed)
    return Pixels(width, height, rng.integers(0, 256, width * height * 3, np.uint8).tobytes())


def plain(colour: str) -> Pixels:
    """Return a picture of one colour."""
    pixel = {"red": b"\xff\0\0", "green": b"\0\xff\0", "blue": b"\0\0\xff"}[colour]
    return Pixels(64, 64, pixel * 64 * 64)


def words(seed: int, number: int) -> str:
    """Return text of so many words."""
    rng = np.random.default_rng(seed)
    return " ".join(WORDS[n] for n in rng.integers(0, len(WORDS), number))


def numbers(found: Sequence[LogProb]) -> list[tuple[str, float]]:
    """Return every token that was told, with its log-probability."""
    return [pair for each in found for pair in ((each.text, each.logprob), *each.top)]


def check_same(found: Sequence[LogProb], wanted: Sequence[LogProb]) -> None:
    """Check that two answers have the same tokens, as likely as each other."""
    assert [each.text for each in found] == [each.text for each in wanted]
    assert found
    for one, other in zip(found, wanted, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
        ours, theirs = ([value for _, value in each.top] for each in (one, other))
        assert ours == pytest.approx(theirs, abs=1e-3)


def tiny_files(tiny: Path) -> ModelFiles:
    """Return the tiny model and its eyes."""
    return ModelFiles(tiny, tiny.parent / "mmproj-tiny.gguf")


class TestCrowd:
    @pytest.mark.parametrize("unified", [True, False])
    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "internvl", "gemma2", "mamba"])
    def test_answers_in_a_crowd_are_those_given_alone(
        self, odd: Models, driven: Open, kind: str, unified: bool
    ) -> None:
        """Twelve at once, of different lengths, some with pictures: each as if it were alone."""
        sees = odd[kind].projector is not None
        asked = []
        for n in range(12):
            parts: list[str | Pixels] = [words(n, 3 + 23 * (n % 5))]
            if sees and n % 3:
                parts.insert(n % 2, noise(n, 64 + 16 * n, 64))
            asked.append(("user", *parts))
        engine = driven(odd[kind], parallel=4, kv_unified=unified, step_seconds=0.0)
        alone = [
            engine.ask(line, tenant=f"alone {n}", max_tokens=2 + n % 4, sampling=TOLD)
            for n, line in enumerate(asked)
        ]
        crowd = [
            engine.start(line, tenant=f"crowd {n}", max_tokens=2 + n % 4, sampling=TOLD)
            for n, line in enumerate(asked)
        ]
        for one, other in zip(crowd, alone, strict=True):
            assert one.outcome.reused == 0
            check_same(one.logprobs, other.logprobs)

    @pytest.mark.parametrize("unified", [True, False])
    def test_twenty_conversations_at_once_are_answered_by_what_is_theirs(
        self, tiny: Path, driven: Open, unified: bool
    ) -> None:
        """Each is told its own colour, seen or read; nobody's is mixed up."""
        engine = driven(tiny_files(tiny), parallel=3, kv_unified=unified)
        answers = []
        for n in range(20):
            colour = ("red", "green", "blue")[n % 3]
            part = plain(colour) if n % 2 else f"a {colour} {colour} thing" + " and" * n
            asked = engine.start(("user", part), tenant=f"t{n % 4}")
            answers.append((colour, asked))
        for colour, asked in answers:
            assert asked.outcome.reason == "stop"
            assert asked.text == SEEN.format(colour)

    def test_more_may_write_than_a_batch_was_to_hold(self, endless: Path, driven: Open) -> None:
        """With 24 answers at once and a batch of 16, all are given."""
        engine = driven(
            ModelFiles(endless, None), parallel=24, batch=16, context_tokens=64, kv_unified=False
        )
        answers = [engine.start(("user", "hi"), tenant=str(n), max_tokens=9) for n in range(30)]
        assert [asked.outcome.written for asked in answers] == [9] * 30
        assert {asked.text for asked in answers} == {UNSEEN}


class TestSteps:
    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "internvl", "gemma2", "mamba"])
    def test_a_prompt_read_in_many_steps_gives_the_numbers_of_one(
        self, odd: Models, driven: Open, kind: str
    ) -> None:
        """Tokens and picture rows may be split anywhere."""
        parts: list[str | Pixels] = [words(1, 40), words(2, 70)]
        if odd[kind].projector is not None:
            parts[1:1] = [noise(3, 128, 96), noise(4, 96, 128)]
        found = []
        for seconds in (0.0, 1e9):
            engine = driven(odd[kind], batch=512, step_seconds=seconds, serve=False)
            engine.engine._scheduler._pace = 1.0
            asked = engine.start(("user", *parts), max_tokens=3, sampling=TOLD)
            steps = next(n for n in count(1) if engine.step() or asked.began.is_set())
            while not asked.ended.is_set():
                engine.step()
            found.append((steps, asked))
        assert found[0][0] > found[1][0]
        check_same(found[0][1].logprobs, found[1][1].logprobs)

    def test_rows_of_a_picture_are_split_over_steps(self, odd: Models, driven: Open) -> None:
        """A picture of 64 rows takes four steps of 16."""
        engine = driven(odd["qwen2"], step_seconds=0.0, serve=False)
        engine.start(("user", noise(1)), max_tokens=1)
        job = next(iter(engine.engine._jobs.values()))
        rows = []
        while not job.ended:
            engine.step()
            rows.append(job.row)
        assert 16 in rows

    def test_a_picture_stands_where_the_library_puts_it(self, odd: Models, driven: Open) -> None:
        """Under M-RoPE, a prompt with pictures gives what mtmd's own helper gives."""
        import llama_cpp.mtmd_cpp as mtmd

        parts = (words(1, 9), noise(1, 160, 96), "and", noise(2, 64, 128), words(3, 12))
        engine = driven(odd["qwen2vl"], step_seconds=0.0)
        asked = engine.ask(("user", *parts), max_tokens=1, sampling=TOLD)
        other = driven(odd["qwen2vl"], batch=512, serve=False).engine
        native, eyes = other._native, other._native.eyes
        pictures = {other._pictures.key("", p): p for p in parts if isinstance(p, Pixels)}
        line = engine_line("user", *parts)
        cells = other._cells([line], (), lambda p: other._pictures.key("", p))
        assert tokens_of(cells) > positions_of(cells)
        position, last = 0, 0
        for cell in cells:
            if not isinstance(cell, Mark):
                assert native.read([cell], [position], [0], [0]) == 0
                position, last = position + 1, cell
                continue
            chunks = eyes._look(pictures[cell.picture])
            chunk = next(chunk for chunk, pictured in eyes._chunks(chunks) if pictured)
            after = ctypes.c_int32(position)
            code = mtmd.mtmd_helper_eval_chunk_single(
                eyes._handle, native._context, chunk, position, 0, 512, False, ctypes.byref(after)
            )
            mtmd.mtmd_input_chunks_free(chunks)
            assert code == 0
            assert after.value == position + cell.positions
            position = after.value
        assert last
        drawn = native.sampler(Sampling())
        told = native.logprobs(0, drawn.draw(0), 5)
        drawn.close()
        check_same(asked.logprobs, [told])

    def test_positions_are_fewer_than_tokens_where_the_model_says_so(
        self, odd: Models, driven: Open
    ) -> None:
        """A picture of 10x6 tokens takes 10 positions, and its rows stand in a grid."""
        engine = driven(odd["qwen2vl"], serve=False).engine
        (stretch,) = (
            part for part in engine._pictures.layout(noise(1, 160, 96)) if isinstance(part, Stretch)
        )
        assert (stretch.tokens, stretch.positions) == (60, 10)
        time, high, wide, _ = stretch.places(7)
        assert set(time) == {7}
        assert (high - 7).tolist() == [n // 10 for n in range(60)]
        assert (wide - 7).tolist() == [n % 10 for n in range(60)]


class TestFairness:
    def test_a_long_prompt_holds_nobody_up(self, endless: Path, driven: Open) -> None:
        """A writer gets a token in every step, a later short prompt its answer first."""
        engine = driven(
            ModelFiles(endless, None),
            parallel=3,
            context_tokens=2048,
            step_seconds=0.0,
            serve=False,
        )
        writer = engine.start(("user", "hi"), max_tokens=500, sampling=Sampling(logprobs=0))
        engine.step()
        assert writer.began.is_set()
        long = engine.start(("user", "x" * 1500), max_tokens=3)
        engine.step(5)
        short = engine.start(("user", "hi"), tenant="other", max_tokens=3)
        written = len(writer.logprobs)
        steps = 0
        while not long.began.is_set():
            engine.step()
            steps += 1
            assert len(writer.logprobs) == written + steps
            assert short.ended.is_set() or steps < 5
        assert short.ended.is_set()
        while not long.ended.is_set():
            engine.step()
        assert long.outcome.prompt / 16 - 2 <= steps + 6 < long.outcome.prompt / 16 + 4
        engine.engine.cancel(writer.ticket)

    def test_the_oldest_prompt_gets_its_share(self, endless: Path, driven: Open) -> None:
        """Short prompts that keep coming do not starve a long one: every other step it gets a
        quarter."""
        engine = driven(
            ModelFiles(endless, None),
            parallel=4,
            context_tokens=2048,
            step_seconds=0.0,
            serve=False,
        )
        long = engine.start(("user", "x" * 400), max_tokens=2)
        engine.step()
        job = engine.engine._jobs[long.ticket]
        shorts: list[Any] = []
        while not long.began.is_set():
            short = engine.start(("user", "x" * 20), tenant=f"t{len(shorts)}", max_tokens=1)
            shorts.append(short)
            before = job.at
            engine.step()
            engine.step()
            assert job.at >= before + 4 or long.began.is_set()
        assert sum(short.ended.is_set() for short in shorts) > 10

    def test_pictures_are_taken_in_turn(self, odd: Models, driven: Open) -> None:
        """One prompt of six pictures does not keep one with a single picture waiting."""
        engine = driven(odd["qwen2"], parallel=2, serve=False)
        many = engine.start(("user", *map(noise, range(6))), max_tokens=1)
        engine.step()
        one = engine.start(("user", noise(9)), max_tokens=1)
        while not one.ended.is_set():
            engine.step()
        assert not many.began.is_set()
        while not many.ended.is_set():
            engine.step()
        assert (many.outcome.encoded, one.outcome.encoded) == (6, 1)


class TestEncoding:
    def test_several_pictures_are_encoded_in_one_batch(self, odd: Models, driven: Open) -> None:
        """Where the projector can: five pictures take one step, and come out as one by one."""
        engine = driven(odd["internvl"], serve=False)
        eyes = engine.engine._native.eyes
        pictures = [noise(n) for n in range(5)]
        together = eyes.encode(pictures)
        assert len(together) == 5
        for pixels, rows in zip(pictures, together, strict=True):
            np.testing.assert_allclose(rows[0], eyes.encode([pixels])[0][0], atol=1e-5)
        asked = engine.start(("user", *pictures), max_tokens=1)
        job = engine.engine._jobs[asked.ticket]
        while not asked.ended.is_set():
            engine.step()
            assert job.encoded in (0, 5)
        assert asked.outcome.encoded == 5

    def test_one_picture_at_a_time_while_somebody_is_writing(
        self, odd: Models, driven: Open
    ) -> None:
        """Though the projector takes several: between two encodings the writer gets its token."""
        engine = driven(odd["internvl"], parallel=2, serve=False)
        endless = Sampling(logprobs=0, grammar="root ::= [a-z] root")
        writer = engine.start(("user", "hi"), max_tokens=400, sampling=endless)
        engine.step()
        seeing = engine.start(("user", *map(noise, range(5))), max_tokens=1)
        job = engine.engine._jobs[seeing.ticket]
        while not seeing.ended.is_set():
            encoded, written = job.encoded, len(writer.logprobs)
            engine.step()
            assert job.encoded <= encoded + 1
            assert len(writer.logprobs) == written + 1
        assert seeing.outcome.encoded == 5
        assert not writer.ended.is_set()

    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "internvl"])
    def test_many_pictures_come_out_as_one_by_one(
        self, odd: Models, driven: Open, kind: str
    ) -> None:
        """Of different sizes, some in several stretches: the rows are each picture's own."""
        eyes = driven(odd[kind], serve=False).engine._native.eyes
        pictures = [noise(n, 64 + 64 * (n % 3 == 2), 64) for n in range(6)]
        found: list[Any] = []
        while len(found) < len(pictures):
            made = eyes.encode(pictures[len(found) :])
            assert made
            found.extend(made)
        for pixels, rows in zip(pictures, found, strict=True):
            (alone,) = eyes.encode([pixels])
            assert [len(r) for r in rows] == [
                part.tokens for part in eyes.measure(pixels) if isinstance(part, Stretch)
            ]
            for ours, theirs in zip(rows, alone, strict=True):
                np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert not np.allclose(found[0][0], found[1][0], atol=0.1)


class TestEnds:
    def test_a_waiting_answer_is_cancelled(self, endless: Path, driven: Open) -> None:
        """It never begins; the others are answered."""
        engine = driven(ModelFiles(endless, None), parallel=1, serve=False)
        first = engine.start(("user", "hi"), max_tokens=9)
        second, third = (engine.start(("user", "hi"), max_tokens=9) for _ in range(2))
        engine.step()
        engine.engine.cancel(second.ticket)
        while not third.ended.is_set():
            engine.step()
        assert second.outcome.reason == "cancelled"
        assert (second.outcome.read, second.text) == (0, "")
        assert first.text == third.text == UNSEEN

    def test_a_writing_answer_is_cancelled(self, endless: Path, driven: Open) -> None:
        """What was written until then was told; the next answer is as ever."""
        engine = driven(ModelFiles(endless, None), parallel=1, context_tokens=4096)
        asked = engine.start(("user", "hi"), max_tokens=4000)
        assert asked.began.wait(60)
        engine.engine.cancel(asked.ticket)
        assert asked.outcome.reason == "cancelled"
        assert 0 < asked.outcome.written < 4000
        engine.engine.cancel(asked.ticket)
        assert engine.ask(("user", "hi"), max_tokens=9).text == UNSEEN

    @pytest.mark.parametrize("kind", ["qwen2", "mamba", "gemma2"])
    @pytest.mark.parametrize("unified", [True, False])
    @pytest.mark.parametrize("checks", [0, 3, 25, 60])
    def test_a_step_that_is_aborted_harms_nobody(
        self, odd: Models, driven: Open, kind: str, unified: bool, checks: int
    ) -> None:
        """Wherever the model is stopped, those who go on are answered as if it were not."""
        engine = driven(odd[kind], parallel=3, kv_unified=unified, serve=False)
        native = engine.engine._native
        lines = [("user", words(n, 20 + 90 * n)) for n in range(3)]
        alone = [
            engine.ask(line, tenant=f"alone {n}", max_tokens=4, sampling=TOLD)
            for n, line in enumerate(lines)
        ]
        left = count(checks, -1)
        stop = native._low.ggml_abort_callback(lambda _: next(left) == 0)
        others = []
        for n in range(3):
            line = lines[n]
            others.append(engine.start(line, tenant=f"t{n}", max_tokens=4, sampling=TOLD))
            if n == 2:
                native._low.llama_set_abort_callback(native._context, stop, None)
            engine.step()
        engine.engine.cancel(others[1].ticket)
        while not all(asked.ended.is_set() for asked in others):
            engine.step()
        assert next(left) < 0, "the model was stopped"
        check_same(others[0].logprobs, alone[0].logprobs)
        check_same(others[2].logprobs, alone[2].logprobs)
        native._low.llama_set_abort_callback(native._context, native._stop, native._flag)

    def test_cancelling_a_reader_stops_the_step(self, odd: Models, driven: Open) -> None:
        """The step in which a prompt is being read ends without result, and is done again."""
        engine = driven(odd["qwen2"], parallel=2, step_seconds=0.0, serve=False)
        alone = engine.ask(("user", words(5, 50)), tenant="a", max_tokens=2, sampling=TOLD)
        reader = engine.start(("user", words(6, 500)), tenant="b")
        engine.step()
        other = engine.start(("user", words(5, 50)), tenant="c", max_tokens=2, sampling=TOLD)
        engine.engine.cancel(reader.ticket)
        before = engine.engine.stats()["read"]
        engine.engine._scheduler.step()  # without engine._next(), which lets it run again
        assert reader.outcome.reason == "cancelled"
        assert not other.began.is_set()
        while not other.ended.is_set():
            engine.step()
        assert engine.engine.stats()["read"] - before == reader.outcome.read + other.outcome.read
        assert other.outcome.read == other.outcome.prompt
        check_same(other.logprobs, alone.logprobs)

    def test_many_cancels_at_any_time_leave_the_engine_whole(
        self, odd: Models, driven: Open
    ) -> None:
        """While others come and go, in every state, the rest is answered as if alone."""
        engine = driven(odd["qwen2"], parallel=3, waiting=200)
        line = ("user", words(1, 30), noise(1), "now")
        alone = engine.ask(line, tenant="alone", max_tokens=4, sampling=TOLD)
        kept, gone = [], []
        for n in range(40):
            kept.append(engine.start(line, tenant=f"k{n}", max_tokens=4, sampling=TOLD))
            gone.append(engine.start(("user", words(n, 300), noise(n)), tenant=f"g{n}"))
            if n > 4:
                engine.engine.cancel(gone[n - 5].ticket)
        for asked in gone[-5:]:
            engine.engine.cancel(asked.ticket)
        for asked in kept:
            assert asked.outcome.reason == "length"
            check_same(asked.logprobs, alone.logprobs)
        assert all(asked.outcome.reason in ("cancelled", "stop", "length") for asked in gone)

    def test_time_is_over(self, endless: Path, driven: Open) -> None:
        """A limit of no time ends an answer, waiting or being written, and says so."""
        engine = driven(ModelFiles(endless, None), parallel=1)
        first = engine.start(("user", "hi"), max_tokens=900)
        late = engine.start(("user", "hi"), seconds=0.0)
        assert late.outcome.reason == "time"
        assert (late.outcome.read, late.text) == (0, "")
        engine.engine.cancel(first.ticket)
        assert first.outcome.reason == "cancelled"

    def test_closing_ends_what_is_being_answered(self, endless: Path, driven: Open) -> None:
        """Everybody hears of it, and later requests too."""
        engine = driven(ModelFiles(endless, None), parallel=1, context_tokens=4096)
        answers = [engine.start(("user", "hi"), max_tokens=4000) for _ in range(3)]
        assert answers[0].began.wait(60)
        engine.close()
        for asked in answers:
            with pytest.raises(ModelError, match="was closed; open it again"):
                assert asked.outcome
        with pytest.raises(ModelError, match="was closed; open it again"):
            engine.start(("user", "hi"))
        engine.close()


class TestRefusals:
    def test_when_enough_wait_others_are_told_when_to_come_back(
        self, endless: Path, driven: Open
    ) -> None:
        """With ``waiting`` requests in line the next is refused, with a number of seconds."""
        engine = driven(ModelFiles(endless, None), parallel=1, waiting=2, serve=False)
        answers = [engine.start(("user", "hi"), max_tokens=9) for _ in range(2)]
        engine.step()
        answers.append(engine.start(("user", "hi"), max_tokens=9))
        with pytest.raises(ModelBusy, match="2 requests wait already; try again in") as refused:
            engine.start(("user", "hi"))
        assert refused.value.retry_after >= 1
        while not all(asked.ended.is_set() for asked in answers):
            engine.step()
        assert engine.ask(("user", "hi"), max_tokens=9).text == UNSEEN

    def test_when_nobody_may_wait_as_many_are_answered_as_can_be(
        self, endless: Path, driven: Open
    ) -> None:
        """``waiting=0`` refuses the third of two at once, not the first."""
        engine = driven(ModelFiles(endless, None), parallel=2, waiting=0, serve=False)
        answers = [engine.start(("user", "hi"), max_tokens=9) for _ in range(2)]
        with pytest.raises(ModelBusy):
            engine.start(("user", "hi"))
        while not all(asked.ended.is_set() for asked in answers):
            engine.step()
        assert [asked.text for asked in answers] == [UNSEEN] * 2

    def test_a_prompt_that_cannot_fit(self, blind: Path, driven: Open) -> None:
        """It is refused with both counts; one token less than the context is answered."""
        engine = driven(ModelFiles(blind, None), context_tokens=64)
        empty = engine.engine.count([engine_line("user", "")])
        text = "x" * (63 - empty)
        assert engine.engine.count([engine_line("user", text)]) == 63
        asked = engine.ask(("user", text))
        assert (asked.outcome.reason, asked.outcome.written) == ("length", 1)
        with pytest.raises(ModelError, match=r"takes 64 tokens, tiny.gguf holds 64: ask less"):
            engine.start(("user", text + "x"))

    def test_a_million_characters_are_not_even_tokenised(self, blind: Path, driven: Open) -> None:
        """The refusal counts characters, not tokens."""
        engine = driven(ModelFiles(blind, None), serve=False)
        with pytest.raises(ModelError, match=r"has 10000\d\d characters, tiny.gguf holds 1024 tok"):
            engine.start(("user", "x" * 1_000_000))

    @pytest.mark.parametrize(
        ("sampling", "said"),
        [
            (Sampling(grammar="root ::= ("), "the grammar cannot be read"),
            (Sampling(grammar="other ::= [a-z]"), "the grammar cannot be read"),
            (Sampling(json_schema="{"), "the JSON schema cannot be used"),
            (Sampling(json_schema='{"$ref": "#/nowhere"}'), "the JSON schema cannot be used"),
            (Sampling(grammar='root ::= "a"', json_schema="{}"), "give one of them"),
        ],
    )
    def test_a_bad_grammar_fails_one_answer(
        self, tiny: Path, driven: Open, sampling: Sampling, said: str
    ) -> None:
        """Its error says so; the engine goes on."""
        engine = driven(tiny_files(tiny))
        bad = engine.start(("user", "hi"), sampling=sampling)
        with pytest.raises(ModelError, match=said):
            assert bad.outcome
        assert engine.ask(("user", "hi")).text == UNSEEN

    def test_a_model_without_eyes_takes_no_picture(self, blind: Path, driven: Open) -> None:
        """The error names the way out."""
        engine = driven(ModelFiles(blind, None))
        with pytest.raises(ModelError, match="takes no pictures: it has no projector; name one"):
            engine.start(("user", plain("red")))

    @pytest.mark.parametrize("size", [0, 17, 64 * 64 * 3 + 1])
    def test_a_picture_without_its_pixels_is_refused(
        self, odd: Models, driven: Open, size: int
    ) -> None:
        """Too few bytes for its size, or too many: the error says so, the engine goes on."""
        engine = driven(odd["qwen2"])
        with pytest.raises(ModelError, match=f"a picture of 64x64 in {size} bytes; give 8-bit"):
            engine.start(("user", Pixels(64, 64, bytes(size))))
        assert engine.ask(("user", noise(1)), max_tokens=1).outcome.encoded == 1

    @pytest.mark.parametrize(
        ("name", "value"), [("context_tokens", 15), ("parallel", 0), ("waiting", -1), ("batch", 2)]
    )
    def test_options_out_of_bounds_are_named(
        self, blind: Path, driven: Open, name: str, value: int
    ) -> None:
        """Which, what it is and what it must be."""
        with pytest.raises(ModelError, match=f"{name} is {value}; it must be at least"):
            driven(ModelFiles(blind, None), **{name: value})

    def test_a_memory_that_is_shared_is_not_overrun(self, endless: Path, driven: Open) -> None:
        """Answers that would not fit together wait for one another, and all are given."""
        engine = driven(
            ModelFiles(endless, None),
            parallel=4,
            context_tokens=256,
            kv_unified=True,
            kv_tokens=512,
        )
        answers = [
            engine.start(("user", "x" * (100 + n)), tenant=str(n % 3), max_tokens=100)
            for n in range(12)
        ]
        assert [asked.outcome.written for asked in answers] == [100] * 12


class TestBounds:
    def test_bookkeeping_stays_bounded(self, tiny: Path, driven: Open, tmp_path: Path) -> None:
        """300 turns of 50 conversations leave no more behind than what is kept on purpose."""
        engine = driven(
            tiny_files(tiny), parallel=3, sequence_bytes=8 << 20, context_tokens=512, cache=tmp_path
        )
        said: dict[int, list[tuple[str | Pixels, ...]]] = {}
        for turn in range(300):
            lines = said.setdefault(turn % 50, [("system", "Be kind." + " Be brief." * 8)])
            lines.append(("user", f"turn {turn}"))
            asked = engine.ask(*lines[-5:], tenant=f"tenant {turn % 50}", max_tokens=4)
            lines.append(("assistant", asked.text))
        inner = engine.engine
        assert len(inner._jobs) <= 1
        assert not inner._scheduler._active
        assert not inner._scheduler._waiting
        kept, saved = inner._kept["sequences"], inner._sequences._saved
        assert kept.held <= 8 << 20
        assert kept.held == sum(map(len, kept._blobs.values()))
        states = {(tenant, "s" + name) for tenant in saved for name in saved[tenant]}
        assert states <= set(kept._blobs)
        assert all(saved.values()), "a tenant of whom nothing is kept leaves nothing"
        assert inner.stats()["answers"] == 300

    def test_threads_may_ask_at_once(self, tiny: Path, driven: Open) -> None:
        """Requests from eight threads, counted, cancelled, forgotten in between, all end."""
        engine = driven(tiny_files(tiny), parallel=3, waiting=500)
        wrong: list[str] = []

        def talk(n: int) -> None:
            colour = ("red", "green", "blue")[n % 3]
            for turn in range(8):
                asked = engine.start(("user", plain(colour), f"{turn}"), tenant=f"t{n % 2}")
                engine.engine.count([engine_line("user", plain(colour))])
                if turn == 3:
                    engine.engine.forget(f"t{n % 2}")
                if asked.outcome.reason == "stop" and asked.text != SEEN.format(colour):
                    wrong.append(asked.text)

        threads = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert wrong == []


def engine_line(role: str, *parts: str | Pixels) -> Any:
    """Return what one side says."""
    from bot.models.llama.values import Line

    return Line(role, parts)
