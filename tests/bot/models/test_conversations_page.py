"""What the page on conversations shows works as it stands there."""

import asyncio
import re
import shutil
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from bot import Settings
from bot.build import ingestor
from bot.cli import app
from retrievers.library import Library

PAGE = Path(__file__).parents[3] / "docs" / "conversations.md"


@pytest.fixture
def place(
    pocket: ModuleType,
    tiny: Path,
    demo_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder with what the page speaks of: a library, pictures, and a model with its eyes."""
    shutil.copy(demo_files / "lighthouse.jpg", tmp_path / "lighthouse.jpg")
    shutil.copy(demo_files / "skerrin-guide.md", tmp_path / "skerrin-guide.md")
    Image.new("RGB", (90, 70), "red").save(tmp_path / "photo.jpg")
    pocket.make_text_model(tmp_path / "model.gguf")
    shutil.copy(tiny.parent / "mmproj-tiny.gguf", tmp_path / "mmproj.gguf")
    monkeypatch.chdir(tmp_path)
    settings = Settings(library=Path("library"))
    with Library.open(settings.library, create=True) as library:
        report = ingestor(settings, library).run([Path("skerrin-guide.md")])
    assert report.skipped == []


@pytest.mark.usefixtures("place")
@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
def test_the_pages_python_runs_as_it_stands_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Every example, in the order of the page; what was said in one is known in the next."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    assert len(blocks) == 4
    names: dict[str, object] = {"__name__": "page"}
    printed = []
    try:
        for block in blocks:
            if "async with" in block:
                wrapped = "async def example():\n" + textwrap.indent(block, "    ")
                exec(compile(wrapped, PAGE.name, "exec"), names)
                asyncio.run(names["example"]())  # type: ignore[operator]
            else:
                exec(compile(block, PAGE.name, "exec"), names)
            printed.append(capsys.readouterr().out)
    finally:
        for name in ("bot", "model"):
            if name in names:
                names[name].close()  # type: ignore[attr-defined]
    with_bot, _, with_history, with_graph = printed
    assert "How tall is this? (1,) ->" in with_bot
    assert re.search(r"^1 lighthouse\.jpg \d+ \d+", with_bot, re.M)
    assert "skerrin A trip to Skerrin 2 1" in with_bot
    assert re.search(r"^A trip to Skerrin 2 .*puffins", with_bot, re.M)
    assert with_history.count("I see red") == 2
    assert "['human', 'ai', 'human', 'ai']" in with_history
    assert "I see red" in with_graph


def test_the_page_names_commands_that_there_are() -> None:
    """Every subcommand and option of the page's shell block."""
    (shell,) = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    (group,) = (group for group in app.registered_groups if group.name == "conversations")
    assert group.typer_instance is not None
    commands = {command.name for command in group.typer_instance.registered_commands}
    named = set(re.findall(r"^bifocal conversations ([a-z-]+)", shell, re.M))
    assert named == commands - {"list"}
