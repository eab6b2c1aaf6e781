"""The FAISS cache finds the nearest, follows the library, and is never trusted unread."""

import json
import os
import random
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from retrievers.document import Document, Passage
from retrievers.encoders import Modality
from retrievers.errors import LibraryError
from retrievers.evidence import Vectors
from retrievers.library import Library, Source
from retrievers.vectors import Distance, VectorIndex

WIDTH = 16


class Made:
    """An encoder by name: the tests bring their own vectors, and reencode() gets these."""

    modalities: frozenset[Modality] = frozenset(("text",))
    dense_weight = 0.5

    def __init__(self, name: str = "made", dimension: int = WIDTH) -> None:
        self.name, self.dimension = name, dimension

    def encode_texts(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        seeds = [zlib.crc32(text.encode()) for text in texts]
        return np.concatenate([rows_of(1, seed, self.dimension) for seed in seeds])

    def encode_pictures(self, pictures: object) -> Vectors:
        raise NotImplementedError


def rows_of(count: int, seed: int, width: int = WIDTH) -> Vectors:
    """Vectors in clumps, as those of texts are: isotropic ones say nothing of recall."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, width)) * 2
    rows = centres[rng.integers(0, 20, count)] + rng.normal(size=(count, width))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def put(library: Library, name: str, rows: Vectors) -> None:
    passages = tuple(Passage(f"passage {n} of {name}") for n in range(len(rows)))
    library.claim("text", Made())
    library.replace(Source(name, "", 0, 0, "text"), Document("", passages), {}, {"text": rows})


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as opened:
        put(opened, "first", rows_of(300, 1))
        yield opened


def nearest(library: Library, query: Vectors, k: int, distance: Distance) -> list[int]:
    """The truth, by numpy over what SQLite holds."""
    ids, rows = library.vectors("text", "passage")
    apart = -rows @ query if distance == "cosine" else np.linalg.norm(rows - query, axis=1)
    return [int(i) for i in ids[np.argsort(apart, kind="stable")][:k]]


def ids_of(found: list[tuple[int, float]]) -> list[int]:
    return [id for id, _ in found]


def index_file(index: VectorIndex) -> Path:
    (path,) = index.path.parent.glob(f"{index.path.stem}.*.faiss")
    return path


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_the_nearest_are_found_with_their_scores_by_both_distances(
    library: Library, distance: Distance
) -> None:
    index = VectorIndex(library, "text", "passage", distance=distance)
    for query in rows_of(5, 2):
        (found,) = index.search(query[np.newaxis], 10)
        assert ids_of(found) == nearest(library, query, 10, distance)
        exact = index.scores(query, ids_of(found))
        assert dict(found) == pytest.approx(exact, abs=1e-5)
        assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_scores_from_the_index_are_those_from_the_library_and_leave_out_what_has_no_vector(
    library: Library, distance: Distance
) -> None:
    index = VectorIndex(library, "text", "passage", distance=distance)
    query = rows_of(1, 3)[0]
    unread = index.scores(query, range(1, 301))  # nothing was loaded yet: from SQLite
    index.refresh()
    assert index.scores(query, range(1, 301)) == unread
    assert index.scores(query, [7, 3, 100_000]) == pytest.approx({n: unread[n] for n in (3, 7)})
    library.forget("first")
    assert index.scores(query, [100_000]) == {}


def test_a_distance_that_is_none_is_refused(library: Library) -> None:
    with pytest.raises(LibraryError, match="cosine and euclidean"):
        VectorIndex(library, "text", "passage", distance="manhattan")  # type: ignore[arg-type]


def test_a_query_of_another_dimension_is_refused(library: Library) -> None:
    with pytest.raises(LibraryError, match=r"have 16 dimensions.*bifocal reencode"):
        VectorIndex(library, "text", "passage").search(rows_of(1, 1, 8), 3)


def test_an_empty_space_finds_nothing(library: Library) -> None:
    assert VectorIndex(library, "look", "picture").search(rows_of(2, 1), 3) == [[], []]


def test_what_another_writer_adds_is_found_and_what_it_drops_is_not(library: Library) -> None:
    index = VectorIndex(library, "text", "passage")
    index.refresh()
    news = rows_of(5, 7)
    with Library.open(library.folder) as elsewhere:
        put(elsewhere, "second", news)
        (found,) = index.search(news[:1], 1)
        assert found[0][0] == 301
        elsewhere.forget("second")
    (found,) = index.search(news[:1], 300)
    assert len(found) == 300
    assert max(ids_of(found)) <= 300


def test_following_many_changes_agrees_with_the_truth(library: Library) -> None:
    index = VectorIndex(library, "text", "passage")
    dice = random.Random(5)
    for step in range(30):
        name = f"source {dice.randrange(6)}"
        if dice.random() < 0.3 and library.source(name):
            library.forget(name)
        else:
            put(library, name, rows_of(dice.randrange(1, 60), step + 10))
        query = rows_of(1, 1000 + step)
        assert ids_of(index.search(query, 5)[0]) == nearest(library, query[0], 5, "cosine")
    assert index.describe()["origin"] == "built"


def test_a_reencoded_space_is_followed(library: Library) -> None:
    index = VectorIndex(library, "text", "passage")
    index.refresh()
    list(library.reencode("text", Made("other", 8)))
    query = rows_of(1, 3, 8)
    assert ids_of(index.search(query, 5)[0]) == nearest(library, query[0], 5, "cosine")
    assert index.describe()["encoder"] == "other"


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_many_vectors_get_an_inverted_file_that_keeps_its_recall(
    library: Library, distance: Distance
) -> None:
    put(library, "many", rows_of(3000, 4))
    index = VectorIndex(library, "text", "passage", distance=distance, exact_up_to=1000)
    told = index.describe()
    assert told["index"].startswith("IVF")
    assert told["recall"] >= 0.98
    hits = [
        len(
            set(ids_of(index.search(q[np.newaxis], 10)[0])) & set(nearest(library, q, 10, distance))
        )
        for q in rows_of(50, 8)
    ]
    assert np.mean(hits) >= 9.5
    again = VectorIndex(library, "text", "passage", distance=distance, exact_up_to=1000)
    assert again.describe() == {**told, "origin": "loaded"}
    library.forget("first")
    put(library, "more", rows_of(100, 12))
    (found,) = again.search(rows_of(1, 12)[:1], 3100)
    assert not set(ids_of(found)) & set(range(1, 301))
    library.forget("many")
    assert again.describe()["index"] == "exact"


def test_the_saved_file_is_read_and_then_brought_up_to_date(library: Library) -> None:
    VectorIndex(library, "text", "passage").refresh(save=True)
    put(library, "second", rows_of(5, 7))
    index = VectorIndex(library, "text", "passage")
    assert ids_of(index.search(rows_of(5, 7)[:1], 1)[0]) == [301]
    assert index.describe()["origin"] == "loaded"
    index.refresh(save=True)
    assert json.loads(index.path.read_text())["count"] == 305
    assert len(list(library.folder.glob("*.faiss"))) == 1


def test_the_file_of_another_library_is_refused(library: Library, tmp_path: Path) -> None:
    index = VectorIndex(library, "text", "passage")
    index.refresh(save=True)
    with Library.open(tmp_path / "other", create=True) as other:
        put(other, "first", rows_of(300, 2))
        for path in (index.path, index_file(index)):
            (other.folder / path.name).write_bytes(path.read_bytes())
        theirs = VectorIndex(other, "text", "passage")
        assert "another library" in theirs.describe()["origin"]
        query = rows_of(1, 3)
        assert ids_of(theirs.search(query, 5)[0]) == nearest(other, query[0], 5, "cosine")


def mutant(data: bytes, dice: random.Random) -> bytes:
    """Damage as disks and attackers do it: flipped, cut, grown, zeroed, moved."""
    changed = bytearray(data)
    at = dice.randrange(len(changed))
    match dice.randrange(6):
        case 0:
            changed[at] ^= 1 << dice.randrange(8)
        case 1:
            del changed[at:]
        case 2:
            changed += dice.randbytes(dice.randrange(1, 64))
        case 3:
            start = dice.randrange(64)  # the header: lengths and types
            changed[start : start + 8] = dice.randbytes(8)
        case 4:
            changed[at : at + 64] = bytes(64) if any(changed[at : at + 64]) else b"\xff" * 64
        case _:
            changed[at:at] = dice.randbytes(8)
    assert bytes(changed) != data
    return bytes(changed)


def test_200_damaged_index_files_are_refused_by_their_hash_and_made_anew(
    tmp_path: Path,
) -> None:
    with Library.open(tmp_path / "small", create=True) as library:
        put(library, "few", rows_of(20, 1))
        index = VectorIndex(library, "text", "passage")
        index.refresh(save=True)
        path, good = index_file(index), index_file(index).read_bytes()
        query = rows_of(1, 2)
        wanted = ids_of(index.search(query, 5)[0])
        dice = random.Random(11)
        for _ in range(200):
            path.write_bytes(mutant(good, dice))
            fresh = VectorIndex(library, "text", "passage")
            assert fresh.describe()["origin"] == "rebuilt: its hash is not the one in the manifest"
            assert ids_of(fresh.search(query, 5)[0]) == wanted
        assert path.read_bytes() == good  # replaced by what SQLite holds


def test_a_damaged_manifest_is_refused(library: Library) -> None:
    index = VectorIndex(library, "text", "passage")
    index.refresh(save=True)
    good = index.path.read_bytes()
    value = json.loads(good)
    broken = [b"", b"[]", b"null", b"{" * 5000, good[:-9], b"\xff\xfe", b'{"format": 1}']
    broken += [
        json.dumps({**value, **change}).encode()
        for change in (
            {"count": 299},
            {"count": "300"},
            {"sha256": "../../../etc/passwd"},
            {"sha256": "0" * 64},
            {"distance": "euclidean"},
            {"dimension": 8},
            {"format": 2},
            {"extra": 1},
        )
    ]
    for damaged in broken:
        index.path.write_bytes(damaged)
        fresh = VectorIndex(library, "text", "passage")
        assert fresh.describe()["origin"].startswith("rebuilt: ")
        assert fresh.describe()["count"] == 300


KILLED_SAVE = """
import os, signal, sys
import faiss, numpy
from retrievers.library import Library
from retrievers.vectors import VectorIndex

folder, points = sys.argv[1], int(sys.argv[2])

def save(kill_at):
    '''Save in a child that kills itself at its n-th opening, renaming or removing of a file.'''
    child = os.fork()
    if child == 0:
        library = Library.open(folder)
        index = VectorIndex(library, "text", "passage")
        index.refresh()
        seen = 0
        def hook(event, arguments):
            nonlocal seen
            if event in ("open", "os.rename", "os.remove") and folder in str(arguments[0]):
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        index.refresh(save=True)
        os._exit(0)
    return os.waitpid(child, 0)[1]

for n in range(1, points + 1):
    print(n, save(n), flush=True)
    sys.stdin.readline()
"""


def test_killed_at_any_write_there_is_the_old_index_or_the_new_one(library: Library) -> None:
    VectorIndex(library, "text", "passage").refresh(save=True)
    put(library, "second", rows_of(5, 7))  # the file on disk is of 300, to be replaced by 305
    old = VectorIndex(library, "text", "passage")
    saved = {path: path.read_bytes() for path in (old.path, index_file(old))}
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED_SAVE, str(library.folder), "20"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    outcomes = []
    with child, child.stdin, child.stdout:
        for line in child.stdout:
            _, status = line.split()
            outcomes.append((int(status), json.loads(old.path.read_bytes())["count"]))
            fresh = VectorIndex(library, "text", "passage")
            fresh.refresh()
            told = fresh.describe()
            assert (told["origin"], told["count"]) == ("loaded", 305)
            for path in library.folder.glob("*.faiss"):
                path.unlink()
            for path, data in saved.items():
                path.write_bytes(data)
            child.stdin.write("\n")
            child.stdin.flush()
    assert len(outcomes) == 20
    killed = [count for status, count in outcomes if status == 9]
    assert set(killed) == {300, 305}  # kills before and after the switch, and never anything else
    assert outcomes[-1] == (0, 305)  # past the last write: the kills covered them all


def test_threads_search_while_the_library_changes(library: Library) -> None:
    index = VectorIndex(library, "text", "passage")
    wrong: list[object] = []
    done = threading.Event()
    stays = rows_of(300, 1)

    def search() -> None:
        dice = random.Random()
        while not done.is_set():
            at = dice.randrange(300)
            (found,) = index.search(stays[at : at + 1], 1)
            if found[0][0] != at + 1:
                wrong.append((at, found))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for step in range(15):
        put(library, "moving", rows_of(40, 50 + step) * 0.5 + 0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
