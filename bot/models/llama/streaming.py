"""Bytes of tokens -> text that can be shown: whole characters, and nothing of a stop string.

Pure: knows nothing of models.
"""

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns a model's bytes into text; ``stopped`` once one of ``stops`` was met."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(s for s in stops if s)
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._held = ""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Return the text that is certain after ``data``: it may be empty.

        The bytes of an unfinished character and what may be the beginning of a stop string are
        held back. At a stop string the text before it is returned, and nothing after.
        """
        if self.stopped:
            return ""
        text = self._held + self._decode(data)
        found = [at for at in (text.find(s) for s in self._stops) if at >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = max((_overlap(text, s) for s in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Return what was held back; bytes of a character that never ended are dropped."""
        text, self._held = self._held, ""
        return "" if self.stopped else text


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of ``text`` may begin ``stop``."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
