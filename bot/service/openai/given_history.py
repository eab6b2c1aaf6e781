"""A conversation that came with the request: read by one turn, kept nowhere.

It is read as one that was kept would be: its pictures have numbers and captions, and each question
knows which pictures it was about, so that "and the left one?" finds them. Knows nothing of where
the conversation came from, nor of HTTP.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from bot.ask_back import asked
from bot.events import Referred
from bot.lines import SENDER, one_line
from bot.mentions import pictures_meant
from bot.turn_state import Parts, caption_of, new_picture
from memory.claims import Claim, Once
from memory.errors import HistoryError, PictureNotFound
from memory.history import Follow, History
from memory.messages import Conversation, Message, PictureRef, Recap, Turn
from memory.recall import Found
from retrievers.errors import PictureRefused
from retrievers.imaging import read_picture

NAME = "given"  #: of the conversation
REPLAYED = 8  #: last turns of which it is found out which pictures they were about
_PHRASE = 200  # characters


@dataclass(frozen=True, slots=True)
class GivenTurn:
    """An earlier question with the encoded pictures that came with it, and its answer."""

    question: str
    answer: str
    pictures: tuple[bytes, ...] = field(default=(), repr=False)
    name: str = ""  #: of the person who asked


class GivenHistory(History):
    """One conversation that is there already. What a turn does with a history works, and saving
    returns the turn as it is; all else raises ``HistoryError``. Made by :meth:`of`."""

    def __init__(self, conversation: Conversation, pixels: Mapping[int, bytes]) -> None:
        self._conversation, self._pixels = conversation, pixels

    @classmethod
    async def of(cls, given: Sequence[GivenTurn], parts: Parts) -> "GivenHistory":
        """Return it with its pictures decoded and read as ``parts`` do so: work for some time.

        Raises ``PictureRefused``.
        """
        refs: list[PictureRef] = []
        pixels: dict[int, bytes] = {}
        turns: list[Turn] = []
        for at, turn in enumerate(given):
            own: list[PictureRef] = []
            for number, data in enumerate(turn.pictures, len(refs) + 1):  # one by one: it can end
                ref, kept = await asyncio.to_thread(_taken_in, data, number, turn.name, parts)
                own.append(ref)
                pixels[number] = kept
            ledger: dict[str, Any] = {}
            if at >= len(given) - REPLAYED and len(turn.question) <= parts.settings.question_chars:
                before = Conversation(NAME, tuple(turns), tuple(refs), len(turns))
                ledger = await asyncio.to_thread(_about, turn, before, own)
            question = Message(turn.question, tuple(ref.number for ref in own))
            answer = Message(turn.answer)
            turns.append(Turn(f"{NAME}-{at}", question, answer, at=0.0, ledger=ledger))
            refs += own
        return cls(Conversation(NAME, tuple(turns), tuple(refs), len(turns)), pixels)

    async def load(self, conversation: str, *, last: int | None = None) -> Conversation:
        """Return its last turns, whatever the name."""
        turns = self._conversation.turns
        kept = turns if last is None else turns[max(0, len(turns) - last) :]
        return replace(self._conversation, id=conversation, turns=kept)

    @asynccontextmanager
    async def claim(
        self,
        conversation: str,
        turn: str,
        *,
        last: int | None = None,
        wait: float = 0.0,
        once: Once | None = None,
        again: str | None = None,
    ) -> AsyncIterator[Claim]:
        """Take the next turn, which nobody else can."""
        if again is not None or once is not None:
            _not_kept()
        yield Claim(turn, await self.load(conversation, last=last))

    async def save(
        self,
        conversation: str,
        turn: Turn,
        pictures: tuple[PictureRef, ...] = (),
        blobs: Mapping[str, bytes] | None = None,
        follow: Follow | None = None,
        *,
        claim: Claim | None = None,
        idempotency_key: str | None = None,
    ) -> Turn:
        """Return the turn; nothing is stored."""
        return turn

    async def picture(self, conversation: str, number: int) -> bytes:
        """Return a picture's bytes; ``PictureNotFound`` when there is none."""
        if (data := self._pixels.get(number)) is None:
            raise PictureNotFound(f"the conversation has no picture {number}")
        return data

    async def recaps(self, conversation: str) -> tuple[Recap, ...]:
        """Return no summaries: the turn makes one itself where it needs one."""
        return ()

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _unable(self, *_: Any, **__: Any) -> NoReturn:
        _not_kept()

    def _unable_at_once(self, *_: Any, **__: Any) -> NoReturn:
        _not_kept()

    delete_turn = fork = complete = drop = save_recaps = conversations = _unable
    conversation_count = rename = search = forget = create = _unable
    as_langchain = _unable_at_once


def _not_kept() -> NoReturn:
    raise HistoryError("this conversation is not kept: it came with its question, and goes with it")


def _taken_in(data: bytes, number: int, name: str, parts: Parts) -> tuple[PictureRef, bytes]:
    """Return a picture's handle, its caption read from it, and what is kept of its bytes."""
    try:
        picture = new_picture(number, read_picture(data), one_line(name, SENDER))
    except PictureRefused as error:
        raise PictureRefused(f"picture {number} of the earlier messages: {error}") from error
    picture = replace(picture, lines=parts.read_words(picture.decoded))
    return replace(picture.ref, caption=caption_of(picture), at=0.0), picture.decoded.data


def _about(turn: GivenTurn, before: Conversation, own: Sequence[PictureRef]) -> dict[str, Any]:
    """Return what a turn's ledger would say of the pictures that its words meant."""
    question, meant = pictures_meant(turn.question, before, own, (), turn.name)
    ledger: dict[str, Any] = {"references": [_referred(one) for one in meant.found]}
    if meant.ambiguous and turn.answer.rstrip().endswith(("?", "？")):  # it asked which one
        ledger["asks"] = asked(question, meant, [ref.number for ref in own]).to_json()
    if question != turn.question:
        ledger["question"] = question
    return ledger


def _referred(one: Found) -> dict[str, Any]:
    return Referred(one.phrase[:_PHRASE], one.numbers, one.sure, carried=one.carried).to_json()
