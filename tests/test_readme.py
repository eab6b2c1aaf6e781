"""What the README shows works as it stands there."""

import asyncio
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bot.demo import copy_library

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README's examples speak of: files, a picture and ``library/``."""
    copy_library(tmp_path / "papers")
    shutil.copy(tmp_path / "papers" / "lighthouse.jpg", tmp_path / "lighthouse.jpg")
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "bot", "ingest", "papers", "--library", "library"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return tmp_path


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.S | re.M)
    assert found
    return list(found)


def test_the_readmes_python_runs_as_it_stands_there(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synchronous, asynchronous = blocks("python")
    assert len(synchronous.strip().splitlines()) <= 7
    names: dict[str, object] = {}
    exec(compile(synchronous, "README.md", "exec"), names)
    names["bot"].close()  # type: ignore[attr-defined]
    assert "34 metres" in capsys.readouterr().out
    wrapped = "async def example():\n" + textwrap.indent(asynchronous, "    ")
    exec(compile(wrapped, "README.md", "exec"), names)
    asyncio.run(names["example"]())  # type: ignore[operator]


def test_every_setting_and_command_that_the_readme_names_is_there() -> None:
    from bot.cli import app
    from bot.cli_conversations import conversations_app
    from bot.settings import Settings

    text = README.read_text("utf-8")
    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    groups = {group.name for group in app.registered_groups}
    for name in set(re.findall(r"bifocal ([a-z]+)", text)) - {"is", "backend"}:
        assert name in commands | groups, name
    assert conversations_app.registered_commands
    table = text[text.index("| setting |") :].split("\n\n")[0]
    for name in re.findall(r"`([a-z_]+)`", " ".join(r.split("|")[1] for r in table.splitlines())):
        assert name in Settings.model_fields, name
