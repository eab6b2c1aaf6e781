"""The pictures with writing: receipts, a ferry notice, a bar chart, and the report's figure.

The writing is meant to be read by OCR, so it is large, dark and straight.
"""

from collections.abc import Sequence

import numpy as np
from demo_canvas import Canvas, Point, noise, rgb
from demo_texts import CAFE, CHANDLERY, VISITORS
from PIL import Image

INK = rgb("23242b")


def _receipt(
    head: Sequence[str],
    lines: Sequence[tuple[str, str]],
    total: str,
    foot: Sequence[str],
    wood: str,
) -> Image.Image:
    """A till receipt on a table: a ``wood`` ground, a paper with a torn foot, 460 by 580."""
    c = Canvas(460, 580, rgb(wood))
    grain = noise(11, c.large, (900.0, 18.0))
    tone = np.clip((grain - 0.5) * 120, -34, 34)[..., None]
    base = np.asarray(c.image, np.float64) + tone
    c.image = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    bottom = 540.0
    torn: list[Point] = [(52 + i * 8.9, bottom + (7 if i % 2 else 0)) for i in range(41)]
    paper: list[Point] = [(52, 30), (408, 30), *reversed(torn)]
    c.polygon([(x + 7, y + 9) for x, y in paper], rgb("120c08"), alpha=0.5, blur=6)
    c.gradient([(0, rgb("fdfcf8")), (1, rgb("f1eee6"))], c.polygon_mask(paper))
    y = 58.0
    for i, line in enumerate(head):
        size = 24 if i == 0 else 17
        c.text(230, y, line, size, INK, anchor="ma", weight=0.5 if i == 0 else 0)
        y += size + 11
    y += 8
    _dashes(c, y)
    y += 22
    for name, price in lines:
        c.text(76, y, name, 19, INK)
        c.text(384, y, price, 19, INK, anchor="ra")
        y += 36
    _dashes(c, y + 4)
    y += 24
    c.text(76, y, "TOTAL EUR", 26, INK, weight=0.6)
    c.text(384, y, total, 26, INK, anchor="ra", weight=0.6)
    y += 56
    for line in foot:
        c.text(230, y, line, 17, INK, anchor="ma")
        y += 28
    return c.finish()


def _dashes(c: Canvas, y: float) -> None:
    for x in range(76, 384, 12):
        c.line([(x, y), (x + 7, y)], rgb("6d6c70"), 1.4)


def receipt_chandlery() -> Image.Image:
    """A receipt of the ship's chandler, over 50 euros."""
    return _receipt(
        ("TAMMEL & DAUGHTER", "Ship's chandlers", "North Quay, Skerrin", "18 June 2024  14:05"),
        CHANDLERY,
        f"{sum(float(price) for _, price in CHANDLERY):.2f}",
        ("Paid by card", "Receipt no. 2217", "Fair winds!"),
        "6f4a2f",
    )


def receipt_cafe() -> Image.Image:
    """A receipt of the museum's cafe, under 50 euros."""
    return _receipt(
        ("HERRING STORE CAFE", "Harbour Museum", "North Quay, Skerrin", "18 June 2024  12:32"),
        CAFE,
        f"{sum(float(price) for _, price in CAFE):.2f}",
        ("Paid in cash", "Table 6", "Thank you, come again"),
        "3f5560",
    )


def ferry_notice() -> Image.Image:
    """The enamel notice at the ferry pier, 760 by 560."""
    c = Canvas(760, 560)
    c.gradient([(0, rgb("a9cde0")), (1, rgb("dfeaea"))])
    whole = c.mask(lambda d: d.rectangle((0, 0, *c.large), fill=255))
    c.texture(whole, 14, (200, 60), rgb("9cc3d8"), rgb("f4f7f5"), 0.5)
    for x in (150, 588):
        post = c.polygon_mask([(x, 20), (x + 24, 20), (x + 24, 570), (x, 570)])
        c.gradient([(0, rgb("a88a68")), (1, rgb("5f4936"))], post, across=True)
    board: list[Point] = [(44, 48), (716, 48), (716, 496), (44, 496)]
    c.polygon([(x + 6, y + 9) for x, y in board], rgb("1d2b33"), alpha=0.45, blur=7)
    c.polygon(board, rgb("f7f5ec"))
    c.polygon([(56, 60), (704, 60), (704, 484), (56, 484)], rgb("173f6b"))
    c.polygon([(62, 66), (698, 66), (698, 478), (62, 478)], rgb("f7f5ec"))
    c.polygon([(62, 66), (698, 66), (698, 148), (62, 148)], rgb("173f6b"))
    c.text(380, 107, "SKERRIN FERRY", 46, rgb("f7f5ec"), anchor="mm", weight=0.8)
    c.text(380, 178, "Summer timetable, 1 May to 30 September", 23, INK, anchor="mm")
    rows = (
        ("From Skerrin", "07:40", "12:10", "17:30"),
        ("From Aldmouth", "09:00", "13:30", "18:50"),
    )
    for i, (name, *times) in enumerate(rows):
        y = 236 + i * 58
        c.polygon([(84, y - 26), (676, y - 26), (676, y + 24), (84, y + 24)],
                  rgb("dfe8ee" if i == 0 else "ece8da"))  # fmt: skip
        c.text(104, y, name, 26, rgb("173f6b"), anchor="lm", weight=0.5)
        for k, time in enumerate(times):
            c.text(394 + k * 112, y, time, 28, INK, anchor="mm")
    c.text(380, 362, "The crossing takes 45 minutes", 23, INK, anchor="mm")
    c.text(380, 398, "Dogs travel free, bicycles 3 euros", 23, INK, anchor="mm")
    c.text(380, 446, "No ferry when the black cone is hoisted", 24, rgb("a32a26"), anchor="mm",
           weight=0.4)  # fmt: skip
    for x, y in ((74, 78), (686, 78), (74, 466), (686, 466)):
        c.ellipse(x, y, 4.5, 4.5, rgb("b9b3a2"))
    return c.finish()


def visitors_chart() -> Image.Image:
    """A bar chart of the museum's visitors by month, 820 by 520."""
    c = Canvas(820, 520, rgb("fbfaf6"))
    c.text(410, 40, "Visitors to the Harbour Museum in 2024", 28, INK, anchor="mm", weight=0.5)
    base, tall, top = 440.0, 320.0, 4000
    for mark in range(0, top + 1, 1000):
        y = base - tall * mark / top
        c.line([(96, y), (780, y)], rgb("c9c6bc"), 1)
        c.text(84, y, f"{mark}", 19, INK, anchor="rm")
    for i, (month, count) in enumerate(VISITORS):
        x, y = 122 + i * 94, base - tall * count / top
        bar = c.polygon_mask([(x, base), (x, y), (x + 62, y), (x + 62, base)])
        c.gradient([(0, rgb("3f8fb8")), (1, rgb("1f5f8b"))], bar)
        c.polygon([(x + 2, y - 25), (x + 60, y - 25), (x + 60, y - 2), (x + 2, y - 2)],
                  rgb("fbfaf6"))  # fmt: skip
        c.text(x + 31, y - 14, f"{count}", 20, INK, anchor="mm")
        c.text(x + 31, base + 22, month, 22, INK, anchor="mm")
    c.line([(96, base), (780, base)], INK, 2)
    c.text(410, 494, "Month", 20, INK, anchor="mm")
    return c.finish()


def cross_section() -> Image.Image:
    """The report's Figure 1: the tower cut in half, its rooms and their heights, 760 by 620."""
    c = Canvas(760, 620, rgb("ffffff"))
    x, ground, scale = 300.0, 574.0, 15.6

    def at(metres: float) -> float:
        return ground - metres * scale

    def half(metres: float) -> float:
        return 92 - metres * 1.55

    c.gradient([(0, rgb("9a9488")), (1, rgb("6f6a63"))],
               c.polygon_mask([(112, 574), (488, 574), (456, 610), (144, 610)]))  # fmt: skip
    shell = [(x - half(0), at(0)), (x - half(29), at(29)), (x + half(29), at(29)),
             (x + half(0), at(0))]  # fmt: skip
    c.polygon(shell, rgb("b8b0a2"))
    for metres in range(1, 29):
        c.line([(x - half(metres), at(metres)), (x + half(metres), at(metres))], rgb("9b9387"), 1)
    inner = [(x - half(0) + 34, at(0)), (x - half(29) + 14, at(29)), (x + half(29) - 14, at(29)),
             (x + half(0) - 34, at(0))]  # fmt: skip
    c.polygon(inner, rgb("f6efdf"))
    rooms = (
        (0.0, 5.0, "Oil store", "e6d3a8"),
        (5.0, 20.0, "Stair, 163 steps", "f6efdf"),
        (20.0, 24.5, "Keepers' room", "cfe0d4"),
        (24.5, 29.0, "Watch room", "d5dcec"),
        (29.0, 34.0, "Lantern and lens", "fff0b5"),
    )
    for low, high, _, tint in rooms[:4]:
        lo, hi = half(low) - 34 + low * 0.69, half(high) - 34 + high * 0.69
        c.polygon([(x - lo, at(low)), (x - hi, at(high)), (x + hi, at(high)), (x + lo, at(low))],
                  rgb(tint))  # fmt: skip
        c.line([(x - lo - 4, at(low)), (x + lo + 4, at(low))], rgb("5d564c"), 3)
    for k in range(18):
        y, side = at(5.4 + k * 0.82), 30 - k * 0.4
        c.line([(x - side, y), (x + side, y - 9)], rgb("7a4a3a"), 2.4)
    c.polygon([(x - 62, at(29)), (x - 58, at(28.3)), (x + 58, at(28.3)), (x + 62, at(29))],
              rgb("5d564c"))  # fmt: skip
    c.polygon([(x - 30, at(29)), (x - 30, at(32.4)), (x + 30, at(32.4)), (x + 30, at(29))],
              rgb("fff0b5"))  # fmt: skip
    c.ellipse(x, at(30.7), 15, 21, rgb("8fc4d4"))
    c.ellipse(x, at(30.7), 8, 12, rgb("ffd35c"))
    c.polygon([(x - 38, at(32.3)), (x, at(34)), (x + 38, at(32.3))], rgb("b8352d"))
    for low, high, name, _ in rooms:
        y = (at(low) + at(high)) / 2
        c.line([(x + 44, y), (470, y)], rgb("5d564c"), 1.2)
        c.text(480, y, name, 24, INK, anchor="lm")
    for metres in (0, 5, 20, 29, 34):
        y = at(metres)
        c.line([(96, y), (x - 66, y)], rgb("a9a49a"), 1)
        c.text(88, y, f"{metres} m", 22, INK, anchor="rm")
    return c.finish()
