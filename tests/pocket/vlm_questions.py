"""What the pocket vision-language model is asked, and what is right: questions, sources, answers.

Ten kinds of question (``KINDS_ASKED``). Answers are short and there is one right one: ``red``,
``top left``, ``a red star at the top left``, ``41 coins [2]``, ``not in the sources``. Knows
nothing of dialogues, prompts or tokens.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clip_shapes import KINDS, Scene
from PIL import Image
from vlm_draw import ROWS, Drawn, Row, Table, paint

KINDS_ASKED = (
    "colour",
    "shape",
    "place",
    "description",
    "two pictures",
    "table",
    "source",
    "picture and source",
    "not in the sources",
    "follow-up",
)
ABSENT = "not in the sources"
GOODS = (*KINDS, *"lamp boat cup key drum kite book clock chair bell coat shoe".split())
NAMES = "prices.txt shop.md notes.txt list.pdf market.md goods.csv memo.txt".split()
FILLERS = (
    "The shop is open on Monday.",
    "The market is closed in winter.",
    "All prices are in coins.",
    "Please ask at the desk.",
    "New goods come in spring.",
    "The boat leaves at noon.",
    "We have sold these things for many years.",
    "Nobody knows who made the bell.",
)
FACTS = (
    "The {} costs {} coins.",
    "The {} costs {} coins.",
    "A {} costs {} coins.",
    "The price of the {} is {} coins.",
    "{}: {} coins",
)

#: ``{w}`` is where: nothing, or " in picture 2"; ``{i}`` the same, but never nothing
_ASK: Mapping[str, Sequence[str]] = {
    "colour": (
        "What colour is the shape{w}?",
        "What colour is the shape{i}?",
        "Which colour has the shape{w}?",
        "What color is the shape{w}?",
        "What colour is the thing{i}?",
    ),
    "shape": (
        "What shape is{i}?",
        "What kind of shape is{i}?",
        "Which shape do you see{w}?",
        "What shape do you see{i}?",
    ),
    "place": ("Where is the shape{w}?", "Where is the shape{i}?", "Where is the {kind}{w}?"),
    "description": ("Describe {p}.", "What is{i}?", "What do you see{i}?", "What does {p} show?"),
    "both": (
        "What does the thing{i} cost?",
        "How much is the thing{i}?",
        "What does the shape{i} cost?",
        "What is the price of the thing{i}?",
    ),
    "price": (
        "What does the {} cost?",
        "How much is the {}?",
        "What is the price of the {}?",
        "How much does the {} cost?",
    ),
}
_ASK_BARE: Mapping[str, Sequence[str]] = {  # where it is clear which picture is meant
    "colour": ("What colour is it?",),
    "shape": ("What kind of shape is it?", "What shape is this?"),
    "place": ("Where is it?",),
    "description": ("What is this?", "What do you see?", "Describe the picture."),
    "both": ("What does this cost?", "How much is this?"),
}
_FOLLOW: Mapping[str, Sequence[str]] = {
    "colour": ("And what colour is it?", "And the colour?"),
    "shape": ("And what shape is it?", "And the shape?"),
    "place": ("And where is it?", "And the place?"),
    "both": ("And what does it cost?", "And how much is it?"),
}
_ASK_TABLE: Mapping[str, Sequence[str]] = {
    "whole": ("Read the table{w}.", "What does the table{w} say?", "What stands in the table{w}?"),
    "row": ("What stands in row {row} of the table{w}?", "Read row {row} of the table{w}."),
    "digit": ("Which number is beside the {kind}{w}?", "What number does the {kind}{w} have?"),
    "colour": ("What colour is the {kind} in the table{w}?",),
}
_ORDINAL = ("first", "second", "third", "fourth")


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture to be: what it shows, and the seed of everything that is free in it."""

    what: Drawn
    seed: int

    def paint(self) -> Image.Image:
        """Return the picture, RGB, 64 pixels square."""
        return paint(self.what, random.Random(self.seed))


@dataclass(slots=True)
class Known:
    """What can be asked about: all pictures so far, prices with their source numbers.

    ``cites`` holds, by picture, the source number that its answers name, where pictures are
    sources. ``fresh`` are the pictures of the last message; ``last`` what was asked last
    (the kind of question and the picture, or -1). ``texts`` are the sources, of which the
    first has the number 1.
    """

    shots: list[Shot] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)
    prices: dict[str, tuple[int, int]] = field(default_factory=dict)
    texts: Sequence[str] = ()
    cites: dict[int, int] = field(default_factory=dict)
    last: tuple[str, int] | None = None

    def of(self, kind: type) -> list[int]:
        """Return the pictures that show a scene or a table."""
        return [n for n, shot in enumerate(self.shots) if isinstance(shot.what, kind)]

    def thing(self, picture: int) -> str:
        """Return the kind of shape in a picture of one shape."""
        what = self.shots[picture].what
        return str(what.kind) if isinstance(what, Scene) else ""

    def cite(self, picture: int) -> str:
        """Return the mark behind an answer about a picture."""
        return f" [{self.cites[picture]}]" if picture in self.cites else ""

    def price(self, good: str) -> str:
        """Return what ``good`` costs, with its source, or that no source says so."""
        if good not in self.prices:
            return ABSENT
        price, number = self.prices[good]
        return f"{price} coins [{number}]"

    def clear(self, picture: int) -> bool:
        """Whether "the picture" can only mean this one."""
        return len(self.shots) == 1 or self.fresh == [picture]


def describe(what: Drawn) -> str:
    """Return the one right description."""
    if isinstance(what, Table):
        first, second, third = (f"{_a(row.colour)} {row.kind}" for row in what.rows)
        return f"a table with {first}, {second} and {third}"
    place = "in the middle" if what.place == "middle" else f"at the {what.place}"
    return f"{_a(str(what.colour))} {what.kind} {place}"


def read(rows: Sequence[Row]) -> str:
    """Return what stands in rows of a table."""
    return ", ".join(f"{row.colour} {row.kind} {row.digit}" for row in rows)


def ask(rng: random.Random, known: Known, kind: str) -> tuple[str, str] | None:
    """Return a question of the kind with its answer, or None where nothing can be asked so."""
    if kind == "source":
        return _price(rng, known, sorted(known.prices))
    if kind == "table":
        return _table(rng, known)
    if kind == "not in the sources":
        return _absent(rng, known)
    if kind == "follow-up":
        return _follow(rng, known)
    scenes = known.of(Scene)
    if kind == "description" and rng.random() < 0.25:
        scenes = known.of(Table) or scenes
    if kind == "picture and source":
        scenes = [n for n in scenes if known.thing(n) in known.prices]
        return _visual(rng, known, "both", rng.choice(scenes)) if scenes else None
    if kind == "two pictures":
        if len(known.shots) < 2 or not scenes:
            return None
        kind = rng.choice(("colour", "shape", "place", "description"))
        return _visual(rng, known, kind, rng.choice(scenes), named=True)
    return _visual(rng, known, kind, rng.choice(scenes)) if scenes else None


def _visual(
    rng: random.Random, known: Known, kind: str, picture: int, *, named: bool = False
) -> tuple[str, str]:
    clear = known.clear(picture) and not named
    if clear and kind in _ASK_BARE and rng.random() < 0.4:
        form = rng.choice(_ASK_BARE[kind])
    else:
        form = rng.choice(_ASK[kind])
    number = f"picture {picture + 1}"
    if picture < len(_ORDINAL) and rng.random() < 0.3:
        number = f"the {_ORDINAL[picture]} picture"
    if clear:
        number = rng.choice(("the picture", "this picture"))
    question = form.format(
        w="" if clear else f" in {number}",
        i=f" in {number}",
        p=number,
        kind=known.thing(picture),
    )
    known.last = (kind, picture)
    return question, _right(known, kind, picture)


def _right(known: Known, kind: str, picture: int) -> str:
    what = known.shots[picture].what
    if kind == "description":
        return describe(what) + known.cite(picture)
    assert isinstance(what, Scene)
    if kind == "both":
        return known.price(str(what.kind))
    seen = {"colour": what.colour, "shape": what.kind, "place": what.place}[kind]
    return f"{seen}{known.cite(picture)}"


def _table(rng: random.Random, known: Known) -> tuple[str, str] | None:
    """Return a question for a whole table, for one of its rows, or for what is beside a shape."""
    tables = known.of(Table)
    if not tables:
        return None
    picture = rng.choice(tables)
    known.last = ("table", picture)
    clear = known.clear(picture) or len(tables) == 1
    where = "" if clear else f" in picture {picture + 1}"
    what = known.shots[picture].what
    assert isinstance(what, Table)
    about, number = rng.choice(("whole", "row", "digit", "colour")), rng.randrange(ROWS)
    row = what.rows[number]
    right = {
        "whole": read(what.rows),
        "row": read([row]),
        "digit": str(row.digit),
        "colour": row.colour,
    }
    question = rng.choice(_ASK_TABLE[about]).format(w=where, row=number + 1, kind=row.kind)
    return question, right[about] + known.cite(picture)


def _price(rng: random.Random, known: Known, goods: Sequence[str]) -> tuple[str, str] | None:
    if not goods:
        return None
    good = rng.choice(goods)
    known.last = ("price", -1)
    return rng.choice(_ASK["price"]).format(good), known.price(good)


def _absent(rng: random.Random, known: Known) -> tuple[str, str] | None:
    lost = [n for n in known.of(Scene) if known.thing(n) not in known.prices]
    if lost and rng.random() < 0.5:
        return _visual(rng, known, "both", rng.choice(lost))
    return _price(rng, known, [good for good in GOODS if good not in known.prices])


def _follow(rng: random.Random, known: Known) -> tuple[str, str] | None:
    """Return a question that needs the one before it."""
    if known.last is None:
        return None
    kind, picture = known.last
    if kind == "price":
        priced = sorted(known.prices)
        unpriced = [g for g in GOODS if g not in known.prices]
        good = rng.choice(priced if priced and rng.random() < 0.8 else unpriced)
        return f"And the {good}?", known.price(good)
    if kind not in ("colour", "shape", "place", "description", "both"):
        return None
    others = [n for n in known.of(Scene) if n != picture]
    if others and rng.random() < 0.5:
        picture = rng.choice(others)
        known.last = (kind, picture)
        return f"And in picture {picture + 1}?", _right(known, kind, picture)
    if not isinstance(known.shots[picture].what, Scene):
        return None
    asked = [k for k in _FOLLOW if k != kind and (k != "both" or known.prices)]
    if kind == "both":
        asked = [k for k in asked if k != "both"]
    kind = rng.choice(asked)
    known.last = (kind, picture)
    return rng.choice(_FOLLOW[kind]), _right(known, kind, picture)


def make_sources(
    rng: random.Random, first: int, must: Sequence[str] = (), never: Sequence[str] = ()
) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Return one to four short texts, numbered from ``first``, and each good's price and source.

    The goods of ``must`` are among them, those of ``never`` are not.
    """
    count = rng.choice((1, 2, 2, 3, 3, 4))
    others = [g for g in GOODS if g not in must and g not in never]
    goods = [*must, *rng.sample(others, rng.randint(count - 1, count + 2))]
    rng.shuffle(goods)
    held: list[list[str]] = [[] for _ in range(count)]
    prices: dict[str, tuple[int, int]] = {}
    for n, good in enumerate(goods):
        at = n if n < count else rng.randrange(count)
        prices[good] = (rng.randint(10, 99), first + at)
        held[at].append(rng.choice(FACTS).format(good, prices[good][0]))
    texts = []
    for facts in held:
        if not facts or rng.random() < 0.2:
            facts.insert(rng.randint(0, len(facts)), rng.choice(FILLERS))
        texts.append(rng.choice((" ", "\n")).join(facts))
    return texts, prices


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
