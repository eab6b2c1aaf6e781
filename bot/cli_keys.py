"""``bifocal keys``: add, list and revoke the API keys of the service.

Reads options and prints; knows nothing of how anything is done. What is slow to import is imported
by the command that needs it.
"""

import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bot.service.access.keys import KeyInfo, KeyStore

T = TypeVar("T")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

keys_app = typer.Typer(
    help="API keys of the service: add, list, revoke.\n\n"
    "A key belongs to one tenant and opens the libraries that it names. It is shown once, when it "
    "is made; what is kept is a hash of it.\n\n"
    "    bifocal keys add phone\n\n"
    "    bifocal keys add press --tenant news --read archive --write today --rate 60/minute\n\n"
    "    bifocal keys revoke phone",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

LibraryOption = Annotated[
    Path | None,
    typer.Option("--library", "-l", help="Folder of the index; in your data folder unless given."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@keys_app.command()
def add(
    name: Annotated[str, typer.Argument(help="What you call it: a-z, 0-9, '.', '_', '-'.")],
    tenant: Annotated[
        str, typer.Option("--tenant", "-t", help="Whose conversations and libraries it opens.")
    ] = "default",
    read: Annotated[
        list[str] | None,
        typer.Option("--read", "-r", help="A library that it may ask; repeatable, '*' is all."),
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option("--write", "-w", help="A library that it may change, too; repeatable."),
    ] = None,
    rate: Annotated[
        str, typer.Option("--rate", help="Requests: 60/minute. The service's own unless given.")
    ] = "",
    turns_per_day: Annotated[
        int | None,
        typer.Option("--turns-per-day", help="Questions in 24 hours; the service's own, too."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="When it ends: 90d, 12h. Never unless given.")
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, this once.

    Without --read and --write it may ask every library of its tenant, and change none.

        bifocal keys add press --tenant news --read archive --write today --expires 90d
    """
    ends = None if expires is None else time.time() + _read_duration(expires)
    reads = ["*"] if read is None and write is None else read or []

    async def work(store: "KeyStore") -> "tuple[KeyInfo, str]":
        from bot.service.access.keys import KeyInfo

        access, token = await store.add(
            name,
            tenant=tenant,
            read=reads,
            write=write or [],
            rate=rate,
            turns_per_day=turns_per_day,
            expires=ends,
        )
        return KeyInfo(access.key_id, access, time.time(), ends), token

    made, token = _with_keys(library, work, begin=True)
    if as_json:
        _print_json(_describe(made) | {"key": token})
        return
    console = _console()
    _say_where(console, library)
    console.print(f"Key {name} ({made.key_id}) of tenant {tenant}:", markup=False)
    console.print(f"\n{token}\n", markup=False, style="bold", soft_wrap=True)
    console.print("Keep it now: it is not shown again. Send it with every request, as")
    console.print("    Authorization: Bearer KEY", markup=False)


@keys_app.command("list")
def list_keys(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """List the keys, the oldest first. What they are is not kept, and not shown.

    bifocal keys list
    """
    found = _with_keys(library, lambda store: store.list())
    if as_json:
        _print_json([_describe(key) for key in found])
    elif found:
        _print_list(_console(), found)
    else:
        _console().print("No keys yet. The first one: bifocal keys add NAME", markup=False)


@keys_app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its name or id, as `bifocal keys list` shows it.")],
    library: LibraryOption = None,
) -> None:
    """Remove a key. A service that runs lets it in for 5 more seconds at most.

    bifocal keys revoke phone
    """
    gone = _with_keys(library, lambda store: store.revoke(key))
    name = gone.access.name if gone.access else "(damaged)"
    _console().print(f"Revoked {name} ({_plain(gone.key_id)}).", markup=False)


def _with_keys(
    library: Path | None, work: "Callable[[KeyStore], Awaitable[T]]", *, begin: bool = False
) -> T:
    """Run one asynchronous call against the keys in the Redis of the settings. Where nothing was
    begun, neither a library nor its Redis, nothing is made unless ``begin``."""
    import asyncio

    from bot.errors import AccessError
    from bot.service.access.keys import KeyStore
    from bot.service.stores.shared_redis import SharedRedis
    from bot.settings import Settings

    settings = Settings.usual(library=library)
    if settings.redis_url is None and not begin and not _is_begun(settings.library):
        raise AccessError(
            f"{settings.library}: no library and no keys here; the first one: bifocal keys add NAME"
        )

    async def run() -> T:
        async with await SharedRedis.of(settings) as redis:
            return await work(KeyStore(redis))

    return asyncio.run(run())


def _is_begun(folder: Path) -> bool:
    """Tell whether a folder holds a library, or the keys of one that is yet to come."""
    return _has_library(folder) or (folder.expanduser() / "redis").is_dir()


def _has_library(folder: Path) -> bool:
    from retrievers.library_schema import FILE

    return (folder.expanduser() / FILE).is_file()


def _say_where(console: "Console", library: Path | None) -> None:
    """Name the folder of keys that came before their library, so that a mistyped one is seen."""
    from bot.settings import Settings

    settings = Settings.usual(library=library)
    if settings.redis_url is None and not _has_library(settings.library):
        told = f"There is no library in {settings.library} yet; `bifocal serve` makes it there."
        console.print(told, markup=False, soft_wrap=True)


def _read_duration(text: str) -> int:
    """Return the seconds of ``90d``, ``12h``, ``5m`` or ``10s``."""
    from bot.errors import AccessError

    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text.strip(), re.ASCII)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= 36_500 * 86_400:
        raise AccessError(
            f"expires {text[:40]!r}: give a number with s, m, h or d, such as 90d, up to 36500d"
        )
    return seconds


def _describe(key: "KeyInfo") -> dict[str, Any]:
    """Return a key as JSON values; times are seconds since 1970."""
    if key.access is None:
        return {"id": key.key_id, "damaged": True}
    return {
        "id": key.key_id,
        "name": key.access.name,
        "tenant": key.access.tenant,
        "read": sorted(key.access.read),
        "write": sorted(key.access.write),
        "rate": key.access.rate or None,
        "turns_per_day": key.access.turns_per_day,
        "created": key.created,
        "expires": key.expires,
        "last_used": key.last_used,
    }


def _print_list(console: "Console", found: "list[KeyInfo]") -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("name", style="bold", overflow="fold")
    table.add_column("id", no_wrap=True)
    for title in ("tenant", "reads", "writes", "rate", "turns/day", "used", "expires"):
        table.add_column(title, overflow="fold")
    for key in found:
        cells = ["(damaged)", _plain(key.key_id), *7 * ["-"]]
        if access := key.access:
            cells = [access.name, key.key_id, access.tenant]
            cells += [" ".join(sorted(names)) or "-" for names in (access.read, access.write)]
            cells += [access.rate or "default", str(access.turns_per_day or "default")]
            cells += [key.last_used or "never", _ends(key.expires)]
        table.add_row(*map(escape, cells))
    console.print(table)


def _ends(at: float | None) -> str:
    if at is None:
        return "never"
    if at <= time.time():
        return "is over"
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _plain(text: str) -> str:
    from bot.show import plain

    return plain(text)


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)  # noqa: T201
