"""A picture file brings all words that belong to it: its own, its sidecars', its name's."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from retrievers.document import Picture
from retrievers.ingest.loaders import parse
from retrievers.ingest.metadata import read_metadata, read_xmp, said_date
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.pictures import name_words, sidecars

PLAIN = ParseOptions(ocr=False)
Draw = Callable[..., Image.Image]
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="Marn" '
    'photoshop:Country="Norway"><dc:title><rdf:Alt><rdf:li xml:lang="x-default">Dawn</rdf:li>'
    "</rdf:Alt></dc:title><dc:description><rdf:Alt><rdf:li>The pier at dawn</rdf:li></rdf:Alt>"
    "</dc:description><dc:subject><rdf:Bag><rdf:li>pier</rdf:li><rdf:li>fog</rdf:li></rdf:Bag>"
    "</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def _one(path: Path, **told: str) -> Picture:
    (picture,) = parse(path, PLAIN, told=told)[0].pictures
    return picture


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "Boats in the fog"
    exif[ExifTags.Base.XPKeywords] = "boat;fog".encode("utf-16-le")
    exif[ExifTags.Base.XPTitle] = "Foggy morning".encode("utf-16-le")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2019:07:14 10:22:01"
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef] = "N"
    gps[ExifTags.GPS.GPSLatitude] = (48.0, 51.0, 30.24)
    gps[ExifTags.GPS.GPSLongitudeRef] = "W"
    gps[ExifTags.GPS.GPSLongitude] = (2.0, 17.0, 40.2)
    return exif


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_exif_title_description_keywords_date_and_place(
    tmp_path: Path, photo: Draw, suffix: str
) -> None:
    path = tmp_path / f"red_kite-harbour{suffix}"
    photo().save(path, exif=_exif().tobytes())
    assert _one(path).words == {
        "title": "Foggy morning",
        "description": "Boats in the fog",
        "keywords": "boat, fog",
        "date": "14 July 2019 (2019-07-14 10:22)",
        "place": "48.8584° N, 2.2945° W",
        "name": "red kite harbour",
    }


def test_xmp_and_its_place_name(tmp_path: Path, photo: Draw) -> None:
    path = tmp_path / "a.jpg"
    photo().save(path, xmp=XMP.encode())
    words = _one(path).words
    assert words["title"] == "Dawn"
    assert words["description"] == "The pier at dawn"
    assert words["keywords"] == "pier, fog"
    assert words["place"] == "Marn, Norway"


def test_iptc(tmp_path: Path, photo: Draw) -> None:
    def field(number: int, text: str) -> bytes:
        data = text.encode()
        return b"\x1c\x02" + bytes([number]) + len(data).to_bytes(2, "big") + data

    body = (
        field(5, "Market day")
        + field(120, "Stalls on the square")
        + field(25, "market")
        + field(25, "cheese")
        + field(55, "20210304")
        + field(90, "Gouda")
        + field(101, "Netherlands")
    )
    block = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + len(body).to_bytes(4, "big") + body
    plain = tmp_path / "plain.jpg"
    photo().save(plain)
    data = plain.read_bytes()
    segment = b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + segment + data[2:])
    words = _one(path).words
    assert words["title"] == "Market day"
    assert words["description"] == "Stalls on the square"
    assert words["keywords"] == "market, cheese"
    assert words["date"] == "4 March 2021 (2021-03-04)"
    assert words["place"] == "Gouda, Netherlands"


def test_a_pngs_own_text(tmp_path: Path, photo: Draw) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "A map")
    info.add_itxt("Description", "Küste bei Marn")
    path = tmp_path / "a.png"
    photo().save(path, pnginfo=info)
    assert _one(path).caption == "Küste bei Marn"


@pytest.mark.parametrize(
    "junk",
    [
        "AppleMark",
        "OLYMPUS DIGITAL CAMERA",
        "SONY DSC",
        "default",
        "untitled",
        "Exif_JPEG_PICTURE",
        "Created with GIMP",
        "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90",
    ],
)
def test_what_a_program_writes_into_all_pictures_is_no_caption(
    tmp_path: Path, photo: Draw, junk: str
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = junk
    path = tmp_path / "pier.jpg"
    photo().save(path, exif=exif.tobytes(), comment=junk)
    assert _one(path).words == {"name": "pier"}


@pytest.mark.parametrize("said", ["Sony factory gate", "A picture made with paint", "Defaults"])
def test_a_caption_that_begins_like_such_a_mark_is_kept(
    tmp_path: Path, photo: Draw, said: str
) -> None:
    path = tmp_path / "pier.jpg"
    photo().save(path, comment=said)
    assert _one(path).caption == said


def test_a_missing_parser_is_not_taken_for_a_picture_without_words(
    photo: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photo()
    image.info["xmp"] = XMP.encode()
    monkeypatch.setitem(sys.modules, "defusedxml.ElementTree", None)
    with pytest.raises(ImportError):
        read_metadata(image)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_says_that_only_its_first_frame_was_read(
    tmp_path: Path, photo: Draw, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    photo(seed=1).save(path, save_all=True, append_images=[photo(seed=2), photo(seed=3)])
    document, _ = parse(path, PLAIN)
    assert document.notices == ("only the first of 3 frames was read",)
    assert len(document.pictures) == 1


def test_a_tiff_with_more_pages_than_are_read_says_so(tmp_path: Path, photo: Draw) -> None:
    path = tmp_path / "fax.tif"
    photo(seed=1).save(path, save_all=True, append_images=[photo(seed=2), photo(seed=3)])
    document, _ = parse(path, ParseOptions(ocr=False, max_pages=2))
    assert document.notices == ("only the first 2 of 3 pages were read",)


@pytest.mark.parametrize("name", ["p1.txt", "p1.jpg.txt", "p1.md", "p1.jpg.md"])
def test_a_text_of_the_same_name_belongs_to_the_picture(
    tmp_path: Path, photo: Draw, name: str
) -> None:
    photo().save(tmp_path / "p1.jpg")
    (tmp_path / name).write_text("Our garden in May.")
    assert _one(tmp_path / "p1.jpg").words["sidecar"] == "Our garden in May."


def test_an_xmp_file_beside_a_picture_is_read(tmp_path: Path, photo: Draw) -> None:
    photo().save(tmp_path / "p1.jpg")
    (tmp_path / "p1.xmp").write_text(XMP)
    assert _one(tmp_path / "p1.jpg").words["place"] == "Marn, Norway"


def test_a_document_of_the_same_name_is_no_sidecar(tmp_path: Path, photo: Draw) -> None:
    photo().save(tmp_path / "report.png")
    (tmp_path / "report.md").write_text("# Report\n\n![the chart](report.png)\n")
    (tmp_path / "report.txt").write_text("A long story. " * 1000)
    assert sidecars(tmp_path / "report.png") == ()


def test_an_xmp_with_entities_is_refused() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&a;</x:xmpmeta>'
    with pytest.raises(Exception, match="DTDForbidden"):
        read_xmp(bomb.encode())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int) -> None:
    """Whatever way a camera was held, the stored picture has its red half on the left."""
    upright = Image.new("RGB", (200, 100), "blue")
    upright.paste("red", (0, 0, 100, 100))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    held = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "a.jpg"
    held.save(path, exif=exif, quality=95)
    document, blobs = parse(path, PLAIN)
    (picture,) = document.pictures
    assert (picture.width, picture.height) == (200, 100)
    stored = tmp_path / "stored"
    stored.write_bytes(blobs[picture.sha256])
    with Image.open(stored) as image:
        assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        red, _, blue = image.convert("RGB").getpixel((20, 50))  # type: ignore[misc]
        assert red > 200 > 60 > blue


def test_each_page_of_a_tiff_is_a_picture(tmp_path: Path, photo: Draw) -> None:
    path = tmp_path / "fax.tif"
    photo(seed=1).save(path, save_all=True, append_images=[photo(seed=2), photo(seed=3)])
    document, _ = parse(path, PLAIN)
    assert document.pages == 3
    assert [(p.page, p.role) for p in document.pictures] == [(1, "file"), (2, "page"), (3, "page")]


def test_words_of_documents_are_added_after_its_own(tmp_path: Path, photo: Draw) -> None:
    path = tmp_path / "a.gif"
    photo().save(path)
    picture = _one(path, alt="A kite", beside="It flew.")
    assert picture.words == {"alt": "A kite", "name": "a", "beside": "It flew."}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("red_kite-harbour.jpg", "red kite harbour"),
        ("redKiteHarbour.png", "red Kite Harbour"),
        ("IMG_2041.JPG", "IMG_2041.JPG"),
        ("20190714.jpg", "20190714.jpg"),
    ],
)
def test_a_files_name_is_turned_into_words(name: str, words: str) -> None:
    assert name_words(Path(name)) == words


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "", "2019:13:40", "yesterday"])
def test_an_impossible_date_is_none(text: str) -> None:
    assert said_date(text) == ""
