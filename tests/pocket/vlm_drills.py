"""Questions of training only: many look-ups in few tokens, and words to be copied.

Prices, pictures and rows are hardly learned from single questions, of whose tokens one in fifteen
is an answer's. None of these is ever a test item. Knows nothing of dialogues, prompts or tokens.
"""

import random

from clip_shapes import Scene
from vlm_draw import ROWS, Table
from vlm_questions import FACTS, Known

DRILLS = ("quotation", "prices", "survey", "rows")


def drill(rng: random.Random, known: Known, kind: str) -> tuple[str, str] | None:
    """Return a question of the kind (of ``DRILLS``) with its answer; None where there is none."""
    known.last = None
    made = {"quotation": _quotation, "prices": _prices, "survey": _survey, "rows": _rows}
    return made[kind](rng, known)


def _quotation(rng: random.Random, known: Known) -> tuple[str, str] | None:
    """Return a question for a source's words."""
    if not known.texts:
        return None
    if not known.prices or rng.random() < 0.4:
        number = rng.randrange(len(known.texts))
        return f"What does source {number + 1} say?", known.texts[number]
    good = rng.choice(sorted(known.prices))
    price, number = known.prices[good]
    found = next(
        fact.format(good, price)
        for fact in FACTS
        if fact.format(good, price) in known.texts[number - 1]
    )
    return f"What is said of the {good}?", f"{found} [{number}]"


def _prices(rng: random.Random, known: Known) -> tuple[str, str] | None:
    """Return a question for prices and sources of many goods."""
    goods = sorted(known.prices)
    if len(goods) < 2:
        return None
    told = [(good, *known.prices[good]) for good in rng.choices(goods, k=rng.randint(14, 24))]
    return "Name some prices.", "".join(f" {good} {price} [{n}];" for good, price, n in told)


def _survey(rng: random.Random, known: Known) -> tuple[str, str] | None:
    """Return a question for what single shapes are, picture by picture, by their numbers."""
    scenes = known.of(Scene)
    if not scenes:
        return None
    told = []
    for n in rng.choices(scenes, k=6 * len(scenes)):
        what = known.shots[n].what
        assert isinstance(what, Scene)
        told.append(f" picture {n + 1} {what.colour} {what.kind} {what.place};")
    return "Name some pictures.", "".join(told)


def _rows(rng: random.Random, known: Known) -> tuple[str, str] | None:
    """Return a question for the rows of tables, by their numbers."""
    tables = known.of(Table)
    if not tables:
        return None
    told = []
    for n in rng.choices(tables, k=10):
        what, row = known.shots[n].what, rng.randrange(ROWS)
        assert isinstance(what, Table)
        stands = what.rows[row]
        told.append(f" picture {n + 1} row {row + 1} {stands.colour} {stands.kind} {stands.digit};")
    return "Name some rows.", "".join(told)
