"""Files are told apart by content, and what cannot be read is refused with one line."""

import zipfile
from pathlib import Path

import pytest

from retrievers.errors import SourceRefused
from retrievers.ingest.kinds import check_archive, kind_of
from retrievers.ingest.loaders import parse


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.xyz", b"data", "no known kind"),
        ("a.md", b"", "an empty file"),
        ("a.txt", b"\x00\x00\x00", "an empty file"),
        ("a.pdf", b"no pdf at all", "malformed or misnamed"),
        ("a.pdf", b"%PDF-1.7\ngarbage", "a malformed PDF"),
        ("a.docx", b"PK\x03\x04 broken", "a malformed docx"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600, "encrypted"),
        ("a.png", b"\x89PNG\r\n\x1a\nbroken", "not a picture|damaged"),
        ("a.png", b"<html>not a picture</html>", "malformed or misnamed"),
        ("a.txt", b"\x7fELF\x00\x01\x02\x00binary", "its content is binary"),
        ("a.csv", b"%PDF-1.7 in disguise", "its content is pdf"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_name_and_a_reason(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SourceRefused, match=says) as caught:
        parse(path)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"gone\.txt: cannot be read \(No such file"):
        parse(tmp_path / "gone.txt")


def test_a_jpeg_called_png_is_read_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.PNG"
    path.write_bytes(b"\xff\xd8\xff\xe0" + b"x" * 100)
    assert kind_of(path) == "jpeg"


def _zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = _zip(
        tmp_path / "a.docx", {"word/document.xml": b"<a/>", "word/x.xml": b"\x00" * 40_000_000}
    )
    with pytest.raises(SourceRefused, match="unpacks to 40 MB"):
        check_archive(path, "docx")


def test_a_zip_that_is_another_kind_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.xlsx", {"word/document.xml": b"<a/>"})
    with pytest.raises(SourceRefused, match="its content is docx, not xlsx"):
        parse(path)


def test_xml_entities_in_an_office_file_are_not_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret word")
    body = (
        f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY e SYSTEM "file://{secret}">]><w:document '
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r>'
        "<w:t>plain &e;</w:t></w:r></w:p></w:body></w:document>"
    )
    import docx

    document = docx.Document()
    document.add_paragraph("x")
    whole = tmp_path / "whole.docx"
    document.save(str(whole))
    path = tmp_path / "a.docx"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            changed = body.encode() if entry.filename == "word/document.xml" else old.read(entry)
            new.writestr(entry.filename, changed)
    try:
        text = " ".join(p.text for p in parse(path)[0].passages)
    except SourceRefused:
        text = ""
    assert "secret word" not in text
