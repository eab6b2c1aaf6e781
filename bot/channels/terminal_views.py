"""Tables, footnotes and pictures in a terminal.

All text from sources and models loses its control characters before it is printed, and none of it
is read as markup. Knows nothing of how anything was found.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bot.blocking import BlockingBot
from bot.events import Answer, Citation, Referred
from bot.show import picture_of, plain, source_name, where
from memory.messages import Conversation, PictureRef
from retrievers.library import Source

#: Columns and rows that a picture in the terminal takes at most
PICTURE_COLUMNS, PICTURE_ROWS = 44, 22


def print_citations(bot: BlockingBot, console: Console, answer: Answer) -> None:
    """Print a footnote for each citation, and the cited pictures where the terminal has colours."""
    for citation in answer.citations:
        console.print(Text.assemble(("  " + f"[{citation.mark}] ", "bold"), *footnote(citation)))
    shown: set[str] = set()
    for citation in answer.citations:
        key = f"{citation.media}{citation.picture}"
        if citation.kind == "picture" and key not in shown and draws_pictures(console):
            shown.add(key)
            image = picture_of(bot.cited_picture(answer, citation), citation.box, 512)
            print_picture(console, image)


def footnote(citation: Citation) -> Iterator[tuple[str, str]]:
    """Yield a citation's place and quote, with their styles."""
    yield plain(where(citation)), "cyan"
    if citation.quote:
        quote = " ".join(plain(citation.quote).split())
        yield f"  “{quote[:160]}{'…' if len(quote) > 160 else ''}”", "dim"


def draws_pictures(console: Console) -> bool:
    """Tell whether pictures can be drawn: a terminal with 256 colours or more."""
    return console.is_terminal and console.color_system in ("256", "truecolor")


def print_picture(console: Console, image: Image.Image) -> None:
    """Print an RGB picture: each character is two pixels, one above the other."""
    columns = min(PICTURE_COLUMNS, console.width - 4)
    scale = min(columns / image.width, 2 * PICTURE_ROWS / image.height)
    size = (max(1, round(image.width * scale)), max(2, round(image.height * scale) // 2 * 2))
    pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        line = Text("  ")
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            line.append("▀", f"rgb({_csv(above)}) on rgb({_csv(below)})")
        console.print(line)


def _csv(pixel: list[int]) -> str:
    return ",".join(map(str, pixel))


def print_why(console: Console, answer: Answer | None) -> None:
    """Print the ledger: what was found, by which retriever, with what score, and its use."""
    if answer is None:
        console.print("Nothing was asked yet.")
        return
    table = Table(title=f"Evidence for: {escape(plain(answer.question)) or '(a picture)'}")
    for name in ("", "what", "where", "score", "found by", "used"):
        table.add_column(name, overflow="fold")
    for entry in answer.evidence:
        item = entry.evidence
        page = f", page {item.page}" if item.page is not None else ""
        words = " ".join(plain(item.caption or item.text).split())[:80]
        found = " ".join(f"{name} {score:.2f}" for name, score in item.scores.items())
        uses = [
            name
            for name, used in (
                ("cited", entry.cited),
                ("pixels shown", entry.pixels_shown),
                ("in prompt", entry.in_prompt),
            )
            if used
        ]
        table.add_row(
            f"[{entry.number}]".replace("[", r"\["),
            escape(plain(f"{item.kind}: {words}")),
            escape(plain(source_name(item.source) + page)),
            f"{item.score:.3f}",
            escape(plain(found)),
            ", ".join(uses) or "left out",
            style="bold" if entry.cited else None,
        )
    console.print(table)
    for referred in answer.references:
        console.print(Text(_meaning(referred)))
    if answer.searched:
        console.print(f"[dim]searched for: {escape(plain(answer.searched))}[/]")
    spent = ", ".join(f"{name} {ms:.0f} ms" for name, ms in answer.timings.items())
    console.print(f"[dim]written by {escape(plain(answer.model))}{spent and f'; {spent}'}[/]")
    for notice in answer.notices:
        console.print(f"[yellow]Note:[/] {escape(plain(notice))}")


def _meaning(referred: Referred) -> str:
    numbers = ", ".join(map(str, referred.pictures)) or "none of this conversation"
    verb = "is" if referred.sure else "may be"
    shown = ", ".join(map(str, referred.shown))
    pixels = f"; pixels shown of {shown}" if shown else ""
    return f"“{plain(referred.phrase)}” {verb} picture {numbers}{pixels}"


def print_pictures(console: Console, pictures: Sequence[PictureRef]) -> None:
    """Print the list of a conversation's pictures."""
    if not pictures:
        console.print("No pictures yet: attach one with /image PATH.")
        return
    table = Table()
    for name in ("", "name", "size", "from", "words"):
        table.add_column(name, overflow="fold")
    for ref in pictures:
        table.add_row(
            str(ref.number),
            escape(plain(ref.name)),
            f"{ref.width}x{ref.height}",
            escape(plain(ref.who)) or ref.sender,
            escape(plain(ref.caption)),
        )
    console.print(table)


def print_conversation(console: Console, found: Conversation) -> None:
    """Print a conversation's turns, with what each answer rests on."""
    for turn in found.turns:
        pictures = "".join(f"  (picture {n})" for n in turn.question.pictures)
        console.print(Text.assemble(("you ›  ", "bold green"), plain(turn.question.text), pictures))
        console.print(Text(plain(turn.answer.text)))
        for citation in turn.citations:
            page = f", page {citation['page']}" if citation.get("page") else ""
            name = source_name(str(citation.get("source", "")))
            console.print(Text(f"  [{citation.get('mark')}] {name}{page}", "cyan"))
        console.print()
    for notice in found.notices:
        console.print(f"[yellow]Note:[/] {escape(plain(notice))}")


def print_sources(console: Console, found: Sequence[Source]) -> None:
    """Print what the library was made from, and what was skipped and why."""
    if not found:
        console.print("No sources yet: add some with bifocal ingest PATH.")
        return
    table = Table()
    for name in ("source", "kind", "pages", "passages", "pictures", "state"):
        table.add_column(name, overflow="fold")
    for source in found:
        state = f"skipped: {source.reason}" if source.state == "skipped" else source.reason or "ok"
        table.add_row(
            escape(plain(source.name)),
            escape(source.kind),
            str(source.pages or ""),
            str(source.passages),
            str(source.pictures),
            escape(plain(state)),
            style="yellow" if source.state == "skipped" else None,
        )
    console.print(table)


def _index(index: Mapping[str, Any]) -> str:
    """Return one line on a FAISS index: ``text: 812 vectors of 256, cosine, exact, recall 1.0``."""
    probes = f" with {index['probes']} probes" if index["probes"] else ""
    return (
        f"{index['space']}: {index['count']} vectors of {index['dimension']}, {index['distance']},"
        f" {index['index']}{probes}, recall {index['recall']}"
    )


def print_status(console: Console, found: Mapping[str, Any]) -> None:
    """Print what ``bot.status.read_status`` returned."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in found.items():
        if name == "indexes":
            for index in value:
                table.add_row(f"index of {index['kind']}s", escape(_index(index)))
        else:
            shown = f"{value / 1e6:.1f} MB" if name == "bytes" else str(value)
            table.add_row(name.replace("_", " "), escape(plain(shown)))
    console.print(table)
