"""``bifocal serve``: reads options and starts the service. Knows nothing of what it does."""

from pathlib import Path
from typing import Annotated

import typer


def add_command(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(serve)


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on, 127.0.0.1 unless given; others need keys."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on, 8000 unless given; 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer, 1 unless given.")
    ] = None,
    library: Annotated[
        Path | None,
        typer.Option("--library", "-l", help="Folder of the library that is named default."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Who writes: extractive, llama:NAME, or provider:model."
        ),
    ] = None,
) -> None:
    """Serve the web page, the HTTP API and the OpenAI-compatible API.

    On loopback nothing more is needed:

        bifocal serve

        curl -s localhost:8000/v1/turns -H 'Content-Type: application/json' -d '{"text": "…"}'

    For others, make each of them a key first: `bifocal keys add anna`, then
    `bifocal serve --host 0.0.0.0`. Stop it with Ctrl-C or SIGTERM; turns under way may end.
    All other settings are in the table `serve` of bifocal.toml, or BIFOCAL_SERVE_… .
    """
    from bot.service.processes.run import serve as run
    from bot.service.processes.run import to_environment
    from bot.settings import Settings

    to_environment(
        {
            "serve_host": host,
            "serve_port": port,
            "serve_workers": workers,
            "library": library.expanduser().absolute() if library else None,
            "model": model,
        }
    )
    run(Settings.usual(), lambda line: typer.echo(line, err=True))
