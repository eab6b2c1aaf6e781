"""The engine of a local model: requests in, text as it comes; joins the parts of this package.

Lives in the process that :mod:`~bot.models.llama.process` supervises. Whoever calls :meth:`submit`
has the prompt rendered, tokenised and measured on their own thread; the model itself runs on the
thread of :meth:`serve`. Knows nothing of LangChain or of the process around it.
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from bot.errors import ModelError
from bot.models.llama.files import ModelFiles
from bot.models.llama.job import Job, Put
from bot.models.llama.kept import Kept
from bot.models.llama.native import Native
from bot.models.llama.pictures import Pictures
from bot.models.llama.prompt import Cell, Mark, Tokenizer, tokens_of
from bot.models.llama.scheduler import Scheduler
from bot.models.llama.sequences import Sequences
from bot.models.llama.template import ChatTemplate
from bot.models.llama.values import Info, Line, Options, Pixels, Request
from retrievers.cores import usable_cores

_HEAD = 1 << 20  # bytes of a model's file that tell it from others, with its size and time


class Engine:
    """A loaded model. Make one with :meth:`open`."""

    def __init__(self, native: Native, options: Options, mark: str) -> None:
        self._native, self._options = native, options
        self._guard = threading.Lock()  # nobody tokenises while the model is freed
        self._wake = threading.Condition()
        self._closing = self._freed = False
        self._served = threading.Event()  # clear while the model runs
        self._served.set()
        self._tickets = count(1)
        self._jobs: dict[int, Job] = {}
        self._forget: list[tuple[str, threading.Event]] = []
        self.files = native.files
        self.context_tokens = min(
            options.context_tokens, native.trained_on or options.context_tokens
        )
        source = native.template()
        if not source:
            raise ModelError(f"{self.files.text}: no chat template in it; use a chat model's file")
        self._tokens = Tokenizer(native, source, self.context_tokens)
        self.template = ChatTemplate(
            source,
            bos=self._tokens.written(native.bos()),
            eos=self._tokens.written(native.eos()),
            owner=self.files.text.name,
        )
        home = None if options.cache is None else _private(options.cache) / mark[:32]
        on_disk = options.cache_bytes // 2
        self._kept = {
            "pictures": Kept(options.picture_bytes, home and home / "pictures", on_disk),
            "sequences": Kept(options.sequence_bytes, home and home / "sequences", on_disk),
        }
        self._pictures = Pictures(
            native.eyes, self._kept["pictures"], model=self.files.text.name, fingerprint=mark
        )
        self._sequences = Sequences(native, self._kept["sequences"])
        self._scheduler = Scheduler(native, self._sequences, self._pictures, options)
        self.info = Info(
            name=self.files.text.stem,
            context_tokens=self.context_tokens,
            sees=native.eyes is not None,
            picture_side=native.eyes.largest_useful_side() if native.eyes else 0,
            tools=self.template.supports_tools,
            cuts=native.cuts,
            fingerprint=mark,
            description=native.describe(),
        )

    @classmethod
    def open(cls, files: ModelFiles, options: Options) -> "Engine":
        """Load a model. Raises ``ModelError`` for files and options that cannot be used."""
        _check(options)
        native = Native.open(files, options, threads=options.threads or usable_cores())
        try:
            return cls(native, options, fingerprint(files, options))
        except BaseException:
            native.close()
            raise

    # counting

    def tokens_of(self, text: str) -> list[int]:
        """Return the tokens of plain text, among which no control token ever is."""
        with self._guard:
            self._check_open()
            return self._tokens.plain(text)

    def count(self, lines: Sequence[Line], tools: Sequence[Mapping[str, Any]] = ()) -> int:
        """Return the tokens of a whole prompt; of pictures only the size matters."""
        return tokens_of(self._cells(lines, tools, lambda _: ""))

    def _cells(self, lines: Sequence[Line], tools: Sequence[Mapping[str, Any]], key: Any) -> Any:
        pieces = self.template.render(list(lines), tools)
        with self._guard:
            self._check_open()
            return self._tokens.cells(pieces, self._pictures.layout, key)

    # answering

    def submit(self, request: Request, put: Put) -> int:
        """Let a request wait for its turn; return its ticket.

        ``put`` is called on the model's thread with each ``Delta`` and lastly with one ``Outcome``
        or ``ModelError``; it must be quick and must not raise. Raises ``ModelError`` for what
        cannot be answered and ``ModelBusy`` when too many wait.
        """
        pixels: dict[str, Pixels] = {}

        def key(picture: Pixels) -> str:
            size = f"{picture.width}x{picture.height}"
            if len(picture.data) != picture.width * picture.height * 3:
                raise ModelError(
                    f"a picture of {size} in {len(picture.data)} bytes; give 8-bit RGB"
                )
            name = self._pictures.key(request.tenant, picture)
            pixels[name] = picture
            return name

        cells: list[Cell] = self._cells(request.lines, request.tools, key)
        room = self.context_tokens - tokens_of(cells)
        if room < 1:
            raise ModelError(
                f"the prompt takes {tokens_of(cells)} tokens, {self.files.text.name} holds"
                f" {self.context_tokens}: ask less, or raise context_tokens"
            )
        if not cells or isinstance(cells[-1], Mark):
            raise ModelError(f"{self.files.text.name}: its chat template ends without any text")
        limit = min(request.max_tokens, room)
        job = Job(next(self._tickets), request, put, cells, pixels, limit)
        with self._wake:
            self._check_open()
            self._scheduler.add(job)
            self._jobs[job.ticket] = job
            if self._scheduler.gives_way(job):
                self._native.abort()
            self._wake.notify()
        return job.ticket

    def cancel(self, ticket: int) -> None:
        """End an answer; its ``Outcome`` still comes. Harmless when it has ended (any thread)."""
        with self._wake:
            job = self._jobs.get(ticket)
            if job is None:
                return
            job.cancelled = True
            if self._scheduler.reading(job):
                self._native.abort()
            self._wake.notify()

    def forget(self, tenant: str) -> None:
        """Drop what is kept for a tenant, in memory and on disk (not on the model's thread).

        What is being answered goes on, but nothing will begin with it.
        """
        done = threading.Event()
        with self._wake:
            self._check_open()
            self._forget.append((tenant, done))
            self._wake.notify()
        done.wait()

    def stats(self) -> dict[str, float]:
        """Return counters since the start, and how much is kept now."""
        return {
            **self._scheduler.counts,
            "encoded_pictures": self._pictures.encoded,
            "recalled_pictures": self._pictures.recalled,
            "kept_tokens": self._sequences.tokens,
            "picture_bytes": self._kept["pictures"].held,
            "sequence_bytes": self._kept["sequences"].held,
        }

    def serve(self) -> None:
        """Run the model on this thread until :meth:`close` is called."""
        self._served.clear()
        try:
            while self._next():
                self._scheduler.step()
        finally:
            with self._wake:
                self._closing = True
                for _, done in self._forget:
                    done.set()
            self._served.set()

    def _next(self) -> bool:
        """Wait until there is something to do; False when the end has come."""
        with self._wake:
            while not self._closing and self._scheduler.idle and not self._forget:
                self._wake.wait()
            self._native.abort(False)
            forget, self._forget = self._forget, []
            self._jobs = {t: job for t, job in self._jobs.items() if not job.ended}
        for tenant, done in forget:
            self._pictures.forget(tenant)
            self._sequences.forget(tenant)
            done.set()
        return not self._closing

    def close(self) -> None:
        """End what is being answered, keep what outlasts the process, free the model.

        Safe to call twice, and from any thread but from within ``put``.
        """
        with self._wake:
            self._closing = True
            if not self._freed:
                self._native.abort()
            self._wake.notify_all()
        self._served.wait()
        with self._guard:
            if self._freed:
                return
            self._freed = True
            self._scheduler.fail_all(f"{self.files.text.name} was closed; open it again")
            self._sequences.save()
            for kept in self._kept.values():
                kept.close()
            self._native.close()

    def _check_open(self) -> None:
        if self._closing:
            raise ModelError(f"{self.files.text.name} was closed; open it again")


def fingerprint(files: ModelFiles, options: Options) -> str:
    """Return what tells these files, read in this way, from all others: 64 hex digits.

    Sizes, times and the first MiB of each file, the version of the binding, and the options that
    change what is computed.
    """
    import llama_cpp

    digest = hashlib.sha256(repr((llama_cpp.__version__, options.kv_type)).encode())
    for path in (files.text, files.projector):
        if path is not None:
            found = path.stat()
            digest.update(repr((found.st_size, found.st_mtime_ns)).encode())
            with path.open("rb") as file:
                digest.update(file.read(_HEAD))
    return digest.hexdigest()


def _private(folder: Path) -> Path:
    """Return a folder that only its owner can look into."""
    folder = folder.expanduser()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"cache {folder}: {error.strerror}; choose another folder") from error
    return folder


def _check(options: Options) -> None:
    least = {"context_tokens": 16, "parallel": 1, "waiting": 0, "batch": 16}
    for name, value in least.items():
        if getattr(options, name) < value:
            raise ModelError(f"{name} is {getattr(options, name)}; it must be at least {value}")
