"""Bad pictures through every way in: row 8.

A few hundred in the ordinary run; 2,000 with ``BIFOCAL_FULL=1``.
"""

import asyncio
import base64
import io
import itertools
import os
import sys
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from hostile_pictures import foreign, held, malformed
from PIL import Image

FULL = bool(os.environ.get("BIFOCAL_FULL"))
MANY = 2000 if FULL else 200
MOST_MB = 300


async def in_json(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    """Send a picture with a turn, as base64."""
    picture = {"data": base64.b64encode(data).decode(), "name": "x.png", "alt": "x"}
    return await client.post("/v1/turns", json={"text": "What is this?", "pictures": [picture]})


async def in_a_form(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    """Send a picture with a turn, as a file of a form."""
    files = {"pictures": ("x.png", data, "image/png")}
    return await client.post("/v1/turns", data={"text": "What is this?"}, files=files)


async def raw(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    """Upload a picture as the body."""
    return await client.post("/v1/pictures", content=data, headers={"Content-Type": "image/png"})


async def uploaded(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    """Upload a picture as a file of a form, and look at it if it was taken."""
    answer = await client.post("/v1/pictures", files={"file": ("x.gif", data, "image/gif")})
    if answer.is_success:
        return await client.get(f"/v1/pictures/{answer.json()['id']}")
    return answer


WAYS = (in_json, in_a_form, raw, uploaded)


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
@pytest.mark.timeout(MANY * 10)
async def test_a_bad_picture_is_taken_or_refused_whichever_way_it_comes_and_nothing_more(
    run_service: Any,
) -> None:
    """No error of the service, no words of a library's exception, no death, and little memory."""
    seen: Counter[int] = Counter()
    slowest = 0.0
    async with run_service(BIFOCAL_SERVE_TURNS_WAITING="1000") as running:
        pid = running.process.pid
        buffer = io.BytesIO()
        Image.new("RGB", (300, 200), "teal").save(buffer, "PNG")
        for way in WAYS:  # loads what reads the writing in pictures
            assert (await way(running.client, buffer.getvalue())).is_success
        before = held(pid, "VmRSS")
        work = zip(malformed(MANY), itertools.cycle(WAYS), strict=False)
        for data, way in work:
            ways = WAYS if FULL else (way,)
            for sends in ways:
                began = time.monotonic()
                answer = await sends(running.client, data)
                slowest = max(slowest, time.monotonic() - began)
                seen[answer.status_code] += 1
                assert answer.status_code < 500, (sends, data[:100], answer.text)
                if answer.status_code >= 400:
                    check(answer)
        grown = held(pid, "VmHWM") - before
        assert running.process.returncode is None
        assert (await running.client.get("/livez")).is_success
        log = running.log.read_text()
    assert seen[422] > MANY / 4
    assert grown <= MOST_MB
    assert "Traceback" not in log
    told = f"{dict(seen)}, {grown:.0f} MB more at most, the slowest took {slowest:.2f} s\n"
    sys.stdout.write(told)


def check(answer: httpx.Response) -> None:
    """What is refused is told by a problem document of our own words."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert foreign(answer.text) == []


async def test_many_bad_pictures_at_once_leave_the_service_well(serve: Any) -> None:
    async with serve() as served:
        answers = await asyncio.gather(
            *(
                way(served.client, data)
                for data, way in zip(malformed(60), itertools.cycle(WAYS), strict=False)
            )
        )
        assert all(
            answer.status_code < 500 or "retry-after" in answer.headers for answer in answers
        )
        after = await served.client.post("/v1/turns", json={"text": "How tall is the lighthouse?"})
        assert "34 metres" in after.json()["text"]
