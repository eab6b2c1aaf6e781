"""What the commands share for which a served bot may answer: options, which bots, how work ends.

Knows nothing of any channel.
"""

import os
from collections.abc import Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bot.channels.backend import OpenLibrary
    from bot.settings import Settings

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="BIFOCAL_URL", help="A served Bifocal that answers; its key is BIFOCAL_KEY."
    ),
]
AllowHttpOption = Annotated[
    bool,
    typer.Option(
        "--allow-http",
        envvar="BIFOCAL_ALLOW_HTTP",
        help="Let the key go over http to another machine: whoever is on the way can read it.",
    ),
]


def service_key() -> str:
    """Return the key to a served Bifocal, empty where none is set."""
    return os.environ.get("BIFOCAL_KEY", "")


def refuse_model(url: str | None, model: str | None) -> None:
    """Refuse the choice of a model where a service answers."""
    if url is not None and model is not None:
        raise typer.BadParameter("--model: who writes is the service's own setting")


def opening(
    settings: "Settings", url: str | None, allow_http: bool, names: Iterable[str]
) -> "AbstractAsyncContextManager[OpenLibrary]":
    """Return what opens bots by their libraries: in this process, or those of a service.

    ``names`` are the libraries that will be asked for.
    """
    if url is None:
        from bot.channels.backend import open_here

        return open_here(settings)
    from bot.channels.served import open_there

    return open_there(url, service_key(), names=names, allow_http=allow_http)


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Do the work of a channel until SIGTERM or Ctrl-C, which end it in order."""
    import asyncio
    import signal

    async def stoppable() -> None:
        task = asyncio.ensure_future(work)
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            typer.echo("bifocal: stopped", err=True)

    asyncio.run(stoppable())
