"""What ``docs/client.md`` shows works as it stands there, but for the address."""

import asyncio
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "client.md"


def examples(language: str) -> list[str]:
    """Return the page's examples."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)


async def test_the_pages_examples_run(
    serve: Any,
    demo_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(demo_files / "lighthouse.jpg", tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "gulls.md").write_text("# Gulls\n\nThey are grey.\n")
    async with serve(serve={"keys": "on"}) as served:
        key = (await served.key("anna", write=["default"]))["Authorization"].split()[1]
        ordinary, looped = (text.replace("https://bot.example", served.url)
                            for text in examples("python"))  # fmt: skip
        names: dict[str, Any] = {"key": key}

        def run() -> None:
            exec(compile(ordinary, PAGE.name, "exec"), names)
            names["bot"].close()

        await asyncio.to_thread(run)
        said = capsys.readouterr().out
        assert "34 metres" in said
        assert "163" in said
        wrapped = "async def example():\n" + textwrap.indent(looped, "    ")
        wrapped += "    return answer, picture, report\n"
        exec(compile(wrapped, PAGE.name, "exec"), names)
        answer, picture, report = await names["example"]()
        assert "73.40" in answer.text
        assert picture[:4] == b"\x89PNG"
        assert report.indexed == 1
