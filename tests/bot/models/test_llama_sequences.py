"""What a new turn has to read: prefixes that are known, shared, cut, copied and put aside."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.models.llama.files import ModelFiles
from bot.models.llama.sequences import shared_prefix
from bot.models.llama.values import LogProb, Pixels, Sampling

Open = Callable[..., Any]
Models = dict[str, ModelFiles]
Said = tuple[str | Pixels, ...]

TOLD = Sampling(logprobs=5)
SYSTEM = ("system", "Be kind, be brief, say what you see and nothing else, in plain words.")


def noise(seed: int, width: int = 64, height: int = 64) -> Pixels:
    """Return a picture of noise."""
    rng = np.random.default_rng(seed)
    return Pixels(width, height, rng.integers(0, 256, width * height * 3, np.uint8).tobytes())


def turn(n: int, size: int = 70) -> Said:
    """Return a user's line of about so many tokens, unlike all others."""
    return ("user", f"turn {n} " + chr(97 + n % 26) * size)


def check_same(found: Sequence[LogProb], wanted: Sequence[LogProb]) -> None:
    """Check that two answers have the same tokens, as likely as each other."""
    assert [each.text for each in found] == [each.text for each in wanted]
    assert found
    for one, other in zip(found, wanted, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
        ours, theirs = ([value for _, value in each.top] for each in (one, other))
        assert ours == pytest.approx(theirs, abs=1e-3)


class Talk:
    """Asks an engine, and another that has read nothing before, and compares."""

    def __init__(self, driven: Open, files: ModelFiles, **options: Any) -> None:
        self._open, self._files = driven, files
        self.driven = driven(files, **options)
        self._fresh = driven(files, parallel=1, sequence_bytes=0)
        self._tenants = 0

    def reopen(self, **options: Any) -> None:
        """Close the engine and open it again."""
        self.driven.close()
        self.driven = self._open(self._files, **options)

    def ask(self, *lines: Said, tenant: str = "us") -> Any:
        """Return the outcome of an answer of one token, whose numbers are those of a fresh read."""
        found = self.driven.ask(*lines, tenant=tenant, max_tokens=1, sampling=TOLD)
        self._tenants += 1
        fresh = self._fresh.ask(*lines, tenant=str(self._tenants), max_tokens=1, sampling=TOLD)
        assert fresh.outcome.reused == 0
        check_same(found.logprobs, fresh.logprobs)
        outcome = found.outcome
        assert outcome.reused + outcome.read == outcome.prompt
        return outcome

    def count(self, *lines: Said) -> int:
        """Return the tokens of a prompt, its generation mark included."""
        return int(self._fresh.engine.count([_line(*line) for line in lines]))


def _line(role: str | Pixels, *parts: str | Pixels) -> Any:
    from bot.models.llama.values import Line

    return Line(str(role), parts)


@pytest.fixture(params=[True, False], ids=["shared", "apart"])
def unified(request: pytest.FixtureRequest) -> bool:
    """Whether all sequences share one memory."""
    return bool(request.param)


class TestFollowUp:
    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "gemma2", "mamba"])
    def test_only_what_is_new_is_read(
        self, odd: Models, driven: Open, kind: str, unified: bool
    ) -> None:
        """A follow-up that extends the prompt reads its own lines and one token more at most."""
        talk = Talk(driven, odd[kind], kv_unified=unified)
        lines: list[Said] = [SYSTEM, turn(0)]
        first = talk.ask(*lines)
        assert first.reused == 0
        before = first.prompt
        for n in range(1, 4):
            lines += [("assistant", "I see."), turn(n, 20)]
            found = talk.ask(*lines)
            assert found.reused >= before - 1
            before = found.prompt

    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "internvl"])
    def test_pictures_are_not_encoded_again(
        self, odd: Models, driven: Open, kind: str, unified: bool
    ) -> None:
        """A text follow-up to two pictures encodes none; a third picture is the only one."""
        talk = Talk(driven, odd[kind], kv_unified=unified)
        lines: list[Said] = [SYSTEM, ("user", noise(1, 96, 64), noise(2), "what?")]
        first = talk.ask(*lines)
        assert (first.encoded, first.kept) == (2, 0)
        lines += [("assistant", "noise"), ("user", "and now?")]
        second = talk.ask(*lines)
        assert (second.encoded, second.kept) == (0, 2)
        assert second.reused >= first.prompt - 1
        lines += [("assistant", "noise"), ("user", noise(3), "this?")]
        third = talk.ask(*lines)
        assert (third.encoded, third.kept) == (1, 2)
        assert third.read < talk.count(*lines[-2:])

    def test_a_picture_at_the_end_of_what_is_shared_is_known(
        self, odd: Models, driven: Open, unified: bool
    ) -> None:
        """Another question about the same picture reads the question only."""
        talk = Talk(driven, odd["qwen2vl"], kv_unified=unified)
        talk.ask(SYSTEM, ("user", noise(1), "what is red?"))
        found = talk.ask(SYSTEM, ("user", noise(1), "where is it?"))
        assert found.encoded == 0
        assert found.read <= talk.count(("user", "where is it?"))

    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "gemma2", "mamba"])
    def test_an_early_turn_that_changed_is_read_from_there(
        self, odd: Models, driven: Open, kind: str, unified: bool
    ) -> None:
        """What stands before it is kept, where the model can; what follows is read anew."""
        talk = Talk(driven, odd[kind], kv_unified=unified)
        rest = [("assistant", "I see."), turn(1), ("assistant", "I do."), turn(2)]
        talk.ask(SYSTEM, turn(0), *rest)
        found = talk.ask(SYSTEM, turn(7), *rest)
        if talk.driven.engine.info.cuts:
            known = talk.count(SYSTEM) - talk.count()
            assert known <= found.reused <= known + talk.count(turn(0))
        else:
            assert found.reused == 0
        again = talk.ask(SYSTEM, turn(0), *rest)
        assert again.reused >= (0 if kind == "mamba" else talk.count(SYSTEM) - talk.count())

    def test_the_same_prompt_again_reads_one_token(
        self, odd: Models, driven: Open, unified: bool
    ) -> None:
        """An answer follows from at least one token that is read."""
        talk = Talk(driven, odd["qwen2"], kv_unified=unified)
        talk.ask(SYSTEM, turn(0))
        assert talk.ask(SYSTEM, turn(0)).read == 1

    def test_what_was_written_is_known_too(self, endless: Path, driven: Open) -> None:
        """The next turn does not read the answer again, but for its last token."""
        engine = driven(ModelFiles(endless, None))
        first = engine.ask(("user", "hi"), max_tokens=30)
        lines: list[Said] = [("user", "hi"), ("assistant", first.text), ("user", "more")]
        found = engine.ask(*lines, max_tokens=2)
        # the blank before "see" and what follows is one token in the answer, as in the text
        assert found.outcome.reused >= first.outcome.prompt + 29
        assert found.outcome.read < 20

    def test_sharing_is_found_by_halves(self) -> None:
        """The length of the common beginning, wherever it ends."""
        rng = np.random.default_rng(1)
        for _ in range(300):
            one = rng.integers(0, 3, rng.integers(0, 12)).tolist()
            other = rng.integers(0, 3, rng.integers(0, 12)).tolist()
            plain = 0
            while plain < min(len(one), len(other)) and one[plain] == other[plain]:
                plain += 1
            assert shared_prefix(one, other) == plain


class TestSharing:
    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "gemma2"])
    def test_a_system_prompt_is_read_once_for_a_tenant(
        self, odd: Models, driven: Open, kind: str, unified: bool
    ) -> None:
        """A second conversation begins with a copy; afterwards both go on undamaged."""
        talk = Talk(driven, odd[kind], kv_unified=unified)
        one: list[Said] = [SYSTEM, turn(0, 90)]
        other: list[Said] = [SYSTEM, turn(1, 90)]
        known = talk.count(SYSTEM) - talk.count()
        assert known >= 32
        before = {"one": talk.ask(*one), "other": talk.ask(*other)}
        assert before["other"].reused >= known
        for n in range(2, 5):
            one += [("assistant", "I see."), turn(n, 20)]
            found = talk.ask(*one)
            assert found.reused >= before["one"].prompt - 1
            before["one"] = found
            other += [("assistant", "You see."), turn(n + 9, 20)]
            found = talk.ask(*other)
            assert found.reused >= before["other"].prompt - 1
            before["other"] = found

    def test_a_conversation_is_left_whole_while_there_is_room(
        self, odd: Models, driven: Open, unified: bool
    ) -> None:
        """Conversations shorter than their system prompt do not take each other's place."""
        talk = Talk(driven, odd["qwen2"], kv_unified=unified, parallel=4)
        long = ("system", "Be kind. " * 40)
        first = [talk.ask(long, turn(n, 80)) for n in range(3)]
        for n in range(3):
            found = talk.ask(long, turn(n, 80), ("assistant", "I see."), turn(9, 10))
            assert found.reused >= first[n].prompt - 1

    def test_copied_while_the_other_is_writing(
        self, odd: Models, driven: Open, unified: bool
    ) -> None:
        """A copy from a sequence in use gives the numbers of a fresh read, and so does that one."""
        engine = driven(odd["qwen2"], kv_unified=unified, serve=False)
        alone = [
            engine.ask(SYSTEM, turn(n), tenant=f"t{n}", max_tokens=6, sampling=TOLD)
            for n in range(2)
        ]
        one = engine.start(SYSTEM, turn(0), tenant="us", max_tokens=6, sampling=TOLD)
        while not one.began.is_set():
            engine.step()
        other = engine.start(SYSTEM, turn(1), tenant="us", max_tokens=6, sampling=TOLD)
        while not (one.ended.is_set() and other.ended.is_set()):
            engine.step()
        assert other.outcome.reused >= 32
        check_same(one.logprobs, alone[0].logprobs)
        check_same(other.logprobs, alone[1].logprobs)

    @pytest.mark.parametrize("kind", ["qwen2", "mamba"])
    def test_nothing_passes_between_tenants(
        self, odd: Models, driven: Open, kind: str, unified: bool
    ) -> None:
        """Another tenant's identical prompt is read whole, its pictures encoded again."""
        talk = Talk(driven, odd[kind], kv_unified=unified, parallel=2)
        seen = () if kind == "mamba" else (noise(1),)
        lines: list[Said] = [SYSTEM, ("user", *seen, "what?" * 20)]
        for tenant in ("us", "them", "", "\0", "default", "us\0", "../us"):
            found = talk.ask(*lines, tenant=tenant)
            assert (found.reused, found.encoded) == (0, len(seen)), tenant

    def test_the_names_of_tenants_may_be_anything(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """Odd names are kept apart too, and none leaves the cache's folder."""
        inside = tmp_path / "cache"
        talk = Talk(driven, odd["qwen2"], cache=inside)
        for tenant in ("../../x", "a/b", "\udc80", "x" * 5000, "\0", ""):
            assert talk.ask(SYSTEM, ("user", noise(1)), tenant=tenant).encoded == 1
        talk.driven.close()
        assert [path.name for path in tmp_path.iterdir()] == ["cache"]


class TestAside:
    def test_conversations_come_back_when_sequences_run_out(
        self, odd: Models, driven: Open
    ) -> None:
        """Six conversations on two sequences: each goes on from its state, not from its text."""
        talk = Talk(driven, odd["qwen2"], kv_unified=False, parallel=2)
        first = [talk.ask(turn(n, 150)) for n in range(6)]
        for n in range(6):
            found = talk.ask(turn(n, 150), ("assistant", "I see."), turn(9, 10))
            assert found.reused >= first[n].prompt - 1

    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "gemma2", "mamba"])
    def test_states_of_every_kind_come_back(
        self, odd: Models, driven: Open, kind: str, unified: bool
    ) -> None:
        """With a single answer at a time and three tenants, pictures included."""
        seen = () if odd[kind].projector is None else (noise(1, 96, 64),)
        talk = Talk(
            driven, odd[kind], kv_unified=unified, parallel=1, context_tokens=256, kv_tokens=300
        )
        lines = [("user", *seen, chr(97 + n) * 150) for n in range(3)]
        first = [talk.ask(lines[n], tenant=str(n)) for n in range(3)]
        for n in range(3):
            found = talk.ask(lines[n], ("assistant", "I see."), turn(9, 4), tenant=str(n))
            assert found.reused >= first[n].prompt - 1
            assert found.encoded == 0

    def test_one_sequence_serves_two_conversations_of_a_tenant(
        self, odd: Models, driven: Open
    ) -> None:
        """They share only the template's first words: the rest of the other is put aside."""
        talk = Talk(driven, odd["qwen2"], kv_unified=False, parallel=1)
        first = [talk.ask(turn(n, 150)) for n in range(2)]
        for n in range(2):
            found = talk.ask(turn(n, 150), ("assistant", "I see."), turn(9, 10))
            assert found.reused >= first[n].prompt - 1

    def test_without_a_budget_all_is_read_again(self, odd: Models, driven: Open) -> None:
        """Nothing is put aside where there is no room for it."""
        talk = Talk(driven, odd["qwen2"], kv_unified=False, parallel=1, sequence_bytes=0)
        talk.ask(turn(0, 150))
        talk.ask(turn(1, 150), tenant="them")
        assert talk.ask(turn(0, 150), ("assistant", "I see."), turn(9, 10)).reused == 0

    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "gemma2", "mamba"])
    def test_states_outlast_the_process(
        self, odd: Models, driven: Open, tmp_path: Path, kind: str, unified: bool
    ) -> None:
        """After closing and opening again each conversation goes on, its pictures unread."""
        options = {"kv_unified": unified, "parallel": 4, "cache": tmp_path}
        seen = () if odd[kind].projector is None else (noise(1, 96, 64),)
        talk = Talk(driven, odd[kind], **options)
        lines = [("user", *seen, chr(97 + n) * 150) for n in range(3)]
        first = [talk.ask(lines[n], tenant=str(n)) for n in range(3)]
        talk.reopen(**options)
        for n in range(3):
            found = talk.ask(lines[n], ("assistant", "I see."), turn(9, 4), tenant=str(n))
            assert found.reused >= first[n].prompt - 1
            assert found.encoded == 0

    def test_all_that_rests_is_kept_at_the_end(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """Thirty-six resting conversations are on the disk when the engine is closed."""
        engine = driven(odd["qwen2"], kv_unified=True, kv_tokens=4096, parallel=4, cache=tmp_path)
        for n in range(36):
            engine.ask(turn(n, 60), tenant=str(n), max_tokens=1)
        engine.close()
        assert len(list(tmp_path.glob("*/sequences/*/s*"))) == 36

    def test_a_state_that_was_tampered_with_is_not_used(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """One flipped byte: the file is deleted, and the prompt read from its text."""
        options = {"kv_unified": False, "parallel": 2, "cache": tmp_path}
        talk = Talk(driven, odd["qwen2"], **options)
        talk.ask(turn(0, 150))
        talk.driven.close()
        (state,) = tmp_path.glob("*/sequences/*/s*")
        data = bytearray(state.read_bytes())
        data[len(data) // 2] ^= 1
        state.write_bytes(data)
        talk.reopen(**options)
        found = talk.ask(turn(0, 150), ("assistant", "I see."), turn(9, 10))
        assert found.reused == 0
        assert not state.exists()

    def test_another_model_does_not_use_them(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """A cache that two models share is two caches."""
        driven(odd["qwen2"], cache=tmp_path).ask(turn(0, 150))
        for kind in ("qwen2vl", "gemma2"):
            assert driven(odd[kind], cache=tmp_path).ask(turn(0, 150)).outcome.reused == 0

    def test_options_that_change_the_memory_do_not_mix(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """What llama.cpp cannot put into a memory of another form is read again, and is right."""
        talk = Talk(driven, odd["qwen2"], cache=tmp_path)
        talk.ask(turn(0, 150))
        for changed in ({"parallel": 3}, {"kv_unified": True}):
            talk.reopen(cache=tmp_path, **changed)
            assert talk.ask(turn(0, 150)).reused == 0
        talk.reopen(cache=tmp_path)
        talk.ask(turn(0, 150))
        talk.driven.close()
        flash = driven(odd["qwen2"], cache=tmp_path, flash_attention="on")
        assert flash.ask(turn(0, 150)).outcome.reused == 0

    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl", "gemma2"])
    def test_a_copy_is_whole_before_it_is_read_on(
        self, odd: Models, driven: Open, kind: str, unified: bool
    ) -> None:
        """Saved at once, or its source overwritten at once: a copy is what it was copied from."""
        native = driven(odd[kind], kv_unified=unified, parallel=3, serve=False).engine._native

        def read(sequence: int, tokens: range, begin: int) -> LogProb:
            places = range(begin, begin + len(tokens))
            last = len(tokens) - 1
            assert native.read(tokens, places, [sequence] * len(tokens), [last]) == 0
            told: LogProb = native.logprobs(last, 65, 5)
            return told

        read(0, range(65, 97), 0)
        other = native.save(0)
        native.clear(0)
        read(0, range(97, 129), 0)
        native.copy(0, 1)
        saved = native.save(1)
        native.copy(0, 2)
        native.clear(0)
        assert native.restore(0, other)
        copied = read(2, range(65, 70), 32)
        native.clear(1)
        assert native.restore(1, saved)
        restored = read(1, range(65, 70), 32)
        native.clear(2)
        read(2, range(97, 129), 0)
        fresh = read(2, range(65, 70), 32)
        check_same([copied, restored], [fresh, fresh])


class TestForget:
    def test_nothing_begins_with_what_was_forgotten(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """Sequences, states put aside and pictures of that tenant are gone, from the disk too."""
        options = {"kv_unified": False, "parallel": 1, "cache": tmp_path}
        talk = Talk(driven, odd["qwen2"], **options)
        lines: list[Said] = [("user", noise(1), "what?" * 20)]
        for tenant in ("us", "them", "us", "others"):
            talk.ask(*lines, tenant=tenant)
        talk.driven.engine.forget("us")
        talk.driven.engine.forget("others")
        found = talk.ask(*lines, tenant="us")
        assert (found.reused, found.encoded) == (0, 1)
        assert talk.ask(*lines, tenant="them").read == 1
        talk.driven.engine.forget("us")
        talk.driven.engine.forget("them")
        talk.driven.close()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_an_answer_on_its_way_leaves_nothing_behind(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """It goes on when its tenant is forgotten, but nothing of it is kept."""
        engine = driven(odd["qwen2"], cache=tmp_path, step_seconds=0.0, serve=False)
        lines: list[Said] = [turn(0, 200), ("user", noise(1), "what?")]
        alone = engine.ask(*lines, tenant="other", max_tokens=4, sampling=TOLD)
        asked = engine.start(*lines, tenant="us", max_tokens=4, sampling=TOLD)
        engine.step()
        for part in (engine.engine._pictures, engine.engine._sequences):
            part.forget("us")
        while not asked.ended.is_set():
            engine.step()
        check_same(asked.logprobs, alone.logprobs)
        for tenant in ("us", "\0"):
            again = engine.ask(*lines, tenant=tenant, max_tokens=1).outcome
            assert (again.reused, again.encoded) == (0, 1), tenant
            for part in (engine.engine._pictures, engine.engine._sequences):
                part.forget(tenant)
        engine.engine._sequences.forget("other")
        engine.engine._pictures.forget("other")
        engine.close()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_whoever_is_not_forgotten_is_untouched(self, odd: Models, driven: Open) -> None:
        """Forgetting one tenant costs another nothing."""
        talk = Talk(driven, odd["qwen2"])
        first = talk.ask(turn(0), tenant="us")
        talk.driven.engine.forget("them")
        found = talk.ask(turn(0), ("assistant", "I see."), turn(1), tenant="us")
        assert found.reused >= first.prompt - 1


class TestRecurrent:
    def test_the_library_says_that_its_memory_cannot_be_cut(
        self, odd: Models, driven: Open
    ) -> None:
        """Told of the model, not of its name."""
        cuts = {kind: driven(files, serve=False).engine.info.cuts for kind, files in odd.items()}
        assert cuts.pop("mamba") is False
        assert all(cuts.values())

    def test_a_changed_end_is_read_anew_and_right(
        self, odd: Models, driven: Open, unified: bool
    ) -> None:
        """A follow-up without the last turn's evidence is read from the beginning."""
        talk = Talk(driven, odd["mamba"], kv_unified=unified)
        talk.ask(SYSTEM, turn(0), ("user", "evidence " * 9))
        found = talk.ask(SYSTEM, turn(0), ("assistant", "I see."), turn(1))
        assert found.reused == 0
        longer = talk.ask(
            SYSTEM, turn(0), ("assistant", "I see."), turn(1), ("assistant", "Yes."), turn(2)
        )
        assert longer.reused >= found.prompt - 1


def test_a_window_is_not_lost_by_cutting(odd: Models, driven: Open, unified: bool) -> None:
    """Cut at any distance from the end, a sliding-window model gives a fresh read's numbers."""
    talk = Talk(driven, odd["gemma2"], kv_unified=unified)
    assert talk.driven.engine._native.window == 32
    text = "".join(chr(97 + n * 7 % 26) for n in range(220))
    for size in (220, 215, 190, 150, 60, 10, 100, 220):
        talk.ask(("user", text[:size] + "!"))


def test_a_window_that_came_back_is_not_cut_beyond_what_was_saved(
    odd: Models, driven: Open, tmp_path: Path, unified: bool
) -> None:
    """A saved state holds the window's last tokens only: what is cut before them is read anew."""
    options = {"kv_unified": unified, "cache": tmp_path}
    talk = Talk(driven, odd["gemma2"], **options)
    first = talk.ask(("user", "a" * 200))
    for size in (200, 120, 60):
        talk.reopen(**options)
        found = talk.ask(("user", "a" * size + "!" * 20))
        assert found.reused in (0, first.prompt - 1) or found.reused >= size
