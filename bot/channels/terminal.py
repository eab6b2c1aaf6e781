"""A conversation in a terminal: answers as they are written, footnotes, pictures in half-blocks.

Speaks to a :class:`ChatBot` and a rich console, and knows nothing of how answers come about. All
text from sources and models loses its control characters before it is printed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bot.chatbot import ChatBot
from bot.errors import KNOWN_ERRORS
from bot.events import Answer, Citation, Done, Notice, Token
from bot.show import picture_of, plain, source_name, where
from memory.messages import PictureRef

#: Columns and rows that a picture in the terminal takes at most
PICTURE_COLUMNS, PICTURE_ROWS = 44, 22

HELP = """\
[bold]/image[/] PATH  attach a picture to your next question (more than once for several)
[bold]/why[/]         show the evidence behind the last answer
[bold]/pictures[/]    list this conversation's pictures; [bold]/pictures N[/] shows one
[bold]/new[/]         begin a new conversation
[bold]/help[/]        this list
[bold]/quit[/]        leave (or Ctrl-D)"""


def answer_in_terminal(
    bot: ChatBot,
    console: Console,
    text: str,
    *,
    images: Sequence[Path] = (),
    conversation: str | None = None,
) -> Answer:
    """Ask, print the answer while it is written, then what it rests on; return it."""
    answer: Answer | None = None
    for event in bot.stream(text, images=list(images), conversation=conversation):
        if isinstance(event, Token):
            console.print(Text(plain(event.text)), end="", soft_wrap=True)
        elif isinstance(event, Notice):
            console.print(f"\n[yellow]Note:[/] {escape(plain(event.text))}")
        elif isinstance(event, Done):
            answer = event.answer
    console.print()
    if answer is None:
        raise RuntimeError("a turn ended without done or error")
    print_citations(bot, console, answer)
    return answer


def print_citations(bot: ChatBot, console: Console, answer: Answer) -> None:
    """Print a footnote for each citation, and the cited pictures where the terminal has colours."""
    for citation in answer.citations:
        console.print(Text.assemble(("  " + f"[{citation.mark}] ", "bold"), *_footnote(citation)))
    shown: set[str] = set()
    for citation in answer.citations:
        key = f"{citation.media}{citation.picture}"
        if citation.kind == "picture" and key not in shown and draws_pictures(console):
            shown.add(key)
            image = picture_of(bot.cited_picture(answer, citation), citation.box, 512)
            print_picture(console, image)


def _footnote(citation: Citation) -> Iterator[tuple[str, str]]:
    yield where(citation), "cyan"
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
            escape(f"{item.kind}: {words}"),
            escape(source_name(item.source) + page),
            f"{item.score:.3f}",
            escape(found),
            ", ".join(uses) or "left out",
            style="bold" if entry.cited else None,
        )
    console.print(table)
    spent = ", ".join(f"{name} {ms:.0f} ms" for name, ms in answer.timings.items())
    console.print(f"[dim]written by {escape(answer.model)}; {spent}[/]")
    for notice in answer.notices:
        console.print(f"[yellow]Note:[/] {escape(plain(notice))}")


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
            ref.sender,
            escape(plain(ref.caption)),
        )
    console.print(table)


class Chat:
    """The loop of ``bifocal chat``: reads lines, runs commands, asks everything else."""

    def __init__(
        self,
        bot: ChatBot,
        console: Console,
        conversation: str,
        read_line: Callable[[], str],
    ) -> None:
        self.bot = bot
        self.console = console
        self.conversation = conversation
        self.read_line = read_line
        self.attached: list[Path] = []
        self.last: Answer | None = None

    def run(self) -> None:
        """Talk until the input ends or ``/quit``."""
        while True:
            try:
                line = self.read_line().strip()
            except (EOFError, KeyboardInterrupt):
                self.console.print()
                return
            if line in ("/quit", "/exit"):
                return
            try:
                self._handle(line)
            except KNOWN_ERRORS as error:
                self.console.print(f"[red]{escape(plain(str(error)))}[/]")
            except KeyboardInterrupt:
                self.console.print("\n[yellow]Stopped; this turn was not saved.[/]")

    def _handle(self, line: str) -> None:
        command, _, argument = line.partition(" ")
        if not line and not self.attached:
            return
        if command == "/image":
            self._attach(argument.strip())
        elif command == "/why":
            print_why(self.console, self.last)
        elif command == "/pictures":
            self._pictures(argument.strip())
        elif command == "/new":
            self.conversation = f"chat-{os.urandom(4).hex()}"
            self.attached, self.last = [], None
            self.console.print(f"A new conversation: {self.conversation}")
        elif command == "/help":
            self.console.print(HELP)
        elif command.startswith("/") and "/" not in command[1:] and not argument:
            self.console.print(f"[red]{escape(command)}: no such command[/]\n{HELP}")
        else:
            images, self.attached = self.attached, []
            self.last = answer_in_terminal(
                self.bot, self.console, line, images=images, conversation=self.conversation
            )

    def _attach(self, argument: str) -> None:
        path = Path(argument.strip("'\"")).expanduser()
        if not argument or not path.is_file():
            self.console.print(f"[red]{escape(argument) or '/image'}: no such file[/]")
            return
        self.attached.append(path)
        self.console.print(f"Attached {escape(path.name)}; now ask (or press Enter).")

    def _pictures(self, argument: str) -> None:
        pictures = self.bot.conversation(self.conversation).pictures
        if not argument:
            print_pictures(self.console, pictures)
            return
        chosen = [p for p in pictures if str(p.number) == argument]
        if not chosen:
            numbers = ", ".join(str(p.number) for p in pictures) or "none yet"
            self.console.print(f"[red]{escape(argument)}: no such picture; there are {numbers}[/]")
            return
        data = self.bot.picture(self.conversation, chosen[0].number)
        print_picture(self.console, picture_of(data, None, 512))
