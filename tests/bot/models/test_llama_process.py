"""A local model in a process of its own: it dies in every way, and the program goes on."""

import contextlib
import logging
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from bot.errors import ModelBusy, ModelError
from bot.models.llama import wire
from bot.models.llama.files import ModelFiles
from bot.models.llama.process import PATIENCE, ModelProcess
from bot.models.llama.values import Delta, Line, Options, Outcome, Pixels, Request

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

WAIT = 60  # seconds until a test that hangs is given up
KILLS = 150 if os.environ.get("BIFOCAL_FULL") else 10  # of three kinds
SEGV, ABRT, KILL = signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL
LONG = 20_000  # tokens of an answer: three of them fit into the memory of the endless model
RED = Pixels(8, 8, bytes((255, 0, 0)) * 64)
SEEN = "I see red 😀."

Open = Callable[..., ModelProcess]


class Answer:
    """Takes what is said to a request, from any thread."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.ends: list[Outcome | ModelError] = []
        self._said: SimpleQueue[wire.Said] = SimpleQueue()

    def put(self, said: wire.Said) -> None:
        """Take it."""
        self._said.put(said)

    def more(self) -> "Answer":
        """Wait for something more."""
        said = self._said.get(timeout=WAIT)
        if isinstance(said, Delta):
            self.deltas.append(said)
        else:
            self.ends.append(said)
        return self

    def end(self) -> Outcome | ModelError:
        """Wait for the end; nothing may come after it."""
        while not self.ends:
            self.more()
        assert self._said.empty()
        return self.ends[0]

    @property
    def text(self) -> str:
        """What came so far."""
        return "".join(delta.text for delta in self.deltas)


def files_of(text: Path) -> ModelFiles:
    """Return a model and the projector beside it."""
    projector = text.with_name("mmproj-tiny.gguf")
    return ModelFiles(text, projector if projector.exists() else None)


def question(*parts: str | Pixels, **more: Any) -> Request:
    """Return a request of one question."""
    return Request((Line("user", parts),), **more)


def begun(model: ModelProcess, request: Request) -> tuple[Answer, int]:
    """Submit a request."""
    answer = Answer()
    return answer, model.submit(request, answer.put)


def ask(model: ModelProcess, request: Request) -> str:
    """Return the answer to a request."""
    answer, _ = begun(model, request)
    end = answer.end()
    assert isinstance(end, Outcome), end
    return answer.text


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def runs(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children() -> set[int]:
    """Return the processes that this one has started, also those not reaped yet."""
    found = ""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += (task / "children").read_text()
    return set(map(int, found.split()))


def die(model: ModelProcess, how: signal.Signals) -> None:
    """End the model's process, and wait until another has the model."""
    restarts = model.restarts
    os.kill(model.pid, how)
    until(lambda: model.restarts > restarts)


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens models in processes; closes them, and sees that nothing of them is left."""
    models: list[ModelProcess] = []
    before, threads = children(), set(threading.enumerate())

    def open_(text: Path, patience: float | None = None, **options: Any) -> ModelProcess:
        given = {"context_tokens": 512, "threads": 1, "parallel": 4} | options
        wait = PATIENCE if patience is None else patience
        models.append(ModelProcess.open(files_of(text), Options(**given), patience=wait))
        return models[-1]

    yield open_
    for model in models:
        model.close()
    assert children() <= before
    assert set(threading.enumerate()) <= threads


@pytest.fixture(scope="module")
def shared(tiny: Path) -> Iterator[ModelProcess]:
    """The tiny model in a process, for tests that leave it as it was."""
    model = ModelProcess.open(files_of(tiny), Options(context_tokens=512, threads=1))
    yield model
    model.close()


# what it does while all is well


def test_a_model_in_a_process_answers_and_counts(shared: ModelProcess) -> None:
    answer, _ = begun(shared, question("what?", RED))
    end = answer.end()
    assert answer.text == SEEN
    assert len(answer.deltas) > 3
    assert isinstance(end, Outcome)
    assert end.reason == "stop"
    assert end.prompt == shared.count([Line("user", ("what?", RED))])
    assert shared.info.sees
    assert shared.info.context_tokens == 512
    assert shared.tokens_of("a 😀\0") == [97, 32, 240, 159, 152, 128, 0]
    assert shared.tokens_of("") == []
    assert shared.stats()["answers"] >= 1
    shared.forget("default")
    assert shared.restarts == 0


def test_counting_takes_the_size_of_a_picture_and_not_its_pixels(shared: ModelProcess) -> None:
    large = Pixels(3000, 3000, b"")  # would be 27 MB
    assert shared.count([Line("user", (large,))]) >= shared.count([Line("user", (RED,))])


def test_what_cannot_be_answered_is_said_when_it_is_asked(shared: ModelProcess) -> None:
    answer = Answer()
    with pytest.raises(ModelError, match=r"tiny\.gguf holds 512"):
        shared.submit(question("long " * 1000), answer.put)
    with pytest.raises(ModelError, match="plain JSON"):
        shared.submit(question("?", tools=({"a": object()},)), answer.put)
    assert not answer.deltas + answer.ends
    assert ask(shared, question(RED)) == SEEN


def test_the_words_of_the_engine_that_it_is_busy_come_through(endless: Path, opened: Open) -> None:
    model = opened(endless, parallel=1, waiting=1)
    first, _ = begun(model, question("a", max_tokens=10**6))
    first.more()
    begun(model, question("b", max_tokens=10**6))
    with pytest.raises(ModelBusy, match="busy") as caught:
        begun(model, question("c"))
    assert caught.value.retry_after > 0


def test_cancelling_ends_an_answer_and_is_harmless_afterwards(endless: Path, opened: Open) -> None:
    model = opened(endless, context_tokens=32768)
    answer, ticket = begun(model, question("a", max_tokens=10**6))
    answer.more()
    model.cancel(ticket)
    end = answer.end()
    assert isinstance(end, Outcome)
    assert end.reason == "cancelled"
    for late in (ticket, ticket, 0, 10**9):
        model.cancel(late)
    assert ask(model, question("a", max_tokens=3))


def test_sixteen_threads_get_their_own_answers(shared: ModelProcess) -> None:
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}

    def work(n: int) -> None:
        for name, colour in colours.items():
            picture = Pixels(8, 8, bytes(colour) * 64)
            assert ask(shared, question(picture, "x" * n)) == f"I see {name} 😀."
            assert shared.tokens_of("x" * n) == [120] * n

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, range(16)))


def test_a_reader_that_fails_ends_its_own_answer_only(endless: Path, opened: Open) -> None:
    model = opened(endless, context_tokens=32768)
    calls: list[wire.Said] = []

    def broken(said: wire.Said) -> None:
        calls.append(said)
        raise RuntimeError("on purpose")

    other, ticket = begun(model, question("a", max_tokens=10**6))
    other.more()
    model.submit(question("b", max_tokens=10**6), broken)
    until(lambda: calls and model.stats()["answers"] == 1)  # it was cancelled
    assert len(calls) == 1
    for _ in range(3):
        other.more()
    model.cancel(ticket)
    assert isinstance(other.end(), Outcome)


def test_a_reader_that_asks_the_model_is_told_instead_of_waiting_for_ever(
    shared: ModelProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = threading.Event()

    def put(said: wire.Said) -> None:
        asked.set()
        shared.tokens_of("a")

    shared.submit(question("a"), put)
    assert asked.wait(WAIT)
    until(lambda: "answers come on the thread" in caplog.text)
    assert ask(shared, question(RED)) == SEEN


# how it dies


def test_dying_while_it_writes_ends_each_answer_with_one_error(endless: Path, opened: Open) -> None:
    model = opened(endless, context_tokens=32768)
    for n in range(KILLS):
        answers = [begun(model, question(f"{n} {m}", max_tokens=LONG))[0] for m in range(3)]
        for answer in answers:
            answer.more()
        os.kill(model.pid, (SEGV, ABRT, KILL)[n % 3])
        for answer in answers:
            end = answer.end()
            assert isinstance(end, ModelError)
            assert str(end).startswith("endless.gguf: its process ")
            assert (SEGV, ABRT, KILL)[n % 3].name in str(end)
            assert str(end).endswith("it is being started again, ask again")
        assert len(ask(model, question("again", max_tokens=4))) > 4
        assert model.restarts == n + 1


def test_dying_while_it_reads_ends_the_answer_with_an_error(endless: Path, opened: Open) -> None:
    model = opened(endless, context_tokens=32768, batch=64)
    for how in (SEGV, ABRT, KILL):
        answer, _ = begun(model, question("long " * 3000, max_tokens=10**6))
        os.kill(model.pid, how)
        assert how.name in str(answer.end())
        assert ask(model, question("again", max_tokens=4))


def test_dying_while_idle_is_noticed_and_nobody_hears_of_it(tiny: Path, opened: Open) -> None:
    model = opened(tiny)
    for n, how in enumerate((SEGV, ABRT, KILL)):
        die(model, how)
        assert ask(model, question(RED)) == SEEN
        assert model.restarts == n + 1


def test_requests_wait_while_the_process_is_started_again(tiny: Path, opened: Open) -> None:
    model = opened(tiny)
    for how in (SEGV, ABRT, KILL):
        first = model.pid
        os.kill(first, KILL)
        until(lambda: model.pid != first)  # noqa: B023  # another begins to load
        with ThreadPoolExecutor(3) as threads:
            answers = [threads.submit(ask, model, question(RED)) for _ in range(3)]
            os.kill(model.pid, how)  # and dies while they wait for it
            assert [answer.result(WAIT) for answer in answers] == [SEEN] * 3


def test_no_more_requests_wait_for_the_process_than_for_the_model(tiny: Path, opened: Open) -> None:
    model = opened(tiny, waiting=2)
    first = model.pid
    os.kill(first, KILL)
    until(lambda: model.pid != first)
    os.kill(model.pid, signal.SIGSTOP)  # it takes its time to load
    try:
        with ThreadPoolExecutor(2) as threads:
            waiting = [threads.submit(ask, model, question(RED)) for _ in range(2)]
            until(lambda: len(model._waiters) == 2)
            with pytest.raises(ModelBusy, match="2 requests wait for it already") as caught:
                model.tokens_of("a")
            assert caught.value.retry_after > 0
            os.kill(model.pid, signal.SIGCONT)
            assert [answer.result(WAIT) for answer in waiting] == [SEEN] * 2
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(model.pid, signal.SIGCONT)


def test_a_request_waits_for_the_process_no_longer_than_its_own_limit(
    tiny: Path, opened: Open
) -> None:
    model = opened(tiny)
    first = model.pid
    os.kill(first, KILL)
    until(lambda: model.pid != first)
    os.kill(model.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ModelError, match="still being started again"):
            ask(model, question(RED, seconds=0.05))
    finally:
        os.kill(model.pid, signal.SIGCONT)
    assert ask(model, question(RED)) == SEEN


def test_a_process_that_keeps_dying_is_started_less_and_less_often(
    tiny: Path, opened: Open
) -> None:
    model = opened(tiny)
    for _ in range(3):
        die(model, SEGV)
    os.kill(model.pid, SEGV)
    until(lambda: model._refusal)
    with pytest.raises(ModelError, match=r"died \(SIGSEGV\).*(the next try is in|tried again)"):
        model.tokens_of("a")
    until(lambda: model.restarts == 4)
    assert ask(model, question(RED)) == SEEN  # which is why it is trusted again
    die(model, SEGV)
    assert model._refusal == ""
    assert ask(model, question(RED)) == SEEN


def test_a_file_that_broke_is_named_until_it_is_mended(
    tiny: Path, tmp_path: Path, opened: Open
) -> None:
    text = tmp_path / "mine.gguf"
    text.write_bytes(tiny.read_bytes())
    model = opened(text)
    assert ask(model, question("a"))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    os.link(text, whole)
    broken.write_bytes(b"GGUF" + bytes(100))
    broken.replace(text)
    os.kill(model.pid, SEGV)
    until(lambda: model._refusal)
    with pytest.raises(ModelError, match=r"mine\.gguf.*(the next try is in|tried again)"):
        ask(model, question("a"))
    whole.replace(text)
    until(lambda: model.restarts == 1)
    assert ask(model, question("a"))


# the first load


def test_an_error_of_the_first_load_is_raised_in_the_words_of_the_engine(
    tiny: Path, tmp_path: Path
) -> None:
    before = children()
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(tiny.read_bytes()[: tiny.stat().st_size // 2])
    for files, options in ((bad, Options()), (tmp_path / "none.gguf", Options())):
        with pytest.raises(ModelError, match=files.name) as caught:
            ModelProcess.open(ModelFiles(files), options)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="context_tokens is 1"):
        ModelProcess.open(ModelFiles(tiny), Options(context_tokens=1))
    assert children() <= before


@pytest.mark.parametrize("how", [SEGV, ABRT, KILL])
def test_dying_while_it_loads_for_the_first_time_is_raised(tiny: Path, how: signal.Signals) -> None:
    before = children()
    with ThreadPoolExecutor(1) as thread:
        opening = thread.submit(ModelProcess.open, files_of(tiny), Options(threads=1))
        until(lambda: children() - before)
        (pid,) = children() - before
        os.kill(pid, how)
        with pytest.raises(ModelError, match=rf"{how.name}.*while it loaded the model"):
            opening.result(WAIT)
    assert children() <= before


# how it ends


def test_closing_ends_answers_and_leaves_nothing(endless: Path, opened: Open) -> None:
    model = opened(endless, context_tokens=32768)
    answers = [begun(model, question(f"{n}", max_tokens=LONG))[0] for n in range(3)]
    for answer in answers:
        answer.more()
    pid = model.pid
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(model.close) for _ in range(4)]:
            done.result(WAIT)
    assert not runs(pid)
    for answer in answers:
        assert "closed" in str(answer.end())
    for again in (lambda: model.tokens_of("a"), lambda: begun(model, question("a"))):
        with pytest.raises(ModelError, match=r"endless\.gguf was closed; open it again"):
            again()
    model.close()
    model.cancel(1)


def test_closing_in_mid_load_does_not_wait_for_the_load(tiny: Path, opened: Open) -> None:
    model = opened(tiny)
    first = model.pid
    os.kill(first, KILL)
    until(lambda: model.pid != first)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(ask, model, question(RED))
        until(lambda: model._waiters or waiting.done())
        model.close()
        with contextlib.suppress(ModelError):  # unless it was faster
            assert waiting.result(WAIT) == SEEN
    assert not runs(model.pid)


def test_closing_from_a_reader_ends_the_process(endless: Path, opened: Open) -> None:
    model = opened(endless, context_tokens=32768)
    closed = threading.Event()

    def put(said: wire.Said) -> None:
        if isinstance(said, Delta) and not closed.is_set():
            model.close()
            closed.set()

    model.submit(question("a", max_tokens=10**6), put)
    assert closed.wait(WAIT)
    assert not runs(model.pid)


SCRIPT = """
    import sys, threading
    from pathlib import Path
    from bot.models.llama.files import ModelFiles
    from bot.models.llama.process import ModelProcess
    from bot.models.llama.values import Line, Options, Request

    class Told(ModelProcess):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "pid" and value:
                print(value, flush=True)

    options = Options(context_tokens=32768, threads=1)
    try:
        model = Told.open(ModelFiles(Path(sys.argv[1])), options)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise SystemExit(0)
    print("loaded", flush=True)
    if "busy" in sys.argv:
        request = Request((Line("user", ("a",)),), max_tokens=10**6)
        model.submit(request, lambda said: None)
        print("busy", flush=True)
    if "end" not in sys.argv:
        threading.Event().wait()
"""


@contextlib.contextmanager
def program(*arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Run a small program that opens a model and prints its process, and how far it came."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: "subprocess.Popen[str]") -> str:
    """Return the next line that a program prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("when", ["loading", "idle", "busy"])
def test_a_program_that_is_killed_takes_its_model_along(endless: Path, when: str) -> None:
    with program(endless, when) as process:
        pid = int(line(process))
        if when != "loading":
            assert line(process) == "loaded"
        if when == "busy":
            assert line(process) == "busy"
        assert runs(pid)
        process.kill()
        until(lambda: not runs(pid))


def test_a_program_that_ends_without_closing_leaves_no_process(endless: Path) -> None:
    with program(endless, "busy", "end") as process:
        pid = int(line(process))
        _, complaints = process.communicate(timeout=WAIT)
        assert process.returncode == 0, complaints
        until(lambda: not runs(pid))


def test_an_opening_that_is_interrupted_leaves_no_process(endless: Path) -> None:
    for _ in range(KILLS // 2):  # wherever the interruption comes
        with program(endless) as process:
            pid = int(line(process))
            process.send_signal(signal.SIGINT)
            assert line(process) == "interrupted"
            assert process.wait(WAIT) == 0
            until(lambda: not runs(pid))  # noqa: B023


# what passes between


def worker(data: bytes) -> "subprocess.CompletedProcess[bytes]":
    """Run a model's process on given bytes."""
    return subprocess.run(
        [sys.executable, "-m", "bot.models.llama.worker"],
        input=data,
        capture_output=True,
        timeout=WAIT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<IQ", 2**32 - 1, 2**64 - 1),
        struct.pack("<IQ", 4, 0) + b"nope",
        b"".join(wire.pack({"paths": ["a"], "options": {}})),
        b"".join(wire.pack({"do": "count", "id": 1})),
    ],
)
def test_a_process_that_is_told_what_it_cannot_read_ends(data: bytes) -> None:
    done = worker(data)
    assert done.returncode > 0
    assert b"WireError" in done.stderr
    assert done.stdout == b""


def test_a_process_that_is_told_nothing_ends() -> None:
    done = worker(b"")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_process_that_was_told_what_it_cannot_read_is_started_again(
    tiny: Path, opened: Open
) -> None:
    model = opened(tiny)
    for n, body in enumerate(
        (b"nope", b'{"do":"dance","id":1}', b'{"do":"submit","id":1,"request":{}}')
    ):
        child = model._child
        assert child is not None
        child.send([struct.pack("<IQ", len(body), 0) + body])
        until(lambda: model.restarts == n + 1)  # noqa: B023
        assert ask(model, question(RED)) == SEEN


def test_a_process_that_says_what_cannot_be_read_is_ended_and_started_again(
    tiny: Path, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    model = opened(tiny)
    for n, data in enumerate(
        (
            struct.pack("<IQ", 2**32 - 1, 2**64 - 1),
            struct.pack("<IQ", 4, 0) + b"nope",
            b"".join(wire.pack({"turn": 1, "text": 1})),
            b"".join(wire.pack({"call": None, "value": 1})),
        )
    ):
        child = model._child
        assert child is not None
        assert child.process.stdout is not None
        with Path(f"/proc/self/fd/{child.process.stdout.fileno()}").open("wb") as pipe:
            pipe.write(data)
        until(lambda: model.restarts == n + 1)  # noqa: B023
        assert caplog.text.count("its process said what cannot be read") == n + 1
        assert ask(model, question(RED)) == SEEN


@pytest.mark.parametrize("large", [False, True])
def test_a_process_that_hangs_is_ended_and_started_again(
    tiny: Path, opened: Open, large: bool
) -> None:
    model = opened(tiny, patience=5.0)
    os.kill(model.pid, signal.SIGSTOP)
    pixels = Pixels(3000, 3000, bytes(27_000_000)) if large else RED  # more than a pipe holds
    with pytest.raises(ModelError, match=r"hung and was ended.*ask again"):
        ask(model, question(pixels))
    assert ask(model, question(RED)) == SEEN
    assert model.restarts == 1


def test_an_answer_that_goes_on_past_its_limit_ends_the_process(
    endless: Path, opened: Open
) -> None:
    model = opened(endless, patience=5.0, context_tokens=32768)
    answer, ticket = begun(model, question("a", max_tokens=10**6, seconds=0.5))
    answer.more()
    os.kill(model.pid, signal.SIGSTOP)
    model.cancel(ticket)  # does not wait
    end = answer.end()
    assert "hung" in str(end) or (isinstance(end, Outcome) and end.reason == "time")
    until(lambda: model.restarts == 1 or isinstance(end, Outcome))


def test_a_process_gets_no_secrets_no_signals_of_the_terminal_and_dumps_no_memory(
    tiny: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    for name in ("OPENAI_API_KEY", "BIFOCAL_REDIS_URL", "MY_SECRET", "DB_PASSWORD"):
        monkeypatch.setenv(name, "hunter2")
    model = opened(tiny)
    assert b"hunter2" not in Path(f"/proc/{model.pid}/environ").read_bytes()
    assert os.getsid(model.pid) == model.pid != os.getsid(0)
    assert resource.prlimit(model.pid, resource.RLIMIT_CORE)[0] == 0
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(model.pid, how)
    assert ask(model, question(RED)) == SEEN
    assert model.restarts == 0


def test_what_a_dying_process_said_is_in_the_log(
    tiny: Path, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "bot.models.llama")
    model = opened(tiny)
    die(model, SEGV)
    assert "Fatal Python error: Segmentation fault" in caplog.text
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "died (SIGSEGV)" in warning.message
