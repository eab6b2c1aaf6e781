"""One answer on its way: what is to be read for it, and what was written.

Knows nothing of other answers or of when its turn comes.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bot.errors import ModelError
from bot.models.llama.native import Native
from bot.models.llama.pictures import Encoding
from bot.models.llama.prompt import Cell, Mark, tokens_of
from bot.models.llama.sampler import Sampler
from bot.models.llama.sequences import Sequence
from bot.models.llama.streaming import TextStream
from bot.models.llama.values import Delta, Outcome, Pixels, Reason, Request

Put = Callable[[Delta | Outcome | ModelError], None]


@dataclass(eq=False)
class Job:
    """An answer that was asked for.

    ``cells`` is the prompt, and then what was written as soon as it is to be read. The first
    ``at`` of them were read, and ``row`` rows of the picture that may come next.
    """

    ticket: int
    request: Request
    put: Put
    cells: list[Cell]
    pixels: Mapping[str, Pixels]
    limit: int
    prompt: int = 0
    began: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    ended: bool = False
    sequence: Sequence | None = None
    sampler: Sampler | None = None
    encodings: dict[str, Encoding] = field(default_factory=dict)
    at: int = 0
    row: int = 0
    reused: int = 0
    read: int = 0
    written: int = 0
    encoded: int = 0
    started: float = 0.0
    first: float = 0.0

    def __post_init__(self) -> None:
        self.prompt = tokens_of(self.cells)
        self.stream = TextStream(self.request.stops)

    @property
    def left(self) -> int:
        """Cells that are still to be read."""
        return len(self.cells) - self.at

    @property
    def writing(self) -> bool:
        """Whether all but the last token that was written has been read."""
        return self.written > 0 and self.left == 1

    @property
    def mark(self) -> Mark | None:
        """The picture that comes next, if one does."""
        cell = self.cells[self.at] if self.left else None
        return cell if isinstance(cell, Mark) else None

    def run(self, most: int) -> list[int]:
        """Return the tokens that come next, up to the next picture, ``most`` at most."""
        tokens = []
        for cell in self.cells[self.at : self.at + most]:
            if isinstance(cell, Mark):
                break
            tokens.append(cell)
        return tokens

    def advance(self, count: int) -> None:
        """Note that the next ``count`` cells were read."""
        assert self.sequence is not None
        cells = self.cells[self.at : self.at + count]
        self.sequence.extend(cells)
        self.at += count
        self.row = 0
        if not self.written:
            self.read += tokens_of(cells)
        for cell in cells:
            if isinstance(cell, Mark) and not self._needs(cell.picture):
                self.encodings.pop(cell.picture, None)

    def _needs(self, picture: str) -> bool:
        rest = self.cells[self.at :]
        return any(isinstance(c, Mark) and c.picture == picture for c in rest)

    def draw(self, native: Native, index: int) -> Reason | None:
        """Draw the next token and tell its text; return why the answer ends, if it does."""
        assert self.sampler is not None
        token = self.sampler.draw(index)
        if not self.written:
            self.first = time.monotonic()
        self.written += 1
        if native.is_end(token):
            return "stop"
        text = self.stream.feed(native.piece(token))
        top = self.request.sampling.logprobs
        logprobs = (native.logprobs(index, token, top),) if top >= 0 else ()
        if text or logprobs:
            self.put(Delta(text, logprobs))
        if self.stream.stopped:
            return "stop"
        if self.written >= self.limit:
            return "length"
        self.cells.append(token)
        return None

    def late(self, now: float) -> bool:
        """Return whether the answer's time is over."""
        return self.request.seconds is not None and now - self.began > self.request.seconds

    def outcome(self, reason: Reason) -> Outcome:
        """Return how the answer went."""
        return Outcome(
            reason,
            prompt=self.prompt,
            reused=self.reused,
            read=self.read,
            written=self.written,
            encoded=self.encoded,
            kept=len(self.pixels) - self.encoded if self.started else 0,
            queue_s=max(0.0, self.started - self.began) if self.started else 0.0,
            prompt_s=max(0.0, self.first - self.started) if self.first else 0.0,
        )

    def end(self, last: Outcome | ModelError) -> None:
        """Tell what was held back, then how it ended; free what it held."""
        self.ended = True
        if self.sampler is not None:
            self.sampler.close()
        self.encodings.clear()
        if isinstance(last, Outcome) and last.reason != "cancelled":
            text = self.stream.finish()
            if text:
                self.put(Delta(text))
        self.put(last)
