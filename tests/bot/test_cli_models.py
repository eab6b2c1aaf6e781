"""``bifocal models``, run as a person would: as a process of its own."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from bot.cli import app
from bot.models import catalog
from bot.models.catalog import CATALOG, CatalogModel, PinnedFile
from retrievers.library import Library

Hub = Any  # see conftest


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models; for this process and those that it starts."""
    monkeypatch.setenv("BIFOCAL_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "models"


@pytest.fixture
def pair(pocket: ModuleType, tmp_path: Path) -> tuple[Path, Path]:
    """A text model and its projector."""
    folder = tmp_path / "files"
    folder.mkdir()
    text = pocket.make_text_model(folder / "tiny.gguf")
    return text, pocket.make_projector(folder / "mmproj-tiny.gguf")


def bifocal(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", *map(str, args)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def done(*args: str | Path) -> str:
    """Run a command that must succeed, and return what it printed."""
    result = bifocal(*args)
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(*args: str | Path) -> str:
    """Run a command that must fail in one line, and return the line."""
    result = bifocal(*args)
    assert result.returncode == 1, result.stdout
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr.strip()


def states() -> dict[str, str]:
    return {line["name"]: line["state"] for line in json.loads(done("models", "--json"))}


def test_the_list_tells_size_memory_and_licence_of_every_model() -> None:
    printed = done("models")
    for model in CATALOG:
        line = next(row for row in printed.splitlines() if row.startswith(model.name + " "))
        assert f"{model.download / 1e9:.1f}" in line
        assert f"{(model.memory(4096) or 0) / 1e9:.1f}" in line
        assert model.licence.partition(",")[0].split()[0] in line
    assert "an estimate" in " ".join(printed.split())


def test_the_list_for_programs_holds_addresses_and_hashes() -> None:
    lines = json.loads(done("models", "--json"))
    assert [line["name"] for line in lines] == [model.name for model in CATALOG]
    assert {line["state"] for line in lines} == {"absent"}
    text = lines[0]["files"][0]
    assert text["url"].startswith("https://huggingface.co/")
    assert text["sha256"] == CATALOG[0].text.sha256
    assert lines[0]["memory"]["4096"] == CATALOG[0].memory(4096)


def test_a_model_that_is_added_answers_until_another_is_used(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    assert "It answers from now on" in done("models", "add", "one", *pair)
    done("models", "add", "two", *pair)
    done("models", "use", "one")
    assert {k: v for k, v in states().items() if v != "absent"} == {"one": "answers", "two": "here"}
    assert "one answers (named by" in done("models", "add", "three", *pair)
    Library.open(tmp_path / "lib", create=True).close()
    status = json.loads(done("status", "--json", "-l", tmp_path / "lib"))
    assert status["writer"] == "llama:one: named by `bifocal models use`"
    done("models", "remove", "one")
    assert states()["three"] == "answers"
    assert pair[0].exists()


def test_a_model_without_a_projector_is_said_to_see_nothing(pair: tuple[Path, Path]) -> None:
    pair[1].unlink()
    assert "sees no pictures" in " ".join(done("models", "add", "blind", pair[0]).split())


def test_a_chosen_model_writes_the_answer(demo_library: Path, pair: tuple[Path, Path]) -> None:
    done("models", "add", "mine", *pair)
    answer = json.loads(done("ask", "How tall is the lighthouse?", "--json", "-l", demo_library))
    assert answer["model"] == "llama:mine"
    answer = json.loads(
        done("ask", "How tall?", "--json", "-l", demo_library, "--model", "extractive")
    )
    assert answer["model"] == "extractive"


def test_a_changed_file_never_answers(demo_library: Path, pair: tuple[Path, Path]) -> None:
    done("models", "add", "mine", *pair)
    data = bytearray(pair[0].read_bytes())
    data[-1] ^= 1
    pair[0].write_bytes(data)
    line = refused("ask", "How tall is the lighthouse?", "-l", demo_library)
    assert f"model mine: {pair[0]}: its SHA-256 is" in line


def test_pull_brings_both_files_and_the_model_answers(
    hub: Hub, pair: tuple[Path, Path], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = []
    for path in pair:
        data = hub.files[path.name] = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        pins.append(PinnedFile("org/repo", "0" * 40, path.name, len(data), digest))
    text, projector = pins
    little = CatalogModel("little", "Little", "small", "MIT", text, projector, 10, 4096)
    monkeypatch.setattr(catalog, "CATALOG", (little,))
    result = CliRunner().invoke(app, ["models", "pull", "little"])
    assert result.exit_code == 0, result.output
    assert "licence: MIT" in result.output
    assert "It answers from now on" in result.output
    listed = CliRunner().invoke(app, ["models"]).output
    assert re.search(r"^little .* answers", listed, re.MULTILINE)
    assert {path.name for path in (models / "little").glob("*.gguf")} == set(hub.files)


def test_without_a_network_pull_says_where_to_put_which_files(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    line = refused("models", "pull", "smolvlm2-500m")
    assert "http://127.0.0.1:1 cannot be reached" in line
    assert str(models / "smolvlm2-500m") in line
    assert line.count("/resolve/ccd7aae53bcb1997355c2f094959e72b3642ce17/") == 2


def test_ctrl_c_stops_a_pull_and_the_same_command_goes_on(hub: Hub, models: Path) -> None:
    model = CATALOG[0]
    hub.files[model.text.name] = bytes(1 << 20)  # its beginning
    hub.size, hub.hold = model.text.size, threading.Event()
    command = [sys.executable, "-m", "bot", "models", "pull", model.name]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = models / model.name / f"{model.text.name}.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGINT)
    output, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    assert "Run the same command again" in output
    assert errors == ""
    kept, hub.status = part.stat().st_size, 503
    assert kept
    hub.hold.set()
    assert "answers 503 for" in refused("models", "pull", model.name)
    assert hub.asked[-1].endswith(f"{model.text.name} bytes={kept}-")
    assert part.stat().st_size == kept


def test_quantize_makes_a_smaller_model(pair: tuple[Path, Path], tmp_path: Path) -> None:
    small = tmp_path / "small.gguf"
    assert "0.9 MB, was 3.4 MB" in " ".join(
        done("models", "quantize", pair[0], small, "--type", "Q8_0").split()
    )
    assert "--force" in refused("models", "quantize", pair[0], small)
    assert "did you mean Q8_0" in refused("models", "quantize", pair[0], small, "-t", "Q80")


def test_bench_measures_reading_writing_and_memory(pair: tuple[Path, Path]) -> None:
    done("models", "add", "mine", *pair)
    args = ("bench", "mine", "--threads", "1", "--tokens", "16", "--context", "1024")
    measured = json.loads(done("models", *args, "--json"))
    assert measured["pictures"] == 1
    assert measured["prompt_tokens"] > 64  # the picture is in it
    for name in ("seconds_to_load", "prompt_tokens_a_second", "tokens_written_a_second"):
        assert measured[name] > 0
    if os.name != "nt":
        assert measured["gigabytes_of_memory"] > 0.05


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["pull", "smolvlm2-50m"], "did you mean smolvlm2-500m"),
        (["use", "qwen3-vl-2b"], "`bifocal models pull qwen3-vl-2b`"),
        (["remove", "nobody"], "model nobody: unknown"),
        (["bench", "nobody"], "model nobody: unknown"),
        (["add", "x", "/nowhere/x.gguf"], "/nowhere/x.gguf: no such file"),
        (["add", "../x", "/nowhere/x.gguf"], "a name is letters"),
        (["quantize", "/nowhere/x.gguf", "/tmp/y.gguf"], "/nowhere/x.gguf: no such file"),
    ],
)
def test_bad_input_is_one_line_that_names_the_value(args: list[str], said: str) -> None:
    assert said in refused("models", *args)


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, bot.cli\n"
        "heavy = ('torch', 'transformers', 'llama_cpp', 'httpx', 'langchain_core', 'rich.table',"
        " 'pydantic', 'bot.models')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "[]"
