"""A rendered prompt as the cells of a sequence: tokens, and marks where pictures stand.

Content becomes plain tokens, whatever is written in it; only the template's own markup makes
control tokens. Knows nothing of what is kept or of how cells are read.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bot.errors import ModelError
from bot.models.llama.eyes import Layout, Stretch
from bot.models.llama.native import Native
from bot.models.llama.template import Markup, Piece
from bot.models.llama.values import Pixels

_CONTROL, _USER_DEFINED = 1 << 3, 1 << 4
#: UTF-8 bytes for each token of the context beyond which a text is not even tokenised
_BYTES_A_TOKEN = 48


@dataclass(frozen=True, slots=True)
class Mark:
    """One stretch of a picture in a sequence; ``picture`` is the key of its pixels.

    ``tokens`` rows are read for it, and it takes ``positions`` positions: not the same in M-RoPE.
    """

    picture: str
    index: int
    tokens: int
    positions: int


Cell = int | Mark


def tokens_of(cells: Iterable[Cell]) -> int:
    """Return how much of the memory the cells take."""
    return sum(cell.tokens if isinstance(cell, Mark) else 1 for cell in cells)


def positions_of(cells: Iterable[Cell]) -> int:
    """Return the position that follows the cells."""
    return sum(cell.positions if isinstance(cell, Mark) else 1 for cell in cells)


class Tokenizer:
    """Turns pieces into cells for one model; safe from any thread."""

    def __init__(self, native: Native, template: str, context_tokens: int) -> None:
        self._native, self._template = native, template
        self._longest = context_tokens * _BYTES_A_TOKEN
        self._context = context_tokens

    def cells(
        self,
        pieces: Sequence[Piece],
        layout: Callable[[Pixels], Layout],
        key: Callable[[Pixels], str],
    ) -> list[Cell]:
        """Return the cells of a prompt. Raises ``ModelError`` for text far beyond the context."""
        size = sum(_length(piece) for piece in pieces)
        if size > self._longest:
            raise ModelError(
                f"the prompt has {size} characters, {self._native.files.text.name} holds"
                f" {self._context} tokens: ask less, or raise context_tokens"
            )
        cells: list[Cell] = []
        for piece in pieces:
            if isinstance(piece, Markup):
                cells.extend(self._native.tokenize(piece.text, control=True))
            elif isinstance(piece, str):
                cells.extend(self.plain(piece))
            else:
                cells.extend(_marks(layout(piece), key(piece)))
        bos = self._native.bos()
        if self._native.adds_bos() and bos is not None and cells[:1] != [bos]:
            cells.insert(0, bos)
        return cells

    def plain(self, text: str) -> list[int]:
        """Return the tokens of plain text, among which no control token ever is.

        llama.cpp leaves control tokens alone when told so, but still joins user-defined ones, and
        some vocabularies spell a control token out of ordinary pieces: text that would come out
        so is cut inside of them.
        """
        tokens = self._native.tokenize(text, control=False)
        found = [t for t in dict.fromkeys(tokens) if self.is_control(t)]
        if not found:
            return tokens
        if len(text) == 1:
            raise ModelError(f"{text!r} is a control token of {self._native.files.text.name}")
        names = [re.escape(name) for name in map(self.written, found) if len(name) > 1]
        cuts = {m.start() + 1 for m in re.finditer("|".join(names), text)} if names else set()
        edges = sorted({0, len(text), *(cuts or {len(text) // 2})})
        return [t for a, b in pairwise(edges) for t in self.plain(text[a:b])]

    def is_control(self, token: int) -> bool:
        """Return whether a token is of the kind that content must never become.

        Control and end tokens, and such user-defined ones as the model's template writes.
        """
        attributes = self._native.attributes(token)
        if attributes & _CONTROL or self._native.is_end(token):
            return True
        name = self._native.name(token).strip()
        return bool(attributes & _USER_DEFINED and len(name) > 1 and name in self._template)

    def written(self, token: int | None) -> str:
        """Return how a token is written in a prompt; nothing for None."""
        if token is None:
            return ""
        return self._native.piece(token, control=True).decode("utf-8", "replace")


def _length(piece: Piece) -> int:
    if isinstance(piece, Pixels):
        return 0
    return len(piece.text if isinstance(piece, Markup) else piece)


def _marks(layout: Layout, key: str) -> list[Cell]:
    cells: list[Cell] = []
    index = 0
    for part in layout:
        if isinstance(part, Stretch):
            cells.append(Mark(key, index, part.tokens, part.positions))
            index += 1
        else:
            cells.append(part)
    return cells
