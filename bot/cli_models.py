"""``bifocal models``: list, pull, add, remove, use, quantize and bench local models.

Reads options and prints; knows nothing of how anything is done. What is slow to import is imported
by the command that needs it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bot.models.store import ModelStore

_SIZES = {
    "small": "small: 8 GB machines",
    "medium": "medium: 16 GB",
    "large": "large: 32 GB, or a GPU",
    "added": "added by you",
}

models_app = typer.Typer(
    help="Models that run on this machine: list, pull, add, use, quantize, bench.\n\n"
    "Without a command: the list. Begin with\n\n"
    "    bifocal models pull qwen3-vl-2b\n\n"
    "and it is what answers from then on; `bifocal status` says so.",
    rich_markup_mode="rich",
)

NameArgument = Annotated[str, typer.Argument(help="A name, as `bifocal models` lists it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@models_app.callback(invoke_without_command=True)
def list_models(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print the list, when there is no command."""
    if context.invoked_subcommand is not None:
        return
    lines = _describe(_store())
    if as_json:
        _print_json(lines)
    else:
        _print_list(_console(), lines)


@models_app.command()
def pull(name: NameArgument) -> None:
    """Download a model of the catalogue, check it, and use it from then on.

    Stop with Ctrl-C; the same command goes on where it stopped. Without a network, it says which
    files to put where; run it again then, to check them.

        bifocal models pull smolvlm2-500m
    """
    from bot.models.catalog import get

    store, console, entry = _store(), _console(), get(name)
    console.print(f"{entry.title}; licence: {entry.licence}", markup=False)
    try:
        with _bar(console) as progress:
            store.pull(entry, progress)
    except KeyboardInterrupt as stop:
        console.print("[yellow]Stopped. Run the same command again to go on where it stopped.[/]")
        raise typer.Exit(130) from stop
    console.print(f"{name} is here, and both files are what they must be.", markup=False)
    _print_who_answers(console, store, name)


@models_app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name of your own.")],
    text: Annotated[Path, typer.Argument(help="The text model.", metavar="TEXT.gguf")],
    projector: Annotated[
        Path | None,
        typer.Argument(help="Its projector (mmproj), which sees.", metavar="PROJECTOR.gguf"),
    ] = None,
) -> None:
    """Give files that you have a name. They stay where they are; their SHA-256 is kept.

    bifocal models add mine ~/models/Text-Q4_K_M.gguf ~/models/mmproj-F16.gguf
    """
    store, console = _store(), _console()
    with _bar(console) as progress:
        model = store.add(name, text, projector, progress)
    blind = "" if model.projector else " It has no projector: it reads, and sees no pictures."
    console.print(f"Added {name}.{blind}", markup=False)
    _print_who_answers(console, store, name)


@models_app.command()
def remove(name: NameArgument) -> None:
    """Forget a model. Files that were pulled are deleted, those that you added stay.

    bifocal models remove smolvlm2-500m
    """
    _store().remove(name)
    _console().print(f"Removed {name}.", markup=False)


@models_app.command()
def use(name: NameArgument) -> None:
    """Answer with this model unless a command or the settings name another one.

    bifocal models use qwen3-vl-2b
    """
    _store().use(name)
    _console().print(f"{name} answers from now on.", markup=False)


@models_app.command()
def quantize(
    source: Annotated[Path, typer.Argument(help="A text model of 16 or 32 bits.", metavar="IN")],
    target: Annotated[Path, typer.Argument(help="The file to write.", metavar="OUT")],
    kind: Annotated[
        str, typer.Option("--type", "-t", help="Q4_K_M, Q5_K_M, Q8_0, ...; a wrong one lists all.")
    ] = "Q4_K_M",
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
) -> None:
    """Make a text model smaller and faster.

    bifocal models quantize Model-F16.gguf Model-Q4_K_M.gguf --type Q4_K_M
    """
    from bot.models.quantize import quantize as run

    console = _console()
    with _steps(console) as progress:
        made = run(source, target, kind, force=force, progress=progress)
    before, after = (path.expanduser().stat().st_size for path in (source, made))
    console.print(f"{made}: {after / 1e6:,.1f} MB, was {before / 1e6:,.1f} MB", markup=False)


@models_app.command()
def bench(
    name: Annotated[str, typer.Argument(help="A name, or TEXT.gguf[+PROJECTOR.gguf].")],
    tokens: Annotated[int, typer.Option("--tokens", min=2, help="Tokens to write.")] = 64,
    context: Annotated[int, typer.Option("--context", min=512, help="Context, in tokens.")] = 4096,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads; all cores unless given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on this machine: reading, the first word with a picture, writing, memory.

    bifocal models bench qwen3-vl-2b
    """
    from bot.models.bench import bench as run
    from bot.models.store import is_name

    files = _store().resolve(name) if is_name(name) else name
    measured = run(files, tokens=tokens, context=context, threads=threads)
    if as_json:
        _print_json(measured)
    else:
        _print_bench(_console(), name, measured)


def _store() -> "ModelStore":
    from bot.models.store import ModelStore
    from bot.settings import Settings

    return ModelStore(Settings.usual().models)


def _describe(store: "ModelStore") -> list[dict[str, Any]]:
    """Return the catalogue and the models that were added, as JSON values; sizes in bytes."""
    from dataclasses import asdict

    from bot.models.catalog import CATALOG, CONTEXTS
    from bot.models.download import hub

    chosen, _ = store.choose()
    mine = {model.name: model for model in store.models()}
    lines: list[dict[str, Any]] = []
    for entry in CATALOG:
        files = (entry.text, entry.projector)
        lines.append(
            {
                "name": entry.name,
                "title": entry.title,
                "size": entry.size,
                "licence": entry.licence,
                "download": entry.download,
                "memory": {str(tokens): entry.memory(tokens) for tokens in CONTEXTS},
                "context": entry.context,
                "pinned": True,
                "files": [asdict(file) | {"url": file.url(hub())} for file in files],
            }
        )
    known = {entry.name for entry in CATALOG}
    for model in mine.values():
        if model.name not in known:
            lines.append(
                {
                    "name": model.name,
                    "title": "added: " + " + ".join(Path(f.path).name for f in model.files),
                    "size": "added",
                    "download": sum(file.size for file in model.files),
                    "pinned": True,
                    "files": [asdict(file) for file in model.files],
                }
            )
    for line in lines:
        model_ = mine.get(line["name"])
        line["state"] = (
            "absent"
            if model_ is None
            else f"lacks {model_.missing}"
            if model_.missing
            else "answers"
            if chosen is not None and chosen.name == model_.name
            else "here"
        )
    return lines


def _print_list(console: "Console", lines: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from bot.models.catalog import CONTEXTS

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("name", style="bold", no_wrap=True)
    for title in ("files", *(f"{tokens // 1024}k" for tokens in CONTEXTS)):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("licence", "state"):
        table.add_column(title, overflow="fold")
    size = ""
    for line in lines:
        if line["size"] != size:
            size = line["size"]
            table.add_row(f"[dim]{_SIZES[size]}[/]")
        memory = line.get("memory", {})
        table.add_row(
            escape(line["name"]),
            _gigabytes(line["download"]),
            *(_gigabytes(memory.get(str(tokens))) for tokens in CONTEXTS),
            escape(line.get("licence", "").partition(",")[0]),
            "" if line["state"] == "absent" else f"[green]{escape(line['state'])}[/]",
        )
    console.print(table)
    console.print(
        "[dim]Gigabytes. Under 4k, 8k, 32k: memory needed at a context of so many tokens, an"
        " estimate (weights, KV cache at f16, buffers; 8k is usual). Every file is held to its"
        " SHA-256.[/]\n"
        "bifocal models pull NAME"
    )


def _gigabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e9:.1f}"


def _print_who_answers(console: "Console", store: "ModelStore", name: str) -> None:
    chosen, why = store.choose()
    if chosen is not None and chosen.name == name:
        console.print("It answers from now on, unless the settings name another model.")
    elif chosen is not None:
        console.print(
            f"{chosen.name} answers ({why}); `bifocal models use {name}` changes that.",
            markup=False,
        )


def _print_bench(console: "Console", name: str, measured: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for title, value in measured.items():
        table.add_row(title.replace("_", " "), f"{value:,}" if value is not None else "-")
    console.print(name, markup=False, style="bold")
    console.print(table)


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)  # noqa: T201


@contextmanager
def _bar(console: "Console") -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each file."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console) as bar:

        def show(name: str, done: int, size: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=size, completed=done)
            bar.update(tasks[name], completed=done)

        yield show


@contextmanager
def _steps(console: "Console") -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("tensors"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
