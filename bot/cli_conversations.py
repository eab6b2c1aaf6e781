"""``bifocal conversations``: list, search and show conversations.

Reads options and prints; knows nothing of how anything is done. What changes conversations is in
``bot/cli_conversation_edits.py``. What is slow to import is imported by the command that needs it.
"""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from memory.messages import Conversation

PAGE_SIZE = 20

conversations_app = typer.Typer(
    help="List, search, show, change, carry and forget conversations.\n\n"
    "Without a command: the list, the last one first.\n\n"
    "    bifocal conversations --page 2\n\n"
    "    bifocal conversations search lighthouse",
    rich_markup_mode="rich",
)

NameArgument = Annotated[str, typer.Argument(help="Name of the conversation.")]
LibraryOption = Annotated[
    Path | None,
    typer.Option("--library", "-l", help="Folder of the index; in your data folder unless given."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
PageOption = Annotated[int, typer.Option("--page", min=1, help="Which page, from 1.")]
SizeOption = Annotated[
    int, typer.Option("--page-size", min=1, max=1000, help="Conversations on a page.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All of them on one page.")]


@conversations_app.callback(invoke_without_command=True)
def without_command(
    context: typer.Context,
    page: PageOption = 1,
    page_size: SizeOption = PAGE_SIZE,
    all_: AllOption = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the list, when there is no command."""
    if context.invoked_subcommand is None:
        list_conversations(page, page_size, all_, library, as_json)
        return
    given = [name for name in context.params if _was_given(context, name)]
    if given:  # a --library that was passed over could forget something elsewhere
        option = f"--{given[0].strip('_').replace('_', '-').replace('as-', '')}"
        raise typer.BadParameter(f"{option} goes behind the command {context.invoked_subcommand}")


@conversations_app.command("list")
def list_conversations(
    page: PageOption = 1,
    page_size: SizeOption = PAGE_SIZE,
    all_: AllOption = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List conversations, the last one first."""
    from dataclasses import asdict

    from bot.channels.terminal_conversations import print_page

    offset, limit = (0, None) if all_ else ((page - 1) * page_size, page_size)

    async def work(history: Any) -> tuple[int, list[Any]]:
        return await history.conversation_count(), await history.conversations(offset, limit)

    total, found = with_history(library, work)
    if as_json:
        _print_json(
            {
                "page": 1 if all_ else page,
                "page_size": limit,
                "total": total,
                "conversations": [asdict(line) for line in found],
            }
        )
    else:
        print_page(_console(), found, offset, limit, total)


@conversations_app.command("search")
def search_conversations(
    words: Annotated[list[str], typer.Argument(help="""Words; '"how tall"' for words together.""")],
    limit: Annotated[int, typer.Option("--limit", "-n", help="Turns at most.")] = 20,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=3600, help="When to stop looking.")
    ] = 5.0,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find past turns in which every word stands, in the question or in the answer.

    Case and accents do not count, and words are found inside words.
    """
    from dataclasses import asdict

    from bot.channels.terminal_conversations import print_found

    sought = " ".join(words)
    result = with_history(library, lambda history: history.search(sought, limit, seconds))
    if as_json:
        _print_json(asdict(result))
    else:
        print_found(_console(), result)


@conversations_app.command("show")
def show_conversation(
    name: NameArgument,
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Only the last so many turns.")
    ] = None,
    turn: Annotated[
        str | None,
        typer.Option("--turn", help="One turn, by its number (1 is the first) or its id."),
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a conversation with its citations, or one turn with all that was found for it.

    bifocal conversations show trip --turn 2
    """
    from bot.channels.terminal_views import print_conversation

    if turn is not None and last is not None:
        raise typer.BadParameter("--turn shows one turn, --last the last ones: give one of them")
    if turn is not None:
        _show_turn(library, name, turn, as_json)
        return
    found = with_history(library, lambda history: history.load(name, last=last))
    existing(found.total, name)
    if as_json:
        _print_json(
            {
                "id": name,
                "turns": [turn.to_json() for turn in found.turns],
                "pictures": [picture.to_json() for picture in found.pictures],
            }
        )
    else:
        print_conversation(_console(), found)


def existing(total: int, name: str) -> None:
    """Raise ``ConversationNotFound`` when a conversation has no turns."""
    from memory.errors import ConversationNotFound

    if not total:
        raise ConversationNotFound(
            f"conversation {name}: there is none of that name; see: bifocal conversations list"
        )


def place_of(found: "Conversation", name: str, turn: str) -> int:
    """Return the place (from 0) of a turn that was named by its id or its number."""
    from memory.errors import TurnNotFound

    for place, known in enumerate(found.turns):
        if known.id == turn:
            return place
    if not (re.fullmatch("[0-9]{1,9}", turn) and 1 <= int(turn) <= len(found.turns)):
        raise TurnNotFound(
            f"conversation {name} has no turn {turn[:80]}: give a number from 1 to"
            f" {len(found.turns)}, or an id"
        )
    if len(found.turns) != found.total:
        raise TurnNotFound(
            f"conversation {name} has damaged turns, so numbers are not sure: name the turn by its"
            f" id, see: bifocal conversations show {name} --json"
        )
    return int(turn) - 1


def _show_turn(library: Path | None, name: str, turn: str, as_json: bool) -> None:
    from bot.channels.terminal_turn import print_turn
    from bot.channels.terminal_views import draws_pictures
    from memory.errors import HistoryDamaged, PictureNotFound

    console = _console()

    async def work(history: Any) -> tuple[Any, int, dict[int, bytes]]:
        found = await history.load(name)
        existing(found.total, name)
        place = place_of(found, name, turn)
        pixels: dict[int, bytes] = {}
        if draws_pictures(console) and not as_json:
            for number in found.turns[place].question.pictures:
                with contextlib.suppress(HistoryDamaged, PictureNotFound):  # its words are shown
                    pixels[number] = await history.picture(name, number)
        return found, place, pixels

    found, place, pixels = with_history(library, work)
    if as_json:
        _print_json(_turn_json(found, name, place))
    else:
        print_turn(console, found, place, pixels)


def _turn_json(found: "Conversation", name: str, place: int) -> dict[str, Any]:
    turn = found.turns[place]
    named = {*turn.question.pictures, *turn.answer.pictures}
    return {
        "id": name,
        "turn": turn.to_json(),
        "pictures": [ref.to_json() for ref in found.pictures if ref.number in named],
        "dropped": sorted(named & set(found.dropped)),
    }


def with_history(library: Path | None, work: Callable[[Any], Any]) -> Any:
    """Run one asynchronous call against the conversations of the settings."""
    import asyncio

    from bot.build import open_history
    from bot.settings import Settings
    from retrievers.library import Library

    settings = Settings.usual(library=library)
    Library.open(settings.library).close()  # a folder without one is named, not made

    async def run() -> Any:
        history = await open_history(settings)
        try:
            return await work(history)
        finally:
            await history.aclose()

    return asyncio.run(run())


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)  # noqa: T201
