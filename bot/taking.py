"""Takes a turn: claims the conversation, runs the chain, and gives a repeated question its answer.

Knows nothing of the chain's steps, nor of channels.
"""

import asyncio
import hashlib
import time
import traceback
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from langchain_core.runnables import Runnable

from bot.errors import TurnError
from bot.events import Answer, Cited, Done, Event, EvidenceFound, Notice, Token
from bot.record import answer_again
from bot.turn_state import Parts, TurnState
from memory.claims import Claim, Once
from memory.errors import ConversationBusy, HistoryError, KeyReused, TurnNotFound
from memory.messages import Turn

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

#: Errors of a claim that a caller acts upon; any other is an error of the step "load"
PASSED_ON = (ConversationBusy, KeyReused, TurnNotFound)

Chain = Runnable[TurnState, Event | TurnState]


def name_by_key(key: str) -> str:
    """Return the name of a conversation that is begun by a question with an idempotency key: the
    same for a repeat of it."""
    return f"c-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


async def take_turn(
    parts: Parts,
    chain: Chain,
    state: TurnState,
    key: str | None = None,
    callbacks: "Sequence[BaseCallbackHandler]" = (),
    again: str | None = None,
    keep: bool = False,
) -> AsyncGenerator[Event, None]:
    """Yield the events of the turn of ``state``, or those of the turn that it was before.

    ``again`` is the id of a turn that this one replaces, ``keep`` says that its question stays.
    Raises ``TurnError``, or one of :data:`PASSED_ON`.
    """
    once = Once.of(key, state.question, [p.sha256 for p in state.given]) if key else None
    async with AsyncExitStack() as stack:
        began = time.perf_counter()
        claim = await _claim(parts, state, once, again, stack)
        spent = {"load": (time.perf_counter() - began) * 1000}
        if claim.answered is not None:
            answer = await as_it_was(parts, state.conversation_id, claim.answered)
            for event in events_again(answer):
                yield event
            return
        state = replace(state, claim=claim, timings=spent)
        if claim.again is not None and keep:
            state = replace(state, question=claim.again.question.text)
        if not (state.question or state.given or claim.own):
            raise TurnError("load", "nothing was asked: give a text, a picture, or both")
        flow = chain.astream(
            state,
            config={"callbacks": list(callbacks), "run_name": "turn"},
        )
        try:
            async for item in flow:
                if not isinstance(item, TurnState):
                    yield item
        except TurnError as error:
            await _let_go(error)
            raise


async def _claim(
    parts: Parts, state: TurnState, once: Once | None, again: str | None, stack: AsyncExitStack
) -> Claim:
    claiming = parts.history.claim(
        state.conversation_id,
        state.id,
        last=parts.settings.history_turns,
        wait=parts.settings.busy_seconds,
        once=once,
        again=again,
    )
    try:
        return await stack.enter_async_context(claiming)
    except PASSED_ON:
        raise
    except HistoryError as error:
        raise TurnError("load", str(error)) from error


async def as_it_was(parts: Parts, conversation: str, turn: Turn) -> Answer:
    """Return the answer of a stored turn, with the pictures of the conversation that it cites."""
    pictures: dict[str, bytes] = {}
    for citation in turn.citations:
        if citation.get("picture") is not None:
            with suppress(HistoryError):  # gone since: its words stay
                data = await parts.history.picture(conversation, int(citation["picture"]))
                pictures[str(citation.get("media"))] = data
    return answer_again(turn, conversation, parts.library, pictures)


def events_again(answer: Answer) -> list[Event]:
    """Return the events of an answer that was given before, in their order."""
    return [
        EvidenceFound(tuple(entry.evidence for entry in answer.evidence)),
        Token(answer.text),
        *(Cited(citation) for citation in answer.citations),
        *(Notice(text) for text in answer.notices),
        Done(answer),
    ]


async def _let_go(error: BaseException) -> None:
    """Free the frames that an error holds.

    They keep the chain's suspended generators alive; the event loop would find those at its end
    and print a traceback for each.
    """
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
    for _ in range(5):  # each turn of the loop ends one more generator
        await asyncio.sleep(0)
