"""What the first step of a turn does: which pictures the words mean, and the pixels of these.

New pictures are numbered on from those that the conversation has had; so are pictures of the
library that an earlier answer showed, when the words speak of them. Where the words fit several
pictures, the turn's answer is the question which. Knows nothing of encoders or models.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from langchain_core.messages import AIMessageChunk

from bot import ask_back
from bot.compose import Composition
from bot.mentions import pictures_meant
from bot.shown import offered, settled, taken_in, there
from bot.turn_state import PictureInTurn, TurnState, new_picture
from memory.errors import HistoryDamaged, PictureGone, PictureNotFound
from memory.history import History
from memory.messages import Conversation, PictureRef
from retrievers.imaging import read_picture


async def understood(
    state: TurnState, conversation: Conversation, media: Callable[[str], bytes]
) -> TurnState:
    """Return the state with what is asked, the pictures that the words mean, and those pictures
    that are new to the conversation; ``media`` gives the bytes of a picture of the library."""
    taken = {*(p.number for p in conversation.pictures), *conversation.dropped}
    first = max(taken, default=0) + 1
    said = state.captions or ("",) * len(state.given)
    new = [
        new_picture(number, given, state.sender, caption)
        for number, (given, caption) in enumerate(zip(state.given, said, strict=True), first)
    ]
    offers = offered(conversation, first + len(new))
    sent = [*own_pictures(state), *(p.ref for p in new)]
    question, reference = pictures_meant(state.question, conversation, sent, offers, state.sender)
    reference, offers, data, gone = await there(reference, offers, media)
    reference, shown = settled(reference, offers, first + len(new))
    now = time.time()
    return replace(
        state,
        conversation=conversation,
        question=question,
        said=state.question if question != state.question else "",
        reference=reference,
        pictures=(*new, *[await taken_in(ref, data[ref.sha256], now) for ref in shown]),
        notices=(*conversation.notices, *gone),
    )


def own_pictures(state: TurnState) -> tuple[PictureRef, ...]:
    """Return the pictures that came with a turn which is answered again."""
    return state.claim.own if state.claim else ()


async def recalled(
    state: TurnState, history: History, most: int
) -> tuple[list[PictureInTurn], list[str]]:
    """Return the turn's own pictures, if it is answered again, with those of the conversation's
    earlier ones that the words mean, and what was left out; the turn is about ``most`` pictures at
    most."""
    own = own_pictures(state)
    known = {p.number: p for p in (*state.conversation.pictures, *own)}
    meant = (*(p.number for p in own), *state.reference.numbers)
    numbers = [n for n in dict.fromkeys(meant) if n in known]
    most = max(0, most - len(state.pictures))
    pictures: list[PictureInTurn] = []
    left_out: list[str] = []
    for number in numbers[:most]:
        try:
            data = await history.picture(state.conversation_id, number)
        except (HistoryDamaged, PictureNotFound) as error:  # of the picture, the caption is left
            used = isinstance(error, PictureGone) and known[number].caption
            left_out.append(f"{error}; its caption was used" if used else str(error))
            continue
        decoded = await asyncio.to_thread(read_picture, data, name=known[number].name)
        pictures.append(PictureInTurn(known[number], decoded, new=False))
    if len(numbers) > most:
        left_out.append(f"only {most} of the {len(numbers)} earlier pictures were looked at")
    return pictures, left_out


def asking_back(state: TurnState) -> TurnState:
    """Return the state whose answer is the question which picture was meant."""
    sent = [p.ref.number for p in state.pictures if p.ref.sender == "user"]
    asks = ask_back.asked(state.question, state.reference, sent)
    pictures = [*state.conversation.pictures, *(p.ref for p in state.pictures)]
    return replace(
        state,
        asks=asks,
        prompt=Composition((), frozenset(), frozenset(), (), fitting=len(state.conversation.turns)),
        reply=AIMessageChunk(
            content=ask_back.words_of(asks, pictures), response_metadata={"found": False}
        ),
    )
