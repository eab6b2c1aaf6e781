"""What a program waits for while its model's process lives: replies, and answers as they come.

Knows nothing of processes: frames' contents go in, and each that waits hears of it, or of the end.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from queue import SimpleQueue
from typing import Any

from bot.errors import ModelError
from bot.models.llama import wire
from bot.models.llama.values import Delta, Outcome

Put = Callable[[wire.Said], None]
Reply = tuple[Any, bytes]  # a JSON value, and bytes

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Turn:
    """An answer being written: who gets it, and when it is overdue (``time.monotonic``)."""

    put: Put
    seconds: float | None
    overdue: float = inf


@dataclass(slots=True)
class Call:
    """A question to the process, and when the reply to it is overdue."""

    reply: SimpleQueue[Reply | ModelError]
    overdue: float


class Pending:
    """Replies and answers of one process, by number. Added from any thread, taken in from one.

    ``patience``: seconds that a reply, or an answer past its time limit, may take. ``cancel`` is
    called for an answer whose reader failed. ``answered``: whether an answer came to its end.
    """

    def __init__(self, patience: float, cancel: Callable[[int], None]) -> None:
        self._patience, self._cancel = patience, cancel
        self.answered = False
        self._calls: dict[int, Call] = {}
        self._turns: dict[int, Turn] = {}

    def add(self, number: int, turn: Turn | None) -> SimpleQueue[Reply | ModelError]:
        """Wait for a reply and, with ``turn``, for an answer; returns where the reply will be."""
        call = Call(SimpleQueue(), time.monotonic() + self._patience)
        if turn is not None:
            self._turns[number] = turn
        self._calls[number] = call
        return call.reply

    def drop(self, number: int) -> None:
        """Wait no more."""
        self._calls.pop(number, None)
        self._turns.pop(number, None)

    def answering(self, number: int) -> bool:
        """Return whether an answer has not ended."""
        return number in self._turns

    @property
    def waits(self) -> bool:
        """Whether anybody does."""
        return bool(self._calls or self._turns)

    def hangs(self) -> bool:
        """Return whether something is overdue."""
        now = time.monotonic()
        waits: list[Call | Turn] = [*self._calls.copy().values(), *self._turns.copy().values()]
        return any(now > one.overdue for one in waits)

    def take(self, body: Mapping[str, Any], data: bytes) -> None:
        """Pass on what the process says; ``WireError`` for what it cannot say."""
        if "turn" in body:
            self._hear(wire.typed(body["turn"], int), wire.said_in(body))
            return
        number = wire.typed(body.get("call"), int)
        call = self._calls.pop(number, None)
        reply: Reply | ModelError = body.get("value"), data
        turn = self._turns.get(number)
        if "error" in body:
            reply = wire.typed(wire.said_in(body), ModelError)
            self._turns.pop(number, None)
        elif turn is not None and turn.seconds is not None:
            turn.overdue = time.monotonic() + turn.seconds + self._patience
        if call is not None:
            call.reply.put(reply)

    def _hear(self, number: int, said: wire.Said) -> None:
        turn = self._turns.get(number)
        if turn is None:
            return
        if not isinstance(said, Delta):
            self._turns.pop(number, None)
            self.answered = self.answered or isinstance(said, Outcome)
        if not _put(turn, said) and isinstance(said, Delta):
            self._cancel(number)
            self._turns.pop(number, None)

    def fail(self, why: str) -> None:
        """Tell all that still wait, each once."""
        for number, turn in self._turns.items():
            if number not in self._calls:  # else whoever asks is told
                _put(turn, ModelError(why))
        for call in self._calls.values():
            call.reply.put(ModelError(why))


def _put(turn: Turn, said: wire.Said) -> bool:
    """Return whether a reader took it: one may be gone, perhaps with its event loop."""
    try:
        turn.put(said)
    except Exception:
        _log.debug("the reader of an answer failed", exc_info=True)
        return False
    return True
