"""One model, one answer at a time: prompt -> tokens -> text, on a thread of its own.

Every native call that runs the model is made by that one thread, so callers need no lock: they wait
in its queue. Correct before fast: each answer reads its whole prompt anew. Knows nothing of
LangChain.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from PIL import Image

from bot.errors import ModelError
from bot.models.llama.files import ModelFiles
from bot.models.llama.native import Media, Native, Sampling
from bot.models.llama.streaming import TextStream
from bot.models.llama.template import ChatTemplate, Markup, Piece

_CONTROL, _USER_DEFINED = 1 << 3, 1 << 4
#: The largest picture that is shown by default: what it costs is what pictures are budgeted at
_PROBE = (1024, 1024)


@dataclass(frozen=True, slots=True)
class Request:
    """What to answer, and how. ``stops`` end the answer and are not part of it."""

    pieces: Sequence[Piece]
    max_tokens: int
    sampling: Sampling
    stops: Sequence[str] = ()


@dataclass(slots=True)
class Outcome:
    """How an answer went: tokens read and written, and why it ended (``stop`` or ``length``)."""

    read: int = 0
    written: int = 0
    reason: str = "stop"


@dataclass(eq=False)
class Prompt:
    """What the model reads: runs of tokens and pictures. ``tokens`` counts both."""

    parts: list[list[int] | Media] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Return how much of the context it takes."""
        return sum(p.tokens if isinstance(p, Media) else len(p) for p in self.parts)


class Engine:
    """A loaded model and its thread. Make one with :meth:`open`."""

    def __init__(self, native: Native, context: int) -> None:
        self._native = native
        self._guard = threading.Lock()  # nobody tokenises while the model is freed
        self._closing = threading.Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="llama")
        self.files = native.files
        self.context_tokens = min(context, native.trained_on or context)
        self.sees = native.sees
        source = native.template()
        if not source:
            raise ModelError(f"{self.files.text}: no chat template in it; use a chat model's file")
        self.template = ChatTemplate(
            source,
            bos=self._name(native.bos()),
            eos=self._name(native.eos()),
            owner=self.files.text.name,
        )
        self.picture_tokens = self.count([Image.new("RGB", _PROBE)]) if self.sees else 0

    @classmethod
    def open(
        cls,
        files: ModelFiles,
        *,
        context: int = 4096,
        threads: int | None = None,
        gpu_layers: int | None = None,
        batch: int = 512,
    ) -> "Engine":
        """Load a model. ``threads`` None means as many as this process may use."""
        native = Native.open(
            files,
            context=context,
            threads=threads or _cores(),
            gpu_layers=gpu_layers,
            batch=batch,
        )
        try:
            return cls(native, context)
        except BaseException:
            native.close()
            raise

    def close(self) -> None:
        """End the answer that is being written, let the thread end, free the model."""
        self._closing.set()
        self._worker.shutdown(wait=True, cancel_futures=True)
        with self._guard:
            self._native.close()

    # tokens

    def count(self, pieces: Sequence[Piece]) -> int:
        """Return how many tokens the pieces take."""
        prompt = self.prompt(pieces)
        try:
            return prompt.tokens
        finally:
            self.release(prompt)

    def tokens_of(self, text: str) -> list[int]:
        """Return the tokens of plain text, among which no control token ever is."""
        with self._guard:
            self._check_open()
            return self._plain(text)

    def prompt(self, pieces: Sequence[Piece]) -> Prompt:
        """Return what the model reads for these pieces; :meth:`release` it afterwards."""
        prompt = Prompt()
        with self._guard:
            self._check_open()
            try:
                for piece in pieces:
                    prompt.parts.append(self._part(piece))
            except BaseException:
                self._free(prompt)
                raise
            first = prompt.parts[0] if prompt.parts else None
            bos = self._native.bos()
            if (
                self._native.adds_bos()
                and bos is not None
                and isinstance(first, list)
                and first[:1] != [bos]
            ):
                first.insert(0, bos)
        return prompt

    def release(self, prompt: Prompt) -> None:
        """Free the pictures of a prompt."""
        with self._guard:
            self._free(prompt)

    def is_control(self, token: int) -> bool:
        """Return whether a token is of the kind that content must never become.

        Control and end tokens, and such user-defined ones as the model's template writes.
        """
        attributes = self._native.attributes(token)
        if attributes & _CONTROL or self._native.is_end(token):
            return True
        name = self._native.name(token).strip()
        return bool(attributes & _USER_DEFINED and len(name) > 1 and name in self.template.source)

    def _part(self, piece: Piece) -> list[int] | Media:
        if isinstance(piece, Markup):
            return self._native.tokenize(piece.text, control=True)
        if isinstance(piece, str):
            return self._plain(piece)
        return self._native.look(piece)

    def _plain(self, text: str) -> list[int]:
        """Return the tokens of plain text.

        llama.cpp leaves control tokens alone when told so, but still joins user-defined ones, and
        some vocabularies spell a control token out of ordinary pieces: text that would come out
        so is cut inside of them.
        """
        tokens = self._native.tokenize(text, control=False)
        found = [t for t in dict.fromkeys(tokens) if self.is_control(t)]
        if not found:
            return tokens
        if len(text) == 1:
            raise ModelError(f"{text!r} is a control token of {self.files.text.name}")
        names = [re.escape(name) for name in map(self._name, found) if len(name) > 1]
        cuts = {m.start() + 1 for m in re.finditer("|".join(names), text)} if names else set()
        edges = sorted({0, len(text), *(cuts or {len(text) // 2})})
        return [t for a, b in pairwise(edges) for t in self._plain(text[a:b])]

    def _name(self, token: int | None) -> str:
        if token is None:
            return ""
        return self._native.piece(token, control=True).decode("utf-8", "replace")

    def _free(self, prompt: Prompt) -> None:
        for part in prompt.parts:
            if isinstance(part, Media):
                self._native.forget(part)
        prompt.parts.clear()

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise ModelError(f"{self.files.text.name} was closed; open it again")

    # answers

    def submit(
        self, request: Request, put: Callable[[str | Outcome], Any], cancelled: threading.Event
    ) -> Future[None]:
        """Answer on the model's thread: ``put`` gets the text as it comes, then the outcome.

        ``cancelled`` is looked at between tokens, and between the batches of the prompt.
        """

        def work() -> None:
            outcome = Outcome()
            for text in self._answer(request, outcome, cancelled):
                put(text)
            put(outcome)

        try:
            return self._worker.submit(work)
        except RuntimeError as error:
            raise ModelError(f"{self.files.text.name} was closed; open it again") from error

    def _answer(
        self, request: Request, outcome: Outcome, cancelled: threading.Event
    ) -> Iterator[str]:
        prompt = self.prompt(request.pieces)
        try:
            outcome.read = prompt.tokens
            room = self.context_tokens - outcome.read
            if room < 1:
                raise ModelError(
                    f"the prompt takes {outcome.read} tokens, {self.files.text.name} holds"
                    f" {self.context_tokens}: ask less, or raise context_tokens"
                )
            self._native.clear(request.sampling)
            position = self._read(prompt, cancelled)
            limit = min(request.max_tokens, room)
            yield from self._write(position, limit, request.stops, outcome, cancelled)
        finally:
            self.release(prompt)

    def _read(self, prompt: Prompt, cancelled: threading.Event) -> int:
        position, size = 0, self._native.batch_size
        for n, part in enumerate(prompt.parts):
            if isinstance(part, Media):
                for m, (chunk, _, _) in enumerate(part.kinds):
                    if self._left(cancelled):
                        return position
                    last = n == len(prompt.parts) - 1 and m == len(part.kinds) - 1
                    position = self._native.decode_chunk(chunk, position, last=last)
                continue
            for at in range(0, len(part), size):
                if self._left(cancelled):
                    return position
                position = self._native.decode_tokens(part[at : at + size], position)
        return position

    def _write(
        self,
        position: int,
        limit: int,
        stops: Sequence[str],
        outcome: Outcome,
        cancelled: threading.Event,
    ) -> Iterator[str]:
        stream = TextStream(stops)
        while not self._left(cancelled):
            token = self._native.sample()
            outcome.written += 1
            if self._native.is_end(token):
                break
            if text := stream.feed(self._native.piece(token)):
                yield text
            if stream.stopped:
                break
            if outcome.written >= limit:
                outcome.reason = "length"
                break
            position = self._native.decode_tokens([token], position)
        if not cancelled.is_set():
            self._check_open()
        if text := stream.finish():
            yield text

    def _left(self, cancelled: threading.Event) -> bool:
        return cancelled.is_set() or self._closing.is_set()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
