"""What a turn searches for: its question, so that it stands alone, and the vectors of its parts.

Knows nothing of what is found, nor of the order of steps.
"""

import asyncio
from dataclasses import replace

from bot.condense import READ_CHARS, StandAlone, lost, rewrite, stand_alone
from bot.models.choose import explain
from bot.turn_state import Parts, PictureInTurn, TurnState
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
    turns, seconds = state.conversation.turns, parts.settings.condense_seconds
    short = 0 < len(state.question) <= READ_CHARS  # a longer one says what it is about
    asking = seconds and not parts.capabilities.reads_evidence
    if not (turns and short and asking) or _pictured(state):
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


def _pictured(state: TurnState) -> bool:
    """Tell whether pictures say what the question is about; those carried on have a topic."""
    return bool(state.pictures) and not state.reference.carried


def _made(
    state: TurnState, parts: Parts, asked: StandAlone | None, why: str
) -> tuple[Query, tuple[PictureInTurn, ...], StandAlone]:
    """Do the work of :func:`sought` that needs no model: work for a thread."""
    if asked is None:
        turns, pictured = state.conversation.turns, _pictured(state)
        asked = stand_alone(state.question, turns, parts.library.rarity, has_picture=pictured)
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
