"""The service's log: one JSON object a line, with the request's id, without content or secrets.

What was asked and answered is in it only when ``log_content`` says so; keys, addresses with
passwords and pictures never are. An error that nobody prepared for is told by its type and the
places that it came through, since its words may quote what somebody sent. Knows nothing of routes.
"""

import logging
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.errors import KNOWN_ERRORS
from bot.service.http.problems import Problem
from bot.service.http.requests import REQUEST

_log = structlog.stdlib.get_logger("bifocal")
_FRAMES = 12  #: places of an unexpected error that are told, the last ones


def set_up(level: str) -> None:
    """Write the log of this process to stderr, the web server's own lines in the same form."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_request,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _without_words],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    for name in ("bifocal", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name != "uvicorn.error" else []
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(level.upper())
    logging.getLogger().handlers = [handler]  # what other libraries warn of, in the same form


def tell(event: str, *, level: str = "info", error: BaseException | None = None, **of: Any) -> None:
    """Write a line. ``error`` is told as this module says."""
    told = {} if error is None else told_of(error)
    _log.log(logging.getLevelNamesMapping()[level.upper()], event, **of, **told)


def told_of(error: BaseException) -> Mapping[str, Any]:
    """Return what the log says of an error."""
    told: dict[str, Any] = {"error": type(error).__name__}
    stage = getattr(error, "stage", None)
    if stage is not None:
        told["stage"] = stage
    if isinstance(error, (Problem, *KNOWN_ERRORS)):  # these promise to hold no secret
        told["why"] = str(error)[:500]
        if error.__cause__ is not None:
            told["cause"] = type(error.__cause__).__name__
        return told
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    told["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return told


def _with_request(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    if (id := REQUEST.get()) and "request" not in event:
        event["request"] = id
    return event


def _without_words(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Tell another library's error as ours are told: its traceback may quote what was sent."""
    record = event.get("_record")
    info = getattr(record, "exc_info", None)
    if record is not None and isinstance(info, tuple) and isinstance(info[1], BaseException):
        event.update(told_of(info[1]))
        event["event"] = "unexpected"
        event.pop("exc_info", None)
        record.exc_info = None
    elif "Traceback" in str(event.get("event", "")):
        event["event"] = "unexpected"
    return event
