"""Dialogues for the pocket vision-language model, in the form in which Bifocal really asks.

Half of them are what a LangChain user would send: pictures, perhaps labelled, perhaps numbered
sources, a question, and further turns. The others are made by ``bot.compose`` with Bifocal's own
prompts: a system prompt, earlier turns without their evidence, sources, pictures as sources, and
the question. ``items`` gives test items, of whose seeds training never draws. Knows nothing of
tokens or torch.
"""

import base64
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clip_shapes import Scene
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from vlm_draw import Table, some_scene, some_table
from vlm_drills import DRILLS, drill
from vlm_questions import KINDS_ASKED, NAMES, Known, Shot, ask, make_sources

from bot.compose import Budget, Prompts, Shown, compose
from bot.models.llama.content import picture_part
from memory.messages import Message, Turn
from prompts import load_prompt
from retrievers.evidence import Evidence

#: Picks a picture: ``True`` for a table, ``False`` for a single shape
Pick = Callable[[random.Random, bool], Shot]
#: Seeds of test items lie from here on; those of training below
TEST_SEEDS = 1_000_000_000
SHORT_SYSTEMS = (
    "You answer questions about pictures and sources.",
    "You are a helpful assistant.",
    "Answer in as few words as you can.",
)
_VISUAL = ("colour", "shape", "place", "description")
PROMPTS = Prompts(load_prompt("answer"), load_prompt("question"), load_prompt("source"))


@dataclass(frozen=True, slots=True)
class Asked:
    """One message and its answer; ``learn`` is False where the answer's grounds are not shown."""

    parts: tuple[str | Shot, ...]
    answer: str
    learn: bool = True


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation whose last answer is of the kind; ``system`` may be empty."""

    kind: str
    system: str
    turns: tuple[Asked, ...]

    @property
    def answer(self) -> str:
        """The right answer to the last message."""
        return self.turns[-1].answer

    def messages(self) -> list[BaseMessage]:
        """Return the LangChain messages up to the last question, pictures in them."""
        found: list[BaseMessage] = [SystemMessage(self.system)] if self.system else []
        for n, turn in enumerate(self.turns):
            found.append(
                HumanMessage(
                    [
                        picture_part(part.paint())
                        if isinstance(part, Shot)
                        else {"type": "text", "text": part}
                        for part in turn.parts
                    ]
                )
            )
            if n < len(self.turns) - 1:
                found.append(AIMessage(turn.answer))
        return found


def items(seed: int, count: int) -> list[Dialogue]:
    """Return ``count`` test items, all kinds alike often; the same for the same seed."""
    found = []
    for n in range(count):
        rng = random.Random(TEST_SEEDS + seed * 1_000_003 + n)
        found.append(dialogue(rng, KINDS_ASKED[n % len(KINDS_ASKED)], new_shot, most_turns=1))
    return found


def new_shot(rng: random.Random, table: bool) -> Shot:
    """Return a picture that was not drawn in training, of any combination."""
    what = some_table(rng) if table else some_scene(rng, training=False)
    return Shot(what, TEST_SEEDS + rng.randrange(TEST_SEEDS))


def dialogue(
    rng: random.Random,
    kind: str,
    pick: Pick,
    *,
    most_turns: int = 1,
    bot: float = 0.4,
) -> Dialogue:
    """Return a dialogue: Bifocal's own with probability ``bot``, else as LangChain users write.

    The latter may go on to ``most_turns`` turns, each asking something of its own. ``kind`` is one
    of ``KINDS_ASKED``, or in training of ``DRILLS``.
    """
    while True:
        scenario = _scenario(rng, kind)
        if rng.random() < bot:
            made = _of_bot(rng, kind, pick, *scenario)
        else:
            made = _raw(rng, kind, pick, *scenario, most_turns)
        if made is not None:
            return made


def _scenario(rng: random.Random, kind: str) -> tuple[list[bool], bool]:
    """Return the pictures to show (True: a table) and whether there are sources."""
    if kind == "two pictures":
        return rng.choice(([False, False], [False, False], [False, True], [True, False])), (
            rng.random() < 0.15
        )
    if kind == "table":
        return [True], rng.random() < 0.2
    if kind == "description":
        return [rng.random() < 0.25], rng.random() < 0.2
    if kind in _VISUAL:
        return [False], rng.random() < 0.3
    if kind in ("prices", "quotation"):
        return [], True
    if kind == "survey":
        return rng.choice(([False], [False, False], [False] * 3, [True, False, False])), False
    if kind == "rows":
        return rng.choice(([True], [True], [True, True], [False, True])), False
    if kind == "source":
        return rng.choice(([], [], [], [False])), True
    if kind == "picture and source":
        return rng.choice(([False], [False], [False], [False, False])), True
    if kind == "not in the sources":
        return rng.choice(([], [False])), rng.random() < 0.9
    return rng.choice(([], [False], [False], [False, False], [True])), rng.random() < 0.5


def _sources(
    rng: random.Random, kind: str, known: Known, first: int
) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Return sources in which the picture's thing is, or is not, as the question needs it."""
    seen = [str(shot.what.kind) for shot in known.shots if isinstance(shot.what, Scene)]
    must: Sequence[str] = ()
    never: Sequence[str] = ()
    if kind == "not in the sources":
        never = seen
    elif kind == "picture and source" or rng.random() < 0.5:
        must = sorted(set(seen))
    return make_sources(rng, first, must, never)


def _raw(
    rng: random.Random,
    kind: str,
    pick: Pick,
    tables: Sequence[bool],
    sourced: bool,
    most_turns: int,
) -> Dialogue | None:
    """Return a dialogue as LangChain users write; None when the kind cannot be asked."""
    known = Known([pick(rng, table) for table in tables])
    known.fresh = list(range(len(tables)))
    labels = len(tables) > 1 or rng.random() < 0.4  # which is which is said, as Bifocal says it
    head: list[str | Shot] = list(_labelled(known.shots, 0, labels))
    if sourced:
        texts, known.prices = _sources(rng, kind, known, 1)
        known.texts = texts if kind in DRILLS else ()
        head.insert(0 if rng.random() < 0.5 else len(head), _write_sources(rng, texts))
    turns: list[Asked] = []
    if kind == "follow-up":
        before = _ask_any(rng, known)
        if before is None:
            return None
        turns.append(Asked((*head, before[0]), before[1]))
        head = []
    asked = _ask(rng, known, kind)
    if asked is None:
        return None
    turns.append(Asked((*head, asked[0]), asked[1]))
    while len(turns) < most_turns and rng.random() < 0.75:
        head = []
        known.fresh = []
        if 0 < len(known.shots) < 3 and rng.random() < 0.2:
            shot = pick(rng, rng.random() < 0.25)
            head = _labelled([shot], len(known.shots), True)
            known.fresh = [len(known.shots)]
            known.shots.append(shot)
        more = ask(rng, known, "follow-up") if rng.random() < 0.3 and not head else None
        more = more or _ask_any(rng, known)
        if more is not None:
            turns.append(Asked((*head, more[0]), more[1]))
        elif head:
            break
    system = rng.choice(SHORT_SYSTEMS) if rng.random() < 0.3 else ""
    return Dialogue(kind, system, tuple(turns))


def _ask(rng: random.Random, known: Known, kind: str) -> tuple[str, str] | None:
    return drill(rng, known, kind) if kind in DRILLS else ask(rng, known, kind)


def _ask_any(rng: random.Random, known: Known) -> tuple[str, str] | None:
    kinds = [*_VISUAL, "two pictures", "table"] if known.shots else []
    if known.texts:
        kinds += ["quotation", "prices"]
    if known.prices:
        kinds += ["source", "source", "picture and source", "not in the sources"]
    for kind in rng.sample(kinds, len(kinds)):
        asked = _ask(rng, known, kind)
        if asked is not None:
            return asked
    return None


def _labelled(shots: Sequence[Shot], before: int, labels: bool) -> list[str | Shot]:
    found: list[str | Shot] = []
    for n, shot in enumerate(shots, before + 1):
        if labels:
            found.append(f"Picture {n}:")
        found.append(shot)
    return found


def _write_sources(rng: random.Random, texts: Sequence[str]) -> str:
    if rng.random() < 0.5:
        return "\n".join(f"[{n}] {text}" for n, text in enumerate(texts, 1)) + "\n"
    return (
        "\n".join(
            PROMPTS.source.render(number=n, kind="passage", name=rng.choice(NAMES), text=text)
            for n, text in enumerate(texts, 1)
        )
        + "\n\n"
    )


def _of_bot(
    rng: random.Random, kind: str, pick: Pick, tables: Sequence[bool], sourced: bool
) -> Dialogue | None:
    """Return a turn as ``bot.compose`` makes it; None when the kind cannot be asked."""
    known = Known([pick(rng, table) for table in tables])
    known.fresh = list(range(len(tables)))
    known.cites = {n: n + 1 for n in range(len(tables))}
    texts: list[str] = []
    if sourced:
        texts, known.prices = _sources(rng, kind, known, len(tables) + 1)
    history: list[tuple[str, str]] = []
    if kind == "follow-up":
        before = _ask_any(rng, known)
        if before is None:
            return None
        history.append(before)
    elif rng.random() < 0.25:
        history = _small_talk(rng)
    asked = _ask(rng, known, kind)
    if asked is None:
        return None
    evidence = [
        Evidence(f"shown:{n}", "picture", f"picture {n}", _words_of(rng, shot), media="0")
        for n, shot in enumerate(known.shots, 1)
    ]
    evidence += [
        Evidence(f"passage:{n}", "passage", rng.choice(NAMES), text, rng.choice((None, None, 1, 2)))
        for n, text in enumerate(texts, 1)
    ]
    shown = [Shown(n, str(n - 1).encode(), "image/png") for n in range(1, len(known.shots) + 1)]
    numbers = tuple(range(1, len(tables) + 1)) if kind == "follow-up" else ()
    turns = [Turn("0", Message(q, numbers), Message(a), 0.0) for q, a in history]
    budget = Budget(4096, 8, lambda text: len(text) // 4, 64)
    system, *earlier, last = compose(asked[0], evidence, shown, turns, PROMPTS, budget).messages
    told = str(system.content)
    if rng.random() < 0.6:  # a shorter prompt is enough to learn from, and cheaper
        told = rng.choice((told.partition("\n")[0], *SHORT_SYSTEMS))
    done = [
        Asked((str(q.content),), str(a.content), learn=False)
        for q, a in zip(earlier[::2], earlier[1::2], strict=True)
    ]
    return Dialogue(kind, told, (*done, Asked(_parts(last, known.shots), asked[1])))


def _small_talk(rng: random.Random) -> list[tuple[str, str]]:
    """Return an earlier turn about something else."""
    other = Known()
    _, other.prices = make_sources(rng, 1)
    asked = _ask_any(rng, other)
    return [asked] if asked else []


def _words_of(rng: random.Random, shot: Shot) -> str:
    """Return what reading the writing in a picture may have found."""
    if isinstance(shot.what, Table) and rng.random() < 0.5:
        return "\n".join(str(row.digit) for row in shot.what.rows)
    return ""


def _parts(message: BaseMessage, shots: Sequence[Shot]) -> tuple[str | Shot, ...]:
    if isinstance(message.content, str):
        return (message.content,)
    found: list[str | Shot] = []
    for part in message.content:
        assert isinstance(part, dict)
        if part["type"] == "text":
            found.append(str(part["text"]))
        else:
            found.append(shots[int(base64.b64decode(part["base64"]))])
    return tuple(found)
