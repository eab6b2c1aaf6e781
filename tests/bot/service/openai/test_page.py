"""What ``docs/openai.md`` shows works as it stands there."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[4] / "docs" / "openai.md"


async def test_every_example_of_the_page_runs(serve: Any, demo_files: Path, tmp_path: Path) -> None:
    """In their order, in a program of their own; the first prints what the page says it does."""
    text = PAGE.read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    (printed,) = re.findall(r"^```\n\n```\n(.*?)^```", text, re.S | re.M)
    assert len(blocks) == 6
    shutil.copy(demo_files / "lighthouse.jpg", tmp_path / "lighthouse.jpg")
    async with serve() as served:
        program = "\nprint('==')\n".join(blocks).replace("http://localhost:8000", served.url)

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-c", program],
                cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip

        done = await asyncio.to_thread(run)
        kept = await served.server.config.app.inner.state.bots.history.load("skerrin")
    assert done.returncode == 0, done.stderr
    shown = done.stdout.split("==\n")
    assert shown[0] == printed
    assert "163" in shown[1]
    assert shown[2] == printed.rstrip("\n")
    assert shown[3].startswith("skerrin-guide.md The lighthouse")
    assert "163" in kept.turns[1].answer.text
    assert "34 metres" in shown[5]
