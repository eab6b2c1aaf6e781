"""What a turn searches for: its question, so that it stands alone, and the vectors of its parts.

Knows nothing of what is found, nor of the order of steps.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from bot.ask_back import question_of
from bot.condense import READ_CHARS, StandAlone, content_words, lost, rewrite, stand_alone
from bot.mentions import last_spoken
from bot.models.choose import explain
from bot.turn_state import Parts, PictureInTurn, TurnState
from memory.messages import Turn
from memory.phrases_sides import sides, without_sides
from retrievers.evidence import Query


async def sought(
    state: TurnState, parts: Parts
) -> tuple[Query, tuple[PictureInTurn, ...], StandAlone]:
    """Return what a turn searches for, its pictures with their writing, and its question.

    A follow-up question is written anew by the model, or else by its history's words.
    """
    asked, why = await _by_the_model(state, parts)
    return await asyncio.to_thread(_made, state, parts, asked, why)


async def _by_the_model(state: TurnState, parts: Parts) -> tuple[StandAlone | None, str]:
    """Return the question as the model writes it, or none, and why not where it was asked."""
    seconds = parts.settings.condense_seconds
    _, turns, pictured = _beside_pictures(state)
    short = 0 < len(state.question) <= READ_CHARS  # a longer one says what it is about
    asking = seconds and not parts.capabilities.reads_evidence
    if not (turns and short and asking) or pictured:
        return None, ""
    try:
        with parts.beside.standing_back():
            text = await rewrite(parts.model, parts.condense, state.question, turns, seconds)
        how = "" if text == state.question else "by the model"
        return StandAlone(text, lost(text, state.question), how), ""
    except TimeoutError:
        return None, f": the model had not answered within {seconds:g} s (condense_seconds)"
    except ValueError as error:
        return None, f": {error}"
    except Exception as error:  # whatever a provider raises, the turn goes on without it
        return None, f": {explain(error, parts.model_name)}"


def _beside_pictures(state: TurnState) -> tuple[str, Sequence[Turn], bool]:
    """Return what is asked beside the pictures that the words mean, the turns that say of what, and
    whether the pictures alone say it.

    Pictures that were carried on have a topic, that of their turn. So have those of a side: "and
    the left one?" asks what was asked of them before, and "left" is nothing to search for.
    """
    reference, turns, pictured = state.reference, state.conversation.turns, bool(state.pictures)
    side = any(sides(one.phrase) for one in reference.found)
    if not side and not reference.carried:
        return state.question, turns, pictured
    question = without_sides(state.question) if side else state.question
    question = question if content_words(question) else ""
    return question, _topic(turns), pictured and bool(question) and not reference.carried


def _topic(turns: Sequence[Turn]) -> Sequence[Turn]:
    """Return the turns up to the last one about pictures that asked more than for a side."""
    while True:
        before = last_spoken(turns)
        turns = turns[: len(turns) - before.ago + 1]
        asked = question_of(turns[-1]) if before.numbers else ""
        if not sides(asked) or content_words(without_sides(asked)):
            return turns
        turns = turns[:-1]


def _made(
    state: TurnState, parts: Parts, asked: StandAlone | None, why: str
) -> tuple[Query, tuple[PictureInTurn, ...], StandAlone]:
    """Do the work of :func:`sought` that needs no model: work for a thread."""
    if asked is None:
        question, turns, pictured = _beside_pictures(state)
        asked = stand_alone(question, turns, parts.library.rarity, has_picture=pictured)
        asked = replace(asked, how=asked.how + why) if asked.how else asked
    pictures = read(state.pictures, parts)
    return replace(query_of(asked.text, pictures, parts), context=asked.context), pictures, asked


def read(pictures: tuple[PictureInTurn, ...], parts: Parts) -> tuple[PictureInTurn, ...]:
    """Return the pictures with the lines of writing that are in them."""
    return tuple(replace(p, lines=parts.read_words(p.decoded)) for p in pictures)


def query_of(text: str, pictures: tuple[PictureInTurn, ...], parts: Parts) -> Query:
    """Return words and pictures as what the retrievers are asked, with their vectors."""
    images = tuple(p.decoded.image for p in pictures)
    look = parts.picture_encoder
    vectors = {}
    if text:
        vectors["text"] = parts.text_encoder.encode_texts([text], query=True)
    if text and "text" in look.modalities:
        vectors["look_text"] = look.encode_texts([text], query=True)
    if images:
        vectors["look"] = look.encode_pictures(images)
    words = " ".join(line.text for p in pictures for line in p.lines)
    return Query(text=text, pictures=images, picture_words=words, vectors=vectors)
