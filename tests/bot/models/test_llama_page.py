"""What the local model's page of documentation shows works as it stands there."""

import asyncio
import os
import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from bot.models.llama import LocalVisionChat
from bot.models.llama.asked import Settings
from bot.models.llama.chunks import Chunks
from bot.models.llama.values import Options, Outcome

PAGE = Path(__file__).parents[3] / "docs" / "local-model.md"
TOOLS = (
    "{% for t in tools %}{{ t | tojson }}{% endfor %}{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls %}"
    "{{ c.function | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)


def table(heading: str) -> dict[str, str]:
    """Return the names in the table under a heading, each with what stands in the second column."""
    section = PAGE.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    found: dict[str, str] = {}
    for _, names, value, *_ in rows:
        several = re.findall(r"`([a-z_]+)`", names)
        values = value.split(",") if len(several) > 1 else [value] * len(several)
        found.update({n: v.strip() for n, v in zip(several, values, strict=False)})
    return found


@pytest.fixture
def one_core() -> Iterator[None]:
    """Let what is started run on one core: threads that wait for each other crawl on a busy one."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_core")
def test_the_pages_python_runs_as_it_stands_there(
    pocket: ModuleType,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pocket.make_text_model(tmp_path / "model.gguf", template=TOOLS)
    shutil.copy(tiny.parent / "mmproj-tiny.gguf", tmp_path / "mmproj.gguf")
    Image.new("RGB", (90, 70), "red").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    assert len(blocks) == 4
    try:
        for block in blocks:
            if "async for" in block:
                wrapped = "async def example():\n" + textwrap.indent(block, "    ")
                exec(compile(wrapped, PAGE.name, "exec"), names)
                asyncio.run(names["example"]())  # type: ignore[operator]
            else:
                exec(compile(block, PAGE.name, "exec"), names)
    finally:
        names["model"].close()  # type: ignore[attr-defined]
    assert capsys.readouterr().out.count("I see red 😀.") == 3


def test_the_page_names_every_setting_and_option_with_its_default() -> None:
    settings = {name: field.default for name, field in Settings.model_fields.items()}
    options = {option.name: option.default for option in fields(Options)}
    options["context_tokens"] = signature(LocalVisionChat.open).parameters["context_tokens"].default
    for heading, defaults in (
        ("How an answer is written", settings),
        ("How a model is loaded", options),
    ):
        told = table(heading)
        assert set(told) == set(defaults)
        for name, default in defaults.items():
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            if default is not None:  # otherwise words say what it comes to
                assert told[name].strip("`") == shown, name


def test_the_page_names_every_counter() -> None:
    (last,) = Chunks("m").of(Outcome("stop"))
    section = PAGE.read_text("utf-8").split("## What an answer tells\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    told = set(re.findall(r"`([a-z_]+)`", " ".join(rows)))
    assert told == set(last.message.response_metadata["engine"])
