"""``bifocal conversations``: what changes, copies, carries and forgets conversations.

Reads options and prints; knows nothing of how anything is done. What lists, searches and shows is
in ``bot/cli_conversations.py``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli_conversations import LibraryOption, NameArgument, existing, place_of, with_history

if TYPE_CHECKING:
    from memory.archive import Carried
    from memory.redis_history import RedisHistory

TURN = "A turn: its number (1 is the first) or its id, as `show --json` names it."


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to ``bifocal conversations``."""
    app.command("rename")(rename)
    app.command("forget")(forget)
    app.command("fork")(fork)
    app.command("delete-turn")(delete_turn)
    app.command("export")(export)
    app.command("import")(import_)


def rename(
    name: NameArgument,
    title: Annotated[str, typer.Argument(help="The new title, on one line.")],
    library: LibraryOption = None,
) -> None:
    """Give a conversation another title; its name stays."""
    with_history(library, lambda history: history.rename(name, title))
    _say(f"Conversation {name} has a new title.")


def forget(name: NameArgument, library: LibraryOption = None) -> None:
    """Remove a conversation, and the pictures that no other one holds."""
    with_history(library, lambda history: history.forget(name))
    _forget_kept(library)
    _say(f"Forgot conversation {name}.")


def fork(
    name: NameArgument,
    new: Annotated[str, typer.Argument(help="Name of the copy.")],
    at: Annotated[str | None, typer.Option("--at", help=f"{TURN} The copy ends with it.")] = None,
    library: LibraryOption = None,
) -> None:
    """Copy a conversation, up to a turn or all of it, under another name.

    bifocal conversations fork trip trip-2 --at 3
    """

    async def work(history: "RedisHistory") -> int:
        turn = await _turn(history, name, at) if at is not None else None
        return await history.fork(name, new, turn=turn)

    count = with_history(library, work)
    _say(f"Copied {count} {'turn' if count == 1 else 'turns'} of {name} to {new}.")


def delete_turn(
    name: NameArgument,
    turn: Annotated[str, typer.Argument(help=TURN)],
    library: LibraryOption = None,
) -> None:
    """Remove a turn, and the pictures that only it names. Numbers of pictures stay.

    bifocal conversations delete-turn trip 3
    """

    async def work(history: "RedisHistory") -> None:
        await history.delete_turn(name, await _turn(history, name, turn))

    with_history(library, work)
    _forget_kept(library)
    _say(f"Removed turn {turn} of {name}.")


def export(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(help="The file to write; it must not be there.")],
    library: LibraryOption = None,
) -> None:
    """Write a conversation, with its pictures, to one file.

    bifocal conversations export trip trip.zip
    """
    from memory.archive import export_conversation

    with _bar() as tell:
        done = with_history(
            library, lambda history: export_conversation(history, name, file.expanduser(), tell)
        )
    _tell(done, f"to {file}")


def import_(
    file: Annotated[Path, typer.Argument(help="A file that `export` wrote.")],
    name: Annotated[
        str | None, typer.Option("--as", help="Another name for it.", show_default=False)
    ] = None,
    library: LibraryOption = None,
) -> None:
    """Take in a conversation that was exported; a damaged file is refused whole.

    bifocal conversations import trip.zip --as trip-2
    """
    from memory.archive import import_conversation

    with _bar() as tell:
        done = with_history(
            library, lambda history: import_conversation(history, file.expanduser(), name, tell)
        )
    _tell(done, f"from {file}")


def _tell(done: "Carried", where: str) -> None:
    for notice in done.notices:
        _say(f"Note: {notice}")
    _say(f"{done.name}: {done.turns} turns and {done.pictures} pictures {where}")


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Show how many pictures are done, in a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("pictures", total=None, visible=False)
        yield lambda done, of: progress.update(task, completed=done, total=of, visible=True)


def _forget_kept(library: Path | None) -> None:
    """Drop what local models keep of the tenant on disk."""
    from bot.build import engine_cache
    from bot.forgetting import forget_on_disk
    from bot.settings import Settings

    forget_on_disk(engine_cache(), Settings.usual(library=library).tenant)


def _say(text: str) -> None:
    from bot.show import plain

    typer.echo(plain(text))


async def _turn(history: "RedisHistory", name: str, turn: str) -> str:
    """Return the id of a turn that was named by its id or its number."""
    found = await history.load(name)
    existing(found.total, name)
    return found.turns[place_of(found, name, turn)].id
