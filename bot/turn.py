"""One turn, from the question to the saved answer: eight steps, one LangChain chain.

Read :meth:`Steps.chain` first. What flows through the chain is a ``TurnState``, to which each
step adds its own fields, and :mod:`bot.events`, which every step passes on. So
``chain.astream(state)`` gives a turn's events as they come, and the finished state before ``done``.
Knows nothing of channels, of Redis, SQLite or FAISS, nor of any single model.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessageChunk, BaseMessage, BaseMessageChunk
from langchain_core.runnables import Runnable, RunnableConfig, RunnableGenerator

from bot.captioner import describer
from bot.citations import cite
from bot.errors import KNOWN_ERRORS, ModelError, TurnError
from bot.events import (
    Cited,
    Done,
    Event,
    EvidenceFound,
    Notice,
    Token,
)
from bot.loading import asking_back, recalled, understood
from bot.mentions import absent
from bot.models.choose import explain
from bot.prompting import prompt_for
from bot.record import answer_of, follow, record, renumbered
from bot.searching import query_of, read, sought
from bot.summariser import Job, starts, writer
from bot.turn_state import (
    PICTURE_QUESTION,
    Parts,
    TurnState,
    caption_of,
    shown_evidence,
)
from retrievers.cores import usable_cores
from retrievers.evidence import Evidence
from retrievers.fusion import merge

#: Cosine in the picture encoder's space from which two pictures show the same thing
SAME_LOOK = 0.9
#: Steps that a turn leaves out whose answer asks which picture was meant
_NOT_WHEN_ASKING = frozenset(("encode", "retrieve", "fuse", "compose", "generate", "cite"))

Flow = AsyncIterator[Event | TurnState]
Work = Callable[[TurnState], Flow]


class Steps:
    """The eight steps over one set of parts. Holds no state of any turn."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._searching = asyncio.Semaphore(usable_cores())  # more only wait for one another

    def chain(self) -> Runnable[TurnState, Event | TurnState]:
        """Return the whole way of a turn."""
        return (
            _step("load", self.load)  # 1 history, and the pictures the words point at
            | _step("encode", self.encode)  # 2 text, pictures, or both
            | _step("retrieve", self.retrieve)  # 3 text and pictures, side by side
            | _step("fuse", self.fuse)  # 4 one ranked list of evidence
            | _step("compose", self.compose)  # 5 messages within a budget
            | _step("generate", self.generate)  # 6 tokens as they come
            | _step("cite", self.cite)  # 7 marks -> passages, boxes
            | _step("save", self.save)  # 8 whole, or not at all
        )

    async def load(self, state: TurnState) -> Flow:
        """1: load the conversation, number the new pictures, fetch those the words point at."""
        kept = self.parts.settings.history_turns
        conversation = (
            state.claim.conversation
            if state.claim
            else await self.parts.history.load(state.conversation_id, last=kept)
        )
        state = await understood(state, conversation, self.parts.library.media)
        if state.reference.ambiguous:
            async for item in self._ask_back(state):
                yield item
            return
        most = self.parts.settings.pictures_per_turn
        pictures, left_out = await recalled(state, self.parts.history, most)
        gone = absent(state.reference, conversation.dropped)
        notices = [*state.notices, *gone, *left_out]
        if conversation.total > kept:
            notices.append(f"only the last {kept} of {conversation.total} turns were looked at")
        for text in notices:
            yield Notice(text)
        yield replace(state, pictures=(*state.pictures, *pictures), notices=tuple(notices))

    async def _ask_back(self, state: TurnState) -> Flow:
        """Answer with the question which picture was meant; the turn goes on with step 8."""
        unread = tuple(p for p in state.pictures if not p.ref.caption)
        known = {p.ref.number: p for p in await asyncio.to_thread(read, unread, self.parts)}
        pictures = tuple(known.get(p.ref.number, p) for p in state.pictures)
        state = asking_back(replace(state, pictures=pictures))
        assert state.reply is not None
        for text in state.notices:
            yield Notice(text)
        yield EvidenceFound(())
        yield Token(str(state.reply.text))
        yield state

    async def encode(self, state: TurnState) -> Flow:
        """2: make vectors of the words and the pictures, and read the writing in the pictures."""
        query, pictures, asked = await sought(state, self.parts)
        yield replace(state, pictures=pictures, query=query, how=asked.how)

    async def retrieve(self, state: TurnState) -> Flow:
        """3: let the text and the picture retriever look, side by side.

        Where a picture of the library looks just like the one that was sent, its words say what
        that shows; the text retriever looks again with them.
        """
        async with self._searching:
            text, pictures = await asyncio.gather(
                self.parts.text_retriever.ainvoke(state.query),
                self.parts.picture_retriever.ainvoke(state.query),
            )
        found = {"text": text, "pictures": pictures}
        about = self._shown_in(pictures)
        if about and state.query.text:
            words = f"{state.query.text} {about}"
            named = await asyncio.to_thread(query_of, words, (), self.parts)
            found["named"] = await self.parts.text_retriever.ainvoke(named)
        yield replace(state, about=about, found=found)

    def _shown_in(self, pictures: list[Evidence]) -> str:
        """Return the words of the picture that looks just like the query's, or nothing."""
        same = SAME_LOOK
        if self.parts.settings.distance == "euclidean":  # of unit vectors, as a score
            same = 1 / (1 + math.sqrt(2 - 2 * SAME_LOOK))
        best = max(pictures, key=lambda item: item.scores.get("look", 0.0), default=None)
        return best.caption if best and best.scores.get("look", 0.0) >= same else ""

    async def fuse(self, state: TurnState) -> Flow:
        """4: make one ranked list; the pictures that the turn is about stand before it."""
        settings = self.parts.settings
        ranked = merge(
            list(state.found.values()),
            method=settings.fusion,
            weights={**self.parts.weigh(state.query), **settings.weights},
            k=settings.evidence,
        )
        evidence = (*(shown_evidence(p) for p in state.pictures), *ranked)
        yield EvidenceFound(evidence)
        yield replace(state, evidence=evidence)

    async def compose(self, state: TurnState) -> Flow:
        """5: put evidence, pictures and history into messages, within the model's budget."""
        prompt, notices = await prompt_for(state, self.parts)
        for text in notices:
            yield Notice(text)
        yield replace(state, prompt=prompt, notices=(*state.notices, *notices))

    async def generate(self, state: TurnState) -> Flow:
        """6: stream the answer's words from the model."""
        assert state.prompt is not None
        extra: dict[str, Any] = {}
        if self.parts.capabilities.reads_evidence:
            extra = {
                "question": state.query.text or state.question or PICTURE_QUESTION,
                "evidence": state.evidence,
                "rarity": self.parts.library.rarity,
                "about": state.about,
            }
        reply: BaseMessage = AIMessageChunk(content="")
        deadline = asyncio.get_running_loop().time() + self.parts.settings.answer_seconds
        answer = self.parts.model.astream(list(state.prompt.messages), **extra)
        try:
            async with aclosing(answer) as chunks:  # type: ignore[type-var]  # it is a generator
                with self.parts.beside.standing_back():
                    while True:
                        async with asyncio.timeout_at(deadline):  # never across a yield: new task
                            chunk = await anext(chunks, None)
                        if chunk is None:
                            break
                        whole = not isinstance(chunk, BaseMessageChunk)  # it cannot stream
                        reply = chunk if whole else reply + chunk  # type: ignore[assignment]
                        if text := str(chunk.text):
                            yield Token(text)
            if reply.response_metadata.get("finish_reason") == "time":
                raise TimeoutError
        except KNOWN_ERRORS:
            raise
        except TimeoutError as error:
            seconds = self.parts.settings.answer_seconds
            raise ModelError(
                f"{self.parts.model_name}: no whole answer within {seconds:.0f} s;"
                " raise the setting answer_seconds"
            ) from error
        except Exception as error:  # whatever a provider's client raises becomes one line
            raise ModelError(explain(error, self.parts.model_name)) from error
        yield replace(state, reply=reply)

    async def cite(self, state: TurnState) -> Flow:
        """7: trace the marks in the answer to passages and to boxes on pictures."""
        assert state.reply is not None
        text = str(state.reply.text)
        spans = state.reply.response_metadata.get("spans")
        citations, unknown = cite(text, state.evidence, spans)
        notices = [f"the answer cites [{n}], which is no source" for n in unknown]
        for citation in citations:
            yield Cited(citation)
        for notice in notices:
            yield Notice(notice)
        yield replace(state, citations=tuple(citations), notices=(*state.notices, *notices))

    async def save(self, state: TurnState) -> Flow:
        """8: store the turn whole, then say that it is done."""
        answer = answer_of(state, self.parts)
        new = tuple(p for p in state.pictures if p.new)
        turn = record(state, answer)
        started = time.perf_counter()
        saved = await self.parts.history.save(
            state.conversation_id,
            turn,
            tuple(replace(p.ref, caption=caption_of(p)) for p in new),
            {p.ref.sha256: p.decoded.data for p in new},
            renumbered,
            claim=state.claim,
        )
        timings = {**state.timings, "save": (time.perf_counter() - started) * 1000}
        timings["total"] = sum(timings.values())
        answer = replace(answer, timings=timings)
        moved = dict(zip(turn.question.pictures, saved.question.pictures, strict=True))
        if turn.question.pictures != saved.question.pictures:
            answer = follow(answer, moved)
            yield Notice(answer.notices[-1])
        yield state
        self._summarise(state)
        self._caption(state, moved)
        yield Done(answer)

    def _summarise(self, state: TurnState) -> None:
        """Have the turns that are about to leave the prompt summed up, beside the turns to come."""
        assert state.prompt is not None
        parts, settings = self.parts, self.parts.settings
        loaded, total = len(state.conversation.turns), state.conversation.total + 1
        places = starts(
            state.prompt.first, state.prompt.fitting, loaded, total, settings.history_turns
        )
        write = None
        if not parts.capabilities.reads_evidence:
            tokens = parts.capabilities.context_tokens
            write = writer(parts.model, parts.summarise, tokens, settings.summary_chars)
        parts.summariser.offer(
            Job(state.conversation_id, total, places, settings.summary_chars, write)
        )

    def _caption(self, state: TurnState, moved: Mapping[int, int]) -> None:
        """Have captions written for pictures that have none, the last first, beside the turns;
        ``moved`` are the numbers under which new ones were stored, by those that they had."""
        parts = self.parts
        if not parts.capabilities.pictures or parts.capabilities.reads_evidence:
            return
        new = [
            replace(p.ref, number=moved.get(p.ref.number, p.ref.number), caption=caption_of(p))
            for p in reversed(state.pictures)
            if p.new
        ]
        pictures = [*new, *reversed(state.conversation.pictures)]
        parts.captioner.offer(
            state.conversation_id, pictures, describer(parts.model, parts.caption)
        )


def _step(name: str, work: Work) -> Runnable[Any, Event | TurnState]:
    """Make a step of the chain: events pass through, the state goes through ``work``.

    An error of the step becomes a ``TurnError`` that names it; its milliseconds are added to the
    state's timings, without the time that the caller takes between events.
    """

    async def run(items: AsyncIterator[Event | TurnState]) -> Flow:
        async for item in items:
            if not isinstance(item, TurnState) or (item.asks and name in _NOT_WHEN_ASKING):
                yield item
                continue
            spent, outputs = 0.0, work(item)
            while True:
                started = time.perf_counter()
                try:
                    output = await anext(outputs)
                except StopAsyncIteration:
                    break
                except KNOWN_ERRORS as error:
                    raise TurnError(name, str(error)) from error
                except Exception as error:  # a library's own, for which nobody was prepared
                    raise TurnError(name, f"{type(error).__name__}: {error}") from error
                spent += (time.perf_counter() - started) * 1000
                if isinstance(output, TurnState):
                    before = item.timings.get(name, 0.0)
                    output = replace(output, timings={**output.timings, name: before + spent})
                yield output

    return _Step(run, name=name)


class _Step(RunnableGenerator[Any, Event | TurnState]):
    """A step of the chain, which LangChain's bookkeeping of runs is spared where none looks at it.

    It copies every event at every step, which is half of what a turn costs the event loop.
    """

    async def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Flow:
        seen = (config or {}).get("callbacks")
        unseen = isinstance(seen, BaseCallbackManager) and not seen.handlers
        flow = self._atransform(input) if unseen else super().atransform(input, config, **kwargs)
        async with aclosing(input), aclosing(flow):  # type: ignore[type-var]  # are generators
            async for item in flow:
                yield item
