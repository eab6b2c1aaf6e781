"""What can go wrong with a conversation's state.

HistoryError
├── HistoryUnavailable      Redis cannot be reached, refuses the login, or cannot store
├── HistoryDamaged          a stored record cannot be read
│   └── PictureGone         a picture's bytes are not there; its handle and caption are
├── ConversationNotFound    no conversation of that name
├── ConversationExists      there is one of that name already
├── PictureNotFound         the conversation has no picture of that number
├── TurnNotFound            the conversation has no turn of that id
├── ConversationBusy        another turn is under way; ``retry_after`` says when to ask again
│   └── TurnInFlight        it is this very question that is being answered
├── KeyReused               an idempotency key came with another question than before
├── TurnOvertaken           a turn stood still for too long, another came before it
├── FeedbackFull            a conversation has all the feedback that is kept
└── ArchiveRefused          a file of a conversation is damaged, or cannot be written

Every message is one line that names the value and the way out; no password is ever in it.
"""


class HistoryError(Exception):
    """Base of every error of this package."""


class HistoryUnavailable(HistoryError):
    """Redis cannot be reached, refuses the login, or cannot store."""


class HistoryDamaged(HistoryError):
    """A stored record cannot be read."""


class PictureGone(HistoryDamaged):
    """A picture's bytes are gone, or past their lifetime; its handle and its caption stay."""


class ConversationNotFound(HistoryError):
    """No conversation of that name."""


class ConversationExists(HistoryError):
    """There is a conversation of that name already."""


class TurnNotFound(HistoryError):
    """The conversation has no turn of that id."""


class ConversationBusy(HistoryError):
    """Another turn of the conversation is under way; ask again in ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TurnInFlight(ConversationBusy):
    """The same question, under the same key, is being answered; its answer can be asked for in
    ``retry_after`` seconds."""


class KeyReused(HistoryError):
    """An idempotency key came with another question than before."""


class TurnOvertaken(HistoryError):
    """A turn lost its conversation (it stood still, or all was forgotten): nothing was stored."""


class FeedbackFull(HistoryError):
    """A conversation has all the feedback that is kept."""


class ArchiveRefused(HistoryError):
    """A file of a conversation is damaged or of another form, or cannot be written."""


class PictureNotFound(HistoryError):
    """The conversation has no picture of that number; it may have been dropped."""


def conversation_not_found(conversation: str) -> ConversationNotFound:
    """Return the error of a name that is none of a tenant's conversations."""
    return ConversationNotFound(
        f"there is no conversation {conversation!r}; `bifocal conversations list` names them"
    )


def picture_dropped(conversation: str, number: int) -> PictureNotFound:
    """Return the error of a picture that was taken out of a conversation."""
    return PictureNotFound(f"picture {number} of conversation {conversation!r} was dropped")
