"""The one way by which a picture comes in: checked before it is decoded, turned upright, RGB.

Formats are allow-listed, and the caps on bytes, pixels, side and aspect are applied to the header,
before pixels are decoded (a 42 kB file can claim 4 gigapixels). Knows nothing of where a picture
comes from or goes to.
"""

import hashlib
import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from retrievers.errors import PictureRefused

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 32 * 1024 * 1024
MAX_PIXELS = 64_000_000
MAX_SIDE = 16_384
MAX_ASPECT = 60.0

PictureLike = str | Path | bytes | Image.Image


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPicture:
    """A picture that was taken in: ``image`` is upright RGB, ``data`` what is stored of it.

    ``data`` are the original bytes where browsers show them upright as they are (PNG, JPEG, WebP
    and GIF without an EXIF rotation), otherwise ``image`` as JPEG (a rotated photograph) or PNG;
    ``sha256`` is of ``data``.
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
        image.save(out, "PNG")
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
                check_size(opened.size, name)
                kind = opened.format or "PNG"
                rotated = opened.getexif().get(0x0112, 1) not in (0, 1)
                upright = ImageOps.exif_transpose(opened)
                image = _rgb(upright)
    except PictureRefused:
        raise
    except UnidentifiedImageError as error:
        raise PictureRefused(
            f"{name}: not a picture in one of the formats {', '.join(FORMATS)}"
        ) from error
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise PictureRefused(f"{name}: a damaged {_kind(data)} picture") from error
    if rotated and kind in ("JPEG", "WEBP"):  # a camera's picture: PNG would be ten times larger
        data, media_type = encode(image, "image/jpeg", quality=92), "image/jpeg"
    elif rotated or kind in ("BMP", "TIFF"):
        data, media_type = encode(image), "image/png"
    else:
        media_type = f"image/{kind.lower()}"
    return DecodedPicture(image, data, hashlib.sha256(data).hexdigest(), media_type, name)


def _from_image(given: Image.Image, name: str) -> DecodedPicture:
    check_size(given.size, name)
    image = _rgb(ImageOps.exif_transpose(given))
    data = encode(image)
    return DecodedPicture(image, data, hashlib.sha256(data).hexdigest(), "image/png", name)


def check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise PictureRefused(f"{name}: {width}x{height} pixels, there is nothing to see")
    if max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise PictureRefused(
            f"{name}: {width}x{height} pixels, the most is {MAX_PIXELS // 1_000_000} megapixels"
            f" and {MAX_SIDE} on a side"
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
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        paper = Image.new("RGB", rgba.size, "white")
        paper.paste(rgba, mask=rgba.getchannel("A"))
        return paper
    return image.convert("RGB")


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
