"""Routes whose path parameters may hold any text, a slash too, when it is percent-encoded.

A server decodes a path before it is matched, so that ``a%2Fb`` looks like two segments. These
routes are matched by the path as it was sent, and each parameter is decoded after that: a name is
one segment, whatever is in it. Knows nothing of what the parameters name.
"""

from typing import Any
from urllib.parse import quote, unquote

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

SAFE = "/-_.~!$&'()*+,;=:@%"


class SegmentRoute(APIRoute):
    """A route for ``APIRouter(route_class=SegmentRoute)``."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See ``BaseRoute.matches``."""
        raw = scope.get("raw_path")
        if not raw:
            return super().matches(scope)
        sent = quote(raw.decode("ascii", "replace"), safe=SAFE)
        match, found = super().matches({**scope, "path": sent})
        if "path_params" in found:
            found["path_params"] = {k: _decoded(v) for k, v in found["path_params"].items()}
        return match, found


def _decoded(value: Any) -> Any:
    return unquote(value, errors="replace") if isinstance(value, str) else value


def segment(name: str) -> str:
    """Return a name as one segment of an address."""
    return quote(name, safe="", errors="replace")
