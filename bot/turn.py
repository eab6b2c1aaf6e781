"""One turn, from the question to the saved answer: eight steps, one LangChain chain.

Read :meth:`Steps.chain` first. What flows through the chain is a ``TurnState``, to which each
step adds its own fields, and :mod:`bot.events`, which every step passes on. So
``chain.astream(state)`` gives a turn's events as they come, and the finished state before ``done``.
Knows nothing of channels, of Redis, SQLite or FAISS, nor of any single model.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableParallel

from bot.citations import cite
from bot.compose import Budget, Older, Shown, compose, estimate_tokens
from bot.condense import READ_CHARS, StandAlone, lost, rewrite, stand_alone
from bot.errors import KNOWN_ERRORS, ModelError, TurnError
from bot.events import (
    Cited,
    Done,
    Event,
    EvidenceFound,
    Notice,
    Token,
)
from bot.mentions import pictures_meant, unclear
from bot.models.choose import explain
from bot.record import answer_of, follow, record, renumbered
from bot.summariser import Job, starts, writer
from bot.turn_state import (
    Parts,
    PictureInTurn,
    TurnState,
    caption_of,
    new_picture,
    shown_evidence,
)
from memory.errors import HistoryDamaged
from memory.messages import Recap
from retrievers.evidence import Evidence, Query
from retrievers.fusion import merge
from retrievers.imaging import encode, read_picture, shrink

#: Cosine in the picture encoder's space from which two pictures show the same thing
SAME_LOOK = 0.9
#: What a turn of pictures alone asks
PICTURE_QUESTION = "What is this?"

Flow = AsyncIterator[Event | TurnState]
Work = Callable[[TurnState], Flow]


class Steps:
    """The eight steps over one set of parts. Holds no state of any turn."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._side_by_side = RunnableParallel(
            text=parts.text_retriever, pictures=parts.picture_retriever
        )

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
        conversation = await self.parts.history.load(
            state.conversation_id, last=self.parts.settings.history_turns
        )
        first = max((p.number for p in conversation.pictures), default=0) + 1
        pictures = [new_picture(n, given) for n, given in enumerate(state.given, first)]
        known = {p.number: p for p in conversation.pictures}
        reference = pictures_meant(state.question, conversation.pictures, [p.ref for p in pictures])
        recalled = [n for n in reference.numbers if n in known]
        most = max(0, self.parts.settings.pictures_per_turn - len(pictures))
        for number in recalled[:most]:
            data = await self.parts.history.picture(state.conversation_id, number)
            decoded = await asyncio.to_thread(read_picture, data, name=known[number].name)
            pictures.append(PictureInTurn(known[number], decoded, new=False))
        notices = [*conversation.notices, *unclear(reference)]
        if len(recalled) > most:
            notices.append(f"only {most} of the {len(recalled)} earlier pictures were looked at")
        kept = self.parts.settings.history_turns
        if conversation.total > kept:
            notices.append(f"only the last {kept} of {conversation.total} turns were looked at")
        for text in notices:
            yield Notice(text)
        yield replace(
            state, conversation=conversation, pictures=tuple(pictures), notices=tuple(notices)
        )

    async def encode(self, state: TurnState) -> Flow:
        """2: make vectors of the words and the pictures, and read the writing in the pictures."""
        asked = await self._stand_alone(state)
        pictures = await asyncio.to_thread(self._read, state.pictures)
        query = await asyncio.to_thread(self._encode, asked.text, pictures)
        query = replace(query, context=asked.context)
        yield replace(state, pictures=pictures, query=query, how=asked.how)

    async def _stand_alone(self, state: TurnState) -> StandAlone:
        """Have a follow-up question written anew by the model, or else by its history's words."""
        turns, seconds = state.conversation.turns, self.parts.settings.condense_seconds
        why = ""
        short = 0 < len(state.question) <= READ_CHARS  # a longer one says what it is about
        if turns and short and not state.pictures and seconds and self._is_model:
            try:
                with self.parts.summariser.standing_back():
                    text = await rewrite(
                        self.parts.model, self.parts.condense, state.question, turns, seconds
                    )
                how = "" if text == state.question else "by the model"
                return StandAlone(text, lost(text, state.question), how)
            except TimeoutError:
                why = f": the model had not answered within {seconds:g} s (condense_seconds)"
            except ValueError as error:
                why = f": {error}"
            except Exception as error:  # whatever a provider raises, the turn goes on without it
                why = f": {explain(error, self.parts.model_name)}"
        asked = await asyncio.to_thread(
            stand_alone,
            state.question,
            turns,
            self.parts.library.rarity,
            has_picture=bool(state.pictures),
        )
        return replace(asked, how=asked.how + why) if asked.how else asked

    @property
    def _is_model(self) -> bool:
        return not self.parts.capabilities.reads_evidence

    def _read(self, pictures: tuple[PictureInTurn, ...]) -> tuple[PictureInTurn, ...]:
        return tuple(replace(p, lines=self.parts.read_words(p.decoded)) for p in pictures)

    def _encode(self, text: str, pictures: tuple[PictureInTurn, ...]) -> Query:
        images = tuple(p.decoded.image for p in pictures)
        look = self.parts.picture_encoder
        vectors = {}
        if text:
            vectors["text"] = self.parts.text_encoder.encode_texts([text], query=True)
        if text and "text" in look.modalities:
            vectors["look_text"] = look.encode_texts([text], query=True)
        if images:
            vectors["look"] = look.encode_pictures(images)
        words = " ".join(line.text for p in pictures for line in p.lines)
        return Query(text=text, pictures=images, picture_words=words, vectors=vectors)

    async def retrieve(self, state: TurnState) -> Flow:
        """3: let the text and the picture retriever look, side by side.

        Where a picture of the library looks just like the one that was sent, its words say what
        that shows; the text retriever looks again with them.
        """
        found = await self._side_by_side.ainvoke(state.query)
        about = self._shown_in(found["pictures"])
        if about and state.query.text:
            named = await asyncio.to_thread(self._encode, f"{state.query.text} {about}", ())
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
        able, settings = self.parts.capabilities, self.parts.settings
        most = min(able.max_pictures, settings.pictures_shown)
        numbers = _pictures_in(state.evidence) if able.pictures else []
        shown = await asyncio.to_thread(self._pictures_to_show, state, numbers[:most])
        model, exact = self.parts.model, able.counts_tokens
        older, damaged = await self._older(state)
        prompt = await asyncio.to_thread(
            compose,
            state.question or PICTURE_QUESTION,
            state.evidence,
            shown,
            state.conversation.turns,
            self.parts.prompts,
            Budget(
                tokens=able.context_tokens - settings.answer_tokens,
                pictures=most,
                count=model.get_num_tokens if exact else estimate_tokens,
                picture_tokens=able.picture_tokens,
                picture_cost=getattr(model, "picture_cost", None),
                whole=model.get_num_tokens_from_messages if exact else None,
            ),
            {p.number: p for p in state.conversation.pictures},
            pictures_left=len(numbers) - len(shown),
            turns_before=state.conversation.total - len(state.conversation.turns),
            older=older,
        )
        notices = [] if able.reads_evidence else [*damaged, *prompt.notices]  # it reads all of it
        side = settings.picture_side
        large = [p.ref.number for p in state.pictures if max(p.ref.width, p.ref.height) > side]
        if large and able.pictures:
            which = ", ".join(map(str, large))
            notices.append(f"the model was shown picture {which} at {side} pixels")
        if state.pictures and not able.pictures and not able.reads_evidence:
            notices.append(
                f"the model {self.parts.model_name} takes no pictures: it was given their words"
            )
        for text in notices:
            yield Notice(text)
        yield replace(state, prompt=prompt, notices=(*state.notices, *notices))

    async def _older(self, state: TurnState) -> tuple[Older | None, list[str]]:
        """Return what there is of older turns for the prompt, and what is to be said of it."""
        if not self._is_model or not state.conversation.turns:
            return None, []
        trouble = self.parts.summariser.trouble(state.conversation_id)
        said = [f"the last summary of older turns: {trouble}"] if trouble else []
        recaps: tuple[Recap, ...] = ()
        try:
            recaps = await self.parts.history.recaps(state.conversation_id)
        except HistoryDamaged as error:
            said.append(str(error))
        return Older(recaps, self.parts.summary, self.parts.settings.summary_chars), said

    def _pictures_to_show(self, state: TurnState, numbers: list[int]) -> list[Shown]:
        """Return the pictures of these numbers of the evidence, small enough for a model."""
        shown = []
        for number in numbers:
            item = state.evidence[number - 1]
            if number <= len(state.pictures):
                image = state.pictures[number - 1].decoded.image
            else:
                data = self.parts.library.media(item.media or "")
                image = read_picture(data, name=item.source).image
            small = shrink(image, self.parts.settings.picture_side)
            data = encode(small, "image/jpeg")
            shown.append(Shown(number, data, "image/jpeg", small.width, small.height))
        return shown

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
                with self.parts.summariser.standing_back():
                    while True:
                        async with asyncio.timeout_at(deadline):  # never across a yield: new task
                            chunk = await anext(chunks, None)
                        if chunk is None:
                            break
                        reply = reply + chunk  # type: ignore[assignment]
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
        if self._is_model:
            tokens = parts.capabilities.context_tokens
            write = writer(parts.model, parts.summarise, tokens, settings.summary_chars)
        parts.summariser.offer(
            Job(state.conversation_id, total, places, settings.summary_chars, write)
        )


def _pictures_in(evidence: tuple[Evidence, ...]) -> list[int]:
    """Return the numbers of the pictures: the turn's own come first, then the library's by rank."""
    return [n for n, e in enumerate(evidence, 1) if e.kind == "picture" and e.media is not None]


def _step(name: str, work: Work) -> Runnable[Any, Event | TurnState]:
    """Make a step of the chain: events pass through, the state goes through ``work``.

    An error of the step becomes a ``TurnError`` that names it; its milliseconds are added to the
    state's timings, without the time that the caller takes between events.
    """

    async def run(items: AsyncIterator[Event | TurnState]) -> Flow:
        async for item in items:
            if not isinstance(item, TurnState):
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
                    output = replace(output, timings={**output.timings, name: spent})
                yield output

    return RunnableGenerator(run, name=name)
