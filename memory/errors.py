"""What can go wrong with a conversation's state.

HistoryError
├── HistoryUnavailable      Redis cannot be reached, refuses the login, or cannot store
├── HistoryDamaged          a stored record cannot be read
├── ConversationNotFound    no conversation of that name
└── PictureNotFound         the conversation has no picture of that number

Every message is one line that names the value and the way out; no password is ever in it.
"""


class HistoryError(Exception):
    """Base of every error of this package."""


class HistoryUnavailable(HistoryError):
    """Redis cannot be reached, refuses the login, or cannot store."""


class HistoryDamaged(HistoryError):
    """A stored record cannot be read."""


class ConversationNotFound(HistoryError):
    """No conversation of that name."""


class PictureNotFound(HistoryError):
    """The conversation has no picture of that number; it may have been dropped."""
