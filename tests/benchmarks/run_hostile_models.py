"""Opens mutated GGUF files as local models, asks each about a picture, and reports what became.

    python tests/benchmarks/run_hostile_models.py [--count N] [--first N] [--keep FOLDER]

Each must end in an answer or in one ``ModelError`` of one line, leave no process and no thread,
and take no more memory than ``MOST_MB``. The files are the tiny pair of
``tests/pocket/make_gguf.py``, damaged in a way that its number decides, in turn: bits, numbers,
lengths, shapes, words and tokens of the header; weights flipped or not numbers; cut, shifted;
another architecture; hostile chat templates. Knows nothing of what llama.cpp makes of them.
"""

import argparse
import json
import logging
import resource
import shutil
import signal
import struct
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pocket"))

from langchain_core.messages import HumanMessage
from make_gguf import make_projector, make_text_model
from PIL import Image

from bot.errors import ModelError
from bot.models.llama import LocalVisionChat, picture_part

MOST_MB = 1024  # of one process; with the files as they were it takes about a tenth
SECONDS = 60.0  # after which one is said to hang
WHOLE = (0, 1, 2, 3, 7, 255, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**64 - 1)
BROKEN = (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e-45, 3e38)
ARCHITECTURES = ("llama", "qwen3", "gemma", "bloom", "dream", "olmo2", "phi2\0", "rwkv7", "plamo")
TEMPLATES = (
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% set ns = namespace(x='xx') %}{% for _ in range(999) %}{% set ns.x = ns.x + ns.x %}"
    "{% endfor %}{{ ns.x }}",
    "{{ 'x' * 9999999999 }}",
    "{{ 9 ** 9 ** 9 ** 9 }}",
    "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('echo') }}{{ messages[0].content }}",
    "{{ ''.__class__.__base__.__subclasses__()[0] }}{{ messages[0].content }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.system('echo') }}",
    "{{ '%99999999999d' % 1 }}{{ '{:>99999999999}'.format(1) }}",
    "{{ messages[0].content | center(999999999) }}",
    "{" * 5000,
    "{% if " + "(" * 3000 + "1" + ")" * 3000 + " %}{% endif %}",
    "\0",
    " ",
    "no message in it",
    "{{ messages[0].content[:5] }}",
    "{{ messages[0].content * 100 }}",
    "{{ raise_exception('x' * 100000) }}",
    "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}" + "<|im_start|>" * 20000,
    "{{ range(999999999) | list }}",
    "{{ 'a,b' | replace('', 'x' * 100000) | replace('', 'x' * 100000) }}",
    "{{ messages | tojson(indent=999999999) }}",
)


@dataclass(frozen=True)
class Span:
    """A field of a GGUF file: what it is, where it begins, and its NumPy type or its length."""

    what: str
    at: int
    size: int
    form: str = ""


@dataclass(frozen=True)
class Whole:
    """An undamaged file: its bytes, its fields, and where its weights begin."""

    data: bytes
    spans: tuple[Span, ...]
    weights: int

    def of(self, *what: str) -> list[Span]:
        """Return its fields of some kinds."""
        return [span for span in self.spans if span.what in what]


def read_whole(path: Path) -> Whole:
    """Read a file and where its fields lie."""
    import gguf

    reader = gguf.GGUFReader(path)
    spans = [Span("length", 8, 8, "Q"), Span("length", 16, 8, "Q")]
    for field in reader.fields.values():
        if field.name.startswith("GGUF."):
            continue
        at = field.offset
        for n, part in enumerate(field.parts):
            form = {"uint64": "Q", "uint32": "I", "float32": "f", "int32": "i"}.get(str(part.dtype))
            what = "word" if str(part.dtype) == "uint8" else "length" if form == "Q" else "number"
            if n == 2:
                what = "kind"
            if what == "word" and n > 2 and field.name.endswith(("tokens", "merges")):
                what = "token"
            spans.append(Span(what, at, part.nbytes, form or ""))
            at += part.nbytes
    for tensor in reader.tensors:
        at = tensor.field.offset
        for n, part in enumerate(tensor.field.parts):
            what = ("length", "word", "shape", "shape", "shape", "shape")[n]
            for step in range(part.nbytes // part.itemsize) if what == "shape" else (0,):
                size = part.itemsize if what == "shape" else part.nbytes
                form = "Q" if part.itemsize == 8 else "I" if part.itemsize == 4 else ""
                spans.append(Span(what, at + step * size, size, form))
            at += part.nbytes
    return Whole(path.read_bytes(), tuple(spans), int(reader.data_offset))


def flip(data: bytearray, begin: int, end: int, rng: Random, most: int) -> None:
    """Flip some bits between two places."""
    for _ in range(rng.randint(1, most)):
        data[rng.randrange(begin, end)] ^= 1 << rng.randrange(8)


def put(data: bytearray, span: Span, rng: Random) -> None:
    """Write what no one would into a field."""
    if span.form == "f":
        struct.pack_into("<f", data, span.at, rng.choice(BROKEN))
    elif span.form:
        value = rng.choice(WHOLE) % (1 << 8 * struct.calcsize(span.form))
        struct.pack_into("<" + span.form.upper(), data, span.at, value)
    else:
        data[span.at : span.at + span.size] = rng.randbytes(span.size)


def fields(*what: str, most: int = 3) -> Callable[[Whole, Random], bytes]:
    """Return a mutation of fields of some kinds."""

    def mutate(whole: Whole, rng: Random) -> bytes:
        data = bytearray(whole.data)
        found = whole.of(*what)
        for span in rng.sample(found, min(len(found), rng.randint(1, most))):
            put(data, span, rng)
        return bytes(data)

    return mutate


def bits(whole: Whole, rng: Random) -> bytes:
    """Flip bits of the header."""
    data = bytearray(whole.data)
    flip(data, 0, whole.weights, rng, 4)
    return bytes(data)


def weights(whole: Whole, rng: Random) -> bytes:
    """Flip bits of the weights."""
    data = bytearray(whole.data)
    flip(data, whole.weights, len(data), rng, 4096)
    return bytes(data)


def no_numbers(whole: Whole, rng: Random) -> bytes:
    """Write NaN or infinity over a stretch of the weights."""
    data = bytearray(whole.data)
    begin = rng.randrange(whole.weights, len(data)) & ~3
    words = min(rng.randint(1, 200_000), (len(data) - begin) // 4)
    data[begin : begin + 4 * words] = struct.pack("<f", rng.choice(BROKEN[:3])) * words
    return bytes(data)


def cut(whole: Whole, rng: Random) -> bytes:
    """Cut the end off, or bytes out of the middle."""
    at = rng.randrange(rng.choice((whole.weights, len(whole.data))))
    rest = rng.choice((whole.data[at + rng.randint(1, 5000) :], b""))
    return whole.data[:at] + rest


def shifted(whole: Whole, rng: Random) -> bytes:
    """Put something in between."""
    at = rng.randrange(whole.weights)
    return whole.data[:at] + rng.randbytes(rng.randint(1, 200)) + whole.data[at:]


def architecture(whole: Whole, rng: Random) -> bytes:
    """Say that it is of another architecture."""
    return whole.data.replace(b"qwen2", rng.choice(ARCHITECTURES).encode())


def template(whole: Whole, rng: Random) -> bytes:
    """Give it a hostile chat template."""
    with tempfile.TemporaryDirectory() as folder:
        path = make_text_model(Path(folder) / "m.gguf", template=rng.choice(TEMPLATES))
        return path.read_bytes()


BOTH: dict[str, Callable[[Whole, Random], bytes]] = {
    "bits": bits,
    "numbers": fields("number", "kind", most=2),
    "lengths": fields("length", most=2),
    "shapes": fields("shape"),
    "words": fields("word"),
    "weights": weights,
    "no numbers": no_numbers,
    "cut": cut,
    "shifted": shifted,
}
TEXT = {"tokens": fields("token", most=600), "architecture": architecture, "template": template}
#: Numbers twice: what is allocated is decided there
ORDER = [(kind, which) for kind in (*BOTH, "numbers") for which in ("text", "projector")]
ORDER += [(kind, "text") for kind in TEXT]


class HangsError(Exception):
    """It took longer than it may."""


def hangs(signum: int, frame: FrameType | None) -> None:
    """End the wait for one."""
    raise HangsError


def attempt(files: str) -> str:
    """Open a pair and ask it about a picture; return what it came to."""
    question = HumanMessage(["what?", picture_part(Image.new("RGB", (90, 70), "red"))])
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    model: LocalVisionChat | None = None
    try:
        model = LocalVisionChat.open(files, threads=1, context_tokens=512)
        model.invoke([question], max_tokens=8, seconds=SECONDS / 2)
    except ModelError as error:
        said = str(error)
        if "\n" in said or not said:
            return "FAULT: more than one line"
        when = "loading" if model is None else "asked"
        return f"its process died, {when}" if ": its process " in said else f"refused, {when}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if model is not None:
            model.close()
    return "answered"


def left() -> str:
    """Return what is left of those that were opened."""
    tasks = Path("/proc/self/task").iterdir()
    if children := " ".join((task / "children").read_text() for task in tasks).strip():
        return f"processes {children}"
    threads = [thread.name for thread in threading.enumerate()][1:]
    return f"threads {threads}" if threads else ""


def most_mb() -> int:
    """Return the most that any process took which has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


def told(paths: dict[str, Path]) -> str:
    """Return what a pair came to, and what should not have been."""
    before = most_mb()
    try:
        end = attempt(f"{paths['text']}+{paths['projector']}")
    except HangsError:
        end = "FAULT: hangs"
    except Exception as error:
        end = f"FAULT: {type(error).__name__}: {error}"
    if rest := left():
        return f"FAULT: left behind: {rest} ({end})"
    if most_mb() > max(before, MOST_MB):
        return f"FAULT: {most_mb()} MB ({end})"
    return end


def main() -> int:
    """Return 0 when each of them ended as it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for those that went wrong")
    given = parser.parse_args()
    signal.signal(signal.SIGALRM, hangs)
    logging.disable()
    tally: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        made = {"text": make_text_model(home / "tiny.gguf")}
        made["projector"] = make_projector(home / "mmproj-tiny.gguf")
        wholes = {which: read_whole(path) for which, path in made.items()}
        for n in range(given.first, given.first + given.count):
            kind, which = ORDER[n % len(ORDER)]
            bad = home / f"bad-{which}.gguf"
            bad.write_bytes((BOTH | TEXT)[kind](wholes[which], Random(n)))
            end = told(made | {which: bad})
            tally[end if not end.startswith("FAULT") else "FAULT"] += 1
            if end.startswith("FAULT"):
                faults.append(f"{n}, {kind} of the {which}: {end}")
                print(faults[-1], file=sys.stderr, flush=True)
                if given.keep:
                    given.keep.mkdir(exist_ok=True)
                    shutil.copy(bad, given.keep / f"{n}-{bad.name}")
    print(json.dumps({"ends": dict(tally.most_common()), "mb": most_mb(), "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
