"""A canvas for the demo library's drawings: smooth edges, gradients, soft light, texture.

Coordinates are pixels of the finished picture; everything is drawn ``SCALE`` times larger and
shrunk at the end. Knows nothing of what is drawn. Fonts and noise are Pillow's and NumPy's own, so
that the pictures are the same on every machine.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

SCALE = 3
Point = tuple[float, float]
Colour = tuple[int, int, int]
Stops = Sequence[tuple[float, Colour]]


def rgb(hexadecimal: str) -> Colour:
    """Return ``"1b2c3d"`` as three numbers."""
    return (int(hexadecimal[0:2], 16), int(hexadecimal[2:4], 16), int(hexadecimal[4:6], 16))


def ramp(stops: Stops, at: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the colours of a gradient at positions ``at`` (0 to 1): ``(..., 3) uint8``."""
    where = [s for s, _ in stops]
    bands = [np.interp(at, where, [c[i] for _, c in stops]) for i in range(3)]
    return np.stack(bands, axis=-1).astype(np.uint8)


def noise(seed: int, size: tuple[int, int], cell: tuple[float, float]) -> NDArray[np.float64]:
    """Return smooth noise in 0..1, ``(height, width)``, with features of ``cell`` pixels."""
    width, height = size
    grid = np.random.default_rng(seed)
    total = np.zeros((height, width))
    weight = 0.0
    for octave in range(3):
        cols = max(2, round(width / cell[0] * 2**octave) + 1)
        rows = max(2, round(height / cell[1] * 2**octave) + 1)
        raw = Image.fromarray(grid.random((rows, cols)).astype(np.float32))
        large = raw.resize(size, Image.Resampling.BICUBIC)
        total += np.asarray(large, np.float64) * 0.5**octave
        weight += 0.5**octave
    return total / weight


def spline(points: Sequence[Point], *, closed: bool = True, steps: int = 14) -> list[Point]:
    """Return a smooth curve through ``points`` (Catmull-Rom)."""
    n = len(points)
    curve: list[Point] = []
    for i in range(n if closed else n - 1):
        index = [(i + k - 1) % n if closed else min(max(i + k - 1, 0), n - 1) for k in range(4)]
        p = np.array([points[j] for j in index], np.float64)
        for t in np.arange(steps) / steps:
            q = 0.5 * (
                2 * p[1]
                + (p[2] - p[0]) * t
                + (2 * p[0] - 5 * p[1] + 4 * p[2] - p[3]) * t**2
                + (3 * p[1] - p[0] - 3 * p[2] + p[3]) * t**3
            )
            curve.append((float(q[0]), float(q[1])))
    if not closed:
        curve.append(points[-1])
    return curve


class Canvas:
    """An RGB picture of ``width`` by ``height``, painted from back to front."""

    def __init__(self, width: int, height: int, paper: Colour = (255, 255, 255)) -> None:
        self.size = (width, height)
        self.large = (width * SCALE, height * SCALE)
        self.image = Image.new("RGB", self.large, paper)

    def mask(self, draw: Callable[[ImageDraw.ImageDraw], None], blur: float = 0) -> Image.Image:
        """Return the mask that ``draw`` paints in white, blurred by ``blur`` pixels."""
        mask = Image.new("L", self.large, 0)
        draw(ImageDraw.Draw(mask))
        box = mask.getbbox()
        if not blur or box is None:
            return mask
        room = int(blur * SCALE * 4)
        wide = (max(0, box[0] - room), max(0, box[1] - room), box[2] + room, box[3] + room)
        wide = (wide[0], wide[1], min(wide[2], self.large[0]), min(wide[3], self.large[1]))
        mask.paste(mask.crop(wide).filter(ImageFilter.GaussianBlur(blur * SCALE)), wide[:2])
        return mask

    def polygon_mask(self, points: Sequence[Point], blur: float = 0) -> Image.Image:
        """Return the mask of a polygon."""
        up = [(x * SCALE, y * SCALE) for x, y in points]
        return self.mask(lambda d: d.polygon(up, fill=255), blur)

    def ellipse_mask(
        self, x: float, y: float, rx: float, ry: float, blur: float = 0
    ) -> Image.Image:
        """Return the mask of an ellipse around ``(x, y)``."""
        box = tuple(v * SCALE for v in (x - rx, y - ry, x + rx, y + ry))
        return self.mask(lambda d: d.ellipse(box, fill=255), blur)

    def fill(self, mask: Image.Image, colour: Colour, alpha: float = 1) -> None:
        """Paint ``colour`` through ``mask``."""
        box = mask.getbbox()
        if box is None:
            return
        part = mask.crop(box)
        self.image.paste(colour, box, part.point(lambda v: v * alpha) if alpha < 1 else part)

    def polygon(
        self, points: Sequence[Point], colour: Colour, *, alpha: float = 1, blur: float = 0
    ) -> None:
        """Paint a polygon."""
        if alpha == 1 and not blur:
            up = [(x * SCALE, y * SCALE) for x, y in points]
            ImageDraw.Draw(self.image).polygon(up, fill=colour)
            return
        self.fill(self.polygon_mask(points, blur), colour, alpha)

    def ellipse(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        colour: Colour,
        *,
        alpha: float = 1,
        blur: float = 0,
    ) -> None:
        """Paint an ellipse around ``(x, y)``."""
        if alpha == 1 and not blur:
            box = tuple(v * SCALE for v in (x - rx, y - ry, x + rx, y + ry))
            ImageDraw.Draw(self.image).ellipse(box, fill=colour)
            return
        self.fill(self.ellipse_mask(x, y, rx, ry, blur), colour, alpha)

    def line(
        self, points: Sequence[Point], colour: Colour, width: float = 1, *, alpha: float = 1
    ) -> None:
        """Paint a line of ``width`` pixels through ``points``."""
        up = [(x * SCALE, y * SCALE) for x, y in points]
        wide = max(1, round(width * SCALE))
        self.fill(self.mask(lambda d: d.line(up, 255, wide, "curve")), colour, alpha)

    def gradient(
        self, stops: Stops, mask: Image.Image | None = None, *, across: bool = False
    ) -> None:
        """Paint a gradient from top to bottom, or ``across`` from left to right.

        It spans the mask's bounding box, or the whole canvas.
        """
        box = mask.getbbox() if mask else (0, 0, *self.large)
        if box is None:
            return
        length = box[2] - box[0] if across else box[3] - box[1]
        strip = ramp(stops, np.linspace(0, 1, length))
        strip = strip[None, :, :] if across else strip[:, None, :]
        size = (box[2] - box[0], box[3] - box[1])
        paint = Image.fromarray(strip).resize(size, Image.Resampling.NEAREST)
        self.image.paste(paint, box[:2], mask.crop(box) if mask else None)

    def texture(
        self, mask: Image.Image, seed: int, cell: Point, dark: Colour, light: Colour, alpha: float
    ) -> None:
        """Paint noise between two colours through ``mask``."""
        grain = noise(seed, self.large, (cell[0] * SCALE, cell[1] * SCALE))
        spread = np.clip((grain - 0.5) * 2.2 + 0.5, 0, 1)
        paint = Image.fromarray(ramp(((0, dark), (1, light)), spread))
        self.image.paste(paint, mask=mask.point(lambda v: v * alpha))

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Add light around a point; it falls off smoothly to nothing at ``radius``."""
        ys, xs = np.ogrid[0 : self.large[1], 0 : self.large[0]]
        distance = np.hypot(xs - x * SCALE, ys - y * SCALE) / (radius * SCALE)
        fall = np.clip(1 - distance, 0, 1) ** 2 * strength
        light = (fall[..., None] * np.array(colour)).astype(np.uint8)
        self.image = ImageChops.screen(self.image, Image.fromarray(light))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float,
        colour: Colour = (20, 20, 20),
        *,
        anchor: str = "la",
        weight: float = 0,
    ) -> None:
        """Write ``words``; ``weight`` thickens the strokes by so many pixels."""
        ImageDraw.Draw(self.image).text(
            (x * SCALE, y * SCALE),
            words,
            fill=colour,
            font=ImageFont.load_default(size * SCALE),
            anchor=anchor,
            stroke_width=weight * SCALE,
        )

    def finish(self) -> Image.Image:
        """Return the finished picture."""
        return self.image.resize(self.size, Image.Resampling.LANCZOS)
