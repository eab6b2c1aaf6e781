"""One stored turn in a terminal: what was asked and answered, its pictures, and all that was found.

What people and models said loses its control characters before it is printed, and none of it is
read as markup. A record may come from elsewhere (LangChain, an imported file): what of it is not
in the form that Bifocal writes is said, not shown. Knows nothing of how anything was found.
"""

import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from bot.channels.terminal_conversations import age
from bot.channels.terminal_views import footnote, print_picture, print_pictures, print_why
from bot.errors import KNOWN_ERRORS
from bot.events import Answer
from bot.record import answer_again
from bot.show import picture_of, plain
from memory.messages import Conversation, Turn


def print_turn(
    console: Console, found: Conversation, place: int, pixels: Mapping[int, bytes]
) -> None:
    """Print the turn at ``place`` (from 0); ``pixels`` are the pictures to draw, by number."""
    turn = found.turns[place]
    when = f"{age(time.time() - turn.at)}, id {turn.id}"
    where = f"{found.id}, turn {place + 1} of {found.total}, {when}"
    console.print(Text(" ".join(plain(where).split()), "cyan"))
    console.print(Text.assemble(("you ›  ", "bold green"), plain(turn.question.text)))
    _print_pictures(console, found, turn.question.pictures, pixels)
    console.print(Text.assemble(("bot ›  ", "bold green"), plain(turn.answer.text)))
    _print_pictures(console, found, turn.answer.pictures, pixels)
    answer = _answer(turn, found.id)
    if answer is None:
        console.print("[yellow]Note:[/] what it rests on is not in the form that Bifocal writes")
        return
    for citation in answer.citations:
        console.print(Text.assemble((f"  [{citation.mark}] ", "bold"), *footnote(citation)))
    if answer.evidence or answer.notices or answer.model:
        print_why(console, answer)


def _print_pictures(
    console: Console, found: Conversation, numbers: Sequence[int], pixels: Mapping[int, bytes]
) -> None:
    there = [ref for ref in found.pictures if ref.number in numbers]
    if there:
        print_pictures(console, there)
    for ref in there:
        if ref.number in pixels:
            try:
                print_picture(console, picture_of(pixels[ref.number], None, 512))
            except KNOWN_ERRORS as error:
                console.print(f"[yellow]Note:[/] picture {ref.number}: {escape(plain(str(error)))}")
    for number in sorted({*numbers} - {ref.number for ref in there}):
        gone = "was dropped" if number in found.dropped else "is no longer there"
        console.print(f"[yellow]Note:[/] picture {number} {gone}")


def _answer(turn: Turn, conversation: str) -> Answer | None:
    """Return the answer with its ledger; ``None`` when that is of another form."""
    try:
        return answer_again(turn, conversation, None, {})
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
