"""The demo's files: complete, small, made by the generator, and true to the demo's questions."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bot.demo import DemoQuestion, copy_library, library_files, questions

ROOT = Path(__file__).resolve().parents[2]
CAP = 1_500_000
PICTURES = (".jpg", ".png", ".webp")
PLAIN = (".md", ".html", ".csv", ".txt")
QUESTIONS = questions()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as a user of the package gets it."""
    folder = tmp_path_factory.mktemp("demo") / "library"
    copy_library(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the generator writes here and now."""
    out = tmp_path_factory.mktemp("made")
    command = [sys.executable, str(ROOT / "tests" / "pocket" / "make_demo.py"), str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    return out


def upright(path: Path) -> Image.Image:
    """The picture as people see it."""
    with Image.open(path) as opened:
        return ImageOps.exif_transpose(opened).convert("RGB")


def pages(path: Path) -> list[str]:
    """The text of each page of a PDF, with single spaces."""
    document = pypdfium2.PdfDocument(path)
    try:
        texts = []
        for page in document:
            text = page.get_textpage()
            texts.append(" ".join(text.get_text_range().split()))
            text.close()
            page.close()
        return texts
    finally:
        document.close()


def layout(path: Path) -> NDArray[np.float64]:
    """Colours of a 6 by 6 thumbnail without their mean: ``(108,) float64``, L2-normalised."""
    small = np.asarray(upright(path).resize((6, 6), Image.Resampling.BOX), np.float64).ravel()
    small -= small.mean()
    return np.asarray(small / np.linalg.norm(small))


def test_package_holds_the_files_that_the_generator_makes(made: Path, library: Path) -> None:
    """No file is missing, and none was added by hand."""
    names = [name for name, _ in library_files()]
    assert names == sorted(p.name for p in (made / "library").iterdir())
    assert names == sorted(p.name for p in library.iterdir())
    sent = {q.picture.name for q in QUESTIONS if q.picture}
    assert sent == {p.name for p in (made / "questions").iterdir()}
    shipped = (ROOT / "bot" / "demo" / "questions.json").read_text(encoding="utf-8")
    assert shipped == (made / "questions.json").read_text(encoding="utf-8")


def test_words_are_those_of_the_generator(made: Path, library: Path) -> None:
    """Text files are equal byte for byte, the PDF page by page."""
    compared = 0
    for path in library.iterdir():
        twin = made / "library" / path.name
        if path.suffix in PLAIN:
            assert path.read_bytes() == twin.read_bytes(), path.name
            compared += 1
        elif path.suffix == ".pdf":
            assert pages(path) == pages(twin)
            compared += 1
    assert compared == 5


def test_pictures_are_those_of_the_generator(made: Path, library: Path) -> None:
    """Pictures have the same size and, but for the encoder's rounding, the same pixels."""
    pairs = [(p, made / "library" / p.name) for p in library.iterdir() if p.suffix in PICTURES]
    pairs += [(q.picture, made / "questions" / q.picture.name) for q in QUESTIONS if q.picture]
    assert len(pairs) == 12
    for shipped, twin in pairs:
        ours, theirs = upright(shipped), upright(twin)
        assert ours.size == theirs.size, shipped.name
        apart = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).mean()
        assert apart < 3, shipped.name


def test_demo_is_small() -> None:
    """The package carries less than 1.5 MB for its demo."""
    folder = ROOT / "bot" / "demo"
    total = sum(
        p.stat().st_size for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts
    )
    assert 200_000 < total < CAP


def test_lighthouse_lies_on_its_side_and_exif_says_so(library: Path) -> None:
    """EXIF orientation 6 turns the stored 960 by 720 into an upright 720 by 960."""
    with Image.open(library / "lighthouse.jpg") as stored:
        exif = stored.getexif()
        assert stored.size == (960, 720)
    assert exif[0x0112] == 6
    assert exif[0x010E] == "The lighthouse of Skerrin Head at dusk, seen from the coast path"
    assert exif.get_ifd(0x8769)[0x9003] == "2022:10:14 18:42:00"
    assert "lighthouse; tower" in exif[0x9C9E].decode("utf-16-le")
    seen = upright(library / "lighthouse.jpg")
    assert seen.size == (720, 960)
    sky, ground = seen.getpixel((20, 20)), seen.getpixel((20, 940))
    assert isinstance(sky, tuple)
    assert isinstance(ground, tuple)
    assert sky[2] > 70 > ground[2], "the sky is above the ground"


def test_boat_picture_says_where_and_what_it_is(library: Path) -> None:
    """EXIF of the boat's picture has its name and a GPS place."""
    with Image.open(library / "north-quay.jpg") as stored:
        exif = stored.getexif()
    assert "blue fishing boat Marit" in exif[0x010E]
    gps = exif.get_ifd(0x8825)
    degrees = [float(part) for part in gps[2]]
    assert (gps[1], gps[3], degrees) == ("N", "W", [56.0, 40.0, 30.0])


def test_puffin_picture_has_xmp(library: Path) -> None:
    """The WebP's XMP has title, description, keywords, date and place."""
    with Image.open(library / "puffin.webp") as stored:
        xmp = stored.info["xmp"].decode()
        assert not stored.getexif()
    for words in ("Puffin on Tammel", "An Atlantic puffin", "<rdf:li>seabird</rdf:li>",
                  "2023-06-09T16:20:00", 'photoshop:City="Skerrin"'):  # fmt: skip
        assert words in xmp


def test_map_has_nothing_but_its_name_and_the_yawl_has_a_sidecar(library: Path) -> None:
    """One picture says nothing of itself; another is described by a text of the same name."""
    for name in ("map-of-skerrin.png", "evening-sail.png"):
        with Image.open(library / name) as stored:
            stored.load()
            assert not stored.getexif()
            assert not stored.info.keys() & {"xmp", "XML:com.adobe.xmp", "Description", "Title"}
    assert "yawl Halcyon" in (library / "evening-sail.txt").read_text(encoding="utf-8")


def test_pdf_has_a_text_layer_on_every_page_and_its_figure_on_the_second(library: Path) -> None:
    """Each page's facts are read from that page, and page 2 holds one picture and its caption."""
    texts = pages(library / "lighthouse-report.pdf")
    assert len(texts) == 3
    assert "The lens has 336 prisms" in texts[0]
    assert "Figure 1. Cross-section of the tower" in texts[1]
    assert "286,400 euros in all" in texts[2]
    document = pypdfium2.PdfDocument(library / "lighthouse-report.pdf")
    image = pypdfium2.raw.FPDF_PAGEOBJ_IMAGE
    assert [len(list(page.get_objects(filter=[image]))) for page in document] == [0, 1, 0]
    document.close()


def test_documents_refer_to_pictures_that_exist(library: Path) -> None:
    """The guide's picture is in the library and has an alternative text."""
    guide = (library / "skerrin-guide.md").read_text(encoding="utf-8")
    linked = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", guide)
    assert [name for _, name in linked] == ["lighthouse.jpg"]
    assert (library / "lighthouse.jpg").is_file()


def test_writing_on_the_receipts_is_read_by_ocr(library: Path) -> None:
    """OCR reads both totals, one over 50 and one under, and the month names of the chart."""
    from rapidocr import RapidOCR
    from rapidocr.utils.output import RapidOCROutput

    engine = RapidOCR(params={"Global.log_level": "error"})
    wanted = {
        "receipt-chandlery.png": {"TOTAL EUR", "73.40"},
        "receipt-cafe.jpg": {"TOTAL EUR", "18.60"},
        "visitors-2024.png": {"3410", "July", "Aug"},
    }
    for name, words in wanted.items():
        found = engine(np.asarray(upright(library / name))[:, :, ::-1])
        assert isinstance(found, RapidOCROutput)
        assert words <= set(found.txts or ()), name


def test_questions_are_of_every_kind() -> None:
    """Text alone, text with a picture, and turns that follow, within six to eight questions."""
    assert 6 <= len(QUESTIONS) <= 8
    assert sum(q.picture is None and not q.follows for q in QUESTIONS) >= 4
    assert sum(q.picture is not None for q in QUESTIONS) == 3
    assert not QUESTIONS[0].follows
    assert {q.source.rsplit(".")[-1] for q in QUESTIONS} >= {"md", "csv", "pdf", "png", "webp"}
    last = QUESTIONS[-1]
    talk = [q for q in QUESTIONS[-3:] if q.picture]
    assert last.follows
    assert "third picture" in last.text
    assert len(talk) == 2, "the last conversation has two pictures before it speaks of the second"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.text)
def test_expected_fact_stands_in_its_source(question: DemoQuestion, library: Path) -> None:
    """What a right answer says is in the file it should cite, and on the page it names."""
    path = library / question.source
    if path.suffix == ".pdf":
        assert question.page is not None
        assert question.expect in pages(path)[question.page - 1]
    elif path.suffix in PLAIN:
        assert question.expect in path.read_text(encoding="utf-8").replace("\n", " ")
    elif path.suffix == ".webp":
        with Image.open(path) as stored:
            assert question.expect in stored.info["xmp"].decode()
    else:
        assert path.name == "receipt-chandlery.png"  # read by OCR in its own test


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("query-1.jpg", "puffin.webp"),
        ("query-2.jpg", "lighthouse.jpg"),
        ("query-3.jpg", "north-quay.jpg"),
    ],
)
def test_question_picture_is_another_view_of_a_library_picture(
    sent: str, seen: str, library: Path
) -> None:
    """It is no copy and says nothing of itself, yet is most like the one picture it stands for."""
    asked = next(q.picture for q in QUESTIONS if q.picture and q.picture.name == sent)
    with Image.open(asked) as stored:
        assert not stored.getexif()
        assert "xmp" not in stored.info
    known = [p for p in sorted(library.iterdir()) if p.suffix in PICTURES]
    digests = {hashlib.sha256(upright(p).tobytes()).hexdigest() for p in known}
    assert hashlib.sha256(upright(asked).tobytes()).hexdigest() not in digests
    likeness = {p.name: float(layout(p) @ layout(asked)) for p in known}
    first, second = sorted(likeness, key=lambda name: -likeness[name])[:2]
    assert first == seen
    assert likeness[first] - likeness[second] > 0.1, likeness
