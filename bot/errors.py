"""What a user of Bifocal can be told went wrong.

BifocalError
├── SettingsError        a setting has a value that cannot be used
├── AccessError          a key, or its name, tenant, libraries or rate, cannot be used
├── FetchRefused         a picture was not fetched (bot/service/openai/fetching.py)
├── ModelError           the model that writes answers cannot be loaded or failed
│   └── ModelBusy        it has too much to do; ``retry_after`` says when to ask again
├── ServiceError         a served bot cannot be reached, or refuses; ``retry_after`` may say more
└── TurnError            one step of a turn failed; ``stage`` names it

Beside it stand the trees of the packages below, which never import this one:
``retrievers.errors.RetrievalError`` (libraries, encoders, pictures, files),
``memory.errors.HistoryError`` (conversations) and ``prompts.PromptError``. ``KNOWN_ERRORS`` is
all of them.

Every message is one line that names the value and the way out.
"""

from memory.errors import HistoryError
from prompts import PromptError
from retrievers.errors import RetrievalError


class BifocalError(Exception):
    """Base of every error of this package."""


class SettingsError(BifocalError):
    """A setting has a value that cannot be used."""


class AccessError(BifocalError):
    """A key of the service, or its name, tenant, libraries or rate, cannot be used."""


class ModelError(BifocalError):
    """The model that writes answers cannot be loaded, or failed."""


class ModelBusy(ModelError):
    """The model has too many requests waiting; ask again in ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServiceError(BifocalError):
    """A service cannot be reached, or answers what nothing else here stands for.

    ``status`` is that of HTTP, 0 when there was no answer; ``kind`` the problem's
    (``"unauthorized"``, ``"rate-limited"`` …); ``retry_after`` the seconds after which to ask
    again, where it says so. ``away``: the service is not there now, whatever is asked of it; ask
    again when it is back.
    """

    def __init__(
        self, message: str, *, status: int = 0, kind: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.retry_after = status, kind, retry_after

    @property
    def away(self) -> bool:
        """Whether the service could not be reached, is being restarted, or has lost a turn that
        was under way."""
        if self.status in (502, 503, 504) and not self.kind:  # a proxy before it says so
            return True
        unreached = not (self.status or self.kind) and self.retry_after is not None
        return unreached or self.kind in ("stopping", "ended", "gone")


class TurnError(BifocalError):
    """One step of a turn failed; the cause is chained."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


KNOWN_ERRORS = (BifocalError, RetrievalError, HistoryError, PromptError)
