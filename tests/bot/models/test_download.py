"""A pinned file arrives whole or not at all, whatever the line does."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bot.errors import ModelError
from bot.models.catalog import PinnedFile
from bot.models.download import Unreachable, check_room, fetch

Hub = Any  # see conftest

SIZE = 300_000
DATA = random.Random(7).randbytes(SIZE)
REVISION = "0" * 40


def pin(data: bytes = DATA, *, size: int | None = None) -> PinnedFile:
    digest = hashlib.sha256(data).hexdigest()
    return PinnedFile("org/repo", REVISION, "model.gguf", size or len(data), digest)


@pytest.fixture
def file(hub: Hub) -> PinnedFile:
    """A file that the hub has."""
    hub.files["model.gguf"] = DATA
    return pin()


def left(folder: Path) -> set[str]:
    """Return what lies in a folder, but for its lock."""
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_a_file_is_fetched_at_its_revision_and_gets_its_name(
    hub: Hub, file: PinnedFile, tmp_path: Path
) -> None:
    seen: list[int] = []
    path = fetch(file, tmp_path / "new", seen.append)
    assert path.read_bytes() == DATA
    assert left(tmp_path / "new") == {"model.gguf"}
    assert hub.asked == [f"/org/repo/resolve/{REVISION}/model.gguf bytes=0-"]
    assert seen == sorted(seen)
    assert seen[-1] == SIZE


def test_a_redirect_is_followed(hub: Hub, file: PinnedFile, tmp_path: Path) -> None:
    hub.elsewhere = True
    assert fetch(file, tmp_path).read_bytes() == DATA
    assert hub.asked[-1].startswith("/cdn/")


def test_a_line_that_breaks_is_taken_up_where_it_broke(
    hub: Hub, file: PinnedFile, tmp_path: Path
) -> None:
    hub.cut = [30_000] * 9
    assert fetch(file, tmp_path).read_bytes() == DATA
    ranges = [asked.rpartition(" ")[2] for asked in hub.asked]
    assert ranges == [f"bytes={n * 30_000}-" for n in range(10)]
    assert hub.sent == SIZE


def test_ctrl_c_keeps_what_came_and_the_next_time_only_the_rest_is_asked_for(
    hub: Hub, file: PinnedFile, tmp_path: Path
) -> None:
    def stop(done: int) -> None:
        if done >= 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(file, tmp_path, stop)
    kept = (tmp_path / "model.gguf.part").stat().st_size
    assert 100_000 <= kept < SIZE
    assert fetch(file, tmp_path).read_bytes() == DATA
    assert hub.asked[-1].endswith(f" bytes={kept}-")
    assert left(tmp_path) == {"model.gguf"}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_process_that_is_killed_leaves_a_part_and_no_lock(
    hub: Hub, file: PinnedFile, tmp_path: Path
) -> None:
    hub.hold = threading.Event()
    code = (
        "import sys; from pathlib import Path\n"
        "from bot.models.catalog import PinnedFile; from bot.models.download import fetch\n"
        "fetch(PinnedFile(*sys.argv[2:5], int(sys.argv[5]), sys.argv[6]), Path(sys.argv[1]))"
    )
    pinned = (file.repository, file.revision, file.name, str(file.size), file.sha256)
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), *pinned])
    assert hub.held.wait(60)
    part = tmp_path / "model.gguf.part"
    while not part.exists():
        assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    child.wait(60)
    hub.hold.set()
    hub.hold, kept = None, part.stat().st_size
    assert fetch(file, tmp_path).read_bytes() == DATA
    assert hub.asked[-1].endswith(f" bytes={kept}-")


def test_other_content_of_the_same_size_is_deleted_and_both_hashes_are_told(
    hub: Hub, file: PinnedFile, tmp_path: Path
) -> None:
    flipped = bytes([DATA[0] ^ 1]) + DATA[1:]
    hub.files["model.gguf"] = flipped
    with pytest.raises(ModelError, match=r"^model\.gguf: .* it was deleted") as caught:
        fetch(file, tmp_path)
    assert hashlib.sha256(flipped).hexdigest() in str(caught.value)
    assert file.sha256 in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == set()


def test_a_part_of_something_else_never_becomes_the_file(
    hub: Hub, file: PinnedFile, tmp_path: Path
) -> None:
    part = tmp_path / "model.gguf.part"
    part.write_bytes(b"something else")
    with pytest.raises(ModelError, match="SHA-256"):
        fetch(file, tmp_path)
    assert left(tmp_path) == set()
    part.write_bytes(b"x" * (SIZE + 1))  # longer than the whole: not worth keeping
    assert fetch(file, tmp_path).read_bytes() == DATA


def test_a_part_that_is_already_whole_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "model.gguf.part").write_bytes(DATA)
    assert fetch(pin(), tmp_path).read_bytes() == DATA


def test_a_server_without_ranges_begins_again(hub: Hub, file: PinnedFile, tmp_path: Path) -> None:
    hub.ranges = False
    (tmp_path / "model.gguf.part").write_bytes(DATA[:1000])
    assert fetch(file, tmp_path).read_bytes() == DATA
    assert hub.sent == SIZE


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 10**15])
def test_a_file_of_another_size_is_refused_before_it_is_written(
    hub: Hub, file: PinnedFile, tmp_path: Path, size: int
) -> None:
    hub.size = size
    (tmp_path / "model.gguf.part").write_bytes(DATA[:1000])
    with pytest.raises(ModelError, match=f"offers {size:,} bytes, not the {SIZE:,}"):
        fetch(file, tmp_path)
    assert (tmp_path / "model.gguf.part").read_bytes() == DATA[:1000]


def test_a_login_page_does_not_cost_what_is_there_already(
    hub: Hub, file: PinnedFile, tmp_path: Path
) -> None:
    hub.files["model.gguf"], hub.ranges = b"<html>please log in</html>", False
    (tmp_path / "model.gguf.part").write_bytes(DATA[:1000])
    with pytest.raises(ModelError, match="something between alters it"):
        fetch(file, tmp_path)
    assert (tmp_path / "model.gguf.part").read_bytes() == DATA[:1000]


def test_more_than_was_said_is_cut_off(hub: Hub, file: PinnedFile, tmp_path: Path) -> None:
    hub.chunked = True
    with pytest.raises(ModelError, match=f"sends more than the {SIZE:,} bytes"):
        fetch(file, tmp_path)
    assert not (tmp_path / "model.gguf").exists()
    assert (tmp_path / "model.gguf.part").stat().st_size <= SIZE


def test_a_server_that_always_hangs_up_is_given_up_and_the_part_stays(
    hub: Hub, file: PinnedFile, tmp_path: Path
) -> None:
    hub.cut = [1000] + [0] * 100
    with pytest.raises(Unreachable, match="cannot be reached"):
        fetch(file, tmp_path)
    assert len(hub.asked) < 10
    assert (tmp_path / "model.gguf.part").stat().st_size == 1000


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_status_is_told_with_the_files_name(
    hub: Hub, file: PinnedFile, tmp_path: Path, status: int
) -> None:
    hub.status = status
    with pytest.raises(Unreachable, match=f"answers {status} for model.gguf"):
        fetch(file, tmp_path)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "nonsense", "http://[x"])
def test_no_network_is_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        fetch(pin(), tmp_path)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == set()


def test_a_disk_that_is_too_small_is_told_before_anything_is_asked_for(
    hub: Hub, file: PinnedFile, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"^model\.gguf: 1000000\.\d GB of disk are needed"):
        fetch(pin(size=10**15), tmp_path)
    assert hub.asked == []
    with pytest.raises(ModelError, match=r"^model\.gguf and model\.gguf: "):
        check_room((file, pin(size=10**15)), tmp_path / "not" / "yet")
    check_room((file, file), tmp_path / "not" / "yet")


def test_two_at_once_do_not_spoil_each_other(hub: Hub, file: PinnedFile, tmp_path: Path) -> None:
    hub.hold = threading.Event()
    first = threading.Thread(target=fetch, args=(file, tmp_path))
    first.start()
    assert hub.held.wait(60)
    with pytest.raises(ModelError, match="another process is fetching it"):
        fetch(file, tmp_path)
    hub.hold.set()
    first.join(60)
    assert (tmp_path / "model.gguf").read_bytes() == DATA
    assert len(hub.asked) == 1


def test_a_file_put_there_by_hand_is_checked_and_not_fetched(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(DATA)
    assert fetch(pin(), tmp_path).read_bytes() == DATA
    (tmp_path / "model.gguf").write_bytes(DATA[:-1] + b"?")
    with pytest.raises(ModelError, match=r"damaged, or another file; delete it and run"):
        fetch(pin(), tmp_path)
    (tmp_path / "model.gguf").write_bytes(DATA[:-1])
    with pytest.raises(ModelError, match=r"has 299,999 bytes, not 300,000"):
        fetch(pin(), tmp_path)
    assert hub.asked == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder it cannot write")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ModelError, match="Permission denied"):
        fetch(pin(), tmp_path / "new")
    tmp_path.chmod(0o700)


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("x")
    with pytest.raises(ModelError, match=r"File exists|Not a directory"):
        fetch(pin(), tmp_path / "models")
