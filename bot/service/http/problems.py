"""Every error as an RFC 9457 problem document, and which error becomes which.

A problem's ``detail`` is for the person at the other end: what a caller did is said in full, what
went wrong on this machine only in kind, with the request's id for whoever reads the log. Knows
nothing of routes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse

from bot.errors import KNOWN_ERRORS, ModelBusy, ModelError, TurnError
from memory import errors as history
from retrievers.errors import LibraryNotFound, PictureRefused, RetrievalError, SourceRefused

MEDIA_TYPE = "application/problem+json"
TYPES = "urn:bifocal:problem:"
RETRY = 2  #: seconds after which a client may ask again, where nothing better is known

_TITLES = {
    "bad-request": "The request cannot be read",
    "invalid": "A field has a value that cannot be used",
    "unauthorized": "An API key is needed",
    "forbidden-origin": "Pages of this origin may not call the service",
    "not-found": "There is nothing of that name",
    "method-not-allowed": "This address does not take that method",
    "conflict": "Something is in the way",
    "busy": "Another turn of this conversation is under way",
    "key-reused": "The idempotency key came with another request before",
    "too-large": "The request is too large",
    "unsupported-media-type": "This type of content is not taken",
    "picture-refused": "A picture cannot be used",
    "rate-limited": "Too many requests",
    "overloaded": "The service has too much to do",
    "stopping": "The service is stopping",
    "ended": "The turn was ended",
    "unavailable": "A part of the service cannot be reached",
    "model-failed": "The model did not answer",
    "slow": "The request did not arrive in time",
    "internal": "Something went wrong here",
}


class Problem(Exception):
    """An error that a client is told of; ``fields`` are pairs of a field's name and its trouble."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        fields: Sequence[tuple[str, str]] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.fields = status, kind, detail, fields
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after)))

    def to_json(self, instance: str = "") -> dict[str, Any]:
        """Return the document; ``instance`` is the request's id."""
        return {
            "type": TYPES + self.kind,
            "title": _TITLES[self.kind],
            "status": self.status,
            "detail": self.detail,
            **(
                {"errors": [{"field": f, "detail": d} for f, d in self.fields]}
                if self.fields
                else {}
            ),
            **({"instance": f"urn:request:{instance}"} if instance else {}),
        }

    def response(self, instance: str = "") -> JSONResponse:
        """Return the document as a response."""
        return JSONResponse(
            self.to_json(instance), self.status, headers=self.headers, media_type=MEDIA_TYPE
        )


def not_found(what: str) -> Problem:
    """Return the one answer for what is absent and for what is forbidden."""
    return Problem(404, "not-found", f"there is no {what} that this key can see")


def invalid(field: str, detail: str, status: int = 422) -> Problem:
    """Return the problem of one field."""
    return Problem(status, "invalid", f"{field}: {detail}", fields=[(field, detail)])


def problem_of(error: BaseException) -> Problem:
    """Return what a client is told of an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, TurnError):
        return _of_turn(error)
    if isinstance(error, PictureRefused):
        return Problem(422, "picture-refused", str(error), fields=[("pictures", str(error))])
    if isinstance(error, SourceRefused):
        return invalid("file", str(error))
    if isinstance(error, history.HistoryError):
        return _of_history(error)
    if isinstance(error, LibraryNotFound):
        return not_found("library of that name")
    if isinstance(error, ModelBusy):
        told = "the model has too many requests waiting; ask again later"
        return Problem(503, "overloaded", told, retry_after=error.retry_after)
    if isinstance(error, ModelError):
        return Problem(502, "model-failed", "the model did not answer; ask again, or tell the"
                       " operator, whose log says why")  # fmt: skip
    if isinstance(error, RetrievalError):
        return Problem(503, "unavailable", "the library cannot be read now", retry_after=RETRY)
    return Problem(500, "internal", "unexpected; the operator's log has more under this request")


def _of_turn(error: TurnError) -> Problem:
    """Return what a failed turn is told as: by its cause, which knows more than its step."""
    cause = error.__cause__
    if cause is not None and isinstance(cause, KNOWN_ERRORS):
        return problem_of(cause)
    if error.stage == "load" and cause is None:  # what was asked cannot be taken
        return invalid("text" if "picture" not in str(error) else "pictures", str(error))
    return Problem(500, "internal", f"the turn failed in its step {error.stage}")


def _of_history(error: history.HistoryError) -> Problem:
    if isinstance(error, history.ConversationBusy):
        return Problem(409, "busy", "another turn of this conversation is under way; wait for it",
                       retry_after=error.retry_after)  # fmt: skip
    if isinstance(error, history.KeyReused):
        told = "this Idempotency-Key came with another request before; use a new one"
        return Problem(422, "key-reused", told, fields=[("Idempotency-Key", "used before")])
    if isinstance(error, history.ConversationExists):
        return Problem(409, "conflict", "a conversation of that name exists; choose another name")
    if isinstance(error, history.FeedbackFull):
        return Problem(409, "conflict", str(error))
    if isinstance(error, history.TurnOvertaken):
        return Problem(409, "conflict", "the conversation was changed meanwhile; ask again")
    if isinstance(error, history.ArchiveRefused):
        return invalid("file", str(error))
    if isinstance(error, history.PictureGone):
        return Problem(410, "not-found", "the picture is past its lifetime")
    if isinstance(
        error, (history.ConversationNotFound, history.TurnNotFound, history.PictureNotFound)
    ):
        return not_found("conversation, turn or picture of that name")
    if isinstance(error, history.HistoryDamaged):
        return Problem(500, "internal", "a stored record cannot be read; the operator's log says"
                       " which")  # fmt: skip
    if isinstance(error, history.HistoryUnavailable):
        told = (
            "conversations cannot be reached now, so nothing is known to be stored; ask again with"
            " the same Idempotency-Key"
        )
        return Problem(503, "unavailable", told, retry_after=RETRY)
    return invalid("conversation", str(error))
