"""Reads Markdown, HTML and plain text into blocks: headings, paragraphs, lists, tables.

Knows nothing of files beside the one it reads, and fetches nothing: of pictures, only those
that are written into an HTML file as ``data:`` are taken (see ``references`` for the others).
"""

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from retrievers.document import Document
from retrievers.errors import PictureRefused, SourceRefused
from retrievers.ingest import tables
from retrievers.ingest.gallery import Gallery
from retrievers.ingest.kinds import encoding_of, read_text
from retrievers.ingest.options import ParseOptions
from retrievers.ingest.split import Block, one_line, passages

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_UNSHOWN = ("script", "style", "template", "noscript", "head", "svg", "math", "iframe", "object")
_BLOCKS = frozenset(
    "address article aside blockquote body center dd details dialog dir div dl dt fieldset"
    " figcaption figure footer form header hgroup hr html li main menu nav ol p pre section summary"
    " ul table caption tr td th".split()
)
_HEADINGS = {f"h{n}": n for n in range(1, 7)}
_FRONT = re.compile(r"\A---[ \t]*\n(.{0,20000}?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE | re.IGNORECASE)
_DATA_URI = re.compile(r"data:image/[\w.+-]+((?:;[\w=.+-]+)*),", re.IGNORECASE)
_INVISIBLE = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))\b", re.IGNORECASE
)
DEEPEST = 400  # elements within elements


def parse_text(path: Path, options: ParseOptions) -> Document:
    """Return a plain text file: paragraphs are what blank lines part."""
    from retrievers.ingest.community import load_text

    text = load_text(path, encoding_of(path.read_bytes()))
    text, notices = _limited(text, options)
    blocks = [Block("prose", _unwrap(part)) for part in re.split(r"\n[ \t]*\n+|\f", text)]
    return Document(path.stem, passages(blocks, options), notices=notices)


def parse_markdown(path: Path, options: ParseOptions) -> tuple[Document, dict[str, bytes]]:
    """Return a Markdown file (CommonMark with tables), its front matter's title if it has one."""
    from markdown_it import MarkdownIt

    text, notices = _limited(read_text(path)[0].replace("\r\n", "\n"), options)
    title = ""
    front = _FRONT.match(text)
    if front:
        named = _FRONT_TITLE.search(front.group(1))
        title = one_line(named.group(1), 200) if named else ""
        text = text[front.end() :]
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .enable("strikethrough")
        .render(text)
    )
    return _from_html(html, path, options, title, notices)


def parse_html(path: Path, options: ParseOptions) -> tuple[Document, dict[str, bytes]]:
    """Return an HTML file's text as a reader sees it, without scripts and styles.

    What the ``hidden`` attribute or its own style makes invisible is left out: nobody who looks at
    the page could tell that it was there. Style sheets are not followed.
    """
    data = path.read_bytes()
    declared = re.search(rb"charset=[\"']?([\w-]{2,40})", data[:4096])
    encoding = encoding_of(data)
    if declared and not encoding.startswith("utf"):
        encoding = declared.group(1).decode("ascii")
    try:
        text = data.decode(encoding, errors="replace")
    except LookupError:
        text = data.decode(encoding_of(data), errors="replace")
    text, notices = _limited(text, options)
    return _from_html(text, path, options, "", notices)


def _limited(text: str, options: ParseOptions) -> tuple[str, tuple[str, ...]]:
    if len(text) <= options.max_chars:
        return text, ()
    notice = f"only the first {options.max_chars / 1e6:.0f} million characters were read"
    return text[: options.max_chars], (notice,)


def _unwrap(paragraph: str) -> str:
    """Join the lines of a paragraph that was wrapped by hand; lists and verse keep their lines."""
    lines = [line.strip() for line in paragraph.strip().split("\n")]
    wrapped = len(lines) > 1 and min(len(line) for line in lines[:-1]) >= 45
    listed = any(re.match(r"([-*•]|\d+[.)])\s", line) for line in lines)
    return (" " if wrapped and not listed else "\n").join(lines)


def _from_html(
    html: str, path: Path, options: ParseOptions, title: str, notices: tuple[str, ...]
) -> tuple[Document, dict[str, bytes]]:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "lxml")
    if not title and soup.title is not None:
        title = one_line(soup.title.get_text(), 200)
    for tag in soup.find_all(_is_hidden):
        tag.decompose()
    gallery = Gallery(options)
    for tag in soup.find_all("img"):
        if not _take_inline(tag, gallery):
            notices = (*notices, "a picture inside the file could not be read")
    for tag in soup.find_all(_UNSHOWN):
        tag.decompose()
    try:
        blocks = list(_blocks(soup))
    except RecursionError as error:
        raise SourceRefused(f"{path.name}: malformed, more than {DEEPEST} levels deep") from error
    if not title:
        title = next((b.text for b in blocks if b.kind == "heading"), path.stem)
    document = Document(
        one_line(title, 200),
        passages(blocks, options),
        gallery.pictures,
        notices=tuple(dict.fromkeys(notices)),
    )
    return document, gallery.blobs


def _is_hidden(tag: "Tag") -> bool:
    """Whether a browser shows nothing of an element, by what the element itself says."""
    style = re.sub(r"/\*.*?\*/", "", str(tag.get("style") or ""), flags=re.DOTALL)
    return tag.has_attr("hidden") or bool(_INVISIBLE.search(style))


def _take_inline(tag: "Tag", gallery: Gallery) -> bool:
    """Take in a picture that is written into the page; false when it is damaged."""
    source = str(tag.get("src") or "")
    head = _DATA_URI.match(source)
    if not head:
        return True
    try:
        body = source[head.end() :]
        data = (
            base64.b64decode(unquote_to_bytes(body), validate=False)
            if "base64" in head.group(1).lower()
            else unquote_to_bytes(body)
        )
        words = {"alt": str(tag.get("alt") or ""), "title": str(tag.get("title") or "")}
        gallery.add_bytes(data, role="figure", words=words, name="a picture inside the file")
    except (PictureRefused, binascii.Error, ValueError):
        return False
    return True


def _blocks(soup: "BeautifulSoup") -> Iterator[Block]:
    """Yield the page's blocks in order; text between block elements is a paragraph."""
    from bs4 import Tag as Element
    from bs4.element import Comment, NavigableString, PreformattedString

    held: list[str] = []

    def flush() -> Iterator[Block]:
        text = "".join(held).strip()
        held.clear()
        if text and text != "-":
            yield Block("prose", text)

    def walk(tag: "Tag", depth: int) -> Iterator[Block]:
        if depth > DEEPEST:
            raise RecursionError
        for child in tag.children:
            if isinstance(child, NavigableString):
                if not isinstance(child, (Comment, PreformattedString)):
                    inside = tag.name == "pre" or tag.find_parent("pre") is not None
                    held.append(str(child) if inside else re.sub(r"\s+", " ", str(child)))
            elif not isinstance(child, Element):
                continue
            elif child.name in _HEADINGS:
                yield from flush()
                yield Block("heading", child.get_text(" "), level=_HEADINGS[child.name])
            elif child.name == "table" and not child.find("table"):
                yield from flush()
                yield from _table(child)
            elif child.name == "br":
                held.append("\n")
            elif child.name == "img":
                held.append(f" {child.get('alt') or ''} ")
            elif child.name in _BLOCKS:
                yield from flush()
                if child.name == "li":
                    held.append("- ")
                yield from walk(child, depth + 1)
                yield from flush()
            else:
                yield from walk(child, depth + 1)

    yield from walk(soup, 0)
    yield from flush()


def _table(tag: "Tag") -> Iterator[Block]:
    """Yield a table's caption as prose, and its rows; a spanned cell is said once in each row."""
    caption = tag.find("caption")
    if caption is not None and caption.get_text(strip=True):
        yield Block("prose", caption.get_text(" "))
    rows: list[list[str]] = []
    above: dict[int, tuple[str, int]] = {}
    for row in tag.find_all("tr"):
        cells: list[str] = []
        for cell in row.find_all(["td", "th"], recursive=False):
            while len(cells) in above:
                cells.append(_carry(above, len(cells)))
            text = one_line(cell.get_text(" "))
            down = _span(cell.get("rowspan"))
            for extra in range(_span(cell.get("colspan"))):
                if down > 1:
                    above[len(cells)] = (text, down - 1)
                cells.append(text if extra == 0 else "")
        while len(cells) in above:
            cells.append(_carry(above, len(cells)))
        rows.append(cells)
    block = tables.block(rows)
    if block is not None:
        yield block


def _carry(above: dict[int, tuple[str, int]], at: int) -> str:
    text, left = above.pop(at)
    if left > 1:
        above[at] = (text, left - 1)
    return text


def _span(value: object) -> int:
    text = str(value or "1")
    return min(max(int(text), 1), 50) if text.isdecimal() and len(text) < 6 else 1
