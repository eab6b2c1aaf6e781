"""Continuous batching: one step after another, each with something for everybody.

A step reads, in one batch, the last token of every answer that is being written and a stretch of
the prompts that are being read; then it reads or encodes one picture, if somebody has come to one.
The stretch is as long as what the machine reads in ``step_seconds``, so that a long prompt holds
nobody up: short prompts come first, but the oldest gets a share every other step. (The idea: Yu et
al., "Orca", OSDI 2022; chunks of prompts between: Agrawal et al., "Sarathi", 2023.) Knows nothing
of messages, templates or processes.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Sequence as Several

from bot.errors import ModelBusy, ModelError
from bot.models.llama.job import Job
from bot.models.llama.native import ABORTED, NO_ROOM, Native, Rows
from bot.models.llama.pictures import Pictures
from bot.models.llama.sequences import Sequences
from bot.models.llama.values import Options, Outcome, Reason

_SHORTEST = 16  # tokens of prompt in a step, at least: fewer cost as much
_AT_ONCE = 64  # a prompt of which no more is left is read in one step
_OLDEST = 4  # the share of the oldest prompt in a step is one in so many
_TURN_SECONDS = 5.0  # how long an answer takes, until one was seen


class Scheduler:
    """The answers of one model; all from one thread, but for what says otherwise."""

    def __init__(
        self, native: Native, sequences: Sequences, pictures: Pictures, options: Options
    ) -> None:
        self._native, self._sequences, self._pictures = native, sequences, pictures
        self._options = options
        self._waiting: deque[Job] = deque()
        self._lock = threading.Lock()  # of what waits: requests come from other threads
        self._active: list[Job] = []
        self._long_step = False  # what goes on is read for a long prompt
        self._gave_way = False  # a step was given up, and no long prompt has been read since
        self._stood_back: Job | None = None  # the oldest prompt, if it got nothing in this step
        self._pace = 0.0  # tokens of prompt a second, as measured
        self._turn_seconds = _TURN_SECONDS
        counted = ("answers", "failed", "read", "reused", "written", "given_up_steps")
        self.counts = dict.fromkeys(counted, 0)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._waiting and not self._active

    def add(self, job: Job) -> None:
        """Let a job wait for its turn (any thread); ``ModelBusy`` when no more may wait."""
        with self._lock:
            waiting = len(self._waiting)
            if waiting + len(self._active) < self._options.waiting + self._options.parallel:
                self._waiting.append(job)
                return
        turns = (waiting + len(self._active)) / self._options.parallel
        seconds = max(1, math.ceil(turns * self._turn_seconds))
        raise ModelBusy(
            f"{self._native.files.text.name} is busy: {waiting} requests wait already;"
            f" try again in {seconds} s",
            seconds,
        )

    def reading(self, job: Job) -> bool:
        """Return whether the step that is going on may be reading the job's prompt (any thread)."""
        return job in self._active and not job.writing

    def gives_way(self, job: Job) -> bool:
        """Return whether the step that goes on should be given up for this job (any thread).

        A short prompt then waits for no stretch of a long one, which is read again: never twice
        running, however many short ones come, and never where that would mean to read all of it
        again.
        """
        short = job.left <= _AT_ONCE and self._native.cuts
        return short and self._long_step and not self._gave_way

    def step(self) -> None:
        """Do a little for everybody."""
        self._end_some()
        self._admit()
        self._read_tokens()
        self._see_picture()

    def fail_all(self, reason: str) -> None:
        """End everything that was asked for."""
        for job in self._all():
            self._finish(job, ModelError(reason))

    def _all(self) -> list[Job]:
        with self._lock:
            return [*self._active, *self._waiting]

    # who has a sequence

    def _end_some(self) -> None:
        now = time.monotonic()
        for job in self._all():
            if job.cancelled:
                self._finish(job, job.outcome("cancelled"))
            elif job.late(now):
                self._finish(job, job.outcome("time"))

    def _admit(self) -> None:
        while self._waiting and len(self._active) < self._options.parallel:
            job = self._waiting[0]
            found = self._sequences.take(job.request.tenant, job.cells, job.prompt + job.limit)
            if found is None:
                return
            with self._lock:
                self._waiting.popleft()
            job.sequence, job.at = found
            job.reused = job.sequence.tokens
            job.started = time.monotonic()
            self._active.append(job)
            try:
                job.sampler = self._native.sampler(job.request.sampling)
            except ModelError as error:
                self._finish(job, error)

    def _finish(self, job: Job, last: Outcome | ModelError) -> None:
        if job in self._active:
            self._active.remove(job)
            now = time.monotonic()
            self._turn_seconds += 0.2 * (now - job.started - self._turn_seconds)
        else:
            with self._lock:
                self._waiting.remove(job)
        if job.sequence is not None:
            if job.row:  # half a picture is no cell
                self._sequences.rewind(job.sequence)
            self._sequences.give_back(job.sequence)
        self.counts["failed" if isinstance(last, ModelError) else "answers"] += 1
        for name in ("read", "reused", "written"):
            self.counts[name] += getattr(job, name)
        job.end(last)

    # tokens

    def _read_tokens(self) -> None:
        shares = self._shares()
        if not shares:
            return
        tokens: list[int] = []
        places: list[int] = []
        sequences: list[int] = []
        wanted: dict[int, Job] = {}
        for job, run in shares:
            assert job.sequence is not None
            begin = job.sequence.position
            tokens.extend(run)
            places.extend(range(begin, begin + len(run)))
            sequences.extend([job.sequence.id] * len(run))
            if len(run) == job.left:
                wanted[len(tokens) - 1] = job
        self._long_step = any(job.left > _AT_ONCE for job, _ in shares)
        began = time.monotonic()
        code = self._native.read(tokens, places, sequences, list(wanted))
        if self._long_step or code == ABORTED:
            self._gave_way = code == ABORTED
            self.counts["given_up_steps"] += self._gave_way
        self._long_step = False
        if code:
            self._failed(code, [job for job, _ in shares])
            return
        self._measure(len(tokens), time.monotonic() - began)
        for job, run in shares:
            job.advance(len(run))
        for index, job in wanted.items():
            self._draw(job, index)

    def _shares(self) -> list[tuple[Job, list[int]]]:
        """Return whose tokens are read in this step, and which.

        The oldest prompt steps back for shorter ones, but never twice running: tokens that are
        read beside a long prompt cost as much as if they stood at its end.
        """
        shares = [(job, job.run(1)) for job in self._active if job.writing]
        readers = [job for job in self._active if not job.writing and job.mark is None]
        readers.sort(key=lambda j: (j.left, j.ticket))
        oldest = min(readers, key=lambda j: j.ticket, default=None)
        due = oldest is not None and (oldest is self._stood_back or oldest is readers[0])
        self._stood_back = None if due else oldest
        left = self._chunk()
        held = min(oldest.left, left // _OLDEST) if oldest is not None and due else 0
        if readers and readers[0].left <= _AT_ONCE:
            left = max(left, readers[0].left + held)
        left = min(left, self._native.batch_size - len(shares))
        for job in readers:
            if job is oldest:
                if not due:
                    continue
                held = 0
            run = job.run(left - held)
            left -= len(run)
            if run:
                shares.append((job, run))
        return shares

    def _chunk(self) -> int:
        """Return how many tokens of prompts a step reads."""
        fitting = max(int(self._pace * self._options.step_seconds), _SHORTEST)
        if self._gave_way:  # short ones are coming, and wait for this step
            fitting = min(fitting, _SHORTEST // 2)
        return min(fitting, self._native.batch_size)

    def _measure(self, tokens: int, seconds: float) -> None:
        if tokens >= _SHORTEST and seconds > 0:
            pace = tokens / seconds
            self._pace = pace if not self._pace else self._pace + 0.2 * (pace - self._pace)

    def _draw(self, job: Job, index: int) -> None:
        try:
            reason: Reason | None = job.draw(self._native, index)
        except ModelError as error:
            self._finish(job, error)
            return
        if reason is not None:
            self._finish(job, job.outcome(reason))

    # pictures

    def _see_picture(self) -> None:
        """Read rows of one picture, or encode it first; the least served come first."""
        job = next((job for job in self._active if job.mark is not None), None)
        if job is None:
            return
        self._active.remove(job)  # to the end: others with pictures come next
        self._active.append(job)
        try:
            if self._encoding_is_there(job):
                self._see(job)
        except ModelError as error:
            self._finish(job, error)

    def _encoding_is_there(self, job: Job) -> bool:
        """Return whether the picture that comes next can be read; if not, encode some."""
        mark, sequence = job.mark, job.sequence
        assert mark is not None
        assert sequence is not None
        tenant = sequence.tenant
        if mark.picture in job.encodings:
            return True
        ahead = [cell.picture for cell in job.cells[job.at :] if not isinstance(cell, int)]
        wanted = []
        for picture in dict.fromkeys(p for p in ahead if p not in job.encodings):
            kept = self._pictures.recall(tenant, picture, job.pixels[picture])
            if kept is None:
                wanted.append(picture)
            else:
                job.encodings[picture] = kept
        if mark.picture in job.encodings:
            return True
        if any(other.writing for other in self._active):
            wanted = wanted[:1]  # one at a time while others are being answered
        made = self._pictures.encode(tenant, [(p, job.pixels[p]) for p in wanted])
        job.encodings.update(made)
        job.encoded += len(made)
        return False

    def _see(self, job: Job) -> None:
        mark, sequence = job.mark, job.sequence
        assert mark is not None
        assert sequence is not None
        stretch = self._pictures.stretch(job.pixels[mark.picture], mark.index)
        rows = job.encodings[mark.picture][mark.index]
        count = mark.tokens if stretch.whole else self._chunk()
        if count > self._native.batch_size:  # llama.cpp would abort the process
            raise ModelError(
                f"a picture takes {count} tokens at once, a batch {self._native.batch_size}:"
                f" set batch to {count} or more"
            )
        part = slice(job.row, job.row + count)
        places = stretch.places(sequence.position)[:, part]
        began = time.monotonic()
        code = self._native.see(Rows(rows[part], places, stretch.whole), sequence.id)
        if code:
            self._failed(code, [job])
            return
        self._measure(len(rows[part]), time.monotonic() - began)
        job.row += count
        if job.row >= mark.tokens:
            job.advance(1)

    # when the model could not

    def _failed(self, code: int, jobs: Several[Job]) -> None:
        if code == NO_ROOM and self._sequences.drop_idle():
            return
        for job in jobs:
            assert job.sequence is not None
            job.row = 0
            if not self._sequences.rewind(job.sequence):
                job.at = 0
        if code == ABORTED:
            return
        name = self._native.files.text.name
        if code == NO_ROOM:
            youngest = max(self._active, key=lambda j: j.ticket)
            self._finish(youngest, ModelError(f"{name}: its memory is full; raise kv_tokens"))
            return
        for job in jobs:
            self._finish(job, ModelError(f"{name}: llama.cpp failed to read ({code})"))
