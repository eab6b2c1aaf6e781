"""Finds what Markdown and HTML files say of the pictures beside them.

Reads text with bounded patterns only (nothing is parsed, run or fetched), because it runs in the
process that stores. A reference counts when it names a file in the document's folder or below;
addresses, absolute paths and ways out of the folder do not.
"""

import html
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from retrievers.ingest.kinds import PICTURE_KINDS, kind_of_name, read_text
from retrievers.ingest.split import one_line

MOST_BYTES = 4 * 1024 * 1024
MOST_REFERENCES = 2000
BESIDE_CHARS = 600

_MARKDOWN = re.compile(
    r"!\[(?P<alt>[^\[\]\n]{0,1000})\]\(\s{0,9}(?:<(?P<angle>[^<>\n]{1,500})>|(?P<plain>[^\s()<>]{1,500}"
    r"(?:\([^\s()<>]{0,100}\)[^\s()<>]{0,200})?))(?:\s{1,9}[\"'(](?P<title>[^\"'()\n]{0,500})[\"')])?\s{0,9}\)"
)
_IMG = re.compile(r"<img\b(?P<attributes>[^<>]{1,4000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"(?P<name>[a-z-]{1,20})\s{0,5}=\s{0,5}(?:\"(?P<double>[^\"]{0,2000})\"|'(?P<single>[^']{0,2000})'"
    r"|(?P<bare>[^\s\"'=<>`]{1,500}))",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"<(?:script|style)\b[^<]{0,20000}</(?:script|style)>|</?[a-zA-Z!][^<>]{0,2000}>", re.IGNORECASE
)
_HIDDEN = re.compile(  # what a browser does not show is not prose beside a picture
    r"<([a-z]{1,20}[1-6]?)\b[^<>]{0,500}?(?:\shidden(?=[\s=>])|display\s{0,9}:\s{0,9}none"
    r"|visibility\s{0,9}:\s{0,9}hidden)[^<>]{0,500}>.{0,3000}?</\1>",
    re.IGNORECASE | re.DOTALL,
)
_MARKS = re.compile(r"^\s{0,3}(?:#{1,6}|>|[-*+]|\d{1,3}[.)])\s+|[*_`]{1,3}", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]{0,500})\]\([^()\n]{0,500}\)")


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture file and what a document says of it."""

    picture: Path
    alt: str
    title: str
    beside: str

    def words(self) -> dict[str, str]:
        """Return the words under the keys of ``Picture.words``."""
        said = {"alt": self.alt, "caption": self.title, "beside": self.beside}
        return {key: text for key, text in said.items() if text}


def references(path: Path) -> list[Reference]:
    """Return a Markdown or HTML file's references to pictures that exist in its folder."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return []
        text, _ = read_text(path)
    except OSError:
        return []
    if "![" not in text and "<img" not in text.lower():
        return []
    found = []
    spots = [(m, *_of_markdown(m)) for m in _MARKDOWN.finditer(text)]
    spots += [(m, *_of_img(m)) for m in _IMG.finditer(text)]
    for match, target, alt, title in spots[:MOST_REFERENCES]:
        picture = inside(path.parent, target)
        if picture is not None:
            beside = _beside(text, match.start(), match.end())
            found.append(Reference(picture, one_line(alt), one_line(title), beside))
    return found


def inside(folder: Path, target: str) -> Path | None:
    """Return the picture file that ``target`` names within ``folder``, or ``None``."""
    name = unquote(html.unescape(target)).split("?")[0].split("#")[0].strip()
    if not name or ":" in name or "\\" in name or "\x00" in name or name.startswith(("/", "~")):
        return None
    if kind_of_name(Path(name)) not in PICTURE_KINDS:
        return None
    try:
        root = folder.resolve()
        real = (root / name).resolve()
        if not real.is_relative_to(root) or not real.is_file():
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    return folder / real.relative_to(root)


def _of_markdown(match: re.Match[str]) -> tuple[str, str, str]:
    target = match.group("angle") or match.group("plain") or ""
    return target, match.group("alt"), match.group("title") or ""


def _of_img(match: re.Match[str]) -> tuple[str, str, str]:
    said = {
        m.group("name").lower(): html.unescape(
            m.group("double") or m.group("single") or m.group("bare") or ""
        )
        for m in _ATTRIBUTE.finditer(match.group("attributes"))
    }
    return said.get("src", ""), said.get("alt", ""), said.get("title", "")


def _beside(text: str, start: int, end: int) -> str:
    """Return the paragraph before a reference and the one after it, without their markup."""
    before = _plain(text[max(0, start - 3000) : start], cut_start=start > 3000)
    after = _plain(text[end : end + 3000], cut_start=False)
    parts = []
    if before:
        parts.append(
            before[-1][-BESIDE_CHARS // 2 :].split(" ", 1)[-1]
            if len(before[-1]) > BESIDE_CHARS // 2
            else before[-1]
        )
    if after:
        parts.append(one_line(after[0], BESIDE_CHARS // 2))
    return " ".join(parts)


def _plain(text: str, *, cut_start: bool) -> list[str]:
    """Return the paragraphs of a stretch of markup; a tag cut in half at its start goes."""
    if cut_start:
        text = text[text.find("\n") + 1 :]
    text = _HIDDEN.sub(" ", text)
    text = re.sub(
        r"</(?:p|h[1-6]|li|div|figcaption|td|tr)>|<br\s?/?>", "\n\n", text, flags=re.IGNORECASE
    )
    text = html.unescape(_TAG.sub(" ", _LINK.sub(r"\1", text)))
    text = _MARKS.sub("", text)
    parts = (one_line(part) for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if part]
