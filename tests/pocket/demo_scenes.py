"""Sky, water and the lighthouse of the demo library; no writing on any of it.

Each scene here and in ``demo_boats`` and ``demo_nature`` is a function of ``again``: False draws
the library's picture, True the same thing on another day (other clouds, other light, moved), from
which the question pictures are made.
"""

import math

import numpy as np
from demo_canvas import SCALE, Canvas, Point, noise, rgb, spline
from PIL import Image, ImageChops, ImageDraw


def clouds(c: Canvas, seed: int, top: float, bottom: float, tint: str, alpha: float) -> None:
    """Lay soft clouds between two heights."""
    width, height = c.large
    field = noise(seed, c.large, (c.size[0] * SCALE / 4, c.size[1] * SCALE / 12))
    ys = np.linspace(0, c.size[1], height)[:, None]
    window = np.clip((ys - top) / 40, 0, 1) * np.clip((bottom - ys) / 60, 0, 1)
    cover = np.clip((field - 0.5) * 3.4, 0, 1) * window * alpha * 255
    c.image.paste(rgb(tint), (0, 0, width, height), Image.fromarray(cover.astype(np.uint8)))


def ripples(c: Canvas, seed: int, top: float, tint: str, count: int, alpha: float) -> None:
    """Scatter short level strokes over the water, finer towards the horizon."""
    rng = np.random.default_rng(seed)
    width, height = c.size

    def strokes(d: ImageDraw.ImageDraw) -> None:
        for _ in range(count):
            near = rng.random() ** 1.6
            y, x = top + 2 + near * (height - top), rng.random() * width
            half, thick = 3 + near * 26 * rng.random(), 0.5 + near * 1.6
            d.ellipse([v * SCALE for v in (x - half, y - thick, x + half, y + thick)], fill=255)

    c.fill(c.mask(strokes, 0.5), rgb(tint), alpha)


def gull(c: Canvas, x: float, y: float, span: float, tint: str = "f4f6f8") -> None:
    """Draw a gull on the wing."""
    left = spline([(x - span, y - span * 0.12), (x - span * 0.5, y - span * 0.34), (x, y)],
                  closed=False)  # fmt: skip
    right = spline([(x, y), (x + span * 0.5, y - span * 0.38), (x + span, y - span * 0.2)],
                   closed=False)  # fmt: skip
    c.line(left + right[1:], rgb(tint), max(1.2, span * 0.11))


def tower_edge(y: float, foot: float, head: float, wide: float, slim: float) -> float:
    """Return half the tower's width at height ``y``: a gentle curve from foot to head."""
    t = (foot - y) / (foot - head)
    return wide + (slim - wide) * (1 - math.pow(1 - t, 1.5))


def lighthouse(*, again: bool = False) -> Image.Image:
    """The red and white lighthouse at dusk, upright 720 by 960."""
    c = Canvas(720, 960)
    x, foot, head = (372 if again else 352), 770.0, 262.0
    horizon = 690.0
    c.gradient([(0, rgb("1d2552")), (0.3, rgb("45447f")), (0.52, rgb("a3638d")),
                (0.66, rgb("ee9a7c")), (0.74, rgb("ffd19a")), (1, rgb("ffdfae"))])  # fmt: skip
    rng = np.random.default_rng(4)
    for _ in range(70):
        sx, sy = rng.random() * 720, rng.random() ** 1.5 * 330
        c.ellipse(sx, sy, 0.7 + rng.random(), 0.7 + rng.random(), (255, 250, 235), alpha=0.75)
    clouds(c, 21 if again else 8, 330, 660, "7a4a7d", 0.75)
    clouds(c, 22 if again else 9, 430, 690, "ffc49a", 0.6)
    c.glow(120, 690, 330, rgb("ffb070"), 0.55)
    sea = c.mask(lambda d: d.rectangle((0, horizon * SCALE, *c.large), fill=255))
    c.gradient([(0, rgb("e79a84")), (0.14, rgb("94608a")), (0.5, rgb("3b4076")),
                (1, rgb("1b2450"))], sea)  # fmt: skip
    ripples(c, 5, horizon, "ffc9a0", 300, 0.42)
    ripples(c, 6, horizon + 20, "151b42", 260, 0.35)
    _far_land(c, horizon)
    _headland(c, x)
    _cottage(c, x - 186, 752)
    _beams(c, x, 196, 0.10 if again else -0.07)
    _tower(c, x, foot, head)
    _lantern(c, x, head)
    for gx, gy, span in ((560, 380, 17), (606, 420, 12), (516, 440, 10)):
        gull(c, gx - (430 if again else 0), gy, span, "2b2a4e")
    return c.finish()


def _far_land(c: Canvas, horizon: float) -> None:
    ridge: list[Point] = [(430, horizon), (500, 668), (560, 676), (640, 655), (722, 672)]
    c.polygon([*spline(ridge, closed=False), (722, horizon + 2)], rgb("6d4c7d"), alpha=0.9)


def _headland(c: Canvas, x: float) -> None:
    top: list[Point] = [(-10, 792), (70, 768), (150, 752), (240, 744), (x, 741), (450, 748),
                        (520, 772), (568, 822), (628, 842), (668, 902), (730, 926)]  # fmt: skip
    mask = c.polygon_mask([*spline(top, closed=False), (730, 970), (-10, 970)])
    c.gradient([(0, rgb("4d5140")), (0.3, rgb("343944")), (1, rgb("141731"))], mask)
    c.texture(mask, 31, (26, 12), rgb("15182f"), rgb("7d6a66"), 0.42)
    path: list[Point] = [(x + 4, 764), (x - 24, 796), (x + 18, 846), (x - 46, 906), (x - 10, 970)]
    for i, (px, py) in enumerate(spline(path, closed=False, steps=22)):
        c.ellipse(px, py, 5 + i * 0.16, 2.5 + i * 0.08, rgb("b79a86"), alpha=0.55)
    rng = np.random.default_rng(12)
    for _ in range(240):
        gx = rng.random() * 540
        gy = 760 + rng.random() * 190
        tilt = (rng.random() - 0.5) * 8
        c_line = [(gx, gy), (gx + tilt, gy - 5 - rng.random() * 8)]
        up = [(px * SCALE, py * SCALE) for px, py in c_line]
        ImageDraw.Draw(c.image).line(up, rgb("62674c"), SCALE)


def _cottage(c: Canvas, x: float, y: float) -> None:
    wall = c.polygon_mask([(x - 66, y + 12), (x - 66, y - 40), (x + 66, y - 40), (x + 66, y + 12)])
    c.gradient([(0, rgb("e9dcd6")), (1, rgb("a998a8"))], wall, across=True)
    c.polygon([(x - 76, y - 38), (x - 48, y - 82), (x + 48, y - 82), (x + 76, y - 38)],
              rgb("4a3346"))  # fmt: skip
    c.polygon([(x - 76, y - 38), (x - 48, y - 82), (x - 40, y - 82), (x - 64, y - 38)],
              rgb("7d5361"))  # fmt: skip
    for chimney in (x - 38, x + 30):
        c.polygon([(chimney, y - 98), (chimney + 14, y - 98), (chimney + 14, y - 74),
                   (chimney, y - 74)], rgb("5b3c4a"))  # fmt: skip
    for window in (x - 46, x + 28):
        c.glow(window + 9, y - 18, 46, rgb("ffc86a"), 0.6)
        c.polygon([(window, y - 28), (window + 18, y - 28), (window + 18, y - 6),
                   (window, y - 6)], rgb("ffdf8e"))  # fmt: skip
        c.line([(window + 9, y - 28), (window + 9, y - 6)], rgb("6b4a4a"), 1.4)
        c.line([(window, y - 17), (window + 18, y - 17)], rgb("6b4a4a"), 1.4)
    c.polygon([(x - 9, y + 12), (x - 9, y - 24), (x + 9, y - 24), (x + 9, y + 12)], rgb("38506e"))


def _beams(c: Canvas, x: float, y: float, tilt: float) -> None:
    for side in (-1, 1):
        for reach, alpha in ((0.045, 0.42), (0.1, 0.2)):
            far = 560.0
            mask = c.polygon_mask(
                [(x, y), (x + side * far, y + far * (tilt * side - reach)),
                 (x + side * far, y + far * (tilt * side + reach))], 5)  # fmt: skip
            xs = np.abs(np.linspace(0, c.size[0], c.large[0]) - x) / far
            fade = (np.clip(1 - xs, 0, 1) ** 0.8 * 255).astype(np.uint8)
            fall = Image.fromarray(np.broadcast_to(fade, (c.large[1], c.large[0])).copy())
            c.fill(ImageChops.multiply(mask, fall), rgb("fff0b8"), alpha)


def _tower(c: Canvas, x: float, foot: float, head: float) -> None:
    bands = 7
    for i in range(bands):
        y1, y0 = foot + (head - foot) * i / bands, foot + (head - foot) * (i + 1) / bands
        rows = [y0 + (y1 - y0) * k / 12 for k in range(13)]
        edge = [(y, tower_edge(y, foot, head, 84, 47)) for y in rows]
        sag = 7.0
        lower = [(x + math.cos(a) * edge[-1][1], y1 + math.sin(a) * sag)
                 for a in np.linspace(0, math.pi, 24)]  # fmt: skip
        upper = [(x - math.cos(a) * edge[0][1], y0 + math.sin(a) * sag)
                 for a in np.linspace(0, math.pi, 24)]  # fmt: skip
        shape = [*upper, *[(x + w, y) for y, w in edge[1:]], *lower,
                 *[(x - w, y) for y, w in reversed(edge)]]  # fmt: skip
        red = [(0, rgb("ef6a4c")), (0.25, rgb("d8402f")), (0.62, rgb("a3252c")),
               (1, rgb("521a33"))]  # fmt: skip
        white = [(0, rgb("ffe9d6")), (0.25, rgb("fdf6ee")), (0.62, rgb("c9bccb")),
                 (1, rgb("74688f"))]  # fmt: skip
        c.gradient(white if i % 2 == 0 else red, c.polygon_mask(shape), across=True)
    for y in (360, 505, 650):
        c.polygon([(x - 8, y + 12), (x - 8, y - 8), (x, y - 15), (x + 8, y - 8), (x + 8, y + 12)],
                  rgb("4a2d45"))  # fmt: skip
        c.polygon([(x - 5, y + 10), (x - 5, y - 7), (x, y - 11), (x + 5, y - 7), (x + 5, y + 10)],
                  rgb("ffd27a"))  # fmt: skip
    door = [(x - 15, foot + 6), (x - 15, foot - 30), (x - 8, foot - 42), (x + 8, foot - 42),
            (x + 15, foot - 30), (x + 15, foot + 6)]  # fmt: skip
    c.polygon(door, rgb("2f4a68"))
    c.ellipse(x + 8, foot - 16, 2, 2, rgb("ffd27a"))


def _lantern(c: Canvas, x: float, head: float) -> None:
    steel = [(0, rgb("a08ba0")), (0.3, rgb("e8d8d2")), (1, rgb("4b3f62"))]
    c.gradient(steel, c.polygon_mask([(x - 46, head + 4), (x - 64, head - 14), (x + 64, head - 14),
                                      (x + 46, head + 4)]), across=True)  # fmt: skip
    c.line([(x - 66, head - 15), (x + 66, head - 15)], rgb("33294a"), 4)
    glass = c.polygon_mask([(x - 32, head - 16), (x - 32, head - 96), (x + 32, head - 96),
                            (x + 32, head - 16)])  # fmt: skip
    c.gradient([(0, rgb("ffb84d")), (0.5, rgb("fff6cf")), (1, rgb("ffb84d"))], glass, across=True)
    for bar in (-32, -11, 11, 32):
        c.line([(x + bar, head - 96), (x + bar, head - 16)], rgb("3c2c46"), 2.4)
    c.line([(x - 32, head - 56), (x + 32, head - 56)], rgb("3c2c46"), 2)
    for post in range(-64, 65, 16):
        c.line([(x + post, head - 42), (x + post, head - 15)], rgb("33294a"), 1.6)
    c.line([(x - 65, head - 42), (x + 65, head - 42)], rgb("33294a"), 2.2)
    c.line([(x - 65, head - 29), (x + 65, head - 29)], rgb("33294a"), 1.2)
    dome = [(x - 42, head - 94), (x - 34, head - 114), (x - 14, head - 130), (x, head - 134),
            (x + 14, head - 130), (x + 34, head - 114), (x + 42, head - 94)]  # fmt: skip
    red = [(0, rgb("ea6247")), (0.3, rgb("c93a30")), (1, rgb("541b34"))]
    c.gradient(red, c.polygon_mask([*spline(dome, closed=False)]), across=True)
    c.ellipse(x, head - 138, 6, 6, rgb("b5323a"))
    c.line([(x, head - 142), (x, head - 172)], rgb("33294a"), 2)
    c.glow(x, head - 56, 175, rgb("ffd98a"), 0.85)
