"""Jobs that are stopped, killed and drained while files are being taken in, by real processes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from bot.service.stores.shared_redis import SharedRedis

GRACE = 5.0


async def many(client: httpx.AsyncClient, picture: bytes, count: int = 60) -> httpx.Response:
    """Upload so many pictures that their taking in can be met while it goes on."""
    files = [("files", (f"p{n:02}.jpg", picture)) for n in range(count)]
    answer = await client.post("/v1/sources", files=files)
    assert answer.status_code == 202, answer.text
    return answer


async def until(client: httpx.AsyncClient, address: str, **wanted: Any) -> dict[str, Any]:
    """Follow a job until it is as wanted, or over."""
    async with client.stream("GET", f"{address}/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                job: dict[str, Any] = json.loads(line.removeprefix("data: "))
                reached = bool(wanted) and all(job[k] >= v for k, v in wanted.items())
                if reached or job["ended"] is not None:
                    return job
    raise AssertionError("the stream ended before the job did")


async def answering(client: httpx.AsyncClient, running: Any) -> None:
    """Return once the service answers: its address is told before."""
    while running.returncode is None:
        with suppress(httpx.ConnectError):
            await client.get("/livez")
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the service ended before it was there")


@asynccontextmanager
async def process(library: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    """Run `bifocal serve` over a library."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve", "--port", "0", "--library", str(library),
        "--model", "extractive",
        env={**os.environ, "BIFOCAL_SERVE_GRACE_SECONDS": str(GRACE)},
        stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert running.stderr is not None
    try:
        line = b""
        while b"http://" not in line:
            line = await running.stderr.readline()
            assert line, "the service ended before it was there"
        url = line.decode().split()[-1]
        draining = asyncio.create_task(running.stderr.read())
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            await answering(client, running)
            yield client, running
        if running.returncode is None:
            running.terminate()
        await running.wait()
        await draining
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def test_a_job_is_stopped_after_the_file_in_hand_and_what_was_taken_in_stays(
    serve: Any, demo_files: Path
) -> None:
    picture = (demo_files / "lighthouse.jpg").read_bytes()
    async with serve() as served:
        address = (await many(served.client, picture)).headers["location"]
        await until(served.client, address, done=1)
        await served.client.delete(address)
        job = await until(served.client, address)
        assert job["state"] == "stopped"
        states = [f["state"] for f in job["files"]]
        assert 0 < states.count("indexed") < len(states)
        listed = (await served.client.get("/v1/sources?limit=1000")).json()["sources"]
        kept = {s["name"] for s in listed if s["uploaded"]}
        assert kept == {f["name"] for f in job["files"] if f["state"] == "indexed"}
        on_disk = {p.name for p in (served.settings.library / "uploads").iterdir()}
        assert on_disk == kept


async def test_a_service_that_is_told_to_end_does_so_in_the_midst_of_a_job(
    demo_library: Path, demo_files: Path, serve: Any
) -> None:
    picture = (demo_files / "lighthouse.jpg").read_bytes()
    async with process(demo_library) as (client, running):
        address = (await many(client, picture)).headers["location"]
        await until(client, address, done=1)
        running.terminate()
        async with asyncio.timeout(60):
            await running.wait()
    async with serve() as served:
        job = (await served.client.get(address)).json()
        assert job["state"] == "failed"
        assert "upload again" in job["reason"]


async def test_the_job_of_a_killed_process_is_told_as_failed_and_its_files_can_come_again(
    demo_library: Path, demo_files: Path, serve: Any
) -> None:
    picture = (demo_files / "lighthouse.jpg").read_bytes()
    async with serve() as served, await SharedRedis.of(served.settings) as redis:
        async with process(demo_library) as (client, running):
            address = (await many(client, picture)).headers["location"]
            await until(client, address, done=1)
            assert (await served.client.get(address)).json()["state"] == "running"
            running.send_signal(signal.SIGKILL)
            await running.wait()
        assert (await served.client.get(address)).json()["state"] == "running"
        id = address.rpartition("/")[2]

        async def later(client: Any) -> None:  # what twenty seconds do
            for key in (f"bifocal:default:{{job:{id}}}:alive", "bifocal:{library:default}:ingest"):
                assert 0 < await client.pttl(key) <= 20_000
                await client.pexpire(key, 1)

        await redis.write(later)
        job = await until(served.client, address)
        assert (job["state"], "upload again" in job["reason"]) == ("failed", True)
        again = (await many(served.client, picture, 3)).headers["location"]
        done = await until(served.client, again)
        assert done["state"] == "done"
        assert {f["state"] for f in done["files"]} <= {"indexed", "unchanged"}
