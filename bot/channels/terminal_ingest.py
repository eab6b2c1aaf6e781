"""Ingestion and re-encoding in a terminal: a progress bar, and a table at the end.

Knows nothing of how files are read.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
)
from rich.table import Table

from bot.build import ingestor, load_encoders
from bot.settings import Settings
from bot.show import plain, source_name
from retrievers.ingest.pipeline import IngestEvent, Report
from retrievers.library import Library

#: Skipped files that the closing table lists; all of them are in `bifocal sources`
MOST_SKIPPED = 20


def ingest_in_terminal(
    settings: Settings,
    paths: Sequence[Path],
    console: Console,
    *,
    prune: bool = False,
    retry: bool = False,
) -> Report:
    """Take files into the library with a progress bar, print the closing table, return it all."""
    with Library.open(settings.library, create=True) as library:
        seen = Report()
        with _bar(console) as bar:
            task = bar.add_task("", total=None, rates="")

            def show(event: IngestEvent) -> None:
                _count(seen, event)
                rates = (
                    f"{event.done / max(event.seconds, 1e-3):.1f} files/s"
                    f"  {event.pages / max(event.seconds, 1e-3):.1f} pages/s"
                    f"  {event.pictures / max(event.seconds, 1e-3):.1f} pictures/s"
                )
                bar.update(
                    task,
                    total=event.total,
                    completed=event.done,
                    description=escape(_file_and_time(event)),
                    rates=rates,
                )

            worker = ingestor(settings, library)
            try:
                report = worker.run(list(paths), prune=prune, retry=retry, on_event=show)
            except KeyboardInterrupt:
                report = replace(seen, stopped=True)
        print_report(console, report)
    return report


def _count(seen: Report, event: IngestEvent) -> None:
    """Keep count of a run, for when it is stopped and has no report of its own."""
    seen.indexed += event.state == "indexed"
    seen.unchanged += event.state == "unchanged"
    seen.removed += event.state == "removed"
    if event.state == "skipped":
        seen.skipped.append((event.file, event.reason))
    seen.pages, seen.pictures, seen.passages = event.pages, event.pictures, event.passages
    seen.seconds = event.seconds


def _file_and_time(event: IngestEvent) -> str:
    step = f" {event.step}/{event.steps}" if event.steps > 1 else ""
    left = event.seconds_left
    time_left = f"{left // 60:.0f}:{left % 60:02.0f} left  " if left is not None else ""
    return f"{time_left}{source_name(event.file)}{step}"


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("files  {task.fields[rates]}"),
        TextColumn("[dim]{task.description}[/]"),
        console=console,
        transient=True,
    )


def print_report(console: Console, report: Report) -> None:
    """Print what became of the files."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    made = f"{report.passages} passages, {report.pictures} pictures, {report.pages} pages"
    table.add_row("indexed", f"{report.indexed} files ({made}) in {report.seconds:.1f} s")
    table.add_row("unchanged", f"{report.unchanged} files")
    if report.removed:
        table.add_row("removed", f"{report.removed} sources that are gone")
    for name, notice in report.notices[:MOST_SKIPPED]:
        table.add_row("note", f"{escape(source_name(name))}: {escape(plain(notice))}")
    table.add_row("skipped", f"{len(report.skipped)} files")
    for name, reason in report.skipped[:MOST_SKIPPED]:
        table.add_row("", f"[yellow]{escape(plain(name))}[/]: {escape(plain(reason))}")
    if len(report.skipped) > MOST_SKIPPED:
        table.add_row("", f"… and {len(report.skipped) - MOST_SKIPPED} more: bifocal sources")
    console.print(table)
    if report.stopped:
        console.print("[yellow]Stopped. Run the same command again to go on where it stopped.[/]")


def reencode_in_terminal(settings: Settings, console: Console) -> dict[str, Any]:
    """Make all vectors anew with a progress bar; return how many, by space."""
    done: dict[str, Any] = {}
    text, look = load_encoders(settings)
    with Library.open(settings.library) as library, _bar(console) as bar:
        counts = library.counts()
        for space, encoder, total in (
            ("text", text, counts.passages + counts.pictures),
            ("look", look, counts.pictures),
        ):
            task = bar.add_task(f"{space}: {encoder.name}", total=total, rates="")
            made = 0
            for made in library.reencode(space, encoder):
                bar.update(task, completed=made)
            done[space] = {"encoder": encoder.name, "vectors": made}
    for space, result in done.items():
        console.print(f"{space}: {result['vectors']} vectors by {escape(result['encoder'])}")
    return done
