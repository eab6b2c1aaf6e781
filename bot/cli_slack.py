"""``bifocal slack``: reads options and connects to Slack. Knows nothing of what it does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli_served import AllowHttpOption, UrlOption, opening, refuse_model, run_until_stopped

if TYPE_CHECKING:
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
    url: UrlOption = None,
    allow_http: AllowHttpOption = False,
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
    if address is not None:
        raise SettingsError(f"option --address: {address!r} is for the manifest; add --manifest")
    refuse_model(url, model)
    settings = Settings.usual(library=library, model=model)
    if settings.slack.mode == "http":
        raise SettingsError("setting slack.mode is http: Slack calls `bifocal serve` then")
    run_until_stopped(_run(settings, url, allow_http))


async def _run(settings: "Settings", url: str | None, allow_http: bool) -> None:
    from bot.channels.slack import SlackChannel
    from bot.service.observability import logs
    from bot.service.stores.shared_redis import SharedRedis

    logs.set_up("info")
    async with (
        opening(settings, url, allow_http, settings.slack.libraries.values()) as opened,
        await SharedRedis.of(settings) as redis,
        SlackChannel.open(settings, opened, redis) as channel,
    ):
        await channel.run()
