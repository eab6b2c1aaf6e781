"""Quantization is llama.cpp's own, in a process that may crash and leaves nothing half done."""

import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import pytest

from bot.errors import ModelError
from bot.models.llama.files import read_header
from bot.models.quantize import quantize

linux = pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")


@pytest.fixture
def source(pocket: ModuleType, tmp_path: Path) -> Path:
    """A text model of 32 bits."""
    made: Path = pocket.make_text_model(tmp_path / "in" / "tiny.gguf")
    return made


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A name in an empty folder."""
    return tmp_path / "out" / "small.gguf"


def children() -> list[int]:
    """Return this process's children."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


@pytest.mark.parametrize(
    ("kind", "inside"), [("Q8_0", {"Q8_0"}), ("q4_0", {"Q4_0", "Q6_K", "Q8_0"}), ("F16", {"F16"})]
)
def test_the_weights_become_of_the_type_that_was_asked_for(
    source: Path, target: Path, kind: str, inside: set[str]
) -> None:
    steps: list[tuple[int, int]] = []
    made = quantize(source, target, kind, threads=1, progress=lambda *step: steps.append(step))
    assert made == target
    assert list(target.parent.iterdir()) == [target]
    tensors = gguf.GGUFReader(target).tensors
    types = {t.tensor_type.name for t in tensors if t.name.endswith("weight") and len(t.shape) > 1}
    assert types <= inside
    assert kind.upper() in types
    assert read_header(target).architecture == "qwen2"
    assert target.stat().st_size < source.stat().st_size
    assert steps == [(n, len(tensors)) for n in range(1, len(tensors) + 1)]


def test_a_k_quantization_is_made(source: Path, target: Path) -> None:
    quantize(source, target, "Q4_K_M", threads=1)
    assert target.stat().st_size < source.stat().st_size / 3


def test_an_unknown_type_is_an_error_with_the_nearest_one(source: Path, target: Path) -> None:
    with pytest.raises(ModelError, match=r"type 'Q4KM': unknown; did you mean Q4_K_M\?.*Q8_0"):
        quantize(source, target, "Q4KM")


def test_a_projector_is_refused(pocket: ModuleType, target: Path, tmp_path: Path) -> None:
    projector = pocket.make_projector(tmp_path / "in" / "mmproj.gguf")
    with pytest.raises(ModelError, match=r"mmproj\.gguf: a projector; only text models"):
        quantize(projector, target, "Q8_0")


def test_what_is_quantized_already_is_refused(source: Path, target: Path) -> None:
    small = quantize(source, target, "Q8_0", threads=1)
    with pytest.raises(ModelError, match="it is quantized already; take its F16"):
        quantize(small, target.with_name("smaller.gguf"), "Q4_0", threads=1)
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_is_there_is_replaced_only_by_force(source: Path, target: Path) -> None:
    target.write_text("mine")
    with pytest.raises(ModelError, match="is there already; --force replaces it"):
        quantize(source, target, "Q8_0")
    assert target.read_text() == "mine"
    quantize(source, target, "Q8_0", force=True, threads=1)
    assert read_header(target).architecture == "qwen2"


@pytest.mark.parametrize("way", ["same", "symlink", "hardlink"])
def test_a_model_never_overwrites_itself(source: Path, target: Path, way: str) -> None:
    before = source.read_bytes()
    if way == "symlink":
        target.symlink_to(source)
    elif way == "hardlink":
        target.hardlink_to(source)
    named = source if way == "same" else target
    with pytest.raises(ModelError, match="is the model itself"):
        quantize(source, named, "Q8_0", force=True)
    assert source.read_bytes() == before


def test_a_folder_that_is_not_there_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="name a file in a folder that is there"):
        quantize(source, tmp_path / "none" / "x.gguf", "Q8_0")
    with pytest.raises(ModelError, match="name a file in a folder that is there"):
        quantize(source, tmp_path, "Q8_0")


def test_a_disk_that_is_too_small_is_told_first(source: Path, target: Path) -> None:
    free = os.statvfs(target.parent)
    os.truncate(source, free.f_bavail * free.f_frsize)  # sparse: takes no room itself
    with pytest.raises(ModelError, match="GB of disk are needed"):
        quantize(source, target, "Q8_0")


def test_a_model_cut_short_is_one_line_and_leaves_nothing(source: Path, target: Path) -> None:
    os.truncate(source, source.stat().st_size - 100)
    with pytest.raises(ModelError, match=r"tiny\.gguf: cannot be quantized to Q8_0: ") as caught:
        quantize(source, target, "Q8_0", threads=1)
    assert "\n" not in str(caught.value)
    assert list(target.parent.iterdir()) == []


@linux
def test_a_crash_of_native_code_is_one_line_and_leaves_nothing(source: Path, target: Path) -> None:
    before = children()

    def crash(*_: Any) -> None:
        for pid in set(children()) - set(before):
            os.kill(pid, signal.SIGSEGV)

    with pytest.raises(ModelError, match=r"to Q8_0: llama\.cpp crashed"):
        quantize(source, target, "Q8_0", threads=1, progress=crash)
    assert list(target.parent.iterdir()) == []


@linux
def test_ctrl_c_ends_the_process_and_leaves_nothing(source: Path, target: Path) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt):
        quantize(source, target, "Q8_0", threads=1, progress=stop)
    assert children() == before
    assert list(target.parent.iterdir()) == []
