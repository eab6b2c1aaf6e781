"""What people in a channel are told of what went wrong: one line, without secrets or paths. Knows
nothing of any channel."""

from bot.channels.harmless import one_line
from bot.channels.outage import is_away
from bot.errors import ServiceError
from bot.service.http.problems import problem_of
from retrievers.errors import LibraryNotFound

__all__ = ["AWAY", "NOTHING", "line_of"]

_LINES = {
    "busy": "This conversation is busy with another question. Ask again in a moment.",
    "overloaded": "There is too much to do at the moment. Ask again in a minute.",
    "stopping": "The service is just being restarted. Ask again in a minute.",
    "unavailable": "Something that is needed cannot be reached now. Ask again in a minute.",
    "key-reused": "This message was answered before, with other words in it.",
    "model-failed": "The model did not answer. Ask again, or tell whoever runs this.",
    "internal": "Something went wrong here. Ask again, or tell whoever runs this.",
    "not-found": "This is no longer there.",
    "rate-limited": "More was asked than this bot may answer. Ask again later.",
    "unauthorized": "The service does not take this bot's key (BIFOCAL_KEY): tell whoever runs it.",
}
NOTHING = "Nothing was asked: send words, a picture, or both."
_AWAY = "The service that answers cannot be reached."
AWAY = f"{_AWAY} Your question is kept, and answered here when it is back."


def line_of(error: BaseException) -> str:
    """Return what people in a channel are told of an error: one line, without secrets or paths."""
    if is_away(error):
        return f"{_AWAY} Ask again in a minute."
    if isinstance(error, LibraryNotFound):
        told = f"{_sentence(str(error))}; the setting libraries names it for this place."
        return one_line(told, 300)
    if isinstance(error, ServiceError):
        return _LINES.get(error.kind, _LINES["internal"])
    problem = problem_of(error)
    return one_line(_LINES.get(problem.kind) or _sentence(problem.detail), 300)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
