"""What went wrong with a model, in one line that names the way out.

Knows the errors of LangChain, of HTTP clients and of the operating system by their class names and
status codes, so that none of their packages is needed. Knows nothing of how models are chosen.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bot.errors import BifocalError

NO_KEY = "no-key-needed"  #: sent where a client insists on a key and the server does not


def explain(error: Exception, model_name: str) -> str:
    """Return one line that names the model, what went wrong with it, and the way out.

    Keys that were sent with the request do not appear in it.
    """
    if isinstance(error, BifocalError):
        return str(error)
    kinds = {c.__name__ for e in _chain(error) for c in type(e).__mro__}
    status = next((s for e in _chain(error) if (s := _status(e))), 0)
    said, where = _said(error), _address(error)
    at = f" at {where}" if where else ""
    if "ContextOverflowError" in kinds or re.search(_TOO_LONG, said, re.I):
        reason = "the prompt is longer than it takes; ask less, or lower context_tokens"
        return f"{model_name}: {reason} ({said})"
    for names, codes, line in _CASES:
        if status in codes or (not status and kinds & names):
            return f"{model_name}: {line.format(at=at, status=status or '', said=said)}"
    if status:
        return f"{model_name}: the server{at} refused the request ({status}): {said}"
    return f"{model_name}: {type(error).__name__}: {said or 'no reason was given'}"


_TOO_LONG = (
    r"context_length_exceeded|maximum context length|context size|prompt is too long"
    r"|exceeds? the (available )?context|too many (input )?tokens"
)
_CASES: tuple[tuple[frozenset[str], frozenset[int], str], ...] = (
    (
        frozenset({"ModelAuthenticationError", "AuthenticationError"}),
        frozenset({401}),
        "the key was refused{at} (401); give a valid one (model_key)",
    ),
    (
        frozenset({"ModelPermissionDeniedError", "PermissionDeniedError"}),
        frozenset({403}),
        "the key may not use this model{at} (403); use another key or model",
    ),
    (
        frozenset({"ModelNotFoundError", "NotFoundError"}),
        frozenset({404}),
        "no such model or address{at} (404); check the model's name and model_url: {said}",
    ),
    (
        frozenset({"ModelRateLimitError", "RateLimitError"}),
        frozenset({429}),
        "too many requests, or no credit left{at} (429); try again later: {said}",
    ),
    (
        frozenset({"ModelTimeoutError", "TimeoutError", "TimeoutException"}),
        frozenset({408, 504}),
        "no answer in time{at}; try again, or see whether the server is busy",
    ),
    (
        frozenset(
            {"ModelConnectionError", "APIConnectionError", "ConnectError", "ConnectionError"}
        ),
        frozenset(),
        "cannot be reached{at}; start the server, or check model_url",
    ),
    (
        frozenset({"RemoteProtocolError", "ReadError", "IncompleteRead"}),
        frozenset(),
        "the connection{at} broke off in mid-answer; ask again",
    ),
    (
        frozenset({"ModelAPIError", "InternalServerError"}),
        frozenset(range(500, 600)),
        "the server{at} failed ({status}); see its log, or try again: {said}",
    ),
)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found and len(found) < 8:
        found.append(step)
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return found


def _status(error: BaseException) -> int:
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return 0


def _said(error: Exception) -> str:
    """Return the server's own words where there are any, else the error's; one short line."""
    body = getattr(error, "body", None)
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        body = inner.get("message") if isinstance(inner, Mapping) else inner
    return one_line(redact(str(body or error), error))


def one_line(text: str) -> str:
    """Return ``text`` on one line of 200 characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"


def _requests(error: BaseException) -> list[Any]:
    found: list[Any] = []
    for step in _chain(error):
        for holder in (step, getattr(step, "response", None)):
            try:
                request = getattr(holder, "request", None)
            except RuntimeError:  # httpx: none was set
                continue
            if request is not None:
                found.append(request)
    return found


def _address(error: BaseException) -> str:
    """Return the server that was asked, without user names, keys or query."""
    for request in _requests(error):
        parts = urlsplit(str(getattr(request, "url", "")))
        if parts.hostname:
            port = f":{parts.port}" if parts.port else ""
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return f"{parts.scheme}://{host}{port}"
    return ""


def redact(text: str, error: BaseException) -> str:
    """Replace every credential that was sent with the request, and all that looks like one."""
    for request in _requests(error):
        for header, value in dict(getattr(request, "headers", {})).items():
            if re.search(r"auth|key|token|cookie", str(header), re.I):
                for word in (str(value), *str(value).split()):
                    if len(word) >= 4 and word.lower() not in ("bearer", "basic", NO_KEY):
                        text = text.replace(word, "***")
    text = re.sub(r"\b(sk|pk|rk|key|gsk|xai|AIza)[-_]?[\w*-]{8,}", "***", text)
    text = re.sub(r"(?i)\bbearer\s+\S+", "Bearer ***", text)
    return re.sub(r"//[^/\s@]+@", "//***@", text)
