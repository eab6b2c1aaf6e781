"""Pictures for the pocket vision-language model: one shape, or a table of three rows.

Each row of a table holds a coloured shape and a digit. Single shapes are those of ``clip_shapes``
(one combination of colour, kind and place in six is never drawn for training). Knows nothing of
questions, tokens or torch.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from clip_shapes import COLOURS, GROUNDS, KINDS, PLACES, Scene, draw
from PIL import Image, ImageDraw, ImageFont

SIDE = 64  #: pixels of a picture's side: what the model takes without any resizing
ROWS = 3
DIGITS = tuple(range(1, 10))
_CELL = 20  # height of a row
_LEFT, _MIDDLE, _TOP = 5, 30, 2


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    colour: str
    kind: str
    digit: int


@dataclass(frozen=True, slots=True)
class Table:
    """Three rows from the top; no kind of shape and no digit is there twice."""

    rows: tuple[Row, ...]


Drawn = Scene | Table


def some_scene(rng: random.Random, *, training: bool) -> Scene:
    """Return a scene; in training none of the combinations that are held out."""
    while True:
        scene = Scene(
            rng.choice(list(COLOURS)),
            rng.choice(KINDS),
            rng.choice(list(PLACES)),
            rng.choice(list(GROUNDS)),
        )
        if not (training and scene.held_out):
            return scene


def some_table(rng: random.Random) -> Table:
    """Return a table."""
    kinds, digits = rng.sample(KINDS, ROWS), rng.sample(DIGITS, ROWS)
    colours = rng.choices(list(COLOURS), k=ROWS)
    return Table(tuple(map(Row, colours, kinds, digits)))


def paint(what: Drawn, rng: random.Random) -> Image.Image:
    """Return an RGB picture, 64 pixels square; ``rng`` varies what is free."""
    return _paint_table(what.rows, rng) if isinstance(what, Table) else draw(what, rng, SIDE)


def _paint_table(rows: Sequence[Row], rng: random.Random) -> Image.Image:
    paper = rng.randint(238, 255)
    image = Image.new("RGB", (SIDE, SIDE), (paper, paper, paper))
    pen = ImageDraw.Draw(image)
    ink = (rng.randint(0, 70),) * 3
    font = ImageFont.load_default(rng.randint(15, 18))
    for n, row in enumerate(rows):
        top = _TOP + n * _CELL
        shape = draw(Scene(row.colour, row.kind, "middle", "white"), rng, 38)
        edge = (38 - _CELL + 2) // 2
        cut = shape.crop((edge, edge, edge + _CELL - 2, edge + _CELL - 2))
        image.paste(cut, (_LEFT + 3 + rng.randint(-1, 1), top + 1))
        middle = (46 + rng.randint(-2, 2), top + _CELL // 2 + rng.randint(-1, 1))
        pen.text(middle, str(row.digit), ink, font, "mm")
    for n in range(ROWS + 1):
        pen.line((_LEFT, _TOP + n * _CELL, SIDE - _LEFT, _TOP + n * _CELL), ink)
    for x in (_LEFT, _MIDDLE, SIDE - _LEFT):
        pen.line((x, _TOP, x, _TOP + ROWS * _CELL), ink)
    return image
