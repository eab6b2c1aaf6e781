"""The small world that the pocket CLIP knows: one drawn shape on a background, and words for it.

A ``Scene`` has four attributes. ``draw`` makes a picture of it (shade, size, turn, edges, paper and
noise vary), ``say`` a caption that names some or all of its attributes. One scene in six is held
out: its combination of colour, kind and place is never drawn in training. Knows nothing of torch,
of models, or of training.
"""

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from PIL import Image, ImageDraw, ImageFilter

SIDE = 128

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 40),
    "orange": (245, 130, 20),
    "yellow": (240, 215, 30),
    "green": (40, 160, 60),
    "blue": (35, 80, 215),
    "purple": (140, 50, 165),
    "grey": (128, 128, 128),
}
KINDS = ("circle", "square", "triangle", "star", "cross", "ring")
PLACES: dict[str, tuple[float, float]] = {
    "top left": (0.29, 0.29),
    "top right": (0.71, 0.29),
    "bottom left": (0.29, 0.71),
    "bottom right": (0.71, 0.71),
    "middle": (0.5, 0.5),
}
GROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (248, 248, 248),
    "black": (14, 14, 14),
    "beige": (222, 200, 168),
}

WORDS: dict[str, tuple[str, ...]] = {
    "grey": ("grey", "gray"),
    "purple": ("purple", "violet"),
    "circle": ("circle", "disc", "dot"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "cross": ("cross", "plus sign"),
    "ring": ("ring", "hoop"),
    "top left": ("top left", "upper left"),
    "top right": ("top right", "upper right"),
    "bottom left": ("bottom left", "lower left"),
    "bottom right": ("bottom right", "lower right"),
    "middle": ("middle", "centre", "center"),
    "white": ("white", "bright"),
    "black": ("black", "dark"),
    "beige": ("beige", "sand-coloured"),
}
OPENINGS = ("", "", "", "a picture of ", "a drawing of ", "a photo of ", "there is ", "show me ")


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows; an attribute that is ``None`` was left out of a caption."""

    colour: str | None
    kind: str | None
    place: str | None
    ground: str | None

    @property
    def held_out(self) -> bool:
        """True for every sixth combination of colour, kind and place."""
        row = list(COLOURS).index(str(self.colour)) + 2 * KINDS.index(str(self.kind))
        return (row + 3 * list(PLACES).index(str(self.place))) % 6 == 0

    def suits(self, other: "Scene") -> bool:
        """True when every attribute that this one names is the other's too."""
        return all(
            mine is None or mine == theirs
            for mine, theirs in (
                (self.colour, other.colour),
                (self.kind, other.kind),
                (self.place, other.place),
                (self.ground, other.ground),
            )
        )


def scenes() -> Iterator[Scene]:
    """Yield every scene there is (7 x 6 x 5 x 3)."""
    for colour, kind, place, ground in product(COLOURS, KINDS, PLACES, GROUNDS):
        yield Scene(colour, kind, place, ground)


def draw(scene: Scene, rng: random.Random, side: int = SIDE) -> Image.Image:
    """Return an RGB picture of ``scene``, ``side`` pixels square; ``rng`` varies what is free."""
    ground = _shade(GROUNDS[str(scene.ground)], rng, 8)
    colour = _shade(COLOURS[str(scene.colour)], rng, 16)
    big = side * 2  # drawn twice as large, so that edges come out smooth
    image = Image.new("RGB", (big, big), ground)
    x, y = PLACES[str(scene.place)]
    centre = ((x + rng.uniform(-0.05, 0.05)) * big, (y + rng.uniform(-0.05, 0.05)) * big)
    radius = rng.uniform(0.15, 0.23) * big
    _shape(ImageDraw.Draw(image), str(scene.kind), centre, radius, colour, rng)
    image = image.resize((side, side), Image.Resampling.LANCZOS)
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2) * side / 128))
    return image


def say(scene: Scene, rng: random.Random, names: Iterable[str] | None = None) -> tuple[str, Scene]:
    """Return a caption and what it names.

    ``names`` are the attributes to name (``colour``, ``kind``, ``place``, ``ground``); without
    it ``rng`` chooses some, all of colour, kind and place most often.
    """
    if names is None:
        named = {"colour", "kind", "place"}
        if rng.random() < 0.6:
            named = {n for n in named if rng.random() < 0.5} or {rng.choice(sorted(named))}
        if rng.random() < 0.3:
            named.add("ground")
    else:
        named = set(names)
    told = Scene(
        scene.colour if "colour" in named else None,
        scene.kind if "kind" in named else None,
        scene.place if "place" in named else None,
        scene.ground if "ground" in named else None,
    )
    return _wording(told, rng), told


def _wording(told: Scene, rng: random.Random) -> str:
    def word(name: str) -> str:
        return rng.choice(WORDS.get(name, (name,)))

    if told.colour and not (told.kind or told.place or told.ground) and rng.random() < 0.5:
        return rng.choice(("{}", "in {}", "but {}", "the {} one")).format(word(told.colour))
    noun = word(told.kind) if told.kind else rng.choice(("shape", "thing", "one", "figure"))
    body = f"{word(told.colour)} {noun}" if told.colour else noun
    article = "an" if body[0] in "aeiou" else "a"
    text = body if rng.random() < 0.25 else rng.choice(OPENINGS) + f"{article} {body}"
    if told.place:
        text += rng.choice((" in the {}", " at the {}", ", {}")).format(word(told.place))
    if told.ground:
        ground = word(told.ground)
        text += rng.choice((" on a {} background", " on {}", ", {} background")).format(ground)
    return text


def _shade(colour: tuple[int, int, int], rng: random.Random, most: int) -> tuple[int, int, int]:
    lighter = rng.uniform(-most, most)  # all channels alike: the hue stays
    red, green, blue = (
        int(min(255, max(0, c + lighter + rng.uniform(-most / 2, most / 2)))) for c in colour
    )
    return red, green, blue


def _shape(
    pen: ImageDraw.ImageDraw,
    kind: str,
    centre: tuple[float, float],
    radius: float,
    colour: tuple[int, int, int],
    rng: random.Random,
) -> None:
    x, y = centre
    around = (x - radius, y - radius, x + radius, y + radius)
    turn = rng.uniform(-0.2, 0.2)
    if kind == "circle":
        pen.ellipse(around, fill=colour)
    elif kind == "ring":
        pen.ellipse(around, outline=colour, width=int(radius * rng.uniform(0.25, 0.4)))
    else:
        points = [
            (
                x + radius * length * math.sin(angle + turn),
                y - radius * length * math.cos(angle + turn),
            )
            for angle, length in _corners(kind, rng)
        ]
        pen.polygon(points, fill=colour)


def _corners(kind: str, rng: random.Random) -> list[tuple[float, float]]:
    """Return a polygon's corners as (angle from the top in radians, distance)."""
    if kind == "square":
        return [(math.pi * (0.25 + 0.5 * i), 1.15) for i in range(4)]
    if kind == "triangle":
        return [(math.tau * i / 3, 1.15) for i in range(3)]
    if kind == "star":
        return [(math.pi * i / 5, 1.15 if i % 2 == 0 else 0.48) for i in range(10)]
    arm = rng.uniform(0.26, 0.36)  # half the width of a cross's arm
    tip, inner = math.hypot(1.1, arm), math.hypot(arm, arm)
    lean = math.atan2(arm, 1.1)
    corners: list[tuple[float, float]] = []
    for quarter in range(4):
        angle = quarter * math.pi / 2
        corners += [(angle - lean, tip), (angle + lean, tip), (angle + math.pi / 4, inner)]
    return corners
