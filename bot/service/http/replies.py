"""JSON that leaves: whatever text was stored, it can be sent.

Knows nothing of what it says.
"""

import json
from typing import Any

from starlette.responses import JSONResponse


class Json(JSONResponse):
    """A JSON answer. Half of a surrogate pair, which has no UTF-8 form, is sent as ``?``."""

    def render(self, content: Any) -> bytes:
        """See ``JSONResponse.render``."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")
