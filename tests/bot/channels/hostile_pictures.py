"""Malformed pictures for the tests of row 8, whichever way they come; the same each time."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from retrievers.errors import PictureRefused
from retrievers.imaging import read_picture

KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
#: What nobody is told of a picture: words of exceptions, of a library, of places on this machine
FOREIGN = ("Error", "Traceback", "site-packages", "/tmp", " at 0x", "PIL", "object at")

#: A machine that is too busy for its own Redis says so, and whoever asked asks again
LATER = "cannot be reached now. Ask again"


def good(kind: str, chance: random.Random | None = None) -> bytes:
    """Return a small picture that is well."""
    chance = chance or random.Random(0)
    out, size = io.BytesIO(), (chance.randrange(1, 90), chance.randrange(1, 90))
    mode, channels = chance.choice([("RGB", 3), ("L", 1)])
    image = Image.frombytes(mode, size, chance.randbytes(channels * size[0] * size[1]))
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


def held(pid: int, what: str) -> float:
    """Return megabytes that a process holds (VmRSS), or held at most (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith(what))


def foreign(told: str) -> list[str]:
    """Return what stands in a text that nobody is to be told."""
    return [word for word in FOREIGN if word in told]


def refused(data: bytes) -> bool:
    """Return whether such a picture is refused, by the one way in which pictures are read."""
    try:
        read_picture(data)
    except PictureRefused:
        return True
    return False


def forget_most() -> None:
    """Let what this process held at most (VmHWM) begin anew."""
    Path("/proc/self/clear_refs").write_text("5")
