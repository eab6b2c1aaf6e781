"""The command, run as a person would: as a process of its own."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bot.demo import questions


def bifocal(*args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", *map(str, args)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
        **more,
    )


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """Check that a command failed in one line, and return the line."""
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr.strip()


def test_ask_prints_the_answer_and_what_it_rests_on(demo_library: Path) -> None:
    result = bifocal("ask", "How tall is the lighthouse?", "--library", demo_library)
    assert result.returncode == 0
    assert "34 metres" in result.stdout
    assert re.search(r"^  \[\d\] skerrin-guide\.md  “", result.stdout, re.MULTILINE)


def test_ask_with_a_picture_and_json_is_for_programs(demo_library: Path) -> None:
    puffin = next(q for q in questions() if q.expect == "puffin")
    assert puffin.picture is not None
    result = bifocal(
        "ask", "What is this?", "--image", puffin.picture, "--json", "-l", demo_library
    )
    answer = json.loads(result.stdout)
    assert "puffin" in answer["text"].lower()
    assert answer["citations"][0]["source"].endswith("puffin.webp")
    assert {"id", "score", "scores", "cited"} <= answer["evidence"][0].keys()


def test_ingest_tells_what_it_did_and_costs_nothing_the_second_time(
    demo_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("boats.csv", "skerrin-guide.md", "puffin.webp"):
        (tmp_path / "in" / name).write_bytes((demo_files / name).read_bytes())
    (tmp_path / "in" / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    first = bifocal("ingest", tmp_path / "in", "-l", tmp_path / "lib", "--json")
    second = bifocal("ingest", tmp_path / "in", "-l", tmp_path / "lib")
    report = json.loads(first.stdout)
    assert (report["indexed"], report["unchanged"], len(report["skipped"])) == (3, 0, 1)
    assert report["skipped"][0][0].endswith("bad.pdf")
    assert re.search(r"indexed\s+0 files", second.stdout)
    assert re.search(r"unchanged\s+[34] files", second.stdout)


def test_ctrl_c_loses_nothing_and_the_next_run_goes_on(demo_files: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bot", "ingest", str(demo_files), "-l", str(tmp_path / "lib")]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        listed = bifocal("sources", "-l", tmp_path / "lib", "--json")
        if listed.returncode == 0 and json.loads(listed.stdout):
            break
    try:
        first.send_signal(signal.SIGINT)
        out, err = first.communicate(timeout=60)
    finally:
        first.kill()
    done = len(json.loads(bifocal("sources", "-l", tmp_path / "lib", "--json").stdout))
    second = json.loads(bifocal("ingest", demo_files, "-l", tmp_path / "lib", "--json").stdout)
    assert "Traceback" not in err
    assert second["unchanged"] == done
    assert second["indexed"] + done == 13
    if first.returncode:  # it was still at work
        assert first.returncode == 130
        assert "Run the same command again" in out


def test_sources_forget_and_status_tell_what_is_there(demo_library: Path) -> None:
    listed = json.loads(bifocal("sources", "-l", demo_library, "--json").stdout)
    assert any(source["name"].endswith("boats.csv") for source in listed)
    assert bifocal("forget", "boats.csv", "-l", demo_library).returncode == 0
    after = json.loads(bifocal("sources", "-l", demo_library, "--json").stdout)
    assert len(after) == len(listed) - 1
    status = bifocal("status", "-l", demo_library).stdout
    assert "what they look like" in " ".join(status.split())
    assert "recall" in status


def test_chat_attaches_pictures_shows_evidence_and_lists_pictures(demo_library: Path) -> None:
    picture = next(q.picture for q in questions() if q.expect == "puffin")
    lines = [f"/image {picture}", "What is this?", "/why", "/pictures", "/nonsense"]
    lines += ["What is in picture 1?", "/why", "/drop x", "/drop 1", "/drop 1", "/quit"]
    result = subprocess.run(
        [sys.executable, "-m", "bot", "chat", "-l", str(demo_library), "-c", "c1"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0
    assert "Attached" in result.stdout
    assert "puffin" in result.stdout.lower()
    assert "Evidence for: What is this?" in result.stdout
    assert "query-1.jpg" in result.stdout
    assert "/nonsense: no such command" in result.stdout
    assert "“picture 1” is picture 1" in result.stdout
    assert "/drop x: give a picture's number" in result.stdout
    assert "Dropped picture 1; its number will not come back." in result.stdout
    assert "picture 1 of conversation 'c1' was dropped" in " ".join(result.stdout.split())
    shown = bifocal("conversations", "show", "c1", "-l", demo_library)
    assert "What is this?" in shown.stdout


def test_chat_in_json_answers_each_line_and_goes_on_after_an_error(demo_library: Path) -> None:
    lines = ["How tall is the lighthouse?", '{"text": "?", "images": ["/none.png"]}', "{broken"]
    result = subprocess.run(
        [sys.executable, "-m", "bot", "chat", "--json", "-l", str(demo_library)],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert "34 metres" in first["text"]
    assert "/none.png" in second["error"]
    assert "not a JSON question" in third["error"]


def test_a_terminal_gets_colours_and_the_cited_picture(demo_library: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "ask", "Which receipt is over 50?", "-l", str(demo_library)],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
    )
    os.close(child)
    output = b""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        try:
            data = os.read(parent, 65536)
        except OSError:  # the process closed its side
            break
        output += data
    os.close(parent)
    assert process.wait(10) == 0
    assert b"73.40" in output
    assert "▀".encode() in output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["ingest", "/nowhere/at/all"], "/nowhere/at/all"),
        (["ask", "Hello?", "--model", "gpt-9"], "gpt-9"),
        (["ask", "Hello?", "--model", "llama:/nowhere/x.gguf"], "/nowhere/x.gguf"),
        (["ask", "Hello?", "--image", "/nowhere/dog.png"], "/nowhere/dog.png"),
        (["ask", ""], "nothing was asked"),
        (["forget", "nothing.md"], "nothing.md"),
        (["conversations", "show", "nobody"], "nobody"),
        (["conversations", "forget", "nobody"], "nobody"),
        (["chat", "--resume", "nobody"], "nobody"),
    ],
)
def test_bad_input_is_one_line_that_names_the_value(
    demo_library: Path, args: list[str], said: str
) -> None:
    assert said in refused(bifocal(*args, "-l", demo_library))


@pytest.mark.parametrize("command", [["ask", "?"], ["sources"], ["status"], ["forget", "x"]])
def test_a_library_that_is_not_there_is_one_line(tmp_path: Path, command: list[str]) -> None:
    assert "bifocal ingest" in refused(bifocal(*command, "-l", tmp_path / "none"))


def test_a_redis_that_is_gone_is_one_line_without_its_password(demo_library: Path) -> None:
    env = {**os.environ, "BIFOCAL_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"}
    line = refused(bifocal("ask", "Hello?", "-l", demo_library, env=env))
    assert "127.0.0.1:1" in line
    assert "hunter2" not in line


def test_a_step_that_fails_is_one_line_without_a_word_of_the_key(demo_library: Path) -> None:
    env = {
        **os.environ,
        "BIFOCAL_MODEL_URL": "http://127.0.0.1:9/v1",
        "BIFOCAL_MODEL_KEY": "sk-hunter2",
    }
    line = refused(bifocal("ask", "Hello?", "-m", "openai:x", "-l", demo_library, env=env))
    assert "openai:x" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [("BIFOCAL_MODLE", "x"), ("BIFOCAL_WEIGHTS", "bm52=3"), ("BIFOCAL_WEIGHTS", "bm25=nan")],
)
def test_a_setting_in_the_environment_that_cannot_be_used_is_one_line(
    demo_library: Path, name: str, value: str
) -> None:
    line = refused(bifocal("sources", "-l", demo_library, env={**os.environ, name: value}))
    assert name.removeprefix("BIFOCAL_").lower() in line


def test_only_files_that_cannot_be_read_end_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.pdf").write_bytes(b"")
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    result = bifocal("ingest", tmp_path / "empty.pdf", tmp_path / "bad.pdf", "-l", tmp_path / "lib")
    assert result.returncode == 1
    assert "empty.pdf" in "".join(result.stdout.split())
    assert bifocal("ingest", "", "-l", tmp_path / "lib").returncode == 2


def test_status_shows_no_password(demo_library: Path) -> None:
    for url in ("redis://:hunter2@localhost/0", "redis://localhost/0?password=hunter2"):
        env = {**os.environ, "BIFOCAL_REDIS_URL": url}
        result = bifocal("status", "-l", demo_library, env=env)
        assert result.returncode == 0
        assert "localhost" in result.stdout
        assert "hunter2" not in result.stdout + result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = bifocal("sources", "-l", tmp_path / "none", "--debug")
    assert "Traceback" in result.stderr


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['bifocal', '--help']\n"
        "from bot.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'llama_cpp', 'faiss', 'onnxruntime', 'redis',\n"
        "         'langchain_core', 'langchain_community', 'numpy', 'PIL', 'pydantic'}\n"
        "print('heavy:', sorted(heavy & sys.modules.keys()))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    for name in ("demo", "ingest", "sources", "forget", "status", "ask", "chat", "reencode"):
        assert name in result.stdout
    assert "heavy: []" in result.stdout
