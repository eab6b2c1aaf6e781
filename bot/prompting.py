"""The prompt of a turn: what of its evidence, pictures and earlier turns its model is given.

What the model is not given, and why, is said in notices. Knows nothing of how a prompt is fitted
into its budget, which is :mod:`bot.compose`'s, nor of what the model makes of it.
"""

import asyncio

from bot.compose import Budget, Composition, Shown, compose, estimate_tokens
from bot.earlier import Older
from bot.turn_state import PICTURE_QUESTION, Parts, TurnState
from memory.errors import HistoryDamaged
from memory.messages import Recap
from retrievers.evidence import Evidence
from retrievers.imaging import encode, read_picture, shrink


async def prompt_for(state: TurnState, parts: Parts) -> tuple[Composition, list[str]]:
    """Return the prompt of a turn whose evidence was found, and what is to be said of it."""
    able = parts.capabilities
    most = min(able.max_pictures, parts.settings.pictures_shown)
    numbers = _pictures_in(state.evidence) if able.pictures else []
    show = numbers[:most]
    shown = await asyncio.to_thread(_pictures_to_show, state, parts, show) if show else []
    older, damaged = await _older(state, parts)
    prompt = await asyncio.to_thread(
        compose,
        state.question or PICTURE_QUESTION,
        state.evidence,
        shown,
        state.conversation.turns,
        parts.prompts,
        _budget(parts, most),
        {p.number: p for p in state.conversation.pictures},
        pictures_left=len(numbers) - len(shown),
        turns_before=state.conversation.total - len(state.conversation.turns),
        older=older,
    )
    notices = [] if able.reads_evidence else [*damaged, *prompt.notices]  # it reads all of it
    trouble = parts.captioner.trouble(state.conversation_id)
    notices = [*notices, *([f"the last pictures got no caption: {trouble}"] if trouble else [])]
    return prompt, [*notices, *_told_of_pictures(state, parts, prompt)]


def _budget(parts: Parts, pictures: int) -> Budget:
    model, able = parts.model, parts.capabilities
    return Budget(
        tokens=able.context_tokens - parts.settings.answer_tokens,
        pictures=pictures,
        count=model.get_num_tokens if able.counts_tokens else estimate_tokens,
        picture_tokens=able.picture_tokens,
        picture_cost=getattr(model, "picture_cost", None),
        whole=model.get_num_tokens_from_messages if able.counts_tokens else None,
    )


def _told_of_pictures(state: TurnState, parts: Parts, prompt: Composition) -> list[str]:
    """Return which pictures the model sees smaller than they are, or not at all."""
    able, side = parts.capabilities, parts.settings.picture_side
    notices = []
    large = [p.ref.number for p in state.pictures if max(p.ref.width, p.ref.height) > side]
    if large and able.pictures:
        which = ", ".join(map(str, large))
        notices.append(f"the model was shown picture {which} at {side} pixels")
    if prompt.captioned and able.pictures:
        which = ", ".join(map(str, prompt.captioned))
        notices.append(f"of the earlier pictures {which} the model was given captions only")
    if state.pictures and not able.pictures and not able.reads_evidence:
        notices.append(f"the model {parts.model_name} takes no pictures: it was given their words")
    return notices


async def _older(state: TurnState, parts: Parts) -> tuple[Older | None, list[str]]:
    """Return what there is of older turns for the prompt, and what is to be said of it."""
    if parts.capabilities.reads_evidence or not state.conversation.turns:
        return None, []
    trouble = parts.summariser.trouble(state.conversation_id)
    said = [f"the last summary of older turns: {trouble}"] if trouble else []
    recaps: tuple[Recap, ...] = ()
    try:
        recaps = await parts.history.recaps(state.conversation_id)
    except HistoryDamaged as error:
        said.append(str(error))
    return Older(recaps, parts.summary, parts.settings.summary_chars), said


def _pictures_to_show(state: TurnState, parts: Parts, numbers: list[int]) -> list[Shown]:
    """Return the pictures of these numbers of the evidence, small enough for a model."""
    shown = []
    for number in numbers:
        item = state.evidence[number - 1]
        if number <= len(state.pictures):
            image = state.pictures[number - 1].decoded.image
        else:
            data = parts.library.media(item.media or "")
            image = read_picture(data, name=item.source).image
        small = shrink(image, parts.settings.picture_side)
        data = encode(small, "image/jpeg")
        shown.append(Shown(number, data, "image/jpeg", small.width, small.height))
    return shown


def _pictures_in(evidence: tuple[Evidence, ...]) -> list[int]:
    """Return the numbers of the pictures: the turn's own come first, then the library's by rank."""
    return [n for n, e in enumerate(evidence, 1) if e.kind == "picture" and e.media is not None]
