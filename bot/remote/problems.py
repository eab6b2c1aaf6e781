"""What a service refuses, as the errors that a bot in this process would raise.

Knows nothing of connections. A problem's type says what it is; which error that is depends on what
was asked for (:class:`Meaning`).
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot.errors import ModelBusy, ModelError, ServiceError, TurnError
from bot.show import plain
from memory.errors import (
    ConversationBusy,
    ConversationExists,
    HistoryError,
    HistoryUnavailable,
    KeyReused,
    PictureGone,
    TurnOvertaken,
)
from retrievers.errors import LibraryError, PictureRefused

TYPES = "urn:bifocal:problem:"
DETAIL = 1000  #: characters of what a service says that are repeated
RETRY = 1.0  #: seconds after which to ask again where the service does not say
_STEP = re.compile(r"the turn failed in its step (\w+)")


@dataclass(frozen=True, slots=True)
class Told:
    """A problem as the service told it. ``field`` is what was wrong with the first field."""

    status: int
    kind: str
    detail: str
    field: str = ""
    retry_after: float | None = None

    @classmethod
    def of(cls, status: int, body: Any, retry_after: str = "") -> "Told":
        """Read a problem document; of anything else only the status is believed."""
        value = body if isinstance(body, dict) else {}
        type = str(value.get("type", ""))
        kind = type.removeprefix(TYPES) if type.startswith(TYPES) else ""
        errors = value.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else {}
        return cls(
            int(value["status"]) if kind and isinstance(value.get("status"), int) else status,
            kind,
            _line(value.get("detail")) if kind else f"the service answers with status {status}",
            _line(first.get("detail")) if isinstance(first, dict) else "",
            float(retry_after) if re.fullmatch(r"\d{1,6}", retry_after) else None,
        )

    @classmethod
    def read(cls, status: int, body: bytes, retry_after: str = "") -> "Told":
        """Read the body of an answer that refuses."""
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        return cls.of(status, value, retry_after)


def _line(text: object) -> str:
    return " ".join(plain(str(text or "")).split())[:DETAIL]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the problems mean of one thing that is asked for."""

    absent: Callable[[str], Exception] = LibraryError  #: 404
    invalid: type[Exception] = HistoryError  #: a field that cannot be used
    conflict: type[HistoryError] = ConversationExists
    turn: bool = False  #: the errors of a turn's steps name the step

    def error(self, told: Told) -> Exception:
        """Return the error that a bot in this process would raise."""
        error = self._plain(told)
        if not self.turn:
            return error
        if isinstance(error, ModelError):
            return _in("generate", error)
        if isinstance(error, (PictureRefused, HistoryUnavailable)):
            return _in("load", error)
        if isinstance(error, TurnOvertaken):
            return _in("save", error)
        return error

    def _plain(self, told: Told) -> Exception:
        say, wait = told.detail, told.retry_after
        match told.kind:
            case "not-found":
                return PictureGone(say) if told.status == 410 else self.absent(say)
            case "busy":
                return ConversationBusy(say, wait or RETRY)
            case "key-reused":
                return KeyReused(say)
            case "conflict":
                return self.conflict(say)
            case "picture-refused":
                return PictureRefused(say)
            case "invalid" if self.turn:
                return TurnError("load", told.field or say)
            case "invalid":
                return self.invalid(told.field or say)
            case "overloaded":
                return ModelBusy(say, wait or RETRY)
            case "model-failed":
                return ModelError(say)
            case "unavailable":
                return HistoryUnavailable(say)
        if self.turn and (step := _STEP.match(say)):
            return TurnError(step[1], say)
        return ServiceError(say, status=told.status, kind=told.kind, retry_after=wait)


def _in(stage: str, cause: Exception) -> TurnError:
    error = TurnError(stage, str(cause))
    error.__cause__ = cause
    return error
