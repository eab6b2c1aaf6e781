"""Evidence and history become the messages that a model reads, within its budget of tokens.

What does not fit is left out, worst evidence and oldest turns first, and said in a notice. A
summary stands for older turns, before those that are kept; it changes only when the first of these
does (or a turn later, where :mod:`bot.summariser` had not made it in time). Content
(sources, file names, captions) is quoted: it can neither close its quotation nor open another.
Prompts of one conversation begin alike (system, older turns without their evidence), so that a
model which keeps what it has read reads only what is new; turns are therefore dropped several at a
time. Knows nothing of how evidence was found or which model will read it; what it needs of the
model comes in as a :class:`Budget`.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from bot.citations import MARK
from bot.show import source_name
from bot.summary import recall
from memory.messages import PictureRef, Recap, Turn
from prompts import Prompt
from retrievers.evidence import Evidence

#: Tokens that a picture takes where the model cannot be asked: what 1024 px cost at 28 px a token
PICTURE_TOKENS = 1400
#: Bytes of UTF-8 that make one token where the model cannot be asked; English has about 4
BYTES_PER_TOKEN = 3
#: The part of the room that evidence may take before history is given the rest
EVIDENCE_SHARE = 0.7

_LEAST = 200  # characters of the best piece of evidence that are worth showing

_TAG = re.compile(r"<(?=\s*/?\s*(?:source|summary|turn|question))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens for a prompt, and how to count them; how many pictures may be shown, and the tokens
    that each takes: ``picture_cost`` of its width and height, or else ``picture_tokens``.

    ``whole`` counts a prompt exactly, with its pictures and all that the model puts around it."""

    tokens: int
    pictures: int
    count: Callable[[str], int]
    picture_tokens: int = PICTURE_TOKENS
    picture_cost: Callable[[int, int], int] | None = None
    whole: Callable[[list[BaseMessage]], int] | None = None

    def of_picture(self, picture: "Shown") -> int:
        """Return the tokens that a picture takes."""
        if self.picture_cost is not None and picture.width and picture.height:
            return self.picture_cost(picture.width, picture.height)
        return self.picture_tokens or PICTURE_TOKENS


@dataclass(frozen=True, slots=True)
class Prompts:
    """The three prompts that make up a turn."""

    answer: Prompt
    question: Prompt
    source: Prompt


@dataclass(frozen=True, slots=True)
class Older:
    """What there is of turns that are not put into the prompt: summaries, the prompt that quotes
    them, and how many characters the quotation has at most."""

    recaps: Sequence[Recap]
    prompt: Prompt
    chars: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture whose pixels may be shown: encoded bytes, and the number of its evidence.

    ``width`` and ``height`` in pixels, 0 where they are not known."""

    number: int
    data: bytes
    media_type: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Composition:
    """Messages for the model; ``kept`` and ``shown`` are the evidence numbers (from 1) in them.

    ``first`` is how many turns are not in them, ``fitting`` how many would have fitted."""

    messages: tuple[BaseMessage, ...]
    kept: frozenset[int]
    shown: frozenset[int]
    notices: tuple[str, ...]
    first: int = 0
    fitting: int = 0


def estimate_tokens(text: str) -> int:
    """Return about how many tokens ``text`` takes, rather too many than too few."""
    return len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1


def compose(
    question: str,
    evidence: Sequence[Evidence],
    pictures: Sequence[Shown],
    history: Sequence[Turn],
    prompts: Prompts,
    budget: Budget,
    references: Mapping[int, PictureRef] | None = None,
    pictures_left: int = 0,
    turns_before: int = 0,
    older: Older | None = None,
) -> Composition:
    """Return the messages: system, as many last turns as fit, then sources, pictures, question.
    What is known of turns before these (``older``) stands at the beginning of the first of them.

    ``pictures`` come in order of importance; ``pictures_left`` is how many more there are, which
    could not be shown in any case; ``turns_before`` is how many turns came before ``history``.
    Evidence is kept in its rank order while it fits. Where the budget can count a whole prompt,
    what was chosen is counted, and more is left out until it fits; a question that does not fit
    alone is left to the model to refuse.
    """
    budget = replace(budget, count=cache(budget.count))
    draft = _Draft(question, prompts, references or {}, history, turns_before, older)
    room = budget.tokens - budget.count(draft.system) - budget.count(question) - 64
    draft = replace(draft, shown=_fit_pictures(pictures, room // 2, budget))
    room -= sum(budget.of_picture(picture) for picture in draft.shown)
    draft = replace(
        draft, sources=_fit_sources(evidence, prompts.source, int(room * EVIDENCE_SHARE), budget)
    )
    room -= sum(budget.count(block) for block in draft.blocks)
    draft = replace(draft, kept=_fit_turns(history, room, budget, turns_before))
    if cost := budget.count(draft.recalled()[0]):
        draft = replace(draft, kept=_fit_turns(history, room - cost, budget, turns_before))
    messages = draft.messages()
    while budget.whole is not None and budget.whole(messages) > budget.tokens:
        smaller = draft.smaller()
        if smaller is None:
            break
        draft, messages = smaller, smaller.messages()
    notices = _notices(
        (len(draft.sources), len(evidence)),
        (len(draft.shown), len(pictures) + pictures_left),
        (draft.kept, len(history)),
    )
    notices = (*notices, *draft.recalled()[1])
    if any(source.cut for source in draft.sources):
        notices = ("the best piece of evidence was too long for the prompt, and was cut", *notices)
    return Composition(
        messages=tuple(messages),
        kept=frozenset(source.number for source in draft.sources),
        shown=frozenset(picture.number for picture in draft.shown),
        notices=notices,
        first=draft.first,
        fitting=_fitting(history, room, budget),
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """A piece of evidence in the prompt; ``cut`` is how many characters of it, 0 for all."""

    number: int
    item: Evidence
    cut: int = 0

    def render(self, prompt: Prompt) -> str:
        text = _body(self.item)
        return prompt.render(
            number=self.number,
            kind=self.item.kind,
            name=_label(self.item),
            text=quote(text[: self.cut] if self.cut else text),
        )


@dataclass(frozen=True, slots=True)
class _Draft:
    """What was chosen for a prompt."""

    question: str
    prompts: Prompts
    references: Mapping[int, PictureRef]
    history: Sequence[Turn]
    before: int
    older: Older | None = None
    sources: tuple[_Source, ...] = ()
    shown: tuple[Shown, ...] = ()
    kept: int = 0

    @property
    def system(self) -> str:
        return self.prompts.answer.render()

    @property
    def blocks(self) -> list[str]:
        return [source.render(self.prompts.source) for source in self.sources]

    @property
    def turns(self) -> Sequence[Turn]:
        return self.history[len(self.history) - self.kept :]

    @property
    def first(self) -> int:
        return self.before + len(self.history) - self.kept

    def recalled(self) -> tuple[str, tuple[str, ...]]:
        """Return what is quoted of the turns that are left out, and what is to be said of it."""
        if not self.first or self.older is None:
            return "", ()
        text, lost = recall(
            self.older.recaps,
            self.history,
            self.before,
            self.first,
            self.references,
            self.older.chars,
        )
        said = [f"turns 1 to {self.first} are in the prompt only as a summary"] if text else []
        if lost:
            said.append(f"{lost} of the {self.first} older turns are not in the summary yet")
        block = self.older.prompt.render(last=self.first, text=quote(text)) if text else ""
        return block, tuple(said)

    def messages(self) -> list[BaseMessage]:
        words = self.prompts.question.render(
            sources="\n".join(self.blocks), question=self.question
        ).strip()
        block = self.recalled()[0]
        history = _history_messages(self.turns, self.references, block)
        if block and not history:
            words = f"{block}\n\n{words}"
        last = HumanMessage(_parts(words, self.shown) if self.shown else words)
        return [SystemMessage(self.system), *history, last]

    def smaller(self) -> "_Draft | None":
        """Leave out the worst of several sources, else half of the turns, else their summary, else
        the last picture, else half of the last source; None when nothing is left."""
        if len(self.sources) > 1:
            return replace(self, sources=self.sources[:-1])
        if self.kept:
            return replace(self, kept=self.kept // 2)
        if self.older is not None:
            return replace(self, older=None)
        if self.shown:
            return replace(self, shown=self.shown[:-1])
        if not self.sources:
            return None
        half = (self.sources[0].cut or len(_body(self.sources[0].item))) // 2
        if half < _LEAST:
            return replace(self, sources=())
        return replace(self, sources=(replace(self.sources[0], cut=half),))


def quote(text: str) -> str:
    """Return content so that it cannot end its ``<source>`` (or another tag of the prompts), nor
    pass for one."""
    return _TAG.sub("<\u200b", text)


def _fit_pictures(pictures: Sequence[Shown], room: int, budget: Budget) -> tuple[Shown, ...]:
    kept: list[Shown] = []
    for picture in pictures[: max(0, budget.pictures)]:
        room -= budget.of_picture(picture)
        if room < 0:
            break
        kept.append(picture)
    return tuple(kept)


def _fit_sources(
    evidence: Sequence[Evidence], prompt: Prompt, room: int, budget: Budget
) -> tuple[_Source, ...]:
    """Return the sources that fit; the best one is cut rather than lost."""
    kept: list[_Source] = []
    for number, item in enumerate(evidence, 1):
        source = _Source(number, item)
        cost = budget.count(source.render(prompt))
        if cost > room and kept:
            break
        cut = max(_LEAST, room * BYTES_PER_TOKEN)
        if cost > room and cut < len(_body(item)):
            source = replace(source, cut=cut)
            cost = budget.count(source.render(prompt))
        room -= cost
        kept.append(source)
    return tuple(kept)


def _label(item: Evidence) -> str:
    page = f", page {item.page}" if item.page is not None else ""
    return quote(f"{source_name(item.source)}{page}").replace('"', "'")


def _body(item: Evidence) -> str:
    head = f"{item.heading}\n" if item.heading else ""
    return f"{head}{item.text}".strip() or "(a picture without words)"


def _fit_turns(history: Sequence[Turn], room: int, budget: Budget, before: int) -> int:
    """Return how many of the last turns are kept: see :func:`window`."""
    fitting = _fitting(history, room, budget)
    return before + len(history) - window(fitting, len(history), before)


def _fitting(history: Sequence[Turn], room: int, budget: Budget) -> int:
    """Return how many of the last turns fit into ``room``."""
    fitting = 0
    for turn in reversed(history):
        room -= budget.count(turn.question.text) + budget.count(turn.answer.text) + 16
        if room < 0:
            break
        fitting += 1
    return fitting


def window(fitting: int, loaded: int, before: int) -> int:
    """Return the place (from 0) of the first turn that is kept: more than half of the ``fitting``
    last ones are when not all of the ``loaded`` and those ``before`` them do.

    It is the same for several turns on end: it moves by a power of two.
    """
    first = before + loaded - fitting
    step = 1 << max(0, (fitting // 2).bit_length() - 1)
    return first + -first % step if first else 0


def _history_messages(
    turns: Sequence[Turn], references: Mapping[int, PictureRef], recalled: str
) -> list[BaseMessage]:
    """Earlier turns, without their evidence: their marks would point at this turn's sources."""
    messages: list[BaseMessage] = []
    for turn in turns:
        notes = [_picture_note(number, references) for number in turn.question.pictures]
        words = "\n".join([*notes, quote(turn.question.text)]).strip() or "(nothing)"
        head = f"{recalled}\n\n" if recalled and not messages else ""
        messages.append(HumanMessage(head + words))
        messages.append(AIMessage(quote(MARK.sub("", turn.answer.text)).strip() or "(nothing)"))
    return messages


def _picture_note(number: int, references: Mapping[int, PictureRef]) -> str:
    known = references.get(number)
    about = f": {quote(known.caption or known.name)}" if known else ""
    return f"(picture {number}{about})"


def _parts(words: str, shown: Sequence[Shown]) -> list[str | dict[str, object]]:
    """Return LangChain's standard content blocks: each picture behind a line that numbers it."""
    parts: list[str | dict[str, object]] = []
    for picture in shown:
        parts.append({"type": "text", "text": f"The picture of source [{picture.number}]:"})
        parts.append(
            {
                "type": "image",
                "base64": base64.b64encode(picture.data).decode("ascii"),
                "mime_type": picture.media_type,
            }
        )
    parts.append({"type": "text", "text": words})
    return parts


def _notices(
    evidence: tuple[int, int], pictures: tuple[int, int], turns: tuple[int, int]
) -> tuple[str, ...]:
    """Return what was left out; each pair is how many were kept, and of how many."""
    said = (
        (evidence, "only {} of {} pieces of evidence fitted into the prompt"),
        (pictures, "only {} of {} pictures were shown to the model"),
        (turns, "only the last {} of {} earlier turns were put into the prompt"),
    )
    return tuple(text.format(kept, of) for (kept, of), text in said if kept < of)
