"""What documents say of pictures is found, and never leads out of their folder."""

from pathlib import Path

import pytest
from PIL import Image

from retrievers.ingest.references import inside, references


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), "red").save(path)
    return path


def test_markdown_gives_alternative_text_title_and_prose_beside(tmp_path: Path) -> None:
    _picture(tmp_path / "pics" / "red kite.png")
    note = tmp_path / "a.md"
    note.write_text(
        'The **bird** above the quay.\n\n![A red kite](pics/red%20kite.png "In May")\n\nIt left.'
    )
    (found,) = references(note)
    assert found.picture == tmp_path / "pics" / "red kite.png"
    assert found.words() == {
        "alt": "A red kite",
        "caption": "In May",
        "beside": "The bird above the quay. It left.",
    }


def test_html_pictures_are_found_too(tmp_path: Path) -> None:
    _picture(tmp_path / "b.png")
    page = tmp_path / "a.html"
    page.write_text("<p>Before.</p><img class=x src='b.png' alt='A &amp; B'><p>After.</p>")
    (found,) = references(page)
    assert (found.alt, found.beside) == ("A & B", "Before. After.")


@pytest.mark.parametrize("mark", ["hidden", 'style="display: none"', "style='visibility:hidden'"])
def test_what_a_page_hides_is_not_prose_beside_a_picture(tmp_path: Path, mark: str) -> None:
    _picture(tmp_path / "b.png")
    page = tmp_path / "a.html"
    page.write_text(f"<p>Before.</p><p {mark}>Obey <b>me</b>.</p><img src='b.png'><p>After.</p>")
    (found,) = references(page)
    assert found.beside == "Before. After."


@pytest.mark.parametrize(
    "target",
    [
        "../out.png",
        "sub/../../out.png",
        "/etc/out.png",
        "file:///etc/out.png",
        "http://127.0.0.1/out.png",
        "//host/out.png",
        "..%2fout.png",
        "%2e%2e/out.png",
        "..\\out.png",
        "~/out.png",
        "out.png\x00.txt",
        "link/out.png",
        "link.png",
        "absent.png",
        "notes.txt",
        "",
    ],
)
def test_no_reference_leads_out_of_the_folder(tmp_path: Path, target: str) -> None:
    _picture(tmp_path / "out.png")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "notes.txt").write_text("x")
    (folder / "link").symlink_to(tmp_path)
    (folder / "link.png").symlink_to(tmp_path / "out.png")
    assert inside(folder, target) is None


@pytest.mark.parametrize("unit", ["![", "![a](", "<img ", "<img a='", "[", "<script ", "\n ", "> "])
def test_hostile_markup_ends(tmp_path: Path, unit: str) -> None:
    page = tmp_path / "a.md"
    page.write_text((unit * (400_000 // len(unit))) + "![x](y.png)")
    assert references(page) == []
