"""``bifocal demo``: the shipped library is indexed, asked about, and then open for a chat.

Does nothing of its own: ingestion, turns and the terminal are the ones that everybody uses.
"""

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bot.channels.terminal import HELP, Chat, answer_in_terminal
from bot.channels.terminal_ingest import ingest_in_terminal
from bot.channels.terminal_views import draws_pictures, print_picture
from bot.chatbot import ChatBot
from bot.demo import DemoQuestion, copy_library, questions
from bot.settings import Settings
from retrievers.imaging import read_picture


def run_demo(console: Console, settings_for: Callable[[Path], Settings]) -> None:
    """Index the shipped files, ask the demo's questions, and chat on a terminal.

    ``settings_for`` makes settings from the folder of the demo's library, which is a temporary one.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bifocal-demo-")))
        settings = settings_for(folder / "library")
        files = copy_library(folder / "files")
        console.print(f"[bold]Indexing {len(files)} files of the island of Skerrin[/]")
        ingest_in_terminal(settings, [folder / "files"], console)
        bot = stack.enter_context(ChatBot.open(settings=settings))
        number = 0
        for question in questions():
            number += not question.follows
            _ask(bot, console, question, f"demo-{number}")
        if sys.stdin.isatty() and sys.stdout.isatty():
            console.rule("Your turn")
            console.print(HELP)
            Chat(
                bot, console, f"demo-{number}", lambda: console.input("[bold green]you ›[/] ")
            ).run()
        else:
            console.print("\nTalk about it in a terminal: [bold]bifocal demo[/]")


def _ask(bot: ChatBot, console: Console, question: DemoQuestion, conversation: str) -> None:
    images = [question.picture] if question.picture else []
    console.print()
    console.print(Text.assemble(("you ›  ", "bold green"), (question.text, "bold")))
    for path in images:
        console.print(Text(f"       (with {path.name})", "green"))
        if draws_pictures(console):
            print_picture(console, read_picture(path).image)
    answer_in_terminal(bot, console, question.text, images=images, conversation=conversation)
