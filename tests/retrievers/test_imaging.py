"""A picture of any size is refused or taken in with little memory, and upright."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

from retrievers.errors import PictureRefused
from retrievers.imaging import MAX_PIXELS, read_picture

MOST_MB = 300
# (file, mode, size, how it is saved): one at the limit for each kind, and JPEGs over it
LARGE: list[tuple[str, str, tuple[int, int], dict[str, Any]]] = [
    ("rgba.png", "RGBA", (5000, 5000), {}),
    ("la.png", "LA", (5000, 5000), {}),
    ("grey16.png", "I;16", (5000, 5000), {}),
    ("turned.png", "RGBA", (5000, 5000), {"orientation": 6}),
    ("turned.webp", "RGB", (4000, 4000), {"orientation": 6}),
    ("clear.webp", "RGBA", (4000, 4000), {}),
    ("turned.tiff", "RGB", (5000, 5000), {"orientation": 6, "compression": "tiff_deflate"}),
    ("float.tiff", "F", (5000, 5000), {"compression": "tiff_deflate"}),
    ("clear.gif", "P", (5000, 5000), {"transparency": 0}),
    ("cmyk.jpg", "CMYK", (7999, 7999), {}),
    ("turned.jpg", "RGB", (7999, 7999), {"orientation": 6}),
    ("progressive.jpg", "RGB", (5000, 5000), {"progressive": True, "subsampling": 0}),
    ("progressive-cmyk.jpg", "CMYK", (4000, 4000), {"progressive": True}),
]
# VmHWM and not ru_maxrss: that one begins at the peak of the process that started this one
MEASURE = """
import json, sys
from pathlib import Path
from PIL import Image
from retrievers.imaging import read_picture
Image.init()
data = Path(sys.argv[1]).read_bytes()
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("VmHWM"))
before = peak()
picture = read_picture(data)
print(json.dumps([peak() - before, picture.width, picture.height, picture.media_type]))
"""


def _saved(path: Path, mode: str, size: tuple[int, int], how: dict[str, Any]) -> Path:
    how = dict(how)
    if "orientation" in how:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = how.pop("orientation")
        how["exif"] = exif.tobytes()
    Image.new(mode, size).save(path, **how)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(("name", "mode", "size", "how"), LARGE, ids=[case[0] for case in LARGE])
def test_a_large_picture_takes_at_most_300_mb(
    tmp_path: Path, name: str, mode: str, size: tuple[int, int], how: dict[str, Any]
) -> None:
    path = _saved(tmp_path / name, mode, size, how)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    grown, width, height, media_type = json.loads(done.stdout)
    assert width * height <= MAX_PIXELS
    assert grown <= MOST_MB, (name, grown, media_type)


def _encoded(kind: str, size: tuple[int, int], mode: str = "RGB", **how: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **how)
    return out.getvalue()


def test_a_phones_large_jpeg_is_taken_at_half_its_size_and_stored_so() -> None:
    taken = read_picture(_encoded("JPEG", (8000, 6000)))
    assert (taken.width, taken.height, taken.media_type) == (4000, 3000, "image/jpeg")
    with Image.open(io.BytesIO(taken.data)) as stored:
        assert stored.size == (4000, 3000)


@pytest.mark.parametrize(
    ("kind", "size", "mode", "how", "most"),
    [
        ("JPEG", (8100, 8000), "RGB", {}, 64),
        ("JPEG", (6000, 5000), "RGB", {"progressive": True}, 25),
        ("JPEG", (4100, 4000), "CMYK", {"progressive": True}, 16),
        ("WEBP", (4100, 4000), "RGB", {}, 16),
        ("PNG", (7999, 7999), "1", {}, 25),
    ],
)
def test_a_picture_that_would_take_too_much_memory_is_refused_with_its_limit(
    kind: str, size: tuple[int, int], mode: str, how: dict[str, Any], most: int
) -> None:
    said = rf"{size[0]}x{size[1]} pixels, the most is {most} megapixels .* make it smaller"
    with pytest.raises(PictureRefused, match=said):
        read_picture(_encoded(kind, size, mode, **how))


def test_transparent_pixels_lie_on_white_in_every_row() -> None:
    clear = Image.new("RGBA", (20, 600), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 590, 20, 600))
    image = read_picture(clear).image
    assert {image.getpixel((3, y)) for y in (0, 255, 256, 511, 512, 589)} == {(255, 255, 255)}
    assert image.getpixel((3, 595)) == (0, 0, 255)


@pytest.mark.parametrize("given", [123, None, [b"x"], 1.5])
def test_what_is_no_picture_at_all_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(PictureRefused, match=r"is no picture: give a path, encoded bytes or"):
        read_picture(given)


def test_a_jpeg_with_a_second_picture_in_it_is_a_jpeg() -> None:
    out = io.BytesIO()
    first = Image.new("RGB", (64, 48), "teal")
    first.save(out, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    assert read_picture(out.getvalue()).media_type == "image/jpeg"
