"""The one way by which a picture comes in: checked before it is decoded, turned upright, RGB.

Formats are allow-listed, and the caps on bytes, pixels, side and aspect are applied to the header,
before pixels are decoded (a 42 kB file can claim 4 gigapixels). Up to ``MAX_PIXELS`` a picture is
decoded whole; a larger JPEG (phones make up to 50 megapixels), up to ``MAX_JPEG_PIXELS``, at half
its size, since nothing needs more than about 4096 pixels a side. That keeps the memory for one
picture under 300 MB (at most 251 were measured): Pillow takes 4 bytes a pixel, twice that to turn
one. Decoders that take more have a lower limit. Knows nothing of where a picture comes from or
goes to.
"""

import hashlib
import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from retrievers.errors import PictureRefused

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 32 * 1024 * 1024
MAX_PIXELS = 25_000_000
MAX_JPEG_PIXELS = 64_000_000
MAX_HUNGRY_PIXELS = 16_000_000  # WebP takes 16 bytes a pixel, progressive CMYK JPEG 12
MAX_SIDE = 16_384
MAX_ASPECT = 60.0

_BAND = 256  # rows that are laid on white at once
_SLOW_PIXELS = 4_000_000  # above, PNGs are packed fast rather than small
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

PictureLike = str | Path | bytes | Image.Image


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPicture:
    """A picture that was taken in: ``image`` is upright RGB, ``data`` what is stored of it.

    ``data`` are the original bytes where browsers show them upright as they are (PNG, JPEG, WebP
    and GIF without an EXIF rotation), otherwise ``image`` as JPEG (a photograph that was rotated or
    reduced) or PNG; ``sha256`` is of ``data``.
    ``name`` is the file name it came under, or empty.
    """

    image: Image.Image
    data: bytes
    sha256: str
    media_type: str
    name: str = ""

    @property
    def width(self) -> int:
        """Pixels across, upright."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels down, upright."""
        return self.image.height


def read_picture(given: PictureLike, *, name: str = "") -> DecodedPicture:
    """Take in a picture from a path, encoded bytes, or a PIL image.

    Raises ``PictureRefused`` with one line that says what was wrong and what is allowed.
    """
    if isinstance(given, Image.Image):
        return replace(_from_image(given, name or "picture"), name=name)
    if isinstance(given, bytes):
        return replace(_decode(given, name or "picture"), name=name)
    if not isinstance(given, (str, Path)):
        raise PictureRefused(
            f"a {type(given).__name__} is no picture: give a path, encoded bytes or a PIL image"
        )
    path = Path(given).expanduser()
    label = name or path.name
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise PictureRefused(f"{path}: not a file")
        if size > MAX_BYTES:
            raise PictureRefused(
                f"{label}: {size / 1e6:.0f} MB, the most is {MAX_BYTES / 1e6:.0f} MB"
            )
        return _decode(path.read_bytes(), label)
    except OSError as error:
        raise PictureRefused(f"{path}: {error.strerror or error}") from error


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Return ``image`` with its longer side at most ``side`` pixels; never enlarged."""
    if max(image.size) <= side:
        return image
    copy = image.copy()
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    return copy


def encode(image: Image.Image, media_type: str = "image/png", *, quality: int = 88) -> bytes:
    """Return ``image`` encoded as PNG or JPEG."""
    out = io.BytesIO()
    if media_type == "image/jpeg":
        image.save(out, "JPEG", quality=quality)
    else:
        # on 25 megapixels of noise level 6 takes seconds
        image.save(
            out, "PNG", compress_level=6 if image.width * image.height <= _SLOW_PIXELS else 1
        )
    return out.getvalue()


def _decode(data: bytes, name: str) -> DecodedPicture:
    if not data:
        raise PictureRefused(f"{name}: an empty file")
    if len(data) > MAX_BYTES:
        raise PictureRefused(
            f"{name}: {len(data) / 1e6:.0f} MB, the most is {MAX_BYTES / 1e6:.0f} MB"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning: our caps are lower
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                # a JPEG with a second picture in it (MPO) is shown as a JPEG
                kind = "JPEG" if opened.format == "MPO" else opened.format or "PNG"
                reduced = _reduce(opened, kind, name)
                opened.load()
                orientation = opened.getexif().get(_ORIENTATION, 1)
                image = _rgb(opened)
                opened.close()  # frees its pixels
                image = _upright(image, orientation)
    except PictureRefused:
        raise
    except UnidentifiedImageError as error:
        raise PictureRefused(
            f"{name}: not a picture in one of the formats {', '.join(FORMATS)}"
        ) from error
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise PictureRefused(f"{name}: a damaged {_kind(data)} picture") from error
    changed = reduced or orientation in _UPRIGHT
    if changed and kind in ("JPEG", "WEBP"):  # a camera's picture: PNG would be ten times larger
        data, media_type = encode(image, "image/jpeg", quality=92), "image/jpeg"
    elif changed or kind in ("BMP", "TIFF"):
        data, media_type = encode(image), "image/png"
    else:
        media_type = f"image/{kind.lower()}"
    return DecodedPicture(image, data, hashlib.sha256(data).hexdigest(), media_type, name)


def _from_image(given: Image.Image, name: str) -> DecodedPicture:
    check_size(given.size, name)
    image = _upright(_rgb(given), given.getexif().get(_ORIENTATION, 1))
    data = encode(image)
    return DecodedPicture(image, data, hashlib.sha256(data).hexdigest(), "image/png", name)


def _reduce(opened: Image.Image, kind: str, name: str) -> bool:
    """Check the size that a header says; let a JPEG over the limit be decoded at half of it."""
    progressive = "progressive" in opened.info
    if kind != "JPEG" or progressive:  # which is held whole while it is decoded, at any scale
        hungry = kind == "WEBP" or (progressive and opened.mode == "CMYK")
        check_size(opened.size, name, MAX_HUNGRY_PIXELS if hungry else MAX_PIXELS)
        return False
    check_size(opened.size, name, MAX_JPEG_PIXELS)
    width, height = opened.size
    if width * height <= MAX_PIXELS:
        return False
    opened.draft(None, (width // 2, height // 2))  # type: ignore[arg-type,unused-ignore]
    return True


def check_size(size: tuple[int, int], name: str, most: int = MAX_PIXELS) -> None:
    """Raise ``PictureRefused`` for a width and height that are not decoded."""
    width, height = size
    if width < 1 or height < 1:
        raise PictureRefused(f"{name}: {width}x{height} pixels, there is nothing to see")
    if max(size) > MAX_SIDE or width * height > most:
        raise PictureRefused(
            f"{name}: {width}x{height} pixels, the most is {most // 1_000_000} megapixels"
            f" and {MAX_SIDE} on a side; make it smaller"
        )
    if max(size) / min(size) > MAX_ASPECT and max(size) > 256:
        raise PictureRefused(
            f"{name}: {width}x{height} pixels, longer than {MAX_ASPECT:.0f} times its other side"
        )


def _rgb(image: Image.Image) -> Image.Image:
    """Return RGB pixels; what is transparent lies on white, 16-bit greys are scaled to 8."""
    if image.mode in ("I", "I;16", "I;16L", "I;16B", "F"):
        low, high = image.getextrema()
        span = (float(high) - float(low)) or 1.0  # type: ignore[arg-type]
        image = image.point(lambda v: (v - float(low)) * 255.0 / span).convert("L")  # type: ignore[arg-type]
    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, _BAND):
        box = (0, top, image.width, min(top + _BAND, image.height))
        band = image.crop(box).convert("RGBA")
        paper.paste(band, box, mask=band)
    return paper


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    way = _UPRIGHT.get(orientation)
    return image if way is None else image.transpose(way)


def _kind(data: bytes) -> str:
    for magic, kind in (
        (b"\x89PNG", "PNG"),
        (b"\xff\xd8", "JPEG"),
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
        (b"II*", "TIFF"),
        (b"MM\x00*", "TIFF"),
    ):
        if data.startswith(magic):
            return kind
    return "WebP" if data[8:12] == b"WEBP" else "unknown"
