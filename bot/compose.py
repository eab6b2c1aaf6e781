"""Evidence and history become the messages that a model reads, within its budget of tokens.

What does not fit is left out, worst evidence and oldest turns first, and said in a notice. Content
(sources, file names, captions) is quoted: it can neither close its quotation nor open another.
Knows nothing of how evidence was found or which model will read it; what it needs of the model
comes in as a :class:`Budget`.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from bot.citations import MARK
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

_TAG = re.compile(r"<(?=\s*/?\s*source)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens for a prompt, and how to count them; how many pictures may be shown, and the tokens
    that each takes."""

    tokens: int
    pictures: int
    count: Callable[[str], int]
    picture_tokens: int = PICTURE_TOKENS


@dataclass(frozen=True, slots=True)
class Prompts:
    """The three prompts that make up a turn."""

    answer: Prompt
    question: Prompt
    source: Prompt


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture whose pixels may be shown: encoded bytes, and the number of its evidence."""

    number: int
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Composition:
    """Messages for the model; ``kept`` and ``shown`` are the evidence numbers (from 1) in them."""

    messages: tuple[BaseMessage, ...]
    kept: frozenset[int]
    shown: frozenset[int]
    notices: tuple[str, ...]


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
) -> Composition:
    """Return the messages: system, as many last turns as fit, then sources, pictures, question.

    ``pictures`` come in order of importance; ``pictures_left`` is how many more there are, which
    could not be shown in any case. Evidence is kept in its rank order while it fits.
    """
    system = prompts.answer.render()
    room = budget.tokens - budget.count(system) - budget.count(question) - 64
    each = budget.picture_tokens or PICTURE_TOKENS
    shown = list(pictures[: max(0, min(budget.pictures, room // (2 * each)))])
    room -= len(shown) * each
    blocks, kept, cut = _fit_sources(evidence, prompts.source, int(room * EVIDENCE_SHARE), budget)
    room -= sum(budget.count(block) for block in blocks)
    turns = _fit_turns(history, room, budget)
    words = prompts.question.render(sources="\n".join(blocks), question=question).strip()
    notices = _notices(
        (len(kept), len(evidence)),
        (len(shown), len(pictures) + pictures_left),
        (len(turns), len(history)),
    )
    if cut:
        notices = ("the best piece of evidence was too long for the prompt, and was cut", *notices)
    return Composition(
        messages=(
            SystemMessage(system),
            *_history_messages(turns, references or {}),
            HumanMessage(_parts(words, shown) if shown else words),
        ),
        kept=frozenset(kept),
        shown=frozenset(picture.number for picture in shown),
        notices=notices,
    )


def quote(text: str) -> str:
    """Return content so that it cannot end its ``<source>`` nor pass for one."""
    return _TAG.sub("<\u200b", text)


def _fit_sources(
    evidence: Sequence[Evidence], prompt: Prompt, room: int, budget: Budget
) -> tuple[list[str], list[int], bool]:
    """Return the sources that fit, their numbers, and whether the best one had to be cut."""
    cut = False
    blocks: list[str] = []
    kept: list[int] = []
    for number, item in enumerate(evidence, 1):
        block = prompt.render(
            number=number, kind=item.kind, name=_label(item), text=quote(_body(item))
        )
        cost = budget.count(block)
        if cost > room and blocks:
            break
        if cost > room:  # the best piece is cut rather than lost
            cut = True
            keep = max(200, room * BYTES_PER_TOKEN)
            block = prompt.render(
                number=number, kind=item.kind, name=_label(item), text=quote(_body(item)[:keep])
            )
            cost = budget.count(block)
        room -= cost
        blocks.append(block)
        kept.append(number)
    return blocks, kept, cut


def _label(item: Evidence) -> str:
    page = f", page {item.page}" if item.page is not None else ""
    return quote(f"{source_name(item.source)}{page}").replace('"', "'")


def _body(item: Evidence) -> str:
    head = f"{item.heading}\n" if item.heading else ""
    return f"{head}{item.text}".strip() or "(a picture without words)"


def _fit_turns(history: Sequence[Turn], room: int, budget: Budget) -> list[Turn]:
    kept: list[Turn] = []
    for turn in reversed(history):
        room -= budget.count(turn.question.text) + budget.count(turn.answer.text) + 16
        if room < 0:
            break
        kept.append(turn)
    return kept[::-1]


def _history_messages(
    turns: Sequence[Turn], references: Mapping[int, PictureRef]
) -> list[BaseMessage]:
    """Earlier turns, without their evidence: their marks would point at this turn's sources."""
    messages: list[BaseMessage] = []
    for turn in turns:
        notes = [_picture_note(number, references) for number in turn.question.pictures]
        words = "\n".join([*notes, quote(turn.question.text)]).strip()
        messages.append(HumanMessage(words or "(nothing)"))
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
        (turns, "only the last {} of {} earlier turns fitted into the prompt"),
    )
    return tuple(text.format(kept, of) for (kept, of), text in said if kept < of)
