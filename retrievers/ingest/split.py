"""Cuts a document's blocks into passages, at the borders of paragraphs, rows and sentences.

Knows nothing of file formats: a loader hands over headings, paragraphs and tables in reading
order. Passages do not overlap: each sentence is stored, found and cited once.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from retrievers.document import Passage
from retrievers.ingest.options import ParseOptions

BlockKind = Literal["heading", "prose", "table"]


@dataclass(frozen=True, slots=True)
class Block:
    """A heading (``level`` from 1), a paragraph, or a table whose rows are the lines of ``text``.

    ``header`` is repeated on top of each passage of a table whose rows do not name their columns.
    """

    kind: BlockKind
    text: str
    page: int | None = None
    level: int = 1
    header: str = ""


# Control and format characters that nobody sees: controls but for tab and newline, bidirectional
# overrides, zero-width characters but for the joiners that scripts need, tags, byte order marks,
# lone surrogates, and soft hyphens.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_LIGATURES = {
    ord(c): unicodedata.normalize("NFKC", c) for c in "\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
}
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n ?")
_BLANKS = re.compile(r"\n{3,}")

_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st no nos fig figs eq sec vs etc al e.g i.e cf approx inc ltd co corp jr sr"
    " vol ed eds pp p ch art dept est jan feb mar apr jun jul aug sep sept oct nov dec u.s"
    " u.k".split()
)
_BORDER = re.compile(r"""(?<=[.!?…])(["'”’)\]]*)\s+(?=["'“‘(\[]?[^\W_a-z])|(?<=[。！？])""")


def clean(text: str) -> str:
    """Return ``text`` without unseen characters and ligatures, its spaces single, NFC."""
    text = (
        text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0b", "\n").replace("\x0c", "\n")
    )
    text = _UNSEEN.sub("", text).translate(_LIGATURES)
    text = _LINES.sub("\n", _SPACES.sub(" ", text))
    return unicodedata.normalize("NFC", _BLANKS.sub("\n\n", text)).strip()


def one_line(text: str, most: int = 0) -> str:
    """Return ``text`` cleaned and on one line; cut at a word's end beyond ``most`` characters."""
    line = " ".join(clean(text).split())
    if most and len(line) > most:
        line = line[:most].rsplit(" ", 1)[0].rstrip(" ,;:") + " …"
    return line


def sentences(text: str) -> list[str]:
    """Return the sentences of ``text``, each with its closing mark; ``Dr.`` ends none."""
    found: list[str] = []
    start = 0
    for border in _BORDER.finditer(text):
        before = text[start : border.end(1) if border.group(1) else border.start()]
        last = before.rsplit(None, 1)[-1] if before.strip() else ""
        word = last.rstrip(".").lower().lstrip("([\"'“‘")
        if last.endswith(".") and (word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha())):
            continue
        if before.strip():
            found.append(before.strip())
        start = border.end()
    if text[start:].strip():
        found.append(text[start:].strip())
    return found


def passages(blocks: Iterable[Block], options: ParseOptions) -> tuple[Passage, ...]:
    """Return the passages of ``blocks``.

    A passage never crosses a heading, a page, or the border between prose and a table. Its
    ``heading`` is the chain of headings above it.
    """
    out: list[Passage] = []
    chain: list[tuple[int, str]] = []
    waiting: list[Block] = []

    def flush() -> None:
        if waiting:
            out.extend(_pack(waiting, _trail(chain), options))
            waiting.clear()

    for block in blocks:
        text = one_line(block.text, 200) if block.kind == "heading" else clean(block.text)
        if not text:
            continue
        if block.kind == "heading":
            flush()
            while chain and chain[-1][0] >= block.level:
                chain.pop()
            chain.append((block.level, text))
            continue
        if waiting and (waiting[0].page != block.page or waiting[0].kind != block.kind):
            flush()
        if block.kind == "table" and waiting and waiting[0].header != block.header:
            flush()
        waiting.append(Block(block.kind, text, block.page, block.level, block.header))
    flush()
    return tuple(out)


def _trail(chain: Sequence[tuple[int, str]]) -> str:
    """Return the chain as ``"Report > Results"``; of more than four the first and last three."""
    names = [name for _, name in chain]
    if len(names) > 4:
        names = [names[0], *names[-3:]]
    return " > ".join(names)


def _pack(blocks: Sequence[Block], heading: str, options: ParseOptions) -> Iterator[Passage]:
    """Yield passages of blocks that share kind and page, filled up to the aimed size."""
    first = blocks[0]
    table = first.kind == "table"
    header = clean(first.header) if table else ""
    room = max(options.passage_most - len(header) - 1, 200)
    aim = max(min(options.passage_chars, room), 100)
    parts: list[tuple[str, str]] = []
    glue = "\n" if table else "\n\n"
    for block in blocks:
        for line in block.text.split("\n") if table else [block.text]:
            pieces = [line] if len(line) <= room else _cut(line, aim, room)
            parts.extend((glue if at == 0 else " ", piece) for at, piece in enumerate(pieces))
    for text in _fill(parts, aim, room):
        yield Passage(
            text=f"{header}\n{text}" if header else text,
            page=first.page,
            heading=heading,
            form="table" if table else "prose",
        )


def _fill(parts: Sequence[tuple[str, str]], aim: int, room: int) -> Iterator[str]:
    """Join neighbours while they fit: a passage is closed once it has reached ``aim``.

    Each part comes with what stands between it and the part before.
    """
    held = ""
    for glue, part in parts:
        if held and (len(held) >= aim or len(held) + len(glue) + len(part) > room):
            yield held
            held = ""
        held = f"{held}{glue}{part}" if held else part
    if held:
        yield held


def _cut(text: str, aim: int, room: int) -> list[str]:
    """Cut a paragraph that is too long into pieces of whole sentences of about the same size."""
    pieces: list[str] = []
    for sentence in sentences(text):
        pieces.extend([sentence] if len(sentence) <= 2 * room else _chop(sentence, room))
    count = max(1, round(len(text) / aim))
    size = len(text) / count
    return list(_fill([(" ", p) for p in pieces], int(size * 0.9), max(room, int(size))))


def _chop(text: str, room: int) -> Iterator[str]:
    """Cut what has no sentences (a table in one line, a base64 string) at words, else anywhere."""
    while len(text) > room:
        at = text.rfind(" ", room // 2, room)
        at = at if at > 0 else room
        yield text[:at].strip()
        text = text[at:].strip()
    if text:
        yield text
