"""Each file is in the library once, as it is now, whatever interrupts the work."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from retrievers.encoders import Encoder
from retrievers.encoders.registry import load_encoder
from retrievers.errors import EncoderMismatch, SourceRefused
from retrievers.evidence import Kind
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.pipeline import IngestEvent, Ingestor, Report
from retrievers.library import Library

PLAIN = ParseOptions(ocr=False)
Draw = Callable[..., Image.Image]
Ingest = Callable[..., Report]


@pytest.fixture(scope="module")
def encoders() -> tuple[Encoder, Encoder]:
    """The embedded default encoders."""
    return load_encoder("wordllama"), load_encoder("descriptor")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """An empty library."""
    return Library.open(tmp_path / "library", create=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to ingest."""
    path = tmp_path / "files"
    path.mkdir()
    return path


@pytest.fixture
def ingest(library: Library, encoders: tuple[Encoder, Encoder]) -> Ingest:
    """Run an ingestion with the default encoders and two processes."""

    def run(*paths: Path, options: ParseOptions = PLAIN, **given: object) -> Report:
        ingestor = Ingestor(library, *encoders, workers=2, options=options)
        return ingestor.run(list(paths), **given)  # type: ignore[arg-type]

    return run


def _names(library: Library) -> list[str]:
    return [Path(source.name).name for source in library.sources() if source.state == "indexed"]


def _found(library: Library, text: str) -> list[str]:
    kinds: tuple[Kind, ...] = ("passage", "picture")
    ids = [id for kind in kinds for id, _ in library.search_words(text, kind=kind, k=5)]
    return sorted({Path(e.source).name for e in library.evidence(ids).values()})


def test_a_folder_is_ingested_and_found_by_words(
    folder: Path, library: Library, ingest: Ingest, photo: Draw
) -> None:
    (folder / "sub").mkdir()
    (folder / "a.md").write_text("# Birds\n\nHerons nest at Marn.\n")
    (folder / "sub" / "B.TXT").write_text("The ferry leaves at noon.")
    photo().save(folder / "sub" / "red_kite.jpg")
    events: list[IngestEvent] = []
    report = ingest(folder, on_event=events.append)
    assert (report.indexed, report.unchanged, report.skipped) == (3, 0, [])
    assert (report.passages, report.pictures) == (2, 1)
    assert _names(library) == ["a.md", "B.TXT", "red_kite.jpg"]
    assert _found(library, "herons") == ["a.md"]
    assert _found(library, "kite") == ["red_kite.jpg"]
    assert library.counts().vectors == {"text": 3, "look": 1}
    states = [e.state for e in events if e.state != "progress"]
    assert states == ["start", "indexed", "indexed", "indexed", "end"]
    assert (events[-1].done, events[-1].total, events[-1].bytes_done) == (
        3,
        3,
        events[-1].bytes_total,
    )


def test_unchanged_files_cost_nothing_and_changed_ones_replace_their_passages(
    folder: Path, library: Library, ingest: Ingest
) -> None:
    for number in range(3):
        (folder / f"n{number}.md").write_text(f"The old word number{number} stands here.")
    ingest(folder)
    version = library.version
    assert ingest(folder).unchanged == 3
    assert library.version == version
    os.utime(folder / "n0.md", ns=(1, 1))  # a new time, the same content
    (folder / "n1.md").write_text("A fresh sentence.")
    report = ingest(folder)
    assert (report.indexed, report.unchanged) == (1, 2)
    assert _found(library, "number1") == []
    assert _found(library, "fresh") == ["n1.md"]
    assert library.counts().passages == 3


def test_the_same_content_under_two_names_is_two_sources(
    folder: Path, library: Library, ingest: Ingest
) -> None:
    for name in ("a.md", "b.md"):
        (folder / name).write_text("The same words.")
    assert ingest(folder).indexed == 2
    assert _found(library, "same words") == ["a.md", "b.md"]


def test_prune_drops_what_is_gone_and_only_under_the_given_folders(
    tmp_path: Path, folder: Path, library: Library, ingest: Ingest
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in (folder / "a.md", folder / "b.md", other / "c.md"):
        path.write_text(f"Words of {path.stem}.")
    ingest(folder, other)
    (folder / "a.md").unlink()
    (other / "c.md").unlink()
    assert ingest(folder).removed == 0
    assert ingest(folder, prune=True).removed == 1
    assert _names(library) == ["b.md", "c.md"]


def test_a_missing_path_is_refused_before_any_work(
    folder: Path, library: Library, ingest: Ingest
) -> None:
    (folder / "a.md").write_text("Words.")
    with pytest.raises(SourceRefused, match="absent"):
        ingest(folder, folder / "absent")
    assert library.sources() == []


def test_what_is_passed_over_is_said_with_the_reason(
    tmp_path: Path, folder: Path, ingest: Ingest
) -> None:
    (tmp_path / "outside.md").write_text("Outside.")
    (folder / "good.md").write_text("Inside.")
    (folder / ".hidden.md").write_text("x")
    (folder / "data.xyz").write_text("x")
    (folder / "empty.md").write_text("")
    (folder / "out.md").symlink_to(tmp_path / "outside.md")
    (folder / "in.md").symlink_to(folder / "good.md")
    (folder / "dead.md").symlink_to(folder / "nothing.md")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.md")
    report = ingest(folder)
    reasons = {Path(name).name: reason for name, reason in report.skipped}
    assert reasons == {
        ".hidden.md": "hidden",
        "data.xyz": "no known kind of file (.xyz)",
        "empty.md": "an empty file",
        "out.md": "a link that leads out of the folder",
        "dead.md": "a link that leads nowhere",
        "loop": "a link to a folder",
        "pipe.md": "not a regular file",
    }
    assert report.indexed == 2


def test_a_poisoned_file_is_listed_and_not_tried_again_until_it_changes(
    folder: Path, library: Library, ingest: Ingest
) -> None:
    bad = folder / "bad.pdf"
    bad.write_bytes(b"%PDF-1.4 broken")
    for number in range(4):
        (folder / f"n{number}.md").write_text(f"Word {number}.")
    report = ingest(folder)
    assert (report.indexed, report.skipped) == (4, [(str(bad), "a malformed PDF file")])
    version = library.version
    again = ingest(folder)
    assert (again.unchanged, again.skipped) == (4, report.skipped)
    assert library.version == version  # it was not tried
    assert ingest(folder, retry=True).skipped == report.skipped
    assert library.version > version  # now it was
    bad.write_text("%PDF-1.4 broken otherwise")
    assert len(ingest(folder).skipped) == 1


def test_a_file_that_turns_bad_loses_its_old_passages(
    folder: Path, library: Library, ingest: Ingest
) -> None:
    path = folder / "a.md"
    path.write_text("Herons.")
    ingest(folder)
    path.write_text("")
    assert ingest(folder).skipped == [(str(path), "an empty file")]
    assert _found(library, "herons") == []


def test_documents_tell_of_pictures_and_sidecars_are_no_sources(
    folder: Path, library: Library, ingest: Ingest, photo: Draw
) -> None:
    photo(seed=1).save(folder / "p1.jpg")
    photo(seed=2).save(folder / "p2.jpg")
    (folder / "p2.txt").write_text("Grandmother in the orchard.")
    (folder / "trip.md").write_text("We saw it soar.\n\n![An osprey](p1.jpg)\n\nThen rain.")
    ingest(folder)
    assert _names(library) == ["p1.jpg", "p2.jpg", "trip.md"]
    assert "p1.jpg" in _found(library, "osprey")
    assert _found(library, "grandmother") == ["p2.jpg"]
    assert ingest(folder).unchanged == 3
    (folder / "p2.txt").write_text("Grandfather in the orchard.")
    (folder / "trip.md").write_text("We saw it soar.\n\n![A buzzard](p1.jpg)\n\nThen rain.")
    assert ingest(folder).indexed == 3
    assert _found(library, "grandmother") == []
    assert "p1.jpg" in _found(library, "buzzard")


def test_a_text_that_becomes_a_sidecar_is_no_source_any_more(
    folder: Path, library: Library, ingest: Ingest, photo: Draw
) -> None:
    (folder / "p.txt").write_text("Grandmother.")
    ingest(folder)
    photo().save(folder / "p.jpg")
    assert ingest(folder).removed == 1
    assert _found(library, "grandmother") == ["p.jpg"]


def test_one_document_brings_the_pictures_it_shows(
    folder: Path, library: Library, ingest: Ingest, photo: Draw
) -> None:
    photo().save(folder / "p1.jpg")
    photo(seed=2).save(folder / "other.jpg")
    (folder / "trip.md").write_text("Text.\n\n![An osprey](p1.jpg)")
    ingest(folder / "trip.md")
    assert _names(library) == ["p1.jpg", "trip.md"]


def test_a_library_of_another_encoder_is_refused(
    folder: Path, library: Library, ingest: Ingest, encoders: tuple[Encoder, Encoder]
) -> None:
    (folder / "a.md").write_text("Words.")
    ingest(folder)
    with pytest.raises(EncoderMismatch):
        Ingestor(library, encoders[1], encoders[1], options=PLAIN).run([folder])


def test_a_run_that_is_stopped_keeps_what_it_stored_and_goes_on_later(
    folder: Path, library: Library, encoders: tuple[Encoder, Encoder]
) -> None:
    for number in range(12):
        (folder / f"n{number:02}.md").write_text(f"Word {number}.")
    ingestor = Ingestor(library, *encoders, workers=2, options=PLAIN)

    def stop(event: IngestEvent) -> None:
        if event.state == "indexed" and event.done == 5:
            ingestor.stop()

    first = ingestor.run([folder], on_event=stop)
    assert first.stopped
    assert first.indexed == len(_names(library)) == 5
    second = ingestor.run([folder])
    assert (second.unchanged, second.indexed, second.stopped) == (5, 7, False)


RUN = """
import sys
from retrievers.encoders.registry import load_encoder
from retrievers.evidence import Kind
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.pipeline import Ingestor
from retrievers.library import Library

def say(event):
    print(event.state, event.file, flush=True)

with Library.open(sys.argv[1], create=True) as library:
    encoders = load_encoder("wordllama"), load_encoder("descriptor")
    options = ParseOptions(ocr=False)
    Ingestor(library, *encoders, workers=2, options=options).run([sys.argv[2]], on_event=say)
"""


def _interrupted(
    target: Path, folder: Path, temporary: Path, after: int, number: signal.Signals
) -> list[str]:
    """Ingest in a process that is ended after some files; return those it said were stored."""
    root = Path(__file__).resolve().parents[3]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "TMPDIR": str(temporary),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", RUN, str(target), str(folder)]
    stored = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            state, _, name = line.strip().partition(" ")
            if state == "indexed":
                stored.append(name)
            if state in ("start", "indexed") and len(stored) == after:
                process.send_signal(number)
                after = -1
    return stored


def test_ingestion_that_is_killed_at_random_points_stores_each_file_once(
    tmp_path: Path, folder: Path, library: Library, ingest: Ingest
) -> None:
    """After 8 kills and Ctrl-Cs, 36 files are there once, 4 poisoned ones are listed, none is lost.

    The parsing processes end with their parent and leave no temporary file.
    """
    chance = random.Random(20)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    for number in range(40):
        if number % 10 == 3:
            (folder / f"n{number:02}.pdf").write_bytes(b"%PDF-1.5 broken")
        else:
            text = f"Note {number} has the word unique{number}.\n\n" * chance.randint(1, 40)
            (folder / f"n{number:02}.md").write_text(text)
    kept: set[str] = set()
    for turn in range(8):
        number = signal.SIGINT if turn % 3 == 2 else signal.SIGKILL
        stored = _interrupted(library.folder, folder, temporary, chance.randint(0, 5), number)
        kept.update(stored)
        assert kept <= {s.name for s in library.sources() if s.state == "indexed"}
    assert len(kept) >= 8  # the kills came in the middle of work
    last = ingest(folder)
    assert len(last.skipped) == 4
    assert last.indexed + last.unchanged == 36
    assert len(_names(library)) == 36
    assert library.check() == []
    for number in (0, 11, 39):
        assert _found(library, f"unique{number}") == [f"n{number:02}.md"]
    texts = library.counts()
    assert texts.vectors["text"] == texts.passages
    limit = time.monotonic() + 60
    while list(temporary.iterdir()) and time.monotonic() < limit:
        time.sleep(0.05)
    assert list(temporary.iterdir()) == []
