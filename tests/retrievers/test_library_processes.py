"""A library survives what other processes do to it: reading, writing, and being killed."""

import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrievers.library import Library

SHARED = """
import hashlib, io, os, signal, sys, time
import numpy as np
from PIL import Image
from retrievers.document import Document, Passage, Picture
from retrievers.library import Library, Source

class Words:
    name, dimension, dense_weight = "words", 4, 0.5
    modalities = frozenset(["text"])
    def __init__(self, name="words", slow=0.0):
        self.name, self.slow = name, slow
    def encode_texts(self, texts, *, query=False):
        time.sleep(self.slow)
        return np.ones((len(texts), 4), dtype=np.float32)

def png(shade):
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, shade, shade)).save(out, "PNG")
    return out.getvalue()

def put(library, which):
    '''Content A or B of one source: 12 passages and 3 pictures, none of them in both.'''
    data = [png(n + (100 if which == "alpha" else 0)) for n in range(3)]
    blobs = {hashlib.sha256(d).hexdigest(): d for d in data}
    pictures = tuple(
        Picture(h, "image/png", 16, 16, words={"caption": which + " picture"}) for h in blobs
    )
    passages = tuple(Passage(which + f" passage {n}", 1) for n in range(12))
    library.claim("text", Words())
    library.replace(
        Source("/one", which, 1, 1, "text"), Document(which, passages, pictures), blobs,
        {"text": np.ones((15, 4), dtype=np.float32)},
    )
"""

WRITER = (
    SHARED
    + """
library = Library.open(sys.argv[1], create=True)
print("ready", flush=True)
for step in range(int(sys.argv[2])):
    put(library, "alpha" if step % 2 else "beta")
"""
)

READER = (
    SHARED
    + """
library = Library.open(sys.argv[1])
print("ready", flush=True)
seen, reads, end = set(), 0, False
while not end:
    end = os.path.exists(sys.argv[2])
    found = library.search_words("passage", kind="passage", k=50)
    shown = library.evidence([id for id, _ in found])
    kinds = {e.text.split()[0] for e in shown.values()}
    # between the two readings the writer may have been: then nothing is left, never half of it
    assert len(found) == 12 and len(shown) in (0, 12) and len(kinds) <= 1, (found, shown)
    seen |= kinds
    reads += 1
print(reads, *sorted(seen), flush=True)
"""
)

KILLED_REPLACE = (
    SHARED
    + """
def attempt(kill_at):
    '''Replace A by B in a child that kills itself at its n-th opening, renaming or removing.'''
    child = os.fork()
    if child == 0:
        library = Library.open(sys.argv[1])
        library.counts()
        seen = 0
        def hook(event, arguments):
            nonlocal seen
            inside = arguments and sys.argv[1] in str(arguments[0])
            if event in ("open", "os.rename", "os.remove", "os.mkdir") and inside:
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        put(library, "beta")
        os._exit(0)
    return os.waitpid(child, 0)[1]

for n in range(1, int(sys.argv[2]) + 1):
    library = Library.open(sys.argv[1], create=True)
    put(library, "alpha")
    library.close()
    print(attempt(n), flush=True)
    sys.stdin.readline()
"""
)

REENCODER = (
    SHARED
    + """
library = Library.open(sys.argv[1])
for done in library.reencode("text", Words("anew", slow=0.01), batch=2):
    print(done, flush=True)
print("end", flush=True)
time.sleep(60)
"""
)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def state(library: Library) -> str:
    """Return "alpha" or "beta" after checking that the library holds all of it, and only it."""
    passages = library.evidence([f"passage:{n}" for n in library.vectors("text", "passage")[0]])
    pictures = library.evidence([f"picture:{n}" for n in library.vectors("text", "picture")[0]])
    (which,) = {e.text.split()[0] for e in [*passages.values(), *pictures.values()]}
    assert (len(passages), len(pictures)) == (12, 3)
    assert len(library.search_words(which, kind="passage", k=50)) == 12
    other = "beta" if which == "alpha" else "alpha"
    assert library.search_words(other, kind="passage", k=50) == []
    assert [s.sha256 for s in library.sources()] == [which]
    assert library.check() == []  # every picture's file is there and whole
    return which


def test_processes_read_the_old_or_the_new_while_one_writes(tmp_path: Path) -> None:
    folder, end = tmp_path / "library", tmp_path / "end"
    with start(WRITER, folder, 1) as first:
        first.communicate()
    readers = [start(READER, folder, end) for _ in range(3)]
    assert [line(reader) for reader in readers] == ["ready"] * 3
    with start(WRITER, folder, 40) as writer:
        writer.communicate()
    assert writer.returncode == 0
    end.touch()
    for reader in readers:
        out, _ = reader.communicate()
        assert reader.returncode == 0
        reads, *seen = out.split()
        assert int(reads) > 5
        assert "alpha" in seen


def test_killed_at_any_file_operation_a_replacement_is_whole_or_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    outcomes: list[tuple[int, str]] = []
    with start(KILLED_REPLACE, folder, 20) as process:
        assert process.stdin is not None
        while status := line(process):
            with Library.open(folder) as library:
                outcomes.append((int(status), state(library)))
            process.stdin.write("\n")
            process.stdin.flush()
    assert len(outcomes) == 20
    assert {which for status, which in outcomes if status == 9} == {"alpha", "beta"}
    assert outcomes[-1] == (0, "beta")  # past the last operation: the kills covered them all


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment_a_replacement_is_whole_or_not_there(
    tmp_path: Path, seed: int
) -> None:
    folder = tmp_path / "library"
    with start(WRITER, folder, 2) as first:
        first.communicate()
    writer = start(WRITER, folder, 100_000)
    assert line(writer) == "ready"
    time.sleep(random.Random(seed).uniform(0.0, 0.15))
    kill(writer)
    with Library.open(folder) as library:
        assert state(library) in ("alpha", "beta")
        library.sweep()
        stored = {p.name for p in (folder / "media").glob("??/*")}
        assert len(stored) == 3


def test_killed_while_reencoding_the_old_space_is_whole_and_the_next_run_goes_on(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "library"
    with start(WRITER, folder, 1) as first:
        first.communicate()
    process = start(REENCODER, folder)
    while line(process) != "8":
        pass
    kill(process)
    with Library.open(folder) as library:
        assert library.space("text") == ("words", 4)
        assert library.counts().vectors["text"] == 15
        assert state(library) == "beta"
    again = start(REENCODER, folder)
    steps = []
    while (step := line(again)) != "end":
        steps.append(int(step))
    kill(again)
    assert steps[-1] <= 15 - 8  # what was encoded before the kill is not encoded again
    with Library.open(folder) as library:
        assert library.space("text") == ("anew", 4)
        assert library.counts().vectors["text"] == 15
        ids, rows = library.vectors("text", "passage")
        assert (len(ids), float(np.abs(rows - 1).max())) == (12, 0.0)


def test_two_processes_may_make_the_same_library_at_once(tmp_path: Path) -> None:
    makers = [start(WRITER, tmp_path / "library", 3) for _ in range(3)]
    for maker in makers:
        maker.communicate()
        assert maker.returncode == 0
    with Library.open(tmp_path / "library") as library:
        assert state(library) == "beta"
        data = io.BytesIO()
        Image.new("RGB", (16, 16), (0, 0, 0)).save(data, "PNG")
        assert library.media(hashlib.sha256(data.getvalue()).hexdigest()) == data.getvalue()
