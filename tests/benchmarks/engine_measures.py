"""The engine's measures: each asks the contestants in turns, and returns rows of the table.

Every seed is used once, so nothing is found in a cache but what a measure put there itself.
"""

import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine_contestants import Answer, Contestant, Handler, Ours, Server, Sizes, ask
from engine_loop import DecodeLoop
from engine_material import Row, Said, make_tiny, median, question, start, steady, words
from engine_memory import resident

ANSWER = 32  # tokens of an answer
LONG = 4000  # tokens of the long prompt
LOOP = 128  # tokens of a decode loop
_seeds = itertools.count(1)


@dataclass(frozen=True)
class Bench:
    """What the measures are run with."""

    text: Path
    projector: Path
    sizes: Sizes
    server: Path | None
    server_arguments: Sequence[str]
    rounds: int
    quick: bool
    turns: int  #: of the memory measure
    with_handler: bool = True

    @contextmanager
    def contestants(self) -> Iterator[list[Contestant]]:
        """Load all that take part, and free them afterwards."""
        files = self.text, self.projector
        with ExitStack() as opened:

            def load(who: Contestant) -> Contestant:
                opened.callback(who.close)
                return who

            found = [load(Handler(*files, self.sizes))] if self.with_handler else []
            found.append(load(Ours(*files, self.sizes)))
            if self.server is not None:
                server = Server(self.server, *files, self.sizes, *self.server_arguments)
                found.append(load(server))
            yield found


@dataclass
class _Tally:
    """Figures by contestant, and what they come to as text."""

    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)

    def text(self, form: str) -> str:
        return ", ".join(f"{name} {median(v):{form}}" for name, v in sorted(self.figures.items()))


def _against(measure: str, tally: _Tally, other: str, factor: float, *, more: bool = False) -> Row:
    """Return the row that holds B's median against another's; ``more`` is better, or less."""
    required = f">= {factor} x {other}" if factor != 1 else f"no slower than {other}"
    if other not in tally.figures:
        return Row(measure, f"{tally.text('.3g')}", f"{required}: {other} took no part", None)
    ours, theirs = median(tally.figures["B"]), median(tally.figures[other])
    ratio = ours / theirs if more else theirs / ours
    return Row(measure, f"{tally.text('.3g')}: {ratio:.2f} x", required, ratio >= factor)


def _counted(measure: str, told: Sequence[dict[str, Any]], key: str, expected: int) -> Row:
    """Return the row that holds one of the engine's counters, the same in every round."""
    if not all(key in counts for counts in told):
        return Row(measure, "the engine does not tell", str(expected), False)
    found = sorted({counts[key] for counts in told})
    text = ", ".join(map(str, found))
    return Row(measure, text, str(expected), found == [expected])


# 1 a conversation with pictures


def conversation(bench: Bench) -> list[Row]:
    """A text follow-up after four pictures, then a turn with a fifth: seconds to the first text."""
    follow, fifth, counts = _Tally(), _Tally(), list[tuple[dict[str, Any], ...]]()
    with bench.contestants() as contestants:
        for _ in range(bench.rounds):
            for who in contestants:
                answers = _pictured(who)
                follow.add(who.name, answers[-2].first)
                fifth.add(who.name, answers[-1].first)
                if who.name == "B":
                    counts.append(tuple(answer.told for answer in answers[-3:]))
    return [
        _against("follow-up after 4 pictures, first text", follow, "A", 30),
        _against("the same, and no slower than", follow, "C", 1),
        _counted("pictures encoded for it", [c[1] for c in counts], "encoded_pictures", 0),
        _against("a turn that adds a 5th picture, first text", fifth, "A", 4),
        _counted("pictures encoded for it", [c[2] for c in counts], "encoded_pictures", 1),
        _prefilled(counts),
    ]


def _pictured(who: Contestant) -> list[Answer]:
    """Return the answers to four turns with a picture each, a follow-up, and a fifth picture.

    A begins at nothing on each call: its earlier answers are made up, in their true size.
    """
    lines, answers = start(), list[Answer]()
    for turn in range(6):
        lines.append(question(next(_seeds), pictured=turn != 4))
        if who.name == "A" and turn < 4:
            lines.append(Said("assistant", words(ANSWER, next(_seeds))))
            continue
        answers.append(ask(who, lines, ANSWER))
        lines.append(Said("assistant", answers[-1].text))
    return answers


def _prefilled(counts: Sequence[tuple[dict[str, Any], ...]]) -> Row:
    name, required = "tokens read for the follow-up", "only what is new, and the last one written"
    if not all(count[0] and count[1] for count in counts):
        return Row(name, "the engine does not tell", required, False)
    news = [
        now["prompt_tokens"] - before["prompt_tokens"] - before["written_tokens"]
        for before, now, _ in counts
    ]
    reads = [now["read_tokens"] for _, now, _ in counts]
    passed = all(read <= new + 1 for read, new in zip(reads, news, strict=True))
    whole = counts[0][1]["prompt_tokens"]
    return Row(name, f"{max(reads)} of {whole}, {max(news)} new", required, passed)


# 2 many conversations at once


def crowd(bench: Bench) -> list[Row]:
    """Eight conversations at once, five turns each, a picture in the first: turns a minute."""
    rates, later, failed = _Tally(), _Tally(), list[str]()
    count, turns = (2, 3) if bench.quick else (8, 5)
    with bench.contestants() as contestants:
        for _ in range(bench.rounds):
            for who in contestants:
                began = time.perf_counter()
                with ThreadPoolExecutor(count) as pool:
                    talks = list(pool.map(lambda _, w=who: _talk(w, turns), range(count)))
                spent = time.perf_counter() - began
                rates.add(who.name, sum(len(a) for a, _ in talks) / spent * 60)
                firsts = [answer.first for answers, _ in talks for answer in answers[1:]]
                later.add(who.name, median(firsts))
                failed += [f"{who.name}: {why}" for _, why in talks if why]
    ours = [why for why in failed if why.startswith("B")]
    for why in failed:
        print(f"failed: {why}")
    name = f"{count} conversations of {turns} turns at once, turns a minute"
    return [
        _against(name, rates, "A", 3, more=True),
        _against("the same", rates, "C", 0.95, more=True),
        Row("a later turn's first text, p50", later.text(".2f") + " s", "(C: 3.7 s)", None),
        Row("failed turns", f"B {len(ours)}", "none", not ours),
    ]


def _talk(who: Contestant, turns: int) -> tuple[list[Answer], str]:
    """Return the answers of one conversation, and why it ended early, if it did."""
    lines, answers = start(), list[Answer]()
    for turn in range(turns):
        lines.append(question(next(_seeds), pictured=turn == 0))
        try:
            answers.append(ask(who, lines, ANSWER))
        except Exception as error:
            return answers, f"{type(error).__name__}: {error}"
        lines.append(Said("assistant", answers[-1].text))
    return answers, ""


# 3 a short question beside a long prompt


def beside(bench: Bench) -> list[Row]:
    """A short question's first text while a prompt of 4,000 tokens is read, and alone."""
    rows, tokens = [], min(LONG, bench.sizes.context - 200)
    with bench.contestants() as contestants:
        for who in contestants:
            if who.name == "A":
                continue
            alone, busy = list[float](), list[float]()
            for _ in range(max(2, bench.rounds)):
                alone += [_short(who) for _ in range(3 if bench.quick else 10)]
                busy += _while_reading(who, tokens)
            late = steady(busy, 0.95) if busy else float("nan")
            usual = median(alone)
            rows.append(
                Row(
                    f"{who.name}: a short question beside {tokens:,} tokens, first text p95",
                    f"{late:.3f} s, alone p50 {usual:.3f} p95 {steady(alone, 0.95):.3f} s:"
                    f" {late / usual:.1f} x ({len(busy)} asked)",
                    "<= 3 x its time alone",
                    late <= 3 * usual if who.name == "B" else None,
                )
            )
    return rows


def _short(who: Contestant) -> float:
    return ask(who, [*start(), question(next(_seeds))], 1).first


def _while_reading(who: Contestant, tokens: int) -> list[float]:
    """Return the first text's seconds of short questions asked until the long prompt was read."""
    read = threading.Event()
    long = [*start(), question(next(_seeds), tokens=tokens)]

    def reader() -> None:
        try:
            ask(who, long, 1)
        finally:
            read.set()

    found = []
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(reader)
        time.sleep(0.05)
        while not read.is_set():
            found.append((_short(who), read.is_set()))
        work.result()
    whole = [seconds for seconds, after in found if not after]
    return whole or [seconds for seconds, _ in found]


# 4 a picture that is known


def known(bench: Bench) -> list[Row]:
    """The same picture elsewhere, for another tenant, and after a restart: how many encodings."""
    seen = question(next(_seeds), pictured=True)
    again = Said("user", words(20, next(_seeds)), seen.picture)
    told: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        with closing(Ours(bench.text, bench.projector, bench.sizes, cache=cache)) as who:
            told["a new picture"] = ask(who, [*start(), seen], 1).told
            told["the same in another conversation"] = ask(who, [again], 1).told
            told["the same for another tenant"] = ask(who, [again], 1, tenant="two").told
        with closing(Ours(bench.text, bench.projector, bench.sizes, cache=cache)) as who:
            told["the same after a restart"] = ask(who, [again], 1).told
    expected = (1, 0, 1, 0)
    return [
        _counted(f"{what}: encoded", [counts], "encoded_pictures", count)
        for (what, counts), count in zip(told.items(), expected, strict=True)
    ]


# 5 memory


def memory(bench: Bench) -> list[Row]:
    """Memory of this process and its children over many short turns of the tiny pair.

    What is kept has budgets that are full by the turns 200 to 300, which the end is held against:
    what grows from there on is lost.
    """
    turns = 60 if bench.quick else bench.turns
    sizes = Sizes(
        bench.sizes.threads,
        context=1024,
        parallel=4,
        picture_bytes=1 << 20,
        sequence_bytes=4 << 20,
    )
    talks: list[list[Said]] = [[] for _ in range(min(50, turns // 4))]
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        text = make_tiny(Path(folder))
        projector = text.with_name("mmproj-tiny.gguf")
        with closing(Ours(text, projector, sizes)) as who:
            for turn in range(turns):
                lines = talks[turn % len(talks)]
                if len(lines) >= 8:
                    lines.clear()
                lines.append(question(turn, pictured=turn % 3 == 0, tokens=4))
                lines.append(Said("assistant", ask(who, lines, 6).text))
                samples.append(resident())
    early = median(samples[turns // 5 : turns * 3 // 10])
    late = median(samples[-turns // 10 :])
    share = late / early - 1
    return [
        Row(
            f"memory over {turns:,} turns of {len(talks)} conversations",
            f"{early / 2**20:.1f} -> {late / 2**20:.1f} MiB: {share:+.1%}",
            "within 5 %",
            share <= 0.05,
        )
    ]


# 6 the C library's own loop


def loop(bench: Bench) -> list[Row]:
    """Tokens a second at batch 1, and those of a bare decode loop in C calls."""
    rates = _Tally()
    with (
        closing(DecodeLoop(bench.text, bench.sizes)) as bare,
        closing(Ours(bench.text, bench.projector, bench.sizes)) as who,
    ):
        for turn in range(2 if bench.quick else max(6, 2 * bench.rounds)):
            asked = question(next(_seeds), tokens=64)

            def ours(asked: Said = asked) -> None:
                arrivals = ask(who, [asked], LOOP + 1).arrivals
                rates.add("B", LOOP / (arrivals[-1] - arrivals[0]))

            def theirs(asked: Said = asked) -> None:
                rates.add("the loop", bare.rate(asked.text, LOOP))

            for run in (ours, theirs) if turn % 2 == 0 else (theirs, ours):
                run()
    lost = 1 - median(rates.figures["B"]) / median(rates.figures["the loop"])
    text = f"{rates.text('.1f')} tokens/s: {lost:+.1%}"
    return [Row("the engine's overhead at batch 1", text, "<= 5 %", lost <= 0.05)]


MEASURES: dict[str, Callable[[Bench], list[Row]]] = {
    "conversation": conversation,
    "crowd": crowd,
    "beside": beside,
    "known": known,
    "memory": memory,
    "loop": loop,
}
