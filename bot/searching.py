"""What a turn searches for: its question, so that it stands alone, and the vectors of its parts.

Knows nothing of what is found, nor of the order of steps.
"""

import asyncio
from dataclasses import replace

from bot.condense import READ_CHARS, StandAlone, lost, rewrite, stand_alone
from bot.models.choose import explain
from bot.turn_state import Parts, PictureInTurn, TurnState
from retrievers.evidence import Query


async def stood_alone(state: TurnState, parts: Parts) -> StandAlone:
    """Have a follow-up question written anew by the model, or else by its history's words."""
    turns, seconds = state.conversation.turns, parts.settings.condense_seconds
    why = ""
    pictured = bool(state.pictures) and not state.reference.carried  # what is carried has a topic
    short = 0 < len(state.question) <= READ_CHARS  # a longer one says what it is about
    asking = seconds and not parts.capabilities.reads_evidence
    if turns and short and not pictured and asking:
        try:
            with parts.summariser.standing_back():
                text = await rewrite(parts.model, parts.condense, state.question, turns, seconds)
            how = "" if text == state.question else "by the model"
            return StandAlone(text, lost(text, state.question), how)
        except TimeoutError:
            why = f": the model had not answered within {seconds:g} s (condense_seconds)"
        except ValueError as error:
            why = f": {error}"
        except Exception as error:  # whatever a provider raises, the turn goes on without it
            why = f": {explain(error, parts.model_name)}"
    asked = await asyncio.to_thread(
        stand_alone,
        state.question,
        turns,
        parts.library.rarity,
        has_picture=pictured,
    )
    return replace(asked, how=asked.how + why) if asked.how else asked


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
