"""What the local model's page of documentation shows works as it stands there."""

import asyncio
import re
import shutil
import textwrap
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from bot.models.llama.asked import Settings
from bot.models.llama.chunks import Chunks
from bot.models.llama.values import Options, Outcome

PAGE = Path(__file__).parents[3] / "docs" / "local-model.md"
TOOLS = (
    "{% for t in tools %}{{ t | tojson }}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls %}{{ c.function | tojson }}"
    "{% endfor %}<|im_end|>\n"
    "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)


def table(heading: str) -> set[str]:
    """Return the names in the first column of the table under a heading."""
    section = PAGE.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}


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


def test_the_page_names_every_setting_option_and_counter() -> None:
    assert table("How an answer is written") == set(Settings.model_fields)
    assert table("How a model is loaded") == {option.name for option in fields(Options)}
    (last,) = Chunks("m").of(Outcome("stop"))
    assert table("What an answer tells") == set(last.message.response_metadata["engine"])
