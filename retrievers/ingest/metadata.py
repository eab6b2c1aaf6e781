"""Reads what a picture file says of itself: EXIF, IPTC, XMP and a PNG's or GIF's own comments.

Knows nothing of OCR or of files beside the picture. What is damaged is left out, never fatal.
Fields: EXIF 2.32 (and Windows' XP fields), IPTC IIM 4.2, XMP's Dublin Core and Photoshop schemas.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from PIL import ExifTags, Image

from retrievers.ingest.split import one_line

Words = dict[str, str]

_MONTHS = (
    "January February March April May June July August September October November December".split()
)
# What cameras and programs write where a description belongs: it tells nothing of the picture.
_NOISE = re.compile(
    r"(olympus|sony|nikon|minolta|kodak|samsung|konica|casio|panasonic|default)?\s*"
    r"(digital camera|dsc|image|picture|photo|screenshot|screen shot|untitled|description|default"
    r"|exif[ _]jpeg[ _]picture|jpeg|applemark|qrcode)?\s*"
    r"|(created|made|edited|optimized|generated) (with|by|using)"
    r" (the )?(gimp|ezgif|adobe|photoshop|imagemagick|jpeg-?optim|paint|matplotlib)\b.{0,60}"
    r"|creator: gd-jpeg\b.{0,100}|(lead technologies|intel\(r\) jpeg library)\b.{0,40}"
    r"|file written by adobe photoshop\b.{0,20}|(handmade software|jfif encoder)\b.{0,60}",
    re.IGNORECASE,
)
MOST_CHARS = 4000
_DC = "{http://purl.org/dc/elements/1.1/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
_IPTC_CORE = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def read_metadata(image: Image.Image) -> Words:
    """Return the words of an opened (not yet decoded) picture by where they come from.

    Keys are among ``title``, ``description``, ``keywords``, ``date`` and ``place``. XMP goes before
    IPTC, and IPTC before EXIF, as the Metadata Working Group advises.
    """
    sources = [_guarded(_from_xmp, image), _guarded(_from_iptc, image), _guarded(_from_exif, image)]
    sources.append(_guarded(_from_comments, image))
    return merge(sources)


def merge(sources: Iterable[Mapping[str, str]]) -> Words:
    """Return the first value of each key; places are joined (a name and coordinates).

    A title or description that a camera or program writes into all its pictures is left out.
    """
    found: Words = {}
    for source in sources:
        for key, value in source.items():
            text = one_line(value, MOST_CHARS)
            if not text or (key in ("title", "description") and _NOISE.fullmatch(text)):
                continue
            if key in ("place", "keywords") and key in found:
                if text.lower() not in found[key].lower():
                    found[key] += f", {text}"
            else:
                found.setdefault(key, text)
    return found


def said_date(text: str) -> str:
    """Return a date as people write and search it: ``14 July 2019 (2019-07-14 10:22)``."""
    match = re.match(r"\s*(\d{4})[-:/]?(\d{2})[-:/]?(\d{2})(?:[T ]*(\d{2}):?(\d{2}))?", text)
    if not match:
        return ""
    year, month, day = (int(match.group(n)) for n in (1, 2, 3))
    if not (1800 <= year <= 2200 and 1 <= month <= 12 and 1 <= day <= 31):
        return ""
    clock = f" {match.group(4)}:{match.group(5)}" if match.group(4) else ""
    return f"{day} {_MONTHS[month - 1]} {year} ({year:04d}-{month:02d}-{day:02d}{clock})"


def read_xmp(packet: bytes) -> Words:
    """Return the words of an XMP packet; entities and other documents in it are refused."""
    from defusedxml.ElementTree import fromstring

    start, end = packet.find(b"<"), packet.rfind(b">")
    root = fromstring(packet[start : end + 1], forbid_dtd=True)
    said: dict[str, list[str]] = {}
    for item in root.iter(f"{_RDF}Description"):
        for name, value in item.attrib.items():
            said.setdefault(name, []).append(value)
        for child in item:
            parts = [li.text or "" for li in child.iter(f"{_RDF}li")] or [child.text or ""]
            said.setdefault(child.tag, []).extend(part for part in parts if part.strip())

    def first(*names: str) -> str:
        return next((said[n][0] for n in names if said.get(n)), "")

    place = [
        first(f"{_IPTC_CORE}Location"),
        first(f"{_PHOTOSHOP}City"),
        first(f"{_PHOTOSHOP}State"),
        first(f"{_PHOTOSHOP}Country"),
    ]
    return {
        "title": first(f"{_DC}title", f"{_PHOTOSHOP}Headline"),
        "description": first(f"{_DC}description", f"{_IPTC_CORE}AltTextAccessibility"),
        "keywords": ", ".join(dict.fromkeys(said.get(f"{_DC}subject", []))),
        "date": said_date(
            first(f"{_PHOTOSHOP}DateCreated", f"{_EXIF}DateTimeOriginal", f"{_XMP}CreateDate")
        ),
        "place": ", ".join(part for part in place if part),
    }


def _guarded(read: Any, image: Image.Image) -> Words:
    try:
        found: Words = read(image)
        return found
    except ImportError:  # a broken installation, not a broken picture
        raise
    except Exception:  # metadata is hostile input too, and a picture without it is still one
        return {}


def _from_xmp(image: Image.Image) -> Words:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if not packet and image.format == "TIFF":
        packet = image.tag_v2.get(700, b"")  # type: ignore[attr-defined]
    if isinstance(packet, str):
        packet = packet.encode("utf-8")
    return read_xmp(bytes(packet)) if packet else {}


def _from_iptc(image: Image.Image) -> Words:
    from PIL import ImageFile, IptcImagePlugin

    if not isinstance(image, ImageFile.ImageFile):
        return {}
    info = IptcImagePlugin.getiptcinfo(image) or {}
    utf8 = info.get((1, 90)) == b"\x1b%G"

    def values(number: int) -> list[str]:
        raw = info.get((2, number)) or []
        raw = raw if isinstance(raw, list) else [raw]
        return [text for text in (_decode(item, utf8) for item in raw) if text]

    def first(*numbers: int) -> str:
        return next((v[0] for v in (values(n) for n in numbers) if v), "")

    place = [first(92), first(90), first(95), first(101)]
    return {
        "title": first(5, 105),
        "description": first(120),
        "keywords": ", ".join(dict.fromkeys(values(25))),
        "date": said_date(first(55)),
        "place": ", ".join(part for part in place if part),
    }


def _from_exif(image: Image.Image) -> Words:
    exif = image.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    description = _plain(exif.get(ExifTags.Base.ImageDescription, ""))
    if _NOISE.fullmatch(description):  # another field may hold a better one
        description = ""
    comment = _user_comment(details.get(ExifTags.Base.UserComment, b""))
    date = details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime) or ""
    return {
        "title": _wide(exif.get(ExifTags.Base.XPTitle, b"")),
        "description": description
        or _wide(exif.get(ExifTags.Base.XPComment, b""))
        or _wide(exif.get(ExifTags.Base.XPSubject, b""))
        or comment,
        "keywords": _wide(exif.get(ExifTags.Base.XPKeywords, b"")).replace(";", ", "),
        "date": said_date(str(date)),
        "place": _coordinates(exif.get_ifd(ExifTags.IFD.GPSInfo)),
    }


def _from_comments(image: Image.Image) -> Words:
    said = {str(k).lower(): _plain(v) for k, v in image.info.items() if isinstance(v, (str, bytes))}
    return {
        "title": said.get("title", ""),
        "description": said.get("description", "") or said.get("comment", ""),
        "keywords": said.get("keywords", ""),
        "date": said_date(said.get("creation time", "")),
    }


def _coordinates(gps: Mapping[int, Any]) -> str:
    """Return ``"48.8584° N, 2.2945° E"``, or nothing where a part is missing or impossible."""
    out = []
    for sign, value, most in (
        (ExifTags.GPS.GPSLatitudeRef, ExifTags.GPS.GPSLatitude, 90),
        (ExifTags.GPS.GPSLongitudeRef, ExifTags.GPS.GPSLongitude, 180),
    ):
        if value not in gps:
            return ""
        degrees, minutes, seconds = (float(part) for part in gps[value])
        number = degrees + minutes / 60 + seconds / 3600
        if not 0 <= number <= most:
            return ""
        out.append(f"{number:.4f}° {_plain(gps.get(sign, ''))[:1].upper()}")
    return ", ".join(out) if out != ["0.0000° ", "0.0000° "] else ""


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return _decode(value, False)
    return str(value).replace("\x00", "").strip() if value is not None else ""


def _decode(value: bytes, utf8: bool) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("utf-8" if utf8 else "latin-1", errors="replace")
    return text.replace("\x00", "").strip()


def _wide(value: Any) -> str:
    """Return the text of one of Windows' fields: UTF-16 bytes."""
    raw = bytes(value) if isinstance(value, (bytes, tuple, list)) else b""
    return raw.decode("utf-16-le", errors="ignore").replace("\x00", "").strip()


def _user_comment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else b""
    head, body = raw[:8], raw[8:]
    if head == b"UNICODE\x00":
        text = body.decode("utf-16", errors="ignore")
    elif head == b"ASCII\x00\x00\x00":
        text = body.decode("latin-1")
    else:
        text = ""
    return text.replace("\x00", "").strip()
