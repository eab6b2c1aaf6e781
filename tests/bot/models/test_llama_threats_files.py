"""What the local model must survive, by the files it is made of and by what cannot be answered."""

import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from PIL import Image

from bot.errors import ModelError
from bot.models.choose import load_model
from bot.models.llama import LocalVisionChat, picture_part
from bot.models.llama.files import read_header
from bot.models.store import ModelStore

FULL = bool(os.environ.get("BIFOCAL_FULL"))
MUTANTS = 500 if FULL else 25
FLIPS = 200 if FULL else 25
WAIT = 60  # seconds until something that never comes is given up
HOSTILE = Path(__file__).parents[2] / "benchmarks" / "run_hostile_models.py"

Open = Callable[..., LocalVisionChat]


def encoded(colour: str = "red", size: tuple[int, int] = (90, 70)) -> bytes:
    """Return a picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def ask(*parts: Any) -> list[BaseMessage]:
    """Return a question of words and encoded pictures."""
    return [HumanMessage([p if isinstance(p, str) else picture_part(p) for p in parts])]


def serves(model: LocalVisionChat, pid: int) -> bool:
    """Return whether the process that was there goes on answering rightly."""
    seen = "red" if model.pictures else "nothing"
    shown = [encoded()] if model.pictures else []
    answer = model.invoke(ask("what?", *shown)).content
    return answer == f"I see {seen} 😀." and (model.process.pid, model.process.restarts) == (pid, 0)


def refused(call: Callable[[], object], *said: str) -> str:
    """Return the one line of the error that a call ends in; it holds all of ``said``."""
    with pytest.raises(ModelError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    assert all(one in line for one in said), line
    return line


@pytest.mark.timeout(3000)
def test_mutated_files_end_in_an_answer_or_in_one_error() -> None:
    """None takes the program down or hangs; none leaves a process, a thread, or takes a gigabyte.

    In a program of its own, which sees what all of its processes took."""
    command = [sys.executable, str(HOSTILE), "--count", str(MUTANTS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert sum(told["ends"].values()) == MUTANTS
    assert told["faults"] == []
    assert {"refused, loading", "answered"} <= told["ends"].keys()  # they are not all the same


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("qwen2.block_count", 1 << 24),  # took gigabytes for layers that are not there
        ("qwen2.context_length", 2**32 - 1),  # was a negative number of tokens
        ("clip.vision.image_size", 1 << 16),  # took 12 GB for the first picture
    ],
)
def test_a_size_that_no_model_has_is_refused_before_llama_cpp_sees_it(
    tiny: Path, tmp_path: Path, key: str, number: int
) -> None:
    """The file is named."""
    path = tiny if key.startswith("qwen2") else tiny.with_name("mmproj-tiny.gguf")
    data = bytearray(path.read_bytes())
    at = data.index(key.encode()) + len(key) + 4  # behind the name and the type
    struct.pack_into("<I", data, at, number)
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(data)
    with pytest.raises(ModelError, match=r"bad\.gguf: a damaged GGUF file"):
        read_header(bad)
    assert read_header(path).numbers[key] < number


def test_a_process_takes_no_more_memory_than_there_is_and_is_the_first_to_go(
    opened: Open, blind: Path
) -> None:
    """What a file says cannot end the service: the system ends the model's process before it."""
    resource = pytest.importorskip("resource")
    told = Path("/proc/meminfo")
    if not told.exists() or Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists():
        pytest.skip("Linux, without a GPU's driver")
    model = opened(blind)
    there = 1024 * sum(int(n) for n in re.findall(r"(?:Mem|Swap)Total:\s+(\d+)", told.read_text()))
    assert 0 < resource.prlimit(model.process.pid, resource.RLIMIT_DATA)[0] <= there
    assert Path(f"/proc/{model.process.pid}/oom_score_adj").read_text().strip() == "1000"


class TestPinned:
    @pytest.fixture
    def store(self, tiny: Path, tmp_path: Path) -> ModelStore:
        """A store with the pair, of which a test may change the files."""
        for path in (tiny, tiny.with_name("mmproj-tiny.gguf")):
            shutil.copy(path, tmp_path)
        store = ModelStore(tmp_path / "models")
        store.add("mine", tmp_path / "tiny.gguf", tmp_path / "mmproj-tiny.gguf")
        return store

    def test_a_flipped_bit_never_reaches_the_loader_wherever_it_is(
        self, store: ModelStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """In the header or the weights, of the text model or the projector; size and times kept."""
        rng = Random(6)
        for n in range(FLIPS):
            path = tmp_path / ("mmproj-tiny.gguf" if n % 2 else "tiny.gguf")
            whole, before = path.read_bytes(), path.stat()
            bad = bytearray(whole)
            bad[rng.randrange(len(bad) if n % 4 < 2 else 5000)] ^= 1 << rng.randrange(8)
            path.write_bytes(bad)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            refused(lambda: load_model("llama:mine", models=store.folder), path.name, "SHA-256")
            path.write_bytes(whole)
        model = load_model("llama:mine", models=store.folder, options={"threads": 1})
        assert model.invoke("a red thing").content == "I see red 😀."
        model.close()  # type: ignore[attr-defined]

    def test_a_file_that_changed_while_it_was_served_is_not_loaded_after_a_crash(
        self, store: ModelStore, tmp_path: Path
    ) -> None:
        """The process is not started again with it, and is once the file is what it was."""
        path = tmp_path / "tiny.gguf"
        model = load_model("llama:mine", models=store.folder, options={"threads": 1})
        assert isinstance(model, LocalVisionChat)
        try:
            whole, bad = path.read_bytes(), bytearray(path.read_bytes())
            bad[len(bad) // 2] ^= 1
            other = tmp_path / "other"  # in its place: what is loaded stays what it is
            other.write_bytes(bad)
            os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
            other.replace(path)
            pid = model.process.pid
            assert serves(model, pid)
            os.kill(pid, signal.SIGSEGV)
            end = time.monotonic() + WAIT
            while not model.process._refusal:
                assert time.monotonic() < end
                time.sleep(0.005)
            for _ in range(3):
                refused(lambda: model.invoke("x"), "model mine", "tiny.gguf", "SHA-256")
            assert (model.process.pid, model.process.restarts) == (pid, 0)
            path.write_bytes(whole)
            while not model.process.restarts:
                assert time.monotonic() < end
                time.sleep(0.005)
            assert model.invoke(ask(encoded())).content == "I see red 😀."
        finally:
            model.close()


PNG = encoded()


class TestGoesOnServing:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            PNG[: len(PNG) // 2],
            PNG[: PNG.index(b"IDAT") + 4] + bytes(len(PNG)),
            PNG[:16] + bytes(4) + PNG[20:],  # no width
            PNG[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + PNG[24:],
            b"GIF89a" + bytes(20),
            b"\xff\xd8\xff\xe0" + bytes(100),
            b"RIFF\x00\x00\x00\x00WEBPVP8 ",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"%PDF-1.7",
            Random(1).randbytes(5000),
            encoded(size=(1, 3000)),
        ],
    )
    def test_after_a_picture_that_cannot_be_used(self, local: LocalVisionChat, data: bytes) -> None:
        """It is said in one line; those that can be used beside it do not help it."""
        pid = local.process.pid
        part = {"type": "image", "image": data}
        line = refused(lambda: local.invoke([HumanMessage([part, picture_part(PNG)])]), "image")
        assert "Traceback" not in line
        assert serves(local, pid)

    @pytest.mark.parametrize("pictures", [0, 1, 40])
    def test_after_a_prompt_that_cannot_fit(self, opened: Open, tiny: Path, pictures: int) -> None:
        """The line tells the tokens, those of pictures too, how many may be, and the way out."""
        model = opened(tiny, context_tokens=128)
        pid = model.process.pid
        messages = ask("abc " * (1 if pictures > 1 else 200), *[PNG] * pictures)
        count = model.get_num_tokens_from_messages(messages)
        assert count > max(128, 16 * pictures)
        said = (f"takes {count} tokens", "tiny.gguf holds 128", "raise context_tokens")
        refused(lambda: model.invoke(messages), *said)
        refused(lambda: list(model.stream(messages)), *said)
        assert serves(model, pid)

    def test_after_a_text_far_beyond_any_context(self, local: LocalVisionChat) -> None:
        """Megabytes are refused by their length, without being tokenised."""
        pid = local.process.pid
        refused(lambda: local.invoke("abc " * 2_000_000), "8000", "characters", "tiny.gguf")
        assert serves(local, pid)

    def test_after_pictures_for_a_model_without_eyes(self, opened: Open, blind: Path) -> None:
        """In a question, a stream, an earlier turn, and when counted."""
        model = opened(blind)
        pid, messages = model.process.pid, ask("what?", PNG)
        for call in (
            lambda: model.invoke(messages),
            lambda: list(model.stream(messages)),
            lambda: model.invoke([*messages, HumanMessage("and now?")]),
            lambda: model.get_num_tokens_from_messages(messages),
        ):
            refused(call, "tiny.gguf takes no pictures", "+MMPROJ.gguf")
            assert serves(model, pid)

    def test_while_files_that_cannot_be_used_are_opened_beside_it(
        self,
        local: LocalVisionChat,
        pocket: ModuleType,
        tiny: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Missing, cut short, of another width, swapped: each is named, with the way out."""
        pid, eyes = local.process.pid, tiny.with_name("mmproj-tiny.gguf")
        missing, cut = tmp_path / "missing.gguf", tmp_path / "cut.gguf"
        narrow = tmp_path / "mmproj-narrow.gguf"
        with monkeypatch.context() as patch:
            patch.setattr(pocket, "WIDTH", 128)
            pocket.make_projector(narrow)
        files = {
            f"{missing}": ("missing.gguf: no such file", "needs the path of a .gguf file"),
            f"{tiny}+{missing}": ("missing.gguf: no such file",),
            f"{tiny}+{narrow}": ("mmproj-narrow.gguf: not a projector for tiny.gguf",),
            f"{eyes}": ("mmproj-tiny.gguf: a projector, not a text model", "llama:TEXT.gguf+"),
            f"{tiny}+{tiny}": ("tiny.gguf: a model of architecture", "after the + comes"),
            f"{tmp_path}": ("a folder; name the .gguf file in it",),
        }
        for given, said in files.items():
            refused(lambda given=given: LocalVisionChat.open(given, threads=1), *said)  # type: ignore[misc]
            assert serves(local, pid)
        for whole, pair in ((tiny, "{}"), (eyes, f"{tiny}+{{}}")):
            for share in (0.001, 0.5, 0.999):
                cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
                given = pair.format(cut)
                refused(lambda given=given: LocalVisionChat.open(given, threads=1), "cut.gguf")  # type: ignore[misc]
                assert serves(local, pid)

    def test_when_its_file_is_cut_under_it(self, opened: Open, blind: Path, tmp_path: Path) -> None:
        """What is mapped is gone: the answer ends in one error that names the file, until the file
        is whole again."""
        path = tmp_path / "mine.gguf"
        shutil.copy(blind, path)
        model = opened(path)
        whole = path.read_bytes()
        os.truncate(path, len(whole) // 8)
        end = time.monotonic() + WAIT
        while not model.process._refusal:  # it may have read all that it needs
            assert time.monotonic() < end
            if not model.process.restarts and model.process._loaded:
                os.kill(model.process.pid, signal.SIGBUS)
            time.sleep(0.05)
        refused(lambda: model.invoke("x"), "mine.gguf")
        path.write_bytes(whole)
        while not model.process.restarts:
            assert time.monotonic() < end
            time.sleep(0.005)
        assert model.invoke("a red thing").content == "I see red 😀."
