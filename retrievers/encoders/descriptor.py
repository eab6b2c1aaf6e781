"""The embedded picture encoder: a compact descriptor of colour, edges and layout.

Three blocks, each of unit length, joined with fixed weights, so that the cosine of two vectors is
the weighted mean of the blocks' cosines:

1. colour: soft histograms over 32 colours of CIELAB on a spatial pyramid of 1x1, 2x2 and 3x3 cells
   (Lazebnik, Schmid & Ponce, CVPR 2006), square-rooted (Hellinger kernel; Arandjelovic &
   Zisserman, CVPR 2012);
2. edges: histograms of 8 gradient orientations, weighted by magnitude, on 4x4 and 2x2 cells that
   overlap (Dalal & Triggs, CVPR 2005; MPEG-7 edge histogram), square-rooted;
3. layout: the lowest cosine frequencies of a tiny Lab thumbnail without the mean of its
   lightness (MPEG-7 colour layout; Oliva & Torralba's "spatial envelope", IJCV 2001).

It finds copies of a picture and pictures that look alike; it does not know what they show. No
weights, no fitting, numpy and Pillow only; the same picture gives the same vector everywhere up to
the rounding of the resampling filter.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retrievers.encoders import Modality
from retrievers.encoders.common import no_text, unit
from retrievers.evidence import Vectors

Floats = NDArray[np.float32]

SIDE = 96  # edges are looked for at this size, the picture's shape is set aside
SMALL = 48  # and colours at this one
ORIENTATIONS = 8
FREQUENCIES = 8  # cosines a side for lightness; half as many for the two colour axes
COLOUR_WEIGHT, EDGE_WEIGHT, LAYOUT_WEIGHT = 0.35, 0.35, 0.30
SPREAD = 16.0  # Lab distance at which a pixel counts 0.6 for a colour
LEVELS = 5  # bits a channel in the table of colours


class DescriptorEncoder:
    """The visual descriptor as an encoder, of 663 dimensions; it holds no state."""

    def __init__(self) -> None:
        """Nothing is loaded: the tables are computed at first use (about 60 ms)."""
        self.name = "descriptor-1"
        self.dimension = _dimension()
        self.modalities: frozenset[Modality] = frozenset({"picture"})
        self.dense_weight = 0.5

    def encode_texts(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """Raise ``EncoderError``: this encoder takes pictures only."""
        raise no_text(self.name)

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Return ``(len(pictures), dimension)`` float32, L2-normalised."""
        rows = np.zeros((len(pictures), self.dimension), dtype=np.float32)
        for row, picture in zip(rows, pictures, strict=True):
            row[:] = describe(picture)
        return unit(rows, self.name)


def describe(picture: Image.Image) -> Floats:
    """Return the descriptor of one picture: ``(d,)`` float32, not yet of unit length."""
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    large = rgb.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    small = large.resize((SMALL, SMALL), Image.Resampling.BOX)
    codes = _codes(np.asarray(small))
    lab, shares = _colour_tables()
    return np.concatenate(
        [
            COLOUR_WEIGHT**0.5 * _colour(shares[codes]),
            EDGE_WEIGHT**0.5 * _edges(np.asarray(large.convert("L"), dtype=np.float32)),
            LAYOUT_WEIGHT**0.5 * _layout(lab[codes]),
        ]
    )


def _colour(shares: Floats) -> Floats:
    """Return the pyramid of colour histograms of (SMALL, SMALL, colours) soft shares."""
    cells = [_pool(shares, count) for count in (1, 2, 3)]
    weights = (0.34, 0.33, 0.33)
    return np.concatenate(
        [
            (weight / (count * count)) ** 0.5 * np.sqrt(cell).reshape(-1)
            for weight, count, cell in zip(weights, (1, 2, 3), cells, strict=True)
        ]
    )


def _edges(grey: Floats) -> Floats:
    """Return orientation histograms of a (SIDE, SIDE) lightness on 4x4 and 2x2 cells."""
    across = np.zeros_like(grey)
    down = np.zeros_like(grey)
    across[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    down[1:-1] = grey[2:] - grey[:-2]
    strength = np.hypot(across, down)
    strength[strength < 6.0] = 0.0  # noise of compression
    place = np.arctan2(down, across) * np.float32(ORIENTATIONS / np.pi)  # opposite ones are one
    lower = np.floor(place)
    share = (place - lower) * strength
    first = lower.astype(np.int64) % ORIENTATIONS
    maps = np.zeros((ORIENTATIONS, grey.size), dtype=np.float32)
    every = np.arange(grey.size)
    maps[first.reshape(-1), every] = (strength - share).reshape(-1)
    maps[(first.reshape(-1) + 1) % ORIENTATIONS, every] += share.reshape(-1)
    stack = np.moveaxis(maps.reshape(ORIENTATIONS, *grey.shape), 0, -1)
    blocks = []
    for count, weight in ((4, 0.7), (2, 0.3)):
        cells = _pool(stack, count)
        total = cells.sum(axis=-1, keepdims=True)
        # a cell is normalised for the most part, so that a darker copy stays the same, but one
        # that is nearly flat beside the others does not count as much as they do
        cells = cells / (0.5 * total + 0.5 * total.mean() + 1e-6)
        blocks.append(weight**0.5 * _length_one(np.sqrt(cells).reshape(-1)))
    return _length_one(np.concatenate(blocks))


def _layout(lab: Floats) -> Floats:
    """Return the lowest cosine frequencies of a (SMALL, SMALL, 3) Lab picture."""
    basis = _cosines()
    planes = np.einsum("ky,yxc,lx->klc", basis, lab, basis, optimize=True)
    order = np.add.outer(np.arange(FREQUENCIES), np.arange(FREQUENCIES))
    fade = 1.0 / (1.0 + 0.5 * order)  # what is coarse counts more
    light = (planes[..., 0] * fade)[(order > 0) & (order < FREQUENCIES)]
    half = order < FREQUENCIES // 2
    hue = [(planes[..., axis] * fade)[half] for axis in (1, 2)]
    return _length_one(np.concatenate([_length_one(light), 0.7 * _length_one(np.concatenate(hue))]))


def _pool(maps: Floats, count: int) -> Floats:
    """Return (count, count, m) means of (s, s, m) maps over soft cells that overlap by half."""
    along = _cells(maps.shape[0], count)
    rows = np.tensordot(along, maps, axes=(1, 0))  # (count, s, m)
    return np.ascontiguousarray(np.matmul(along, rows), dtype=np.float32)  # (count, count, m)


def _length_one(values: Floats) -> Floats:
    norm = float(np.linalg.norm(values))
    return (values / norm).astype(np.float32) if norm > 1e-6 else np.zeros_like(values, np.float32)


def _codes(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return each pixel's row in the table of colours."""
    parts = (pixels >> (8 - LEVELS)).astype(np.int64)
    codes: NDArray[np.int64] = (
        (parts[..., 0] << (2 * LEVELS)) | (parts[..., 1] << LEVELS) | parts[..., 2]
    )
    return codes


@cache
def _cells(side: int, count: int) -> Floats:
    """Return (count, side) weights, each row summing to 1: a flat top that falls off beyond it."""
    centres = (np.arange(count) + 0.5) * side / count
    away = np.abs(np.arange(side) + 0.5 - centres[:, None]) / (side / count)
    weights = np.clip(1.5 - 1.5 * away, 0.0, 1.0)
    found: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


@cache
def _cosines() -> Floats:
    """Return the first rows of the orthonormal DCT-II of SMALL points."""
    rows, places = np.arange(FREQUENCIES)[:, None], np.arange(SMALL)[None, :]
    basis = np.cos(np.pi * (places + 0.5) * rows / SMALL) * np.sqrt(2.0 / SMALL)
    basis[0] /= np.sqrt(2.0)
    found: Floats = basis.astype(np.float32)
    return found


@cache
def _colour_tables() -> tuple[Floats, Floats]:
    """Return Lab values (codes, 3) and shares of the colours (codes, 32) of every code."""
    steps = (np.arange(1 << LEVELS) + 0.5) / (1 << LEVELS)
    red, green, blue = np.meshgrid(steps, steps, steps, indexing="ij")
    lab = _lab(np.stack([red.ravel(), green.ravel(), blue.ravel()], axis=1))
    colours = _palette()
    distance = ((lab[:, None, :] - colours[None, :, :]) ** 2).sum(axis=2)
    distance -= distance.min(axis=1, keepdims=True)
    shares = np.exp(-distance / (2 * SPREAD**2))
    shares /= shares.sum(axis=1, keepdims=True)
    return lab.astype(np.float32), shares.astype(np.float32)


def _palette() -> NDArray[np.float64]:
    """Return 32 colours in Lab: 6 greys, then hues that are pale, full and dark."""
    greys = [(light, 0.0, 0.0) for light in (4, 22, 40, 58, 76, 96)]
    hues = [
        (light, chroma * np.cos(angle), chroma * np.sin(angle))
        for light, chroma, count in ((72, 26, 8), (58, 62, 10), (32, 34, 8))
        for angle in 2 * np.pi * np.arange(count) / count
    ]
    return np.array(greys + hues)


def _lab(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIELAB (D65) of sRGB values between 0 and 1 (IEC 61966-2-1, CIE 15:2004)."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    bent = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = bent.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@cache
def _dimension() -> int:
    return int(describe(Image.new("RGB", (8, 8))).size)
