"""``bifocal discord``: reads options and connects to Discord. Knows nothing of what it does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    url: Annotated[
        str | None,
        typer.Option(
            envvar="BIFOCAL_URL", help="A served Bifocal that answers; its key is BIFOCAL_KEY."
        ),
    ] = None,
) -> None:
    """Answer in Discord: direct messages, mentions, replies, threads, and the command /ask.

    Make a bot at https://discord.com/developers/applications, then

        BIFOCAL_DISCORD_TOKEN=… bifocal discord

    What to press there, and why, is in docs/discord.md. Stop it with Ctrl-C or SIGTERM; a question
    under way is answered after the next start. All other settings are in the table `discord` of
    bifocal.toml, or BIFOCAL_DISCORD_… .
    """
    import asyncio
    import signal

    from bot.errors import SettingsError
    from bot.settings import Settings

    try:
        import discord as _  # noqa: F401
    except ImportError:
        raise SettingsError("Discord needs a package: pip install 'bifocal[discord]'") from None

    settings = Settings.usual(library=library, model=model)

    async def work() -> None:
        task = asyncio.ensure_future(_run(settings, url))
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            typer.echo("bifocal: stopped", err=True)

    asyncio.run(work())


async def _run(settings: "Settings", url: str | None) -> None:
    import os

    from bot.channels.backend import Libraries, open_here
    from bot.channels.discord_bot import DiscordChannel, token_of
    from bot.channels.served import open_there
    from bot.service import logs
    from bot.service.shared_redis import SharedRedis

    token_of(settings.discord)  # before anything is loaded
    logs.set_up("info")
    there = open_there(url, os.environ.get("BIFOCAL_KEY", "")) if url else open_here(settings)
    async with there as opening, await SharedRedis.of(settings) as redis:
        channel = DiscordChannel(
            settings.discord,
            Libraries(opening, settings.discord.libraries),
            redis,
            tenant=settings.tenant,
            lifetime=settings.turns_ttl,
            most_pictures=settings.pictures_per_turn,
        )
        await channel.run()
