"""PDF files keep pages, reading order, rows of tables, figures with captions, and page pictures."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from retrievers.document import Document
from retrievers.errors import SourceRefused
from retrievers.ingest.loaders import parse
from retrievers.ingest.options import ParseOptions

PLAIN = ParseOptions(ocr=False)
MakePdf = Callable[..., Path]
BODY = "The harbour of Marn was dredged in the spring by a crew of nine people."


def _text(document: Document, page: int) -> str:
    return "\n".join(p.text for p in document.passages if p.page == page)


def test_text_comes_with_pages_headings_and_whole_paragraphs(make_pdf: MakePdf) -> None:
    path = make_pdf(
        "a.pdf",
        [
            [
                (72, 700, 20, "Harbour works"),
                (72, 660, 10, "The harbour of Marn was dredged in the spring by a crew of"),
                (72, 648, 10, "nine people, and the quay was then re-"),
                (72, 636, 10, "built of granite."),
            ],
            [(72, 700, 20, "Costs"), (72, 660, 10, BODY)],
        ],
    )
    document, _ = parse(path, PLAIN)
    assert document.pages == 2
    assert document.title == "Harbour works"
    assert [(p.page, p.heading, p.text) for p in document.passages] == [
        (
            1,
            "Harbour works",
            "The harbour of Marn was dredged in the spring by a crew of nine people, and the quay"
            " was then rebuilt of granite.",
        ),
        (2, "Costs", BODY),
    ]


@pytest.mark.parametrize("order", ["rows", "columns"])
def test_a_tables_figures_stay_with_their_labels(make_pdf: MakePdf, order: str) -> None:
    """Whether a PDF writes a table row by row or column by column, rows name their columns."""
    table = [["Income", "2022", "2023"], ["Fishing", "1,200", "1,350"], ["Ferries", "310", "(25)"]]
    cells = [
        (72 + 150 * x, 600 - 20 * y, 10, text.replace("(", "\\(").replace(")", "\\)"))
        for y, row in enumerate(table)
        for x, text in enumerate(row)
    ]
    if order == "columns":
        cells = [c for x in range(3) for c in cells[x::3]]
        cells = [c for c in cells if c[1] == 600] + [c for c in cells if c[1] != 600]
    document, _ = parse(make_pdf("a.pdf", [[(72, 700, 10, BODY), *cells]]), PLAIN)
    assert "Income: Fishing | 2022: 1,200 | 2023: 1,350" in _text(document, 1)
    assert "Income: Ferries | 2022: 310 | 2023: (25)" in _text(document, 1)


def test_columns_are_read_one_after_the_other(make_pdf: MakePdf) -> None:
    left = [(72, 700 - 12 * n, 10, f"left column line {n} runs on and") for n in range(6)]
    right = [(330, 700 - 12 * n, 10, f"right column line {n} goes on and") for n in range(6)]
    text = _text(parse(make_pdf("a.pdf", [[*left, *right]]), PLAIN)[0], 1)
    assert text.index("left column line 5") < text.index("right column line 0")


def test_running_heads_and_page_numbers_are_dropped(make_pdf: MakePdf) -> None:
    pages = [
        [(72, 780, 8, "Annual report of Marn"), (72, 600, 10, f"{BODY} {n}."), (300, 20, 8, f"{n}")]
        for n in range(1, 7)
    ]
    document, _ = parse(make_pdf("a.pdf", pages), PLAIN)
    assert [p.text for p in document.passages] == [f"{BODY} {n}." for n in range(1, 7)]


def test_a_list_is_no_table(make_pdf: MakePdf) -> None:
    rows = [
        (72 + 40 * x, 600 - 30 * n, 10, t) for n in range(3) for x, t in [(0, f"{n}."), (1, BODY)]
    ]
    document, _ = parse(make_pdf("a.pdf", [rows]), PLAIN)
    assert [p.form for p in document.passages] == ["prose"]
    assert f"2. {BODY}" in document.passages[0].text


def test_bookmarks_name_headings(make_pdf: MakePdf) -> None:
    path = make_pdf(
        "a.pdf",
        [[(72, 700, 10, "2.1 Tides"), (72, 660, 10, BODY)]],
        outline=[("Tides", 1)],
    )
    assert parse(path, PLAIN)[0].passages[0].heading == "2.1 Tides"


def _photo_page(photo: Callable[..., Image.Image]) -> tuple[bytes, list[object]]:
    image = photo((300, 200))
    page: list[object] = [
        (72, 720, 10, "The eastern pier was photographed from a boat in that year by Ames."),
        "q 300 0 0 200 100 450 cm /Im1 Do Q",
        (100, 430, 10, "Figure 2: The pier at dawn"),
        (72, 300, 10, " ".join([BODY] * 1)),
        (72, 288, 10, " ".join([BODY] * 1)),
        (72, 276, 10, " ".join([BODY] * 1)),
    ]
    return image.tobytes(), page


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_figure_is_cut_out_with_its_place_caption_and_prose(
    make_pdf: MakePdf, photo: Callable[..., Image.Image], rotate: int
) -> None:
    pixels, page = _photo_page(photo)
    path = make_pdf("a.pdf", [page], image=pixels, image_size=(300, 200), rotate=rotate)
    document, blobs = parse(path, PLAIN)
    assert [p.role for p in document.pictures] == ["page", "figure"]
    whole, figure = document.pictures
    assert figure.page == whole.page == 1
    assert figure.box is not None
    wide, high = (800, 600) if rotate in (90, 270) else (600, 800)
    assert whole.width / whole.height == pytest.approx(wide / high, rel=0.01)
    if rotate == 0:
        assert figure.words["caption"] == "Figure 2: The pier at dawn"
        assert "eastern pier" in figure.words["beside"]
        assert figure.box.to_json() == pytest.approx(
            [100 / 600, 0.1875, 400 / 600, 0.4375], abs=0.01
        )
    # the cut figure shows what the page shows at its box
    shown = Image.open(io.BytesIO(blobs[whole.sha256])).convert("RGB")
    box = figure.box
    part = shown.crop(
        (
            round(box.left * shown.width),
            round(box.top * shown.height),
            round(box.right * shown.width),
            round(box.bottom * shown.height),
        )
    ).resize((60, 60))
    cut = Image.open(io.BytesIO(blobs[figure.sha256])).convert("RGB").resize((60, 60))
    assert sum(ImageStat.Stat(ImageChops.difference(part, cut)).mean) < 20


def test_a_logo_on_every_page_is_kept_once(
    make_pdf: MakePdf, photo: Callable[..., Image.Image]
) -> None:
    logo = "q 90 0 0 90 450 690 cm /Im1 Do Q"
    pages = [[logo, (72, 600 - n, 10, f"{BODY} {n}")] for n in range(8)]
    path = make_pdf("a.pdf", pages, image=photo((90, 90)).tobytes(), image_size=(90, 90))
    document, _ = parse(path, ParseOptions(ocr=False, little_text=20))
    assert sum(p.role == "figure" for p in document.pictures) == 1


def test_a_drawn_chart_is_a_figure_with_its_labels_as_lines(make_pdf: MakePdf) -> None:
    bars = " ".join(f"{150 + 40 * n} 400 25 {30 + 37 * n} re f" for n in range(5))
    labels = [(150 + 40 * n, 385, 8, f"Y{n}") for n in range(5)]
    curve = "150 420 m 200 500 260 380 330 560 c S 160 410 m 300 520 l S 170 410 m 310 500 l S"
    lines = [(72, 700 - 12 * n, 10, BODY) for n in range(6)]
    path = make_pdf("a.pdf", [[*lines, bars, curve, (160, 500, 8, "tons"), *labels]])
    document, _ = parse(path, PLAIN)
    figure = next(p for p in document.pictures if p.role == "figure")
    assert "tons" in [line.text for line in figure.lines]


def test_a_table_with_rules_and_shading_is_no_figure(make_pdf: MakePdf) -> None:
    shading = " ".join(f"0.8 0.9 1 rg 72 {600 - 20 * n} 400 12 re f" for n in range(0, 10, 2))
    rules = " ".join(f"72 {598 - 20 * n} 400 0.5 re f" for n in range(10))
    rows = [(72, 602 - 20 * n, 10, f"Row number {n} of a longer table") for n in range(10)]
    document, _ = parse(make_pdf("a.pdf", [[shading, rules, "0 g", *rows]]), PLAIN)
    assert document.pictures == ()


def test_a_scanned_page_is_read_by_ocr_with_boxes(
    tmp_path: Path, written: Callable[..., Image.Image]
) -> None:
    scan = written([(80, 100, "Lighthouse keeper"), (80, 300, "Invoice 4471")], (900, 600), 48)
    path = tmp_path / "scan.pdf"
    scan.save(path, "PDF", resolution=100)
    document, _ = parse(path, ParseOptions())
    (page,) = document.pictures
    assert page.role == "page"
    assert [line.text for line in page.lines] == ["Lighthouse keeper", "Invoice 4471"]
    assert page.lines[1].box.top == pytest.approx(0.52, abs=0.05)
    assert document.notices == ("pages without text, read by OCR: 1",)


def test_an_encrypted_file_is_refused(make_pdf: MakePdf) -> None:
    path = make_pdf("a.pdf", [[(72, 700, 10, BODY)]], encrypted=True)
    with pytest.raises(SourceRefused, match=r"a\.pdf: encrypted; save it without a password"):
        parse(path, PLAIN)


def test_pages_beyond_the_most_are_said_to_be_left_out(make_pdf: MakePdf) -> None:
    path = make_pdf("a.pdf", [[(72, 700, 10, f"{BODY} {n}")] for n in range(5)])
    document, _ = parse(path, ParseOptions(ocr=False, max_pages=2, little_text=0))
    assert document.pages == 2
    assert document.notices == ("only the first 2 of 5 pages were read",)
