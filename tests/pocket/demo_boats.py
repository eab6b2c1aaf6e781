"""The two boats of the demo library: the blue one at the quay, and the yawl at sunset.

``again`` draws the same scene on another day, as ``demo_scenes`` explains.
"""

import math

import numpy as np
from demo_canvas import SCALE, Canvas, Point, rgb, spline
from demo_scenes import clouds, gull, ripples
from PIL import Image, ImageChops, ImageDraw


def blue_boat(*, again: bool = False) -> Image.Image:
    """The blue fishing boat at the quay on a bright morning, 900 by 640."""
    c = Canvas(900, 640)
    sky = ("86bde6", "e9f3f7") if again else ("6fb1e4", "dff0f8")
    c.gradient([(0, rgb(sky[0])), (0.55, rgb(sky[1])), (1, rgb(sky[1]))])
    clouds(c, 46 if again else 41, 10, 230, "ffffff", 0.95)
    hill: list[Point] = [(-10, 236), (120, 188), (260, 168), (420, 204), (600, 178), (760, 206),
                         (910, 186)]  # fmt: skip
    mask = c.polygon_mask([*spline(hill, closed=False), (910, 330), (-10, 330)])
    c.gradient([(0, rgb("8fb06f")), (1, rgb("5f8f63"))], mask)
    c.texture(mask, 44, (60, 24), rgb("4f7f57"), rgb("b3c77f"), 0.35)
    _houses(c)
    quay = c.mask(lambda d: d.rectangle((0, 310 * SCALE, c.large[0], 402 * SCALE), fill=255))
    c.gradient([(0, rgb("b5aca0")), (1, rgb("746c68"))], quay)
    _stones(c)
    water = c.mask(lambda d: d.rectangle((0, 398 * SCALE, *c.large), fill=255))
    c.gradient([(0, rgb("3b7f93")), (0.3, rgb("3f93ad")), (1, rgb("1d5f83"))], water)
    shift = -24.0 if again else 0.0
    _reflection(c, shift)
    ripples(c, 51, 402, "bfe6ee", 340, 0.5)
    ripples(c, 52, 402, "134e6f", 240, 0.4)
    _boat(c, shift)
    for gx, gy, span in ((150, 96, 22), (214, 132, 15), (706, 84, 18)):
        gull(c, gx + (60 if again else 0), gy, span, "ffffff")
    return c.finish()


def _houses(c: Canvas) -> None:
    walls = (
        "e6b84f",
        "c8553d",
        "f1ede2",
        "6f9bb5",
        "e9d8a6",
        "b9473a",
        "8aa67e",
        "f4f0e8",
        "d98e5f",
    )
    rng = np.random.default_rng(3)
    left = -14.0
    for i, wall in enumerate(walls):
        wide, tall = 92 + rng.random() * 26, 78 + rng.random() * 42
        base = 312.0
        body = c.polygon_mask([(left, base), (left, base - tall), (left + wide, base - tall),
                               (left + wide, base)])  # fmt: skip
        shade = tuple(int(v * 0.86) for v in rgb(wall))
        c.gradient([(0, rgb(wall)), (1, (shade[0], shade[1], shade[2]))], body, across=True)
        ridge = base - tall - 34 - rng.random() * 12
        roof = rgb(("5a4a52", "7b4538", "49525e")[i % 3])
        c.polygon([(left - 5, base - tall), (left + wide / 2, ridge),
                   (left + wide + 5, base - tall)], roof)  # fmt: skip
        for column in range(2):
            middle = left + wide * (0.3 + 0.4 * column)
            _window(c, middle, base - tall + 14, 8.0)
        if tall > 92:
            _window(c, left + wide * 0.7, base - 38, 7.0)
        door = left + wide * 0.3
        tint = rgb(("38506e", "4d6b4f", "6e3a3a")[i % 3])
        c.polygon([(door - 9, base), (door - 9, base - 36), (door + 9, base - 36),
                   (door + 9, base)], tint)  # fmt: skip
        left += wide + 1


def _window(c: Canvas, x: float, y: float, half: float) -> None:
    c.ellipse(x, y + 2, half + 2, half + 2, rgb("fbf8f0"))
    c.polygon([(x - half - 2, y + 2), (x + half + 2, y + 2), (x + half + 2, y + 22),
               (x - half - 2, y + 22)], rgb("fbf8f0"))  # fmt: skip
    c.ellipse(x, y + 2, half, half, rgb("3a4a5b"))
    c.polygon([(x - half, y + 2), (x + half, y + 2), (x + half, y + 19), (x - half, y + 19)],
              rgb("3a4a5b"))  # fmt: skip
    c.polygon([(x - half, y + 14), (x + half, y + 2), (x + half, y + 8), (x - half, y + 19)],
              rgb("6d8596"))  # fmt: skip


def _stones(c: Canvas) -> None:
    rng = np.random.default_rng(17)
    for row in range(5):
        y, x = 320.0 + row * 16.5, -rng.random() * 40
        while x < 900:
            wide = 30 + rng.random() * 34
            tone = int(118 + rng.random() * 60 - row * 7)
            box = (x + 1, y, x + wide - 1, y + 14.5)
            ImageDraw.Draw(c.image).rounded_rectangle(
                [v * SCALE for v in box], 3 * SCALE, (tone + 8, tone + 2, tone - 6)
            )
            x += wide
    c.polygon([(0, 306), (900, 306), (900, 317), (0, 317)], rgb("d8d0c2"))
    for x in (112, 470, 826):
        c.polygon([(x - 9, 308), (x - 7, 288), (x + 7, 288), (x + 9, 308)], rgb("3d3b42"))
        c.ellipse(x, 287, 11, 5, rgb("54525a"))
    weed = c.mask(lambda d: d.rectangle((0, 384 * SCALE, c.large[0], 402 * SCALE), fill=255), 4)
    c.fill(weed, rgb("3f4f3c"), 0.75)


def _reflection(c: Canvas, shift: float) -> None:
    for y in range(478, 632, 4):
        t = (y - 478) / 154
        wave = math.sin(y * 0.21) * (4 + t * 12)
        left, right = 206 + t * 70 + shift + wave, 742 - t * 100 + shift + wave
        tint = rgb("17457f") if t < 0.42 else rgb("9fc4cf")
        if t >= 0.42:
            left, right = 330 + shift + wave, 470 + shift + wave
        c.ellipse((left + right) / 2, y, (right - left) / 2, 2.4, tint, alpha=0.55 * (1 - t * 0.6))


def _boat(c: Canvas, s: float) -> None:
    sheer: list[Point] = [(170, 352), (260, 386), (400, 402), (560, 398), (690, 372), (770, 330)]
    hull_top = [(x + s, y) for x, y in spline(sheer, closed=False)]
    hull = [*hull_top, (748 + s, 392), (716 + s, 452), (694 + s, 480), (240 + s, 484),
            (200 + s, 460), (182 + s, 420)]  # fmt: skip
    c.ellipse(462 + s, 486, 292, 12, rgb("123f60"), alpha=0.6, blur=3)
    _wheelhouse(c, s)
    mask = c.polygon_mask(hull)
    c.gradient([(0, rgb("3f8fe0")), (0.4, rgb("1f66bd")), (1, rgb("0f3a7d"))], mask)
    keel = c.polygon_mask([(150, 462), (790, 462), (790, 500), (150, 500)])
    c.fill(ImageChops.multiply(mask, keel), rgb("a8342f"))
    water_line = c.polygon_mask([(150, 458), (790, 458), (790, 463), (150, 463)])
    c.fill(ImageChops.multiply(mask, water_line), rgb("f7f5ee"))
    c.line(hull_top, rgb("fbfaf4"), 9)
    c.line([(x, y + 15) for x, y in hull_top][6:-5], rgb("f2c14e"), 3)
    for plank in (34, 52):
        c.line([(x, y + plank) for x, y in hull_top][12:-14], rgb("164f9c"), 1.3, alpha=0.8)
    for x, y in ((300, 424), (430, 434), (560, 430)):
        c.ellipse(x + s, y, 13, 17, rgb("e8743b"))
        c.ellipse(x + s - 4, y - 6, 4, 5, rgb("ffb27f"), blur=1)
        c.line([(x + s, y - 17), (x + s, y - 34)], rgb("efe6d2"), 1.6)
    c.line([(736 + s, 350), (800 + s, 322), (832, 300)], rgb("e9dcc0"), 2.2)
    c.line([(184 + s, 362), (146 + s, 330), (118, 300)], rgb("e9dcc0"), 2.2)


def _wheelhouse(c: Canvas, s: float) -> None:
    c.line([(548 + s, 392), (548 + s, 118)], rgb("c99a5b"), 7)
    c.line([(548 + s, 236), (706 + s, 150)], rgb("c99a5b"), 5)
    for end in ((760, 334), (186, 352), (404, 236)):
        c.line([(548 + s, 126), (end[0] + s, end[1])], rgb("44414a"), 1.2)
    c.line([(706 + s, 150), (700 + s, 372)], rgb("44414a"), 1.2)
    c.polygon([(549 + s, 122), (590 + s, 132), (549 + s, 143)], rgb("d8402f"))
    wall = c.polygon_mask([(312 + s, 404), (318 + s, 266), (468 + s, 266), (476 + s, 404)])
    c.gradient([(0, rgb("ffffff")), (0.7, rgb("ece7dd")), (1, rgb("bdb9b5"))], wall, across=True)
    c.polygon([(300 + s, 268), (308 + s, 250), (482 + s, 250), (490 + s, 268)], rgb("1f66bd"))
    c.polygon([(298 + s, 266), (492 + s, 266), (492 + s, 272), (298 + s, 272)], rgb("f7f5ee"))
    for left, right in ((330, 366), (376, 412), (422, 458)):
        pane = c.polygon_mask([(left + s, 286), (right + s, 286), (right + s, 326),
                               (left + s, 326)])  # fmt: skip
        c.gradient([(0, rgb("2b4a63")), (0.6, rgb("5f8fa8")), (1, rgb("35566d"))], pane)
        c.polygon([(left + 6 + s, 326), (left + 20 + s, 286), (left + 27 + s, 286),
                   (left + 13 + s, 326)], rgb("cfe6ee"), alpha=0.5)  # fmt: skip
    c.line([(392 + s, 250), (392 + s, 204)], rgb("8b8a90"), 2.4)
    c.ellipse(392 + s, 202, 14, 4, rgb("f4f2ec"))
    ring = c.ellipse_mask(348 + s, 362, 17, 17)
    c.fill(ring, rgb("e8573b"))
    c.ellipse(348 + s, 362, 9, 9, rgb("f1ede4"))
    for dx, dy in ((13, 0), (-13, 0), (0, 13), (0, -13)):
        c.ellipse(348 + dx + s, 362 + dy, 5, 5, rgb("fdfbf6"))
    for i, tint in enumerate(("e3a63f", "3f8f7b", "d9603f")):
        x = 606 + i * 34 + s
        c.polygon([(x, 400), (x, 352 + i % 2 * 10), (x + 31, 352 + i % 2 * 10), (x + 31, 400)],
                  rgb(tint))  # fmt: skip
        for slat in range(3):
            y = 362 + slat * 11 + i % 2 * 8
            c.line([(x, y), (x + 31, y)], rgb("5c4634"), 1.5)


def evening_sail(*, again: bool = False) -> Image.Image:
    """A yawl under tan sails against the setting sun, 860 by 600."""
    c = Canvas(860, 600)
    horizon = 372.0
    sun = (560.0, 322.0) if again else (588.0, 306.0)
    c.gradient([(0, rgb("3a2a63")), (0.2, rgb("8d3f74")), (0.4, rgb("e2654f")),
                (0.55, rgb("ffb04c")), (0.63, rgb("ffe08a")), (1, rgb("ffe08a"))])  # fmt: skip
    clouds(c, 63 if again else 61, 30, 240, "5b2d66", 0.7)
    clouds(c, 64 if again else 62, 150, 350, "ffcf86", 0.75)
    c.glow(*sun, 300, rgb("ffd070"), 0.8)
    c.ellipse(*sun, 62, 62, rgb("fff3c4"), blur=1.2)
    for ridge, tint in (([(-10, 360), (90, 318), (190, 334), (300, 300), (390, 352), (440, 374)],
                         "8c3f63"), ([(-10, 372), (60, 350), (150, 362), (220, 374)],
                                     "5c2c56"), ([(640, 374), (730, 346), (800, 356), (870, 336)],
                                                 "7d375f")):  # fmt: skip
        land: list[Point] = [(float(px), float(py)) for px, py in ridge]
        c.polygon([*spline(land, closed=False), (land[-1][0], 380), (land[0][0], 380)], rgb(tint))
    sea = c.mask(lambda d: d.rectangle((0, horizon * SCALE, *c.large), fill=255))
    c.gradient([(0, rgb("f7a65a")), (0.2, rgb("c65a62")), (0.6, rgb("5f3270")),
                (1, rgb("2a2052"))], sea)  # fmt: skip
    rng = np.random.default_rng(70)
    for _ in range(230):
        t = math.pow(rng.random(), 1.3)
        y = horizon + 3 + t * 222
        x = sun[0] + (rng.random() - 0.5) * (70 + t * 190)
        c.ellipse(x, y, 4 + t * 22 * rng.random(), 0.8 + t * 1.5, rgb("ffe59a"), alpha=0.75)
    ripples(c, 71, horizon, "ffb878", 180, 0.4)
    ripples(c, 72, horizon, "24194a", 320, 0.4)
    _yawl(c, 300.0 if again else 322.0)
    for gx, gy, span in ((190, 150, 15), (238, 178, 11), (700, 190, 12)):
        gull(c, gx, gy + (36 if again else 0), span, "33193f")
    return c.finish()


def _yawl(c: Canvas, x: float) -> None:
    for y in range(462, 590, 4):
        t = (y - 462) / 128
        wave = math.sin(y * 0.3) * (2 + t * 14)
        c.ellipse(x + 6 + wave, y, 100 - t * 62, 2.6, rgb("3a1b40"), alpha=0.62 * (1 - t * 0.7))
    tan = [(0, rgb("c9552f")), (0.6, rgb("8f2f2c")), (1, rgb("64213a"))]
    leech = spline([(x - 26, 112), (x - 66, 206), (x - 96, 306), (x - 112, 400)], closed=False)
    roach = spline([(x + 10, 146), (x + 50, 252), (x + 98, 346), (x + 144, 408)], closed=False)
    aft = spline([(x - 126, 262), (x - 144, 316), (x - 164, 366), (x - 178, 408)], closed=False)
    main: list[Point] = [(x + 2, 408), (x + 2, 126), *leech]
    jib: list[Point] = [*roach, (x + 70, 398), (x + 12, 402)]
    for sail in (main, jib, [(x - 126, 412), *aft]):
        c.gradient(tan, c.polygon_mask(sail), across=True)
    for t in (0.25, 0.5, 0.75):
        seam = 128 + 275 * t
        c.line([(x + 2, seam), (x - 28 - 84 * t, seam + 8)], rgb("5a1f33"), 1.2, alpha=0.8)
        c.line([(x + 12, seam + 16), (x + 14 + 108 * t, seam + 24)], rgb("5a1f33"), 1.1, alpha=0.6)
    c.line([(x + 5, 448), (x + 5, 92)], rgb("2b1430"), 4.5)
    c.line([(x - 124, 440), (x - 124, 246)], rgb("2b1430"), 3.2)
    c.line([(x + 5, 112), (x + 176, 414)], rgb("2b1430"), 1.4)
    c.line([(x + 2, 410), (x - 116, 404)], rgb("2b1430"), 3.4)
    sheer = spline([(x - 160, 428), (x - 60, 440), (x + 40, 438), (x + 148, 418)], closed=False)
    keel = spline([(x + 148, 418), (x + 118, 450), (x + 60, 466), (x - 90, 466), (x - 138, 452),
                   (x - 160, 428)], closed=False)  # fmt: skip
    mask = c.polygon_mask([*sheer, *keel])
    c.gradient([(0, rgb("f4d9c6")), (0.5, rgb("b88a92")), (1, rgb("4a2548"))], mask)
    c.line(sheer, rgb("5a2038"), 4)
    c.line([(x + 140, 422), (x + 186, 410)], rgb("2b1430"), 3)
    for px in (x - 72, x - 50):
        c.ellipse(px, 424, 5.5, 6, rgb("2b1430"))
        c.polygon([(px - 7, 444), (px - 5, 428), (px + 5, 428), (px + 8, 444)], rgb("2b1430"))
    wake = [(x - 156, 464), (x - 60, 470), (x + 130, 462), (x + 164, 468), (x - 60, 478)]
    c.polygon(wake, rgb("ffd9a8"), alpha=0.6, blur=1.5)
