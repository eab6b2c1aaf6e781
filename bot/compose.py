"""Evidence and history become the messages that a model reads, within its budget of tokens.

What does not fit is left out, worst evidence and oldest turns first, and said in a notice; see
:mod:`bot.earlier` for what stands in the place of older turns. Content (sources, file names,
captions) is quoted: it can neither close its quotation nor open another. Prompts of one
conversation begin alike (system, older turns without their evidence), so that a model which keeps
what it has read reads only what is new. Knows nothing of how evidence was found or which model
will read it; what it needs of the model comes in as a :class:`Budget`.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from bot.earlier import Earlier, Older
from bot.notes import Notes, quote
from bot.show import source_name
from memory.messages import PictureRef, Turn
from prompts import Prompt
from retrievers.evidence import Evidence

#: Tokens that a picture takes where the model cannot be asked: what 1024 px cost at 28 px a token
PICTURE_TOKENS = 1400
#: Bytes of UTF-8 that make one token where the model cannot be asked; English has about 4
BYTES_PER_TOKEN = 3
#: The part of the room that evidence may take before history is given the rest
EVIDENCE_SHARE = 0.7

_LEAST = 200  # characters of the best piece of evidence that are worth showing


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

    ``captioned`` are the lasting numbers of the conversation's pictures of which only the captions
    are in them; ``first`` is how many turns are not in them, ``fitting`` how many would have
    fitted."""

    messages: tuple[BaseMessage, ...]
    kept: frozenset[int]
    shown: frozenset[int]
    notices: tuple[str, ...]
    captioned: tuple[int, ...] = ()
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
    earlier = Earlier(history, turns_before, Notes(references), older)
    draft = _Draft(question, prompts, earlier)
    room = budget.tokens - budget.count(draft.system) - budget.count(question) - 64
    draft = replace(draft, shown=_fit_pictures(pictures, room // 2, budget))
    room -= sum(budget.of_picture(picture) for picture in draft.shown)
    draft = replace(
        draft, sources=_fit_sources(evidence, prompts.source, int(room * EVIDENCE_SHARE), budget)
    )
    room -= sum(budget.count(block) for block in draft.blocks)
    draft = replace(draft, earlier=earlier.fitted(room, budget.count))
    messages = draft.messages()
    while budget.whole is not None and budget.whole(messages) > budget.tokens:
        smaller = draft.smaller()
        if smaller is None:
            break
        draft, messages = smaller, smaller.messages()
    notices = _notices(
        (len(draft.sources), len(evidence)),
        (len(draft.shown), len(pictures) + pictures_left),
        (draft.earlier.kept, len(history)),
    )
    notices = (*notices, *draft.earlier.recalled()[1])
    if any(source.cut for source in draft.sources):
        notices = ("the best piece of evidence was too long for the prompt, and was cut", *notices)
    return Composition(
        messages=tuple(messages),
        kept=frozenset(source.number for source in draft.sources),
        shown=frozenset(picture.number for picture in draft.shown),
        notices=notices,
        captioned=earlier.notes.only(
            draft.earlier.turns, [evidence[p.number - 1] for p in draft.shown if evidence]
        ),
        first=draft.earlier.first,
        fitting=earlier.fitting(room, budget.count),
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
    earlier: Earlier
    sources: tuple[_Source, ...] = ()
    shown: tuple[Shown, ...] = ()

    @property
    def system(self) -> str:
        return self.prompts.answer.render()

    @property
    def blocks(self) -> list[str]:
        return [source.render(self.prompts.source) for source in self.sources]

    def messages(self) -> list[BaseMessage]:
        words = self.prompts.question.render(
            sources="\n".join(self.blocks), question=self.question
        ).strip()
        block = self.earlier.recalled()[0]
        history = self.earlier.messages(block)
        if block and not history:
            words = f"{block}\n\n{words}"
        last = HumanMessage(_parts(words, self.shown) if self.shown else words)
        return [SystemMessage(self.system), *history, last]

    def smaller(self) -> "_Draft | None":
        """Leave out the worst of several sources, else half of the turns, else their summary, else
        the last picture, else half of the last source; None when nothing is left."""
        if len(self.sources) > 1:
            return replace(self, sources=self.sources[:-1])
        if earlier := self.earlier.smaller():
            return replace(self, earlier=earlier)
        if self.shown:
            return replace(self, shown=self.shown[:-1])
        if not self.sources:
            return None
        half = (self.sources[0].cut or len(_body(self.sources[0].item))) // 2
        if half < _LEAST:
            return replace(self, sources=())
        return replace(self, sources=(replace(self.sources[0], cut=half),))


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
