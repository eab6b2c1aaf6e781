"""``bifocal slack``: reads options and connects to Slack. Knows nothing of what it does."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bot.channels.backend import OpenLibrary
    from bot.settings import Settings


def add_command(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(slack)


def slack(
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Print the manifest of the app, and do no more.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(help="With --manifest: for HTTP mode, where `bifocal serve` is reached."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="BIFOCAL_URL", help="A served Bifocal that answers; its key is BIFOCAL_KEY."
        ),
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
    """Answer in Slack: direct messages, mentions, threads, and the command /bifocal.

    Make an app at https://api.slack.com/apps, "From a manifest", of what

        bifocal slack --manifest

    prints, install it, and make an app-level token with the scope
    connections:write. Then, with a library (bifocal ingest):

        export BIFOCAL_SLACK_BOT_TOKEN=xoxb-…
        export BIFOCAL_SLACK_APP_TOKEN=xapp-…
        bifocal slack

    What to press there, and why, is in docs/slack.md. Stop it with Ctrl-C
    or SIGTERM; a question under way is answered after the next start.
    Other settings: the table slack of bifocal.toml, or BIFOCAL_SLACK_… .
    """
    import asyncio
    import json

    from bot.channels.slack_needed import needed
    from bot.errors import SettingsError
    from bot.settings import Settings

    needed()
    if manifest:
        from bot.channels.slack import manifest as made

        if address and not address.startswith("https://"):
            raise SettingsError(f"option --address: {address!r} is no https:// address")
        typer.echo(json.dumps(made(address), indent=2))
        return
    settings = Settings.usual(library=library, model=model)
    if settings.slack.mode == "http":
        raise SettingsError("setting slack.mode is http: Slack calls `bifocal serve` then")
    asyncio.run(_until_stopped(settings, url))


async def _until_stopped(settings: "Settings", url: str | None) -> None:
    import asyncio
    import signal

    task = asyncio.ensure_future(_run(settings, url))
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        typer.echo("bifocal: stopped", err=True)


async def _run(settings: "Settings", url: str | None) -> None:
    from bot.channels.slack import SlackChannel
    from bot.service.observability import logs
    from bot.service.stores.shared_redis import SharedRedis

    logs.set_up("info")
    async with (
        _opening(settings, url) as opening,
        await SharedRedis.of(settings) as redis,
        SlackChannel.open(settings, opening, redis) as channel,
    ):
        await channel.run()


def _opening(settings: "Settings", url: str | None) -> "AbstractAsyncContextManager[OpenLibrary]":
    """Return what opens bots: in this process, or those of a service."""
    from bot.channels.backend import open_here

    return open_here(settings) if url is None else _open_there(url)


def _open_there(url: str) -> "AbstractAsyncContextManager[OpenLibrary]":
    import os

    from bot.channels.served import open_there

    return open_there(url, os.environ.get("BIFOCAL_KEY", ""))
