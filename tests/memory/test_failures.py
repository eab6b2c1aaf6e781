"""Redis slow, full, gone, or refusing: one clear line each, in time, and nothing half done."""

import asyncio
import os
import random
import re
import shutil
import signal
import ssl
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import exceptions as rx
from redis.asyncio.sentinel import MasterNotFoundError

from memory.client import Link, explain
from memory.errors import HistoryUnavailable
from memory.messages import Conversation, PictureRef, Turn
from memory.redis_history import RedisHistory
from memory.redis_server import ask

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
StartServer = Callable[..., int]

FULL = bool(os.environ.get("BIFOCAL_FULL"))  #: the full counts of each promise


async def refusal(url: str, timeout: float = 2.0) -> HistoryUnavailable:  # noqa: ASYNC109
    with pytest.raises(HistoryUnavailable) as caught:
        await RedisHistory.open(url, timeout=timeout)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_a_wrong_password_is_told_at_once_and_never_shown(start_server: StartServer) -> None:
    port = start_server("--requirepass", "right")
    for url in (
        f"redis://:wr0ng-s3cret@127.0.0.1:{port}/0",
        f"redis://user:wr0ng-s3cret@127.0.0.1:{port}/0",
        f"redis://127.0.0.1:{port}/0?password=wr0ng-s3cret",
    ):
        error = await refusal(url)
        assert "refuses the login" in str(error)
        assert f"127.0.0.1:{port}" in str(error)
        assert isinstance(error.__cause__, rx.AuthenticationError)
        assert "s3cret" not in f"{error} {error.__cause__} {error.__context__}"
    assert "login" in str(await refusal(f"redis://127.0.0.1:{port}/0"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa/ss3cret@127.0.0.1:1/0",
        "redis://:s3cret@127.0.0.1:port/0",
        "http://:s3cret@127.0.0.1/",
        "s3cret",
        "redis://:s3cret@[::1/0",
    ],
)
async def test_an_address_that_is_none_is_one_line_without_its_password(url: str) -> None:
    error = await refusal(url)
    assert "cannot be used" in str(error) or "cannot be reached" in str(error)
    assert "s3cret" not in str(error).replace("'s3cret'", "")
    assert error.__cause__ is None or "s3cret" not in str(error.__cause__)


async def test_a_host_that_is_not_there_is_one_line() -> None:
    assert "cannot be reached" in str(await refusal("redis://127.0.0.1:1/0"))
    assert "cannot be reached" in str(await refusal("unix:///nowhere/redis.sock"))


async def test_a_user_without_permission_is_told(start_server: StartServer) -> None:
    port = start_server("--user", "reader", "on", ">pw", "~other:*", "+ping", "+get", "+client")
    async with await RedisHistory.open(f"redis://reader:pw@127.0.0.1:{port}/0") as history:
        with pytest.raises(HistoryUnavailable, match="does not let this user") as caught:
            await history.load("c1")
        assert isinstance(caught.value.__cause__, rx.NoPermissionError)


async def test_a_full_server_is_told_and_nothing_is_stored(
    start_server: StartServer, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    port = start_server("--maxmemory-policy", "noeviction")
    async with await RedisHistory.open(f"redis://127.0.0.1:{port}/0") as history:
        await history.save("c1", make_turn("kept"))
        ref, blobs = make_picture(1)
        await history._link.client.config_set("maxmemory", 1)
        with pytest.raises(HistoryUnavailable, match="maxmemory reached"):
            await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
        with pytest.raises(HistoryUnavailable, match="nothing was saved"):
            await history.save("c1", make_turn())
        assert [turn.question.text for turn in (await history.load("c1")).turns] == ["kept"]


async def test_a_replica_is_told_apart(start_server: StartServer, make_turn: MakeTurn) -> None:
    port = start_server("--replicaof", "127.0.0.1", "1")
    async with await RedisHistory.open(f"redis://127.0.0.1:{port}/0") as history:
        with pytest.raises(HistoryUnavailable, match="read-only replica"):
            await history.save("c1", make_turn())


async def test_a_server_that_stalls_is_told_at_the_deadline_and_used_again_after_it(
    start_server: StartServer, make_turn: MakeTurn
) -> None:
    port = start_server()
    async with await RedisHistory.open(f"redis://127.0.0.1:{port}/0", timeout=0.3) as history:
        await history.save("c1", make_turn("before"))
        process = int((await history._link.client.info("server"))["process_id"])
        os.kill(process, signal.SIGSTOP)
        for _ in range(3):
            with pytest.raises(HistoryUnavailable, match="did not answer"):
                await history.load("c1")
        with pytest.raises(HistoryUnavailable, match="did not answer"):
            await history.save("c1", make_turn("during"))
        os.kill(process, signal.SIGCONT)
        assert (await history.load("c1")).turns[0].question.text == "before"


async def test_more_work_than_connections_waits_its_turn(
    shared_folder: Path, make_turn: MakeTurn
) -> None:
    tenant = uuid.uuid4().hex
    async with await RedisHistory.open(
        folder=shared_folder, tenant=tenant, connections=2, timeout=60
    ) as history:
        await asyncio.gather(*(history.save(f"c{n % 5}", make_turn()) for n in range(100)))
        pool = history._link.client.connection_pool
        assert len(pool._available_connections) + len(pool._in_use_connections) <= 2
        assert sum(summary.turns for summary in await history.conversations()) == 100


async def test_a_closed_history_says_so(shared_folder: Path) -> None:
    history = await RedisHistory.open(folder=shared_folder)
    await history.aclose()
    with pytest.raises(HistoryUnavailable, match="was closed"):
        await history.load("c1")
    await history.aclose()


@pytest.mark.parametrize("connections", [1, 4])
async def test_cancelled_calls_poison_nothing(
    shared_folder: Path, make_turn: MakeTurn, make_picture: MakePicture, connections: int
) -> None:
    """Eight users, calls cancelled at every point: nobody ever reads another's conversation."""
    chance = random.Random(7)
    store = await RedisHistory.open(
        folder=shared_folder, tenant=uuid.uuid4().hex, connections=connections, timeout=60
    )
    cancelled = 0

    def check(user: int, loaded: Conversation) -> None:
        assert loaded.notices == ()
        assert {turn.question.text for turn in loaded.turns} <= {f"user {user}"}

    async def use(user: int) -> None:
        nonlocal cancelled
        for step in range(625 if FULL else 12):
            ref, blobs = make_picture(1, f"user {user} step {step}".encode())
            if step % 3 == 0:
                call = asyncio.create_task(
                    store.save(f"c{user}", make_turn(f"user {user}", (1,)), (ref,), blobs)
                )
            elif step % 3 == 1:
                call = asyncio.create_task(store.save(f"c{user}", make_turn(f"user {user}")))
            else:
                call = asyncio.create_task(store.load(f"c{user}", last=20))  # type: ignore[arg-type]
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            call.cancel()
            try:
                await call
            except asyncio.CancelledError:
                cancelled += 1
            check(user, await store.load(f"c{user}", last=20))

    await asyncio.gather(*(use(user) for user in range(8)))
    assert cancelled >= 50
    pool = store._link.client.connection_pool
    for user in range(8):
        loaded = await store.load(f"c{user}")
        check(user, loaded)
        for picture in loaded.pictures:
            data = await store.picture(f"c{user}", picture.number)
            assert data.startswith(f"user {user} ".encode())
    assert not pool._in_use_connections
    assert len(pool._available_connections) <= connections
    await store.aclose()


async def test_a_deadline_that_passes_while_replies_are_read_poisons_nothing(
    start_server: StartServer,
) -> None:
    url = f"redis://127.0.0.1:{start_server()}/0"
    link = await Link.open(url, timeout=5, connections=1)
    await link.write(lambda client: client.mset({"a": "A" * 500_000, "b": "B"}))
    late = 0
    for step in range(60):
        try:
            await link.write(lambda client: client.get("a"), limit=step * 2e-5)
        except HistoryUnavailable:
            late += 1
        assert await link.write(lambda client: client.get("b")) == b"B"
    assert late > 0
    await link.aclose()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (rx.BusyLoadingError("Redis is loading"), "still loading"),
        (rx.ClusterDownError("The cluster is down"), "cluster that is down"),
        (rx.MovedError("3999 127.0.0.1:6381"), "one node of a cluster"),
        (rx.ResponseError("MISCONF Redis is configured to save"), "cannot write to its disk"),
        (rx.ResponseError("NOREPLICAS Not enough good replicas"), "too few replicas"),
        (rx.ConnectionError("max number of clients reached"), "maxclients"),
        (rx.ResponseError("Command # 1 (RPUSH MISCONF) of pipeline caused error: x"), "refused a"),
        (rx.ConnectionError("Error 111\nconnecting"), "cannot be reached"),
        (rx.TimeoutError("Timeout reading"), "did not answer"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version"), "over TLS"),
        (rx.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] x"), "ssl_ca_certs=FILE"),
        (rx.TryAgainError("TRYAGAIN"), "from node to node"),
        (rx.ResponseError("This instance has cluster support disabled"), "is no cluster"),
        (MasterNotFoundError("No master found for 'x'"), "know no primary"),
    ],
)
def test_every_error_of_redis_is_one_line_in_plain_words(error: Exception, words: str) -> None:
    told = str(explain(error, "Redis at redis://h:1"))
    assert told.startswith("Redis at redis://h:1 ")
    assert words in told
    assert "\n" not in told


async def test_an_embedded_server_that_died_is_started_again(
    tmp_path: Path, make_turn: MakeTurn
) -> None:
    async with await RedisHistory.open(folder=tmp_path, fsync="always") as history:
        await history.save("c1", make_turn("before"))
        os.kill(int((await history._link.client.info("server"))["process_id"]), signal.SIGKILL)
        loaded = await history.load("c1")
        assert [turn.question.text for turn in loaded.turns] == ["before"]
        await history.save("c1", make_turn("after"))
        assert (await history.load("c1")).total == 2


async def test_a_garbled_value_in_the_append_only_file_is_named_not_believed(
    tmp_path: Path, make_turn: MakeTurn
) -> None:
    """Redis notices nothing inside a value; the record's own checksum does."""
    async with await RedisHistory.open(folder=tmp_path) as history:
        await history.save("c1", make_turn("the price is 100"))
        await history.save("c1", make_turn("and so on"))
    (file,) = append_only_files(tmp_path)
    garbled = file.read_bytes().replace(b'"text":"the price is 100"', b'"text":"the price is 900"')
    assert garbled != file.read_bytes()
    file.write_bytes(garbled)
    async with await RedisHistory.open(folder=tmp_path) as history:
        loaded = await history.load("c1")
        assert [turn.question.text for turn in loaded.turns] == ["and so on"]
        assert "turn 1 of 2" in loaded.notices[0]


def append_only_files(folder: Path) -> list[Path]:
    return [*folder.glob("appendonly.aof"), *folder.glob("appendonlydir/*.incr.aof")]


WRITER = """
import asyncio, hashlib, sys
from pathlib import Path
from memory.errors import HistoryUnavailable
from memory.messages import Message, PictureRef, Turn
from memory.redis_history import RedisHistory

async def main():
    history = await RedisHistory.open(folder=Path(sys.argv[1]), fsync="always", lease=0.3)
    start = int(sys.argv[2])
    for number in range(start, start + 10000):
        data = f"picture {number}".encode() * 3000
        sha = hashlib.sha256(data).hexdigest()
        ref = PictureRef(10**6, sha, "image/png", 1, 1, len(data))
        with_picture = number % 3 == 0
        turn = Turn(str(number), Message("q", (10**6,) if with_picture else ()), Message("a"), 1.0)
        pictures = ((ref,), {sha: data}) if with_picture else ()
        try:
            if number % 2:
                async with history.claim("c1", turn.id, last=1, wait=60) as claim:
                    await history.save("c1", turn, *pictures, claim=claim)
            else:
                await history.save("c1", turn, *pictures, idempotency_key=turn.id)
        except HistoryUnavailable:
            return  # not acknowledged
        print(number, flush=True)
        if Path(sys.argv[3]).exists():
            return

asyncio.run(main())
"""


@pytest.mark.parametrize("victim", ["server", "service"])
async def test_an_acknowledged_turn_survives_a_kill(
    tmp_path: Path, run_python: Callable[..., "subprocess.Popen[str]"], victim: str
) -> None:
    """Rounds of `kill -9` in mid-stream, `appendfsync always`; every other turn by a claim."""
    chance = random.Random(victim)
    acknowledged: list[int] = []
    stop = tmp_path / "stop"
    for round_ in range(100 if FULL else 4):
        writer = run_python(WRITER, str(tmp_path), str(round_ * 10000), str(stop))
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 25)):
            acknowledged.append(int(writer.stdout.readline()))
        socket = Path((tmp_path / "socket").read_text())
        info = ask(socket, "INFO", "server").decode()
        server = int(info.partition("process_id:")[2].split()[0])
        await asyncio.sleep(chance.random() * 0.01)
        os.kill(server if victim == "server" else writer.pid, signal.SIGKILL)
        await asyncio.to_thread(stop.touch)  # a claim would go on with the server's successor
        assert writer.wait(timeout=60) == (0 if victim == "server" else -signal.SIGKILL)
        acknowledged += [int(line) for line in writer.communicate()[0].splitlines()]
        await asyncio.to_thread(stop.unlink)
    async with await RedisHistory.open(folder=tmp_path) as history:
        loaded = await history.load("c1")
        assert loaded.notices == ()
        kept = [int(turn.id) for turn in loaded.turns]
        assert set(acknowledged) <= set(kept)  # none lost
        assert len(set(kept)) == len(kept)  # none doubled
        with_pictures = [turn for turn in loaded.turns if int(turn.id) % 3 == 0]
        assert len(with_pictures) == len(loaded.pictures)  # none torn
        for turn in with_pictures:
            (number,) = turn.question.pictures
            data = await history.picture("c1", number)
            assert data == f"picture {turn.id}".encode() * 3000


def _traced(lines: list[str], ids: list[str]) -> list[str]:
    """Return the ids whose reply left the server after their record was synced to the disk."""
    good = []
    for id in ids:
        at = next((n for n, line in enumerate(lines) if id in line and "aof" in line), len(lines))
        after = lines[at + 1 :]
        synced, sent = (
            next((n for n, line in enumerate(after) if re.search(call, line)), len(after))
            for call in (r"fdatasync\(.*= 0", r"(write|sendto)\(.*(UNIX|sock)")
        )
        if synced < sent:
            good.append(id)
    return good


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
async def test_a_turn_is_acknowledged_only_after_it_is_on_the_disk(
    tmp_path: Path, make_turn: MakeTurn
) -> None:
    """As the kernel saw it: write to the file, fdatasync, and only then the reply."""
    async with await RedisHistory.open(folder=tmp_path, fsync="always", timeout=60) as history:
        server = int((await history._link.client.info("server"))["process_id"])
        out = tmp_path / "trace"
        tracer = await asyncio.create_subprocess_exec(
            *("strace", "-f", "-yy", "-s", "3000", "-o", str(out), "-p", str(server)),
            *("-e", "trace=write,writev,sendto,fdatasync,fsync"),
            stderr=asyncio.subprocess.PIPE,
        )
        assert tracer.stderr is not None
        said = await tracer.stderr.readline()
        if b"attached" not in said:
            await tracer.wait()
            pytest.skip(f"strace may not attach here: {said.decode().strip()}")
        turns = [make_turn() for _ in range(500 if FULL else 25)]
        for number, turn in enumerate(turns):
            if number % 2:
                await history.save("c1", turn)
            else:
                async with history.claim("c1", turn.id, last=0) as claim:
                    await history.save("c1", turn, claim=claim)
        tracer.send_signal(signal.SIGINT)
        await tracer.communicate()
    lines = await asyncio.to_thread(lambda: out.read_text(errors="replace").splitlines())
    ids = [f'id\\":\\"{turn.id}' for turn in turns]
    assert _traced(lines, ids) == ids
