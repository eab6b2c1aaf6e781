"""What stands in a prompt for the pictures of earlier turns: a line with number and caption.

Content is quoted here, too. Knows nothing of budgets.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memory.messages import PictureRef, Turn
from retrievers.evidence import Evidence

_TAG = re.compile(r"<(?=\s*/?\s*(?:source|summary|turn|question|instructions))", re.IGNORECASE)


def quote(text: str) -> str:
    """Return content so that it cannot end its ``<source>`` (or another tag of the prompts), nor
    pass for one."""
    return _TAG.sub("<\u200b", text)


@dataclass(frozen=True, slots=True)
class Notes:
    """What stands for the pictures of earlier turns, by their lasting numbers.

    ``references`` are all pictures that the conversation has, or None where that is not known."""

    references: Mapping[int, PictureRef] | None

    def of(self, turn: Turn) -> list[str]:
        """Return a line for each picture of a turn: those that were sent, and those shown."""
        sent = [f"(picture {n}{self._about(n)})" for n in turn.question.pictures]
        shown = [n for n in turn.answer.pictures if n not in turn.question.pictures]
        return sent + [f"(the answer shows picture {n}{self._about(n)})" for n in shown]

    def only(self, turns: Sequence[Turn], shown: Sequence[Evidence]) -> tuple[int, ...]:
        """Return the numbers of the pictures of ``turns`` that are not among those ``shown``."""
        pixels = {item.id for item in shown}
        named = {n for t in turns for n in (*t.question.pictures, *t.answer.pictures)}
        known = self.references or {}
        return tuple(n for n in sorted(named) if n in known and f"shown:{n}" not in pixels)

    def _about(self, number: int) -> str:
        if self.references is None:
            return ""
        known = self.references.get(number)
        if known is None:
            return ", which is no longer there"
        about = known.caption or known.name
        return f": {quote(about)}" if about else ""
