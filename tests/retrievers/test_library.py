"""A library holds what it was given, finds it, and refuses what would break it."""

import hashlib
import io
import os
import random
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrievers import postings
from retrievers.document import Document, Passage, Picture
from retrievers.encoders import Modality
from retrievers.errors import EncoderMismatch, LibraryError
from retrievers.evidence import Box, Line, Vectors
from retrievers.library import Library, Source
from retrievers.words import indexed, match_any, terms


class CountingEncoder:
    """Vectors that say how long a text is and how bright a picture: enough to tell them apart."""

    modalities: frozenset[Modality] = frozenset(("text", "picture"))
    dense_weight = 0.5

    def __init__(self, name: str = "counting", dimension: int = 3) -> None:
        self.name, self.dimension = name, dimension

    def encode_texts(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        return self._rows([float(len(text)) for text in texts])

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> Vectors:
        return self._rows([float(np.asarray(picture).mean()) for picture in pictures])

    def _rows(self, values: list[float]) -> Vectors:
        rows = np.ones((len(values), self.dimension), dtype=np.float32)
        rows[:, 0] = values
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def png(colour: str) -> tuple[str, bytes]:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(out, "PNG")
    return hashlib.sha256(out.getvalue()).hexdigest(), out.getvalue()


RED, BLUE = png("red"), png("blue")
ENCODER = CountingEncoder()


def source(name: str = "/papers/bees.md") -> Source:
    return Source(name, sha256="0" * 64, size=10, mtime_ns=20, kind="markdown")


def picture(sha256: str, caption: str = "", *lines: str) -> Picture:
    read = tuple(Line(text, Box(0.1, 0.2, 0.9, 0.3), 0.9) for text in lines)
    words = {"caption": caption} if caption else {}
    return Picture(sha256, "image/png", 8, 6, "figure", 2, Box(0, 0, 0.5, 0.5), words, read)


BEES = Document(
    "On bees",
    (
        Passage("Bees dance to tell where flowers are.", 1, "Bees > Dancing"),
        Passage("A hive holds one queen.", 2, "Bees > Hives"),
        Passage("Honey keeps for years.", 2, "Bees > Honey"),
    ),
    (picture(RED[0], "a red hive", "HIVE No 7"), picture(BLUE[0])),
    pages=2,
)
BLOBS = dict([RED, BLUE])


def store(library: Library, given: Source, document: Document) -> None:
    library.claim("text", ENCODER)
    library.claim("look", ENCODER)
    texts = [p.text for p in document.passages] + [p.text for p in document.pictures]
    rows = ENCODER.encode_texts(texts)
    rows[[not text for text in texts]] = 0
    looks = ENCODER.encode_pictures([Image.new("RGB", (2, 2))] * len(document.pictures))
    blobs = {p.sha256: BLOBS[p.sha256] for p in document.pictures}
    library.replace(given, document, blobs, {"text": rows, "look": looks})


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as opened:
        yield opened


@pytest.fixture
def bees(library: Library) -> Library:
    store(library, source(), BEES)
    return library


def found(library: Library, words: str, kind: str = "passage") -> list[str]:
    ids = [id for id, _ in library.search_words(words, kind=kind, k=9)]  # type: ignore[arg-type]
    return [library.evidence([id])[id].text for id in ids]


def media_files(library: Library) -> set[str]:
    return {path.name for path in (library.folder / "media").rglob("*") if path.is_file()}


def test_what_was_put_in_comes_out_whole(bees: Library) -> None:
    held = bees.evidence(["passage:1", "picture:4", "picture:5"])
    assert held["passage:1"].text == BEES.passages[0].text
    assert (held["passage:1"].page, held["passage:1"].heading) == (1, "Bees > Dancing")
    shown = held["picture:4"]
    assert (shown.caption, shown.media, shown.size, shown.page) == ("a red hive", RED[0], (8, 6), 2)
    assert shown.lines == BEES.pictures[0].lines
    assert shown.box == Box(0, 0, 0.5, 0.5)
    assert bees.media(RED[0]) == RED[1]
    listed = bees.sources()[0]
    assert (listed.passages, listed.pictures, listed.pages, listed.title) == (3, 2, 2, "On bees")
    assert listed.indexed_at > 0
    counts = bees.counts()
    assert (counts.sources, counts.passages, counts.pictures, counts.skipped) == (1, 3, 2, 0)
    assert counts.vectors == {"text": 4, "look": 2}
    assert counts.bytes > len(RED[1])


def test_an_id_of_the_wrong_kind_or_of_no_item_is_left_out(bees: Library) -> None:
    asked = ["picture:1", "passage:2", "passage:99", "passage:x", "other:1", "passage:" + "9" * 40]
    assert list(bees.evidence(asked)) == ["passage:2"]


def test_evidence_comes_in_the_order_it_was_asked_for(bees: Library) -> None:
    assert list(bees.evidence(["passage:3", "passage:1"])) == ["passage:3", "passage:1"]


def test_replacing_drops_the_old_and_never_gives_a_number_twice(bees: Library) -> None:
    before = bees.version
    store(bees, source(), Document("On bees", (Passage("Wasps are no bees."),)))
    assert bees.version > before
    assert list(bees.evidence([f"passage:{n}" for n in range(1, 20)])) == ["passage:6"]
    assert found(bees, "flowers") == []
    assert found(bees, "wasps") == ["Wasps are no bees."]
    assert bees.counts().vectors == {"text": 1, "look": 0}
    assert media_files(bees) == set()
    assert bees.check() == []


def test_a_picture_that_another_source_uses_keeps_its_file(bees: Library) -> None:
    store(bees, source("/other.md"), Document(pictures=(picture(RED[0]),)))
    bees.forget("/papers/bees.md")
    assert media_files(bees) == {RED[0]}
    bees.forget("other.md")
    assert media_files(bees) == set()
    assert bees.counts().pictures == 0


def test_skipping_records_why_and_drops_what_was_there(bees: Library) -> None:
    bees.skip(source(), "encrypted: give a file without a password")
    held = bees.source("/papers/bees.md")
    assert held is not None
    assert (held.state, held.reason) == ("skipped", "encrypted: give a file without a password")
    assert (bees.counts().skipped, bees.counts().sources, bees.counts().passages) == (1, 0, 0)


def test_touching_changes_the_stat_and_nothing_else(bees: Library) -> None:
    bees.touch("/papers/bees.md", size=11, mtime_ns=21)
    held = bees.source("/papers/bees.md")
    assert held is not None
    assert (held.size, held.mtime_ns, held.passages) == (11, 21, 3)


def test_forgetting_an_unknown_source_names_the_nearest(bees: Library) -> None:
    with pytest.raises(LibraryError, match=r"bee\.md: no such source.*did you mean /papers/bees"):
        bees.forget("bee.md")
    store(bees, source("/more/bees.md"), Document("", (Passage("more"),)))
    with pytest.raises(LibraryError, match="several sources have this name"):
        bees.forget("bees.md")


def test_forgetting_takes_a_relative_path_or_a_unique_end_of_a_path(
    bees: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here, deep, other = f"{tmp_path}/a/note.md", "/x/a/note.md", "/y/b/note.md"
    for name in (here, deep, other, "/z/ab/note.md"):
        store(bees, source(name), Document("", (Passage("a note"),)))
    for given, gone in (("./a/note.md", here), ("a/note.md", deep), ("b/note.md", other)):
        bees.forget(given)
        assert bees.source(gone) is None
    assert bees.source("/z/ab/note.md") is not None
    store(bees, source(other), Document("", (Passage("a note"),)))
    with pytest.raises(LibraryError, match=r"several sources .*: /y/b/note\.md, /z/ab/note\.md"):
        bees.forget("note.md")


@pytest.mark.parametrize("name", ["", " ", "."])
def test_forgetting_nothing_asks_for_a_name(bees: Library, name: str) -> None:
    with pytest.raises(LibraryError, match=r"give a source's name; `bifocal sources` lists them"):
        bees.forget(name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_library_in_a_read_only_folder_says_who_must_be_let_in(bees: Library) -> None:
    bees.close()
    for path in bees.folder.glob("library.*"):
        path.chmod(0o444)
    bees.folder.chmod(0o555)
    try:
        with (
            pytest.raises(LibraryError, match="cannot be written: give this user write access"),
            Library.open(bees.folder) as opened,
        ):
            opened.forget("/papers/bees.md")
    finally:
        bees.folder.chmod(0o755)


def test_a_database_that_may_only_be_read_says_who_must_be_let_in(bees: Library) -> None:
    """SQLite's own switch makes it read-only here, as root may write any file."""
    with bees._connection() as connection:
        connection.execute("PRAGMA query_only = ON")
    with pytest.raises(LibraryError, match="cannot be written: give this user write access"):
        bees.forget("/papers/bees.md")


def test_words_are_found_by_stem_in_text_heading_title_and_file_name(bees: Library) -> None:
    assert found(bees, "dances")[0] == BEES.passages[0].text
    assert found(bees, "a hive") == [BEES.passages[1].text]
    assert sorted(found(bees, "Hives")) == [BEES.passages[1].text]
    assert found(bees, "hive", "picture") == ["a red hive\nHIVE No 7"]
    assert len(found(bees, "bees")) == 3


def test_a_word_in_the_title_counts_more_than_in_the_text(library: Library) -> None:
    for n, (title, word) in enumerate([("Walks", "birds"), ("Birds", "walks")]):
        document = Document(title, (Passage(f"of many kinds of {word} and beasts"),))
        store(library, source(f"/{n}"), document)
    assert found(library, "birds")[0].endswith("walks and beasts")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        '"',
        'hive" OR "queen',
        "hive NEAR(queen)",
        "text:hive AND NOT queen*",
        "{heading text}: ^hive",
        "hive\x00queen",
        "hive \ud800 queen",
        "); DROP TABLE items; --",
        "'" * 500,
        "()" * 500,
        "ﬁ " * 300,
        " ".join(f"word{n}" for n in range(3000)),
        "🐝" * 50,
        "_ - + * ^ : .",
    ],
)
def test_any_text_is_a_safe_query(bees: Library, query: str) -> None:
    for id, score in bees.search_words(query, kind="passage", k=3):
        assert id.startswith("passage:")
        assert score > 0
    bees.rarity([query])
    assert bees.counts().passages == 3


def by_fts5(library: Library, text: str, kind: str, k: int) -> list[tuple[str, float]]:
    """The reference: FTS5's own BM25 of all words of a query at once."""
    with sqlite3.connect(library.folder / "library.sqlite") as connection:
        rows = connection.execute(
            "SELECT words.rowid, -rank FROM words JOIN items ON items.id = words.rowid"
            " WHERE words MATCH ? AND rank MATCH 'bm25(2.0, 1.0, 1.0)' AND kind = ?"
            " ORDER BY rank, words.rowid LIMIT ?",
            (match_any(terms(text)), kind, k),
        ).fetchall()
    connection.close()
    return [(f"{kind}:{number}", score) for number, score in rows]


@pytest.mark.parametrize("kept", [0, 50, 2_000_000])
def test_words_searched_for_apart_rank_as_fts5_ranks_them_together(
    library: Library, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same ids, same scores, equals in the same order: cold, warm, after a write, and however few
    postings are kept."""
    monkeypatch.setattr(postings, "KEPT", kept)
    drawn = random.Random(7)
    words = [f"word{n}" for n in range(40)]

    def text() -> str:
        return " ".join(drawn.choices(words, [1 / (n + 1) for n in range(40)], k=8))

    for number in range(4):
        shown = tuple(picture(RED[0], text()) for _ in range(5))
        document = Document(
            text(), tuple(Passage(text(), heading=text()) for _ in range(30)), shown
        )
        store(library, source(f"/papers/{number}.md"), document)
        for question in [text() for _ in range(6)] * 2:
            for kind, k in (("passage", 10), ("picture", 3), ("passage", 1000)):
                expected = by_fts5(library, question, kind, k)
                assert library.search_words(question, kind=kind, k=k) == expected  # type: ignore[arg-type]
    library.forget("/papers/0.md")
    assert library.search_words("word0", kind="passage", k=99) == by_fts5(
        library, "word0", "passage", 99
    )


def test_threads_that_search_while_another_writes_find_what_is_there(library: Library) -> None:
    """Each of 4 threads sees, of every source, all of its passages or none."""
    store(library, source("/papers/0.md"), Document("", (Passage("bee"),) * 5))
    counts: list[int] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            counts.append(len(library.search_words("bee", kind="passage", k=1000)))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 20):
        store(library, source(f"/papers/{number}.md"), Document("", (Passage("bee"),) * 5))
    done.set()
    for thread in threads:
        thread.join()
    assert counts
    assert all(count % 5 == 0 for count in counts)
    assert len(library.search_words("bee", kind="passage", k=1000)) == 100


def test_stop_words_count_only_when_nothing_else_is_left() -> None:
    assert terms("What is the Queen of the hive?") == ["queen", "hive"]
    assert terms("who is it") == ["who", "is", "it"]


def test_of_a_long_query_the_rarest_words_count(bees: Library) -> None:
    query = " ".join(f"unknown{n}" for n in range(200)) + " queen"
    assert found(bees, query) == [BEES.passages[1].text]


def test_scripts_without_spaces_are_found_by_neighbouring_characters(library: Library) -> None:
    document = Document("", (Passage("中文检索系统很快"), Passage("検索エンジン"), Passage("文中")))
    store(library, source(), document)
    assert found(library, "检索") == ["中文检索系统很快"]
    assert found(library, "中文") == ["中文检索系统很快"]
    assert found(library, "エンジン") == ["検索エンジン"]
    assert sorted(found(library, "文")) == ["中文检索系统很快", "文中"]


def test_ligatures_and_accents_do_not_hide_words(library: Library) -> None:
    store(library, source(), Document("", (Passage("The o\ufb03ce of M\u00fcller"),)))
    assert len(found(library, "office")) == 1
    assert len(found(library, "muller")) == 1
    assert indexed("\uff11\uff12") == "12"


def test_rarity_is_the_idf_of_a_words_stem_and_largest_for_absent_words(bees: Library) -> None:
    rare = bees.rarity(["queens", "queen", "zebra", "bees"])
    assert rare["queens"] == rare["queen"] == pytest.approx(np.log((5 - 1 + 0.5) / 1.5))
    assert rare["zebra"] == pytest.approx(np.log(5.5 / 0.5))
    assert rare["bees"] == 1e-6


def test_vectors_come_back_by_item_and_a_row_of_zeros_is_none(bees: Library) -> None:
    ids, rows = bees.vectors("text", "passage")
    assert ids.tolist() == [1, 2, 3]
    assert rows == pytest.approx(ENCODER.encode_texts([p.text for p in BEES.passages]))
    assert bees.vectors("text", "picture")[0].tolist() == [4]
    assert bees.vectors("text", "passage", [2, 99])[0].tolist() == [2]
    assert bees.vectors("nothing", "passage")[1].shape == (0, 0)


def test_another_encoder_is_refused_and_the_error_says_what_to_do(bees: Library) -> None:
    with pytest.raises(EncoderMismatch, match=r"counting, not other.*bifocal reencode"):
        bees.claim("text", CountingEncoder("other"))


def test_a_space_without_vectors_may_be_claimed_anew(library: Library) -> None:
    library.claim("text", CountingEncoder("one"))
    library.claim("text", CountingEncoder("two", 5))
    assert library.space("text") == ("two", 5)


def test_reencoding_makes_every_vector_anew(bees: Library) -> None:
    other = CountingEncoder("other", 7)
    assert list(bees.reencode("text", other, batch=2)) == [2, 4, 5]
    assert bees.space("text") == ("other", 7)
    assert bees.vectors("text", "passage")[1].shape == (3, 7)
    assert bees.vectors("text", "picture")[0].tolist() == [4]
    list(bees.reencode("look", other))
    brightness = other.encode_pictures([Image.new("RGB", (8, 6), c) for c in ("red", "blue")])
    assert bees.vectors("look", "picture")[1] == pytest.approx(brightness)


def test_reencoding_that_is_cut_short_leaves_the_old_space_and_goes_on(bees: Library) -> None:
    other = CountingEncoder("other", 7)
    steps = bees.reencode("text", other, batch=2)
    assert next(steps) == 2
    steps.close()  # type: ignore[attr-defined]
    assert bees.space("text") == ("counting", 3)
    assert bees.vectors("text", "passage")[0].tolist() == [1, 2, 3]
    store(bees, source("/new.md"), Document("", (Passage("added meanwhile"),)))
    assert list(bees.reencode("text", other, batch=2)) == [2, 4]
    assert bees.vectors("text", "passage")[0].tolist() == [1, 2, 3, 6]


def test_a_writer_whose_space_was_reencoded_meanwhile_is_refused(bees: Library) -> None:
    with Library.open(bees.folder) as elsewhere:
        list(elsewhere.reencode("text", CountingEncoder("other", 3)))
    with pytest.raises(EncoderMismatch, match="other, not counting"):
        bees.replace(source(), BEES, BLOBS, {"text": np.ones((5, 3), np.float32)})
    assert bees.counts().vectors["text"] == 4


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        ({"text": np.ones((4, 3), np.float32)}, "shape"),
        ({"text": np.ones((5, 4), np.float32)}, "shape"),
        ({"text": np.full((5, 3), np.nan, np.float32)}, "not finite"),
        ({"smell": np.ones((2, 3), np.float32)}, "claim"),
    ],
)
def test_vectors_that_do_not_fit_are_refused_and_nothing_changes(
    bees: Library, vectors: dict[str, Vectors], match: str
) -> None:
    before = bees.version
    with pytest.raises(LibraryError, match=match):
        bees.replace(source(), BEES, BLOBS, vectors)
    assert bees.version == before
    assert found(bees, "queen") == [BEES.passages[1].text]


def test_bytes_of_another_hash_and_missing_bytes_are_refused(library: Library) -> None:
    with pytest.raises(LibraryError, match="another hash"):
        library.replace(source(), BEES, {RED[0]: BLUE[1]}, {})
    with pytest.raises(LibraryError, match="were not given"):
        library.replace(source(), BEES, {}, {})
    with pytest.raises(LibraryError, match="not the SHA-256"):
        library.replace(source(), BEES, {"../../etc/passwd": b"x"}, {})
    assert media_files(library) == set()
    assert library.sources() == []


def test_media_that_is_gone_or_damaged_says_so(bees: Library) -> None:
    path = bees.folder / "media" / RED[0][:2] / RED[0]
    path.write_bytes(b"x" + RED[1][1:])
    with pytest.raises(LibraryError, match=r"damaged.*ingest its source again"):
        bees.media(RED[0])
    path.unlink()
    with pytest.raises(LibraryError, match=r"gone.*ingest its source again"):
        bees.media(RED[0])
    assert len(bees.check()) == 1


def test_sweeping_deletes_what_a_killed_writer_left(bees: Library) -> None:
    stray = bees.folder / "media" / "ab" / ("ab" + "0" * 62)
    stray.parent.mkdir()
    stray.write_bytes(b"left behind")
    assert bees.sweep() == 1
    assert media_files(bees) == {RED[0], BLUE[0]}


def test_text_that_utf8_cannot_hold_is_taken(library: Library) -> None:
    odd = source("/odd\udcff\x00.md")
    store(library, odd, Document("t\x00", (Passage("half \ud800 and \x00 nul"),)))
    assert found(library, "nul") == ["half   and   nul"]
    assert library.source(odd.name) is not None
    store(library, odd, Document("", (Passage("again"),)))
    assert library.counts().sources == 1
    library.forget(odd.name)
    assert library.sources() == []


def test_opening_what_is_no_library_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no library here; make one with `bifocal ingest`"):
        Library.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 9, b""])
def test_opening_a_file_that_is_no_library_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "library.sqlite").write_bytes(content)
    with pytest.raises(LibraryError, match=str(tmp_path)):
        Library.open(tmp_path)


def test_the_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "library.sqlite")
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with pytest.raises(LibraryError, match="something else"):
        Library.open(tmp_path, create=True)


def test_a_library_of_a_newer_version_is_refused(bees: Library) -> None:
    bees.close()
    connection = sqlite3.connect(bees.folder / "library.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LibraryError, match=r"newer version.*schema 99"):
        Library.open(bees.folder)


def test_a_closed_library_says_so(bees: Library) -> None:
    bees.close()
    with pytest.raises(LibraryError, match="was closed"):
        bees.sources()


def test_threads_read_while_one_writes(bees: Library) -> None:
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            ids = [id for id, _ in bees.search_words("queen", kind="passage", k=5)]
            if len(ids) != 1:  # old or new, never none and never both
                wrong.append(ids)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for _ in range(20):
        store(bees, source(), BEES)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert bees.check() == []
