"""Collects the pictures of one document: checked, encoded, read by OCR, kept once by content.

Knows nothing of where in a file a picture stood; its loader says so with role, page and box.
"""

import hashlib
from collections.abc import Mapping

from PIL import Image

from retrievers.document import Picture, Role
from retrievers.evidence import Box, Line
from retrievers.imaging import DecodedPicture, encode, read_picture
from retrievers.ingest import ocr
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.split import clean, one_line

LEAST_SIDE = 32  # pixels: smaller ones are bullets, rules and icons
WORD_ORDER = (
    "caption",
    "alt",
    "title",
    "description",
    "keywords",
    "date",
    "place",
    "sidecar",
    "name",
    "beside",
)


class Gallery:
    """The pictures of one document, in the order in which they were added."""

    def __init__(self, options: ParseOptions) -> None:
        self._options = options
        self._pictures: list[Picture] = []
        self._seen: set[tuple[str, int | None]] = set()
        self._uses: dict[str, int] = {}
        self._lines: dict[str, tuple[Line, ...]] = {}
        self.blobs: dict[str, bytes] = {}
        self.left_out = 0

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All that were kept."""
        return tuple(self._pictures)

    @property
    def full(self) -> bool:
        """Whether no more will be taken."""
        return len(self._pictures) >= self._options.max_pictures

    def add(
        self,
        image: Image.Image,
        *,
        role: Role,
        page: int | None = None,
        box: Box | None = None,
        words: Mapping[str, str] | None = None,
        lines: tuple[Line, ...] | None = None,
    ) -> Picture | None:
        """Take in a picture that was rendered or cut out; ``lines`` given means: do not read it."""
        media_type = "image/png" if is_drawing(image) else "image/jpeg"
        data = encode(image, media_type)
        decoded = DecodedPicture(image, data, hashlib.sha256(data).hexdigest(), media_type)
        return self.add_decoded(decoded, role=role, page=page, box=box, words=words, lines=lines)

    def add_bytes(
        self,
        data: bytes,
        *,
        role: Role,
        page: int | None = None,
        words: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Picture | None:
        """Take in an encoded picture. Raises ``PictureRefused``."""
        decoded = read_picture(data, name=name)
        if role != "file" and min(decoded.width, decoded.height) < LEAST_SIDE:
            return None
        return self.add_decoded(decoded, role=role, page=page, words=words)

    def add_decoded(
        self,
        decoded: DecodedPicture,
        *,
        role: Role,
        page: int | None = None,
        box: Box | None = None,
        words: Mapping[str, str] | None = None,
        lines: tuple[Line, ...] | None = None,
    ) -> Picture | None:
        """Take in a decoded picture; ``None`` when it was there already or there is no room.

        A figure that stands on many pages (a logo) is kept once, at its first place.
        """
        sha = decoded.sha256
        if (sha, page) in self._seen or (role == "figure" and sha in self._uses):
            return None
        if self.full:
            self.left_out += 1
            return None
        self._seen.add((sha, page))
        self._uses[sha] = self._uses.get(sha, 0) + 1
        if lines is None:
            lines = self._read(decoded)
        picture = Picture(
            sha256=sha,
            media_type=decoded.media_type,
            width=decoded.width,
            height=decoded.height,
            role=role,
            page=page,
            box=box,
            words=ordered(words or {}),
            lines=lines,
        )
        self.blobs[sha] = decoded.data
        self._pictures.append(picture)
        return picture

    def _read(self, decoded: DecodedPicture) -> tuple[Line, ...]:
        if not self._options.ocr:
            return ()
        if decoded.sha256 not in self._lines:
            self._lines[decoded.sha256] = ocr.read_lines(
                decoded.image, confidence=self._options.ocr_confidence
            )
        return self._lines[decoded.sha256]


def ordered(words: Mapping[str, str]) -> dict[str, str]:
    """Return the words cleaned, in their fixed order, without what is empty or said twice."""
    out: dict[str, str] = {}
    for key in WORD_ORDER:
        text = clean(words.get(key, "")) if key == "sidecar" else one_line(words.get(key, ""))
        if text and text not in out.values():
            out[key] = text
    return out


def is_drawing(image: Image.Image) -> bool:
    """Whether a picture has few colours, so that PNG keeps it sharp and small."""
    small = image.resize(
        (min(image.width, 256), min(image.height, 256)), Image.Resampling.NEAREST
    ).convert("RGB")
    pixels = small.width * small.height
    # 5 bits a channel: antialiased letters and lines have few such colours, photographs many
    colours = small.quantize(256, Image.Quantize.FASTOCTREE).getcolors(256) or []
    common = sum(sorted((count for count, _ in colours), reverse=True)[:8])
    return common >= 0.75 * pixels


def is_caption(text: str) -> bool:
    """Whether a paragraph is a caption: short, and begins with ``Figure 3`` or the like."""
    words = text.lstrip().split(maxsplit=2)
    return (
        len(text) <= 600
        and len(words) >= 2
        and words[0].lower().rstrip(".:") in _CAPTIONS
        and words[1][:1].isalnum()
        and (any(c.isdigit() for c in words[1]) or len(words[1].strip(".:")) == 1)
    )


_CAPTIONS = frozenset(
    "figure fig chart exhibit graph image photo picture plate diagram map scheme illustration"
    " abbildung abb bild grafik".split()
)
