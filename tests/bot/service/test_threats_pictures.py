"""Bad pictures through every way in: row 8.

A few hundred in the ordinary run; 2,000 with ``BIFOCAL_FULL=1``.
"""

import asyncio
import base64
import io
import itertools
import os
import random
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

FULL = bool(os.environ.get("BIFOCAL_FULL"))
MANY = 2000 if FULL else 200
MOST_MB = 300
KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def good(kind: str, chance: random.Random) -> bytes:
    """Return a small picture that is well."""
    out, size = io.BytesIO(), (chance.randrange(1, 90), chance.randrange(1, 90))
    image = Image.effect_noise(size, 50).convert(chance.choice(["RGB", "L"]))
    image.save(out, kind)
    return out.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG that claims a size and holds those chunks."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    made = [(b"IHDR", head), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in made
    )


def odd() -> Iterator[bytes]:
    """Yield pictures that are wrong in a way of their own."""
    bomb = zlib.compress(b"\0" * 20_000_000)
    yield from (
        b"",
        b"\0",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"RIFF",
    )
    yield png(60_000, 60_000, (b"IDAT", bomb))
    yield png(4000, 4000, (b"IDAT", bomb))
    yield png(2**31 - 1, 1, (b"IDAT", bomb))
    yield png(0, 0, (b"IDAT", bomb))
    yield png(16_000, 10, (b"IDAT", bomb))
    yield png(10, 10, (b"zTXt", b"a\0\0" + bomb), (b"IDAT", zlib.compress(b"\0" * 310)))
    yield png(10, 10, (b"iCCP", b"a\0\0" + bomb), (b"IDAT", zlib.compress(b"\0" * 310)))
    yield png(10, 10, (b"eXIf", b"MM\0*\0\0\0\x08\xff\xff"), (b"IDAT", zlib.compress(b"\0" * 310)))
    yield b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b",\0\0\0\0" + b"\xff" * 40
    yield b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 9**9, 9**9, 1, 24, 0, 0, 0, 0, 0, 0
    )
    yield b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + b"\0\1\4\0\xff\xff\xff\xff" * 500
    yield b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    yield b"%PDF-1.4 %!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    yield b"P6 9 9 255 " + b"\0" * 300
    yield b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 200


def malformed(count: int) -> Iterator[bytes]:
    """Yield so many pictures, the odd ones first: cut, with bytes changed, glued together."""
    chance = random.Random(8)
    yield from (made := list(odd()))
    for number in range(count - len(made)):
        data = bytearray(good(KINDS[number % len(KINDS)], chance))
        way = chance.randrange(4)
        if way == 0:
            data = data[: chance.randrange(len(data))]
        elif way == 1:
            for _ in range(chance.randrange(1, 30)):
                data[chance.randrange(len(data))] = chance.randrange(256)
        elif way == 2:  # where sizes and offsets stand
            for at in chance.sample(range(min(64, len(data))), min(4, len(data))):
                data[at] = chance.choice([0, 1, 127, 128, 254, 255])
        else:
            other = good(chance.choice(KINDS), chance)
            data = data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]
        yield bytes(data)


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


def held(pid: int, what: str) -> float:
    """Return megabytes that a process holds (VmRSS), or held at most (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith(what))


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
    for word in ("Error", "Traceback", "site-packages", "/tmp", " at 0x", "PIL", "object at"):
        assert word not in answer.text, answer.text


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
