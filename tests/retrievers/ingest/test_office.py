"""DOCX, PPTX and XLSX files keep headings, tables, notes, charts and pictures with their words."""

import datetime
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from retrievers.errors import SourceRefused
from retrievers.ingest.loaders import parse
from retrievers.ingest.options import ParseOptions

PLAIN = ParseOptions(ocr=False)


def _png(image: Image.Image) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, "PNG")
    out.seek(0)
    return out


def test_docx(tmp_path: Path, photo: Callable[..., Image.Image]) -> None:
    """A Word file gives its text in order, tables by column, and pictures with their words."""
    import docx

    file = docx.Document()
    file.core_properties.title = "Survey of Marn"
    file.add_heading("Survey", 1)
    file.add_paragraph("The quay is of granite.")
    file.add_heading("Depths", 2)
    table = file.add_table(rows=3, cols=2)
    cells = [("Place", "Depth"), ("Quay", "4.2 m"), ("Bar", "1.1 m")]
    for row, values in zip(table.rows, cells, strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    file.add_paragraph("Seen from the east.")
    file.add_picture(_png(photo()))
    file.inline_shapes[0]._inline.docPr.set("descr", "The quay at low tide")
    file.add_paragraph("Figure 1: The quay in 1931")
    path = tmp_path / "a.docx"
    file.save(str(path))

    document, blobs = parse(path, PLAIN)
    assert document.title == "Survey of Marn"
    assert ("Survey", "The quay is of granite.") in [(p.heading, p.text) for p in document.passages]
    table_text = next(p for p in document.passages if p.form == "table")
    assert table_text.heading == "Survey > Depths"
    assert table_text.text == "Place: Quay | Depth: 4.2 m\nPlace: Bar | Depth: 1.1 m"
    (picture,) = document.pictures
    assert picture.words == {
        "caption": "Figure 1: The quay in 1931",
        "alt": "The quay at low tide",
        "beside": "Seen from the east.",
    }
    assert Image.open(io.BytesIO(blobs[picture.sha256])).size == (320, 240)


def test_pptx(tmp_path: Path, photo: Callable[..., Image.Image]) -> None:
    """A slide is a page: its title, text, table, chart, notes and picture carry its number."""
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    file = Presentation()
    slide = file.slides.add_slide(file.slide_layouts[5])
    slide.shapes.title.text = "Harvest"
    box = slide.shapes.add_textbox(Inches(1), Inches(2), Inches(3), Inches(1))
    box.text_frame.text = "Apples were early."
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(3), Inches(3), Inches(1)).table
    for row, values in enumerate([("Fruit", "Tons"), ("Apple", "12")]):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    slide.notes_slide.notes_text_frame.text = "Mention the frost."
    chart = CategoryChartData()  # type: ignore[no-untyped-call]
    chart.categories = ["2022", "2023"]
    chart.add_series("Pears", (5, 7.5))  # type: ignore[no-untyped-call]
    second = file.slides.add_slide(file.slide_layouts[5])
    second.shapes.title.text = "Prices"
    second.shapes.add_chart(
        XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(2), Inches(4), Inches(3), chart
    )
    picture = second.shapes.add_picture(_png(photo()), Inches(5), Inches(2))
    picture._element.xpath(".//p:cNvPr")[0].set("descr", "An orchard in bloom")
    path = tmp_path / "a.pptx"
    file.save(str(path))

    document, _ = parse(path, PLAIN)
    by_page = {n: [p.text for p in document.passages if p.page == n] for n in (1, 2)}
    assert "Fruit: Apple | Tons: 12" in by_page[1]
    assert any("Apples were early." in text for text in by_page[1])
    assert any("Notes: Mention the frost." in text for text in by_page[1])
    assert any("Pears: 7.5" in text for text in by_page[2])
    assert document.pages == 2
    (shown,) = document.pictures
    assert (shown.page, shown.words["alt"], shown.words["title"]) == (
        2,
        "An orchard in bloom",
        "Prices",
    )


def test_xlsx(tmp_path: Path) -> None:
    """Each sheet's rows name their columns; dates and numbers look as people write them."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Stock"
    sheet.append(["Inventory of the shop"])
    sheet.append([])
    sheet.append(["Item", "Count", "Price", "Since"])
    sheet.append(["Lamp", 3, 19.5, datetime.datetime(2024, 5, 1)])
    sheet.append(["Rope", 12, 4.0, None])
    book.create_sheet("Hidden").sheet_state = "hidden"
    path = tmp_path / "a.xlsx"
    book.save(path)

    document, _ = parse(path, PLAIN)
    assert [(p.page, p.heading, p.text) for p in document.passages] == [
        (1, "Stock", "Inventory of the shop"),
        (
            1,
            "Stock",
            "Item: Lamp | Count: 3 | Price: 19.5 | Since: 2024-05-01\n"
            "Item: Rope | Count: 12 | Price: 4",
        ),
    ]
    assert document.notices == ("the hidden sheet 'Hidden' was left out",)


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx"])
def test_a_truncated_office_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "docx":
        import docx

        docx.Document().save(str(path))
    elif kind == "pptx":
        from pptx import Presentation

        Presentation().save(str(path))
    else:
        import openpyxl

        openpyxl.Workbook().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceRefused, match=f"a malformed {kind}"):
        parse(path)
