"""A follow-up question is made to stand alone before anything is searched.

"And how long is it?" says nothing to a search engine. Without a model it is searched for as it is,
and beside it, counting less, the words that the conversation is about: those of the last turns that
are rare in the library. This is the historical query expansion of Yang, Lin and others, "Query and
Answer Expansion from Conversation History" (TREC CAsT 2019) and "Multi-Stage Conversational Passage
Retrieval" (ACM TOIS 2021): keywords of earlier questions and answers join the question, by how well
they tell passages apart. Two things are different. They choose keywords by thresholds that are
tuned to a collection; here the heaviest are taken. And they add keywords to the question's own
words; here these are searched for apart, so that a change of topic is not drowned in the old one.

With a model, the model writes the question anew, and words of its own invention are not believed:
see :func:`checked`. Knows nothing of retrieval or of which model it is.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from bot.ask_back import question_of, said_in
from bot.citations import MARK
from bot.models.reading.words import FOLLOW_UP_WORDS, Rarity, content_stems, stem
from bot.notes import quote
from memory.messages import Turn
from prompts import Prompt

#: Words of earlier turns that are searched for beside the question, at most
WORDS = 8
#: What is one step further away counts half: the turn before, and an answer beside its question
STEP = 0.5
#: Earlier turns that the model reads, and characters of each question and each answer
READ_TURNS, READ_CHARS = 3, 400

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*", re.UNICODE)
_CANDIDATES = 32  # words of which the rarest are looked for
_LONGEST = 4000  # characters of a message in which they are looked for

#: A question with this many words of its own, or more, is left as it is
_ENOUGH = 2


@dataclass(frozen=True, slots=True)
class StandAlone:
    """What is searched for: ``text``, and the words of ``context``, which count less.

    ``how`` says who made them of the question, and why not the model where it was asked in vain;
    nothing when the question is as it was."""

    text: str
    context: str = ""
    how: str = ""


def content_words(text: str) -> list[str]:
    """Return the words of ``text`` that name something, in their order."""
    return [w for w in _WORD.findall(text) if w.casefold() not in FOLLOW_UP_WORDS]


def condense(question: str, turns: Sequence[Turn], *, has_picture: bool = False) -> str:
    """Return the question, with the last one's words before it where it has too few of its own.

    With a picture a question like "What is this?" asks about the picture alone, and is empty.
    """
    own = content_words(question)
    if has_picture:
        return question if own else ""
    if len(own) >= _ENOUGH:
        return question
    for turn in reversed(turns):
        before = content_words(question_of(turn))
        if before:
            return f"{' '.join(before)} {question}".strip()
    return question


def stand_alone(
    question: str, turns: Sequence[Turn], rarity: Rarity, *, has_picture: bool = False
) -> StandAlone:
    """Return what to search for, by the words of earlier turns; needs no model.

    ``rarity`` gives each word's idf in the library. Without earlier turns, and with a picture,
    there is no context.
    """
    text = condense(question, turns, has_picture=has_picture)
    if has_picture or not turns:
        return StandAlone(text)
    context = carried(text, turns, rarity)
    changed = context or text != question
    return StandAlone(text, context, "by the words of earlier turns" if changed else "")


def carried(question: str, turns: Sequence[Turn], rarity: Rarity) -> str:
    """Return the words of earlier turns that tell best what they were about, heaviest first.

    A word weighs its rarity times the sum of its mentions, one a message, each of which counts by
    :data:`STEP`. Words of the question, and words that the library does not have, are left out.
    """
    own = {stem(word) for word in _WORD.findall(question)}
    mentions: dict[str, float] = {}
    spelled: dict[str, str] = {}
    for age, turn in enumerate(reversed(turns)):
        for said, counts in ((question_of(turn), 1.0), (said_in(turn), STEP)):
            words = content_words(MARK.sub("", said[:_LONGEST]))
            for form, word in {stem(word): word for word in reversed(words)}.items():
                if form not in own:
                    spelled.setdefault(form, word)
                    mentions[form] = mentions.get(form, 0.0) + counts * STEP**age
    likely = sorted(mentions, key=lambda form: -mentions[form])[:_CANDIDATES]
    rare = rarity(["", *(spelled[form] for form in likely)])
    known = [form for form in likely if rare[spelled[form]] < rare[""]]
    known.sort(key=lambda form: -mentions[form] * rare[spelled[form]])
    return " ".join(spelled[form] for form in known[:WORDS])


async def rewrite(
    model: BaseChatModel, prompt: Prompt, question: str, turns: Sequence[Turn], seconds: float
) -> str:
    """Return the question as the model writes it so that it stands alone.

    Waits ``seconds`` at most, however busy the model is, and then lets go of it. Raises
    ``TimeoutError`` then, ``ValueError`` for a reply that is not to be trusted, and what the model
    raises.
    """
    last = list(turns[-READ_TURNS:])
    shown = "\n".join(_shown(turn) for turn in last)
    words = prompt.render(turns=shown, question=quote(question))
    most, reply = _room(question), ""
    async with (
        asyncio.timeout(seconds),
        aclosing(model.astream([HumanMessage(words)])) as chunks,  # type: ignore[type-var]
    ):
        async for chunk in chunks:
            reply += str(chunk.text)
            if len(reply) > most or "\n" in reply.lstrip():
                break
    return checked(reply, question, last)


def checked(reply: str, question: str, turns: Sequence[Turn]) -> str:
    """Return the first line of a model's reply, if all it names was said in the conversation.

    Whatever the model read there as an order, or knows besides, is not searched for. Raises
    ``ValueError`` otherwise.
    """
    line = (reply.strip().splitlines() or [""])[0].strip().strip("\"'“”„«»`")
    if not content_stems(line):
        raise ValueError("the model wrote no question")
    if len(line) > _room(question):
        raise ValueError("the model wrote more than a question")
    said = " ".join([question, *(f"{question_of(t)} {t.answer.text}" for t in turns)])
    if content_stems(line) - content_stems(said):
        raise ValueError("the model wrote of what was not said")
    return line


def lost(rewritten: str, question: str) -> str:
    """Return the question's own words that are no longer in what the model made of it."""
    there = {stem(word) for word in _WORD.findall(rewritten)}
    return " ".join(w for w in content_words(question) if stem(w) not in there)


def _room(question: str) -> int:
    return 2 * len(question) + 200


def _shown(turn: Turn) -> str:
    asked, said = question_of(turn), MARK.sub("", turn.answer.text)
    return (
        f"<turn>\nPerson: {quote(asked[:READ_CHARS])}\nAnswer: {quote(said[:READ_CHARS])}\n</turn>"
    )
