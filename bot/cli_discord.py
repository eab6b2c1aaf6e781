"""``bifocal discord``: reads options and connects to Discord. Knows nothing of what it does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli_served import AllowHttpOption, UrlOption, opening, refuse_model, run_until_stopped

if TYPE_CHECKING:
    from bot.settings import Settings


def add_command(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(discord)


def discord(
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
    url: UrlOption = None,
    allow_http: AllowHttpOption = False,
) -> None:
    """Answer in Discord: direct messages, mentions, replies, threads, and the command /ask.

    Make an application at https://discord.com/developers/applications, and
    copy the token of its page Bot. Then, with a library (bifocal ingest):

        export BIFOCAL_DISCORD_TOKEN=…
        bifocal discord

    It prints the link that invites it to a server. What to press, and why,
    is in docs/discord.md. Stop it with Ctrl-C or SIGTERM; a question under
    way is answered after the next start. Other settings: the table discord
    of bifocal.toml, or BIFOCAL_DISCORD_… .
    """
    from bot.errors import SettingsError
    from bot.settings import Settings

    try:
        import discord as _  # noqa: F401
    except ImportError:
        raise SettingsError("Discord needs a package: pip install 'bifocal[discord]'") from None

    refuse_model(url, model)
    settings = Settings.usual(library=library, model=model)
    run_until_stopped(_run(settings, url, allow_http))


async def _run(settings: "Settings", url: str | None, allow_http: bool) -> None:
    from bot.channels.backend import Libraries
    from bot.channels.discord_bot import DiscordChannel, token_of
    from bot.service.observability import logs
    from bot.service.stores.shared_redis import SharedRedis

    token_of(settings.discord)  # before anything is loaded
    logs.set_up("info")
    names = settings.discord.libraries.values()
    async with (
        opening(settings, url, allow_http, names) as opened,
        await SharedRedis.of(settings) as redis,
    ):
        channel = DiscordChannel(
            settings.discord,
            Libraries(opened, settings.discord.libraries),
            redis,
            lifetime=settings.turns_ttl,
            most_pictures=settings.pictures_per_turn,
        )
        await channel.run()
