"""A conversation in a terminal: answers as they are written, and the commands of ``bifocal chat``.

Speaks to a :class:`BlockingBot` and a rich console, and knows nothing of how answers come about.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from bot.blocking import BlockingBot
from bot.channels.terminal_views import (
    print_citations,
    print_picture,
    print_pictures,
    print_why,
)
from bot.errors import KNOWN_ERRORS, BifocalError
from bot.events import Answer, Done, Notice, Token
from bot.show import picture_of, plain

HELP = """\
[bold]/image[/] PATH  attach a picture to your next question (more than once for several)
[bold]/why[/]         show the evidence behind the last answer
[bold]/pictures[/]    list this conversation's pictures; [bold]/pictures N[/] shows one
[bold]/drop[/] N      take picture N out of this conversation
[bold]/new[/]         begin a new conversation
[bold]/help[/]        this list
[bold]/quit[/]        leave (or Ctrl-D)"""


def answer_in_terminal(
    bot: BlockingBot,
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


class Chat:
    """The loop of ``bifocal chat``: reads lines, runs commands, asks everything else."""

    def __init__(
        self,
        bot: BlockingBot,
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
        elif command == "/drop":
            self._drop(argument.strip())
        elif command == "/new":
            self.conversation = f"chat-{os.urandom(4).hex()}"
            self.attached, self.last = [], None
            self.console.print(f"A new conversation: {self.conversation}")
        elif command == "/help":
            self.console.print(HELP)
        elif command.startswith("/") and "/" not in command[1:] and not argument:
            self.console.print(f"[red]{escape(command)}: no such command[/]\n{HELP}")
        else:
            self.last = answer_in_terminal(
                self.bot, self.console, line, images=self.attached, conversation=self.conversation
            )
            self.attached = []

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

    def _drop(self, argument: str) -> None:
        if not re.fullmatch(r"[1-9]\d{0,8}", argument):
            self.console.print(f"[red]/drop {escape(plain(argument))}: give a picture's number[/]")
            return
        self.bot.drop(self.conversation, int(argument))
        self.console.print(f"Dropped picture {argument}; its number will not come back.")


def chat_in_json(
    bot: BlockingBot,
    lines: Iterable[str],
    conversation: str,
    write: Callable[[object], None],
) -> None:
    """Hold a conversation for a program: each line in is a question, each line out its answer.

    A line may be plain text or ``{"text": …, "images": [PATH, …]}``. What fails is written as
    ``{"error": …}``, and the next line is read.
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            text, images = _read_question(line)
            write(bot.ask(text, images=images, conversation=conversation).to_json())
        except KNOWN_ERRORS as error:
            write({"error": str(error)})


def _read_question(line: str) -> tuple[str, list[str]]:
    if not line.lstrip().startswith("{"):
        return line.strip(), []
    try:
        value = json.loads(line)
        images = value.get("images", [])
        if not isinstance(images, list):
            raise TypeError("images is no list")
        return str(value.get("text", "")), [str(path) for path in images]
    except (ValueError, TypeError, AttributeError) as error:
        raise BifocalError(f"{line.strip()[:80]}: not a JSON question") from error
