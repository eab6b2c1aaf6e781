"""Errors in OpenAI's form, on that interface's addresses: the one place where they are put so.

What is wrong in a request has status 400 there, as with OpenAI, where elsewhere it has 422; other
statuses and ``Retry-After`` are the same, so that its clients try again when they should. Knows
nothing of what went wrong.
"""

from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from bot.service.http.problems import Problem

PATHS = ("/v1/chat/completions", "/v1/embeddings", "/v1/models")

_CODES = {
    "unauthorized": "invalid_api_key",
    "rate-limited": "rate_limit_exceeded",
    "invalid": "invalid_value",
}


def told(problem: Problem, scope: Scope) -> Response:
    """Return the response that tells of a problem, in the form of the address that was asked."""
    id = scope.get("state", {}).get("request_id", "")
    path = str(scope.get("path", ""))
    if not any(path == own or path.startswith(f"{own}/") for own in PATHS):
        return problem.response(id)
    return JSONResponse(error_of(problem), status_of(problem), headers=problem.headers)


def status_of(problem: Problem) -> int:
    """Return the status that a problem has here."""
    return 400 if problem.status == 422 else problem.status


def error_of(problem: Problem) -> dict[str, Any]:
    """Return a problem in OpenAI's form."""
    status, param = status_of(problem), problem.fields[0][0] if problem.fields else None
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if status == 429:
        kind = "rate_limit_error"
    code = _CODES.get(problem.kind, problem.kind.replace("-", "_"))
    if status == 404 and param == "model":
        code = "model_not_found"
    return {
        "error": {"message": problem.detail, "type": kind, "param": param, "code": code},
    }
