"""More drawn pictures of the demo library: a puffin on a rock, and a map without a word on it.

As in ``demo_scenes``, ``again`` draws the same bird on another day.
"""

import math

import numpy as np
from demo_canvas import SCALE, Canvas, Point, noise, ramp, rgb, spline
from PIL import Image, ImageChops, ImageDraw, ImageFilter


def puffin(*, again: bool = False) -> Image.Image:
    """A puffin on a rock with thrift in flower, 800 by 700."""
    c = Canvas(800, 700)
    c.gradient([(0, rgb("9cc7d6" if again else "8fc3dc")), (0.45, rgb("b9d9d3")),
                (0.7, rgb("9fbf94")), (1, rgb("6d935f"))])  # fmt: skip
    rng = np.random.default_rng(83 if again else 81)
    for _ in range(46):
        x, y, r = rng.random() * 800, 230 + rng.random() * 440, 16 + rng.random() * 42
        tint = ("e7b8cf", "d7e5b3", "a9d0c6", "f3e3c8", "86aa76")[int(rng.random() * 5)]
        c.ellipse(x, y, r, r, rgb(tint), alpha=0.34, blur=5)
    c.image = c.image.filter(ImageFilter.GaussianBlur(7 * SCALE))
    c.glow(180, 60, 520, rgb("fff2cc"), 0.5)
    x = 372.0 if again else 396.0
    _rock(c)
    _feet(c, x)
    _body(c, x)
    _head(c, x)
    _thrift(c, 91)
    return c.finish()


def _rock(c: Canvas) -> None:
    top: list[Point] = [(60, 720), (96, 622), (190, 576), (300, 556), (420, 560), (540, 552),
                        (640, 590), (716, 640), (752, 720)]  # fmt: skip
    mask = c.polygon_mask([*spline(top, closed=False), (752, 760), (60, 760)])
    c.gradient([(0, rgb("b3aba0")), (0.35, rgb("857d78")), (1, rgb("4a4549"))], mask)
    c.texture(mask, 85, (46, 26), rgb("514b4e"), rgb("d6ccb9"), 0.5)
    grain = noise(86, c.large, (22.0 * SCALE, 12.0 * SCALE))
    spots = Image.fromarray(((grain > 0.68) * 255).astype(np.uint8))
    spots = spots.filter(ImageFilter.GaussianBlur(SCALE * 0.8))
    c.fill(ImageChops.multiply(mask, spots), rgb("d8b64a"), 0.75)
    for crack in ([(210, 590), (246, 640), (232, 700)], [(470, 576), (500, 626), (560, 690)],
                  [(350, 600), (372, 652), (352, 700)]):  # fmt: skip
        points: list[Point] = [(float(px), float(py)) for px, py in crack]
        c.line(spline(points, closed=False), rgb("3b363a"), 2.4, alpha=0.7)


def _feet(c: Canvas, x: float) -> None:
    for foot, lean in ((x - 40, -6), (x + 26, 4)):
        c.line([(foot, 500), (foot + lean, 548)], rgb("e8622a"), 11)
        heel = foot + lean
        web: list[Point] = [(heel - 4, 542), (heel + 34, 560), (heel + 20, 566), (heel + 2, 562),
                            (heel - 16, 568), (heel - 30, 560)]  # fmt: skip
        c.polygon([(px, py + 5) for px, py in web], rgb("2f2b2e"), alpha=0.45, blur=3)
        c.gradient([(0, rgb("f4823c")), (1, rgb("cf4a1f"))], c.polygon_mask(web))


def _body(c: Canvas, x: float) -> None:
    back: list[Point] = [(x - 66, 236), (x - 116, 300), (x - 146, 392), (x - 150, 470),
                         (x - 186, 536), (x - 126, 520), (x - 70, 524), (x + 20, 522),
                         (x + 78, 462), (x + 92, 372), (x + 76, 288), (x + 40, 236)]  # fmt: skip
    mask = c.polygon_mask(spline(back))
    c.gradient([(0, rgb("1c1f28")), (0.5, rgb("2c313d")), (1, rgb("14161d"))], mask, across=True)
    belly: list[Point] = [(x + 20, 262), (x - 22, 320), (x - 44, 404), (x - 30, 486), (x + 14, 516),
                          (x + 62, 478), (x + 88, 400), (x + 86, 326), (x + 70, 276)]  # fmt: skip
    front = c.polygon_mask(spline(belly), 1)
    inside = ImageChops.multiply(front, mask)
    c.gradient([(0, rgb("d4d8dd")), (0.35, rgb("fbfaf6")), (0.8, rgb("ffffff")),
                (1, rgb("d9d8da"))], inside, across=True)  # fmt: skip
    c.texture(inside, 87, (9, 22), rgb("c3c6cc"), rgb("ffffff"), 0.35)
    wing: list[Point] = [(x - 72, 296), (x - 120, 366), (x - 142, 450), (x - 168, 520),
                         (x - 104, 492), (x - 62, 430), (x - 46, 352)]  # fmt: skip
    c.gradient([(0, rgb("4a515f")), (0.5, rgb("272c37")), (1, rgb("15171e"))],
               c.polygon_mask(spline(wing)))  # fmt: skip
    for i in range(4):
        feather: list[Point] = [(x - 60 - i * 4, 372 + i * 30), (x - 88 - i * 6, 424 + i * 18),
                                (x - 126 - i * 9, 470 + i * 12)]  # fmt: skip
        c.line(spline(feather, closed=False), rgb("5c6577"), 2, alpha=0.45)


def _head(c: Canvas, x: float) -> None:
    skull: list[Point] = [(x - 64, 250), (x - 80, 196), (x - 60, 140), (x - 6, 112), (x + 52, 124),
                          (x + 84, 168), (x + 82, 222), (x + 56, 262), (x, 278)]  # fmt: skip
    head = c.polygon_mask(spline(skull))
    c.gradient([(0, rgb("2a2f3a")), (0.4, rgb("1e222b")), (1, rgb("15181f"))], head)
    face: list[Point] = [(x + 80, 168), (x + 44, 140), (x + 2, 150), (x - 32, 186), (x - 48, 222),
                         (x - 20, 240), (x + 22, 254), (x + 62, 246), (x + 84, 214)]  # fmt: skip
    cheek = ImageChops.multiply(c.polygon_mask(spline(face), 0.8), head)
    c.gradient([(0, rgb("ccd0d6")), (0.5, rgb("eef0f1")), (1, rgb("fbfbf9"))], cheek, across=True)
    collar: list[Point] = [(x - 68, 236), (x - 30, 262), (x + 10, 266), (x + 44, 256),
                           (x + 68, 246), (x + 76, 274), (x + 40, 294), (x - 10, 298),
                           (x - 60, 286), (x - 84, 262)]  # fmt: skip
    c.polygon(spline(collar), rgb("181b22"))
    _beak(c, x + 74)
    c.polygon([(x + 26, 172), (x + 43, 160), (x + 60, 174), (x + 42, 192)], rgb("d9482a"))
    c.polygon([(x + 22, 196), (x + 60, 194), (x + 58, 199), (x + 24, 201)], rgb("5a616e"))
    c.ellipse(x + 43, 177, 10.5, 10.5, rgb("3b2a22"))
    c.ellipse(x + 43, 177, 6.5, 6.5, rgb("0c0a0c"))
    c.ellipse(x + 46, 173.5, 2.6, 2.6, rgb("ffffff"))
    c.line(spline([(x + 24, 186), (x - 6, 198), (x - 34, 224)], closed=False), rgb("8d939d"), 2)
    c.ellipse(x + 72, 226, 7, 9, rgb("f0b13c"))


def _beak(c: Canvas, x: float) -> None:
    outline: list[Point] = [(x, 160), (x + 28, 152), (x + 62, 166), (x + 88, 194), (x + 96, 216),
                            (x + 70, 226), (x + 36, 238), (x + 2, 240)]  # fmt: skip
    mask = c.polygon_mask(outline)
    c.gradient([(0, rgb("41506b")), (0.3, rgb("41506b")), (0.32, rgb("f3c24d")),
                (0.4, rgb("f3c24d")), (0.42, rgb("ea5a2c")), (0.78, rgb("e0431f")),
                (1, rgb("b92f1c"))], mask, across=True)  # fmt: skip
    for groove in (50, 68):
        curve = spline([(x + groove, 150), (x + groove + 8, 194), (x + groove, 244)], closed=False)
        up = [(px * SCALE, py * SCALE) for px, py in curve]
        ridge = c.mask(lambda d, up=up: d.line(up, 255, 4 * SCALE))  # type: ignore[misc]
        c.fill(ImageChops.multiply(ridge, mask), rgb("f8a45c"), 0.85)
    light = c.polygon_mask([(x + 6, 166), (x + 30, 158), (x + 64, 174), (x + 84, 196),
                            (x + 56, 184), (x + 26, 172)], 3)  # fmt: skip
    c.fill(ImageChops.multiply(light, mask), rgb("ffffff"), 0.4)
    c.line(spline([(x, 212), (x + 40, 210), (x + 92, 216)], closed=False), rgb("7a1f18"), 2)


def _thrift(c: Canvas, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for cx, cy, count in ((128, 690, 15), (664, 690, 17), (268, 712, 7), (560, 716, 8)):
        for _ in range(count * 5):
            gx = cx + (rng.random() - 0.5) * 150
            up = [(gx, cy + 16), (gx + (rng.random() - 0.5) * 40, cy - 30 - rng.random() * 36)]
            scaled = [(px * SCALE, py * SCALE) for px, py in up]
            tint = rgb(("4c7a44", "6b9a52", "3c6438")[int(rng.random() * 3)])
            ImageDraw.Draw(c.image).line(scaled, tint, 2 * SCALE)
        for _ in range(count):
            fx, fy = cx + (rng.random() - 0.5) * 150, cy - 44 - rng.random() * 58
            c.line([(fx + (cx - fx) * 0.2, cy + 10), (fx, fy)], rgb("7f9a5c"), 2)
            for _ in range(15):
                a, r = rng.random() * math.tau, rng.random() ** 0.5 * 10
                tint = rgb(("f2a7c6", "e37fab", "f7c6da", "cf6297")[int(rng.random() * 4)])
                c.ellipse(fx + math.cos(a) * r, fy + math.sin(a) * r * 0.75, 3.6, 3.2, tint)


def island_map() -> Image.Image:
    """A relief map of the island with roads, a harbour, a lighthouse and a compass, 820 by 640."""
    c = Canvas(820, 640)
    coast = spline([(150, 330), (176, 246), (250, 214), (300, 150), (392, 128), (470, 158),
                    (560, 140), (640, 190), (668, 262), (640, 318), (672, 384), (622, 452),
                    (548, 470), (500, 436), (452, 452), (420, 516), (330, 532), (262, 486),
                    (214, 470), (202, 402)])  # fmt: skip
    c.gradient([(0, rgb("2f7fa3")), (1, rgb("236a8f"))])
    rock = spline([(86, 196), (112, 178), (134, 196), (122, 224), (92, 220)])
    for spread, tint in ((64, "3a8bad"), (42, "4c9bb9"), (22, "68b0c6"), (9, "9ccfd6")):
        for outline in (coast, rock):
            for px, py in outline:
                c.ellipse(px, py, spread, spread, rgb(tint))
    for outline in (coast, rock):
        c.polygon([(px + 4, py + 6) for px, py in outline], rgb("1b4c66"), alpha=0.4, blur=5)
        c.polygon(outline, rgb("efdcae"))
    land = c.polygon_mask(coast, 9).point(lambda v: max(0, v * 2 - 255))
    _relief(c, land)
    c.fill(c.polygon_mask(rock, 4).point(lambda v: max(0, v * 2 - 255)), rgb("a3a77c"))
    _marks(c)
    c.line([*coast, coast[0]], rgb("6b6148"), 1.6)
    c.line([*rock, rock[0]], rgb("6b6148"), 1.6)
    _compass(c, 728, 540)
    return c.finish()


def _relief(c: Canvas, land: Image.Image) -> None:
    bumps = noise(101, c.large, (130.0 * SCALE, 120.0 * SCALE))
    ys, xs = np.mgrid[0 : c.large[1], 0 : c.large[0]] / SCALE
    for hx, hy, wide, tall in ((330, 300, 95, 0.75), (540, 260, 75, 0.55), (350, 440, 70, 0.3)):
        bumps = bumps + tall * np.exp(-((xs - hx) ** 2 + (ys - hy) ** 2) / (2 * wide**2))
    height = (bumps - bumps.min()) / (bumps.max() - bumps.min())
    tint = ramp(((0, rgb("a9c77a")), (0.35, rgb("8fb768")), (0.6, rgb("c9bd7e")),
                 (0.85, rgb("a98a62")), (1, rgb("e9e2d6"))), height)  # fmt: skip
    dy, dx = np.gradient(height)
    shade = np.clip(1 + (dx + dy) * 90, 0.66, 1.24)[..., None]
    lit = np.clip(tint * shade, 0, 255).astype(np.uint8)
    c.image.paste(Image.fromarray(lit), mask=land)


def _marks(c: Canvas) -> None:
    lake = spline([(432, 330), (462, 316), (492, 332), (484, 356), (448, 360)])
    c.polygon(lake, rgb("4c9bb9"))
    c.line([*lake, lake[0]], rgb("2c6f8f"), 1.6)
    stream = spline([(484, 352), (504, 390), (496, 436)], closed=False)
    c.line(stream, rgb("4c9bb9"), 3)
    roads: tuple[list[Point], ...] = (
        [(500, 430), (420, 402), (330, 384), (236, 372), (196, 330)],
        [(420, 402), (408, 300), (430, 214), (470, 170)],
        [(500, 430), (566, 396), (610, 330), (622, 240)],
    )
    for road in roads:
        c.line(spline(road, closed=False), rgb("7d5a3c"), 5)
        c.line(spline(road, closed=False), rgb("fbf1d8"), 3)
    rng = np.random.default_rng(103)
    for cx, cy, count in ((486, 416, 16), (250, 366, 6), (440, 222, 5)):
        for _ in range(count):
            hx, hy = cx + (rng.random() - 0.5) * 70, cy + (rng.random() - 0.5) * 34
            c.polygon([(hx - 5, hy + 5), (hx - 5, hy - 3), (hx, hy - 8), (hx + 5, hy - 3),
                       (hx + 5, hy + 5)], rgb("b5422f"))  # fmt: skip
    for _ in range(60):
        tx, ty = 520 + rng.random() * 90, 190 + rng.random() * 110
        c.ellipse(tx, ty, 5, 6, rgb("3f6f45"))
        c.ellipse(tx - 1.5, ty - 2, 2.4, 2.6, rgb("6a9a5c"))
    c.line([(502, 436), (502, 474), (516, 480)], rgb("6b6148"), 4)
    c.line([(466, 450), (474, 478)], rgb("6b6148"), 4)
    x, y = 214.0, 262.0
    c.glow(x, y - 30, 34, rgb("ffe08a"), 0.7)
    for i, tint in enumerate(("fdf6ee", "d8402f", "fdf6ee", "d8402f")):
        c.polygon([(x - 8 + i, y - i * 8), (x + 8 - i, y - i * 8), (x + 7 - i, y - i * 8 - 8),
                   (x - 7 + i, y - i * 8 - 8)], rgb(tint))  # fmt: skip
    c.polygon([(x - 6, y - 32), (x, y - 42), (x + 6, y - 32)], rgb("8f2f2c"))


def _compass(c: Canvas, x: float, y: float) -> None:
    c.ellipse(x, y, 47, 47, rgb("f6ecd2"), alpha=0.9)
    c.ellipse(x, y, 41, 41, rgb("2f7fa3"))
    for i in range(8):
        a = i * math.pi / 4 - math.pi / 2
        long = 54 if i % 2 == 0 else 32
        tip = (x + math.cos(a) * long, y + math.sin(a) * long)
        for side, tint in ((-1, "f6ecd2"), (1, "b5422f" if i == 0 else "24405c")):
            b = a + side * math.pi / 8
            waist = (x + math.cos(b) * 12, y + math.sin(b) * 12)
            c.polygon([(x, y), tip, waist], rgb(tint))
    c.ellipse(x, y, 4, 4, rgb("f6ecd2"))
