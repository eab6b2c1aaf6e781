"""What ``docs/http.md`` shows works as it stands there."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bot.demo import copy_library

PAGE = Path(__file__).parents[3] / "docs" / "http.md"


def examples() -> list[str]:
    """Return the page's examples."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)


async def test_every_example_of_the_page_runs(serve: Any, tmp_path: Path) -> None:
    for program in ("curl", "jq", "bash"):
        assert shutil.which(program), f"the examples need {program}"
    copy_library(tmp_path / "files")
    async with serve() as served:
        lines = ["set -euo pipefail", 'curl() { command curl -fsS --noproxy "*" -w "\\n" "$@"; }']
        lines += [f"echo '== {n}'\n{text}" for n, text in enumerate(examples())]
        script = "\n".join(lines).replace("localhost:8000", served.url.removeprefix("http://"))

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["bash", "-c", script], cwd=tmp_path / "files",
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip

        done = await asyncio.to_thread(run)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    shown = done.stdout.split("== ")
    assert len(shown) == len(examples()) + 1 > 8
    assert "34 metres" in shown[1]
    assert "event: done" in shown[3]
    assert "event: end" in done.stdout
    assert (tmp_path / "files" / "cited.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


def test_every_address_that_the_page_names_is_a_route() -> None:
    from bot.service.app import create_app
    from bot.settings import Settings

    paths = create_app(Settings(library=Path("nowhere"))).inner.openapi()["paths"]
    known = [re.sub(r"\{[^}]+\}", "[^/]+", path) + "$" for path in paths]
    named = set(re.findall(r"/v1/[\w/${}.%\-]*", PAGE.read_text("utf-8"))) - {"/v1/"}
    assert len(named) > 15
    for address in named:
        plain = address.rstrip("/.")
        assert any(re.match(path, plain) for path in known), address
