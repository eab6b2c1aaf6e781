"""The bots of a served Bifocal, for channels that run beside it. Knows nothing of any channel."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from bot.channels.backend import DEFAULT, Backend, OpenLibrary
from bot.channels.outage import is_away
from bot.errors import ServiceError, SettingsError
from bot.remote import AsyncRemoteChatBot
from bot.service.observability import logs
from memory.errors import HistoryUnavailable


@asynccontextmanager
async def open_there(
    url: str, key: str, *, names: Iterable[str] = (), allow_http: bool = False
) -> AsyncIterator[OpenLibrary]:
    """Reach the service at ``url`` for the bots of its libraries, each opened once.

    Raises ``SettingsError``, in one line, for an address or a key that cannot be used. A service
    that is away is no error: questions wait for it. Which of the libraries ``names`` the key may
    not read is told in the log. ``allow_http`` lets the key go unencrypted to another machine.
    """
    bots: dict[str, Backend] = {}
    async with AsyncExitStack() as stack:

        async def reached(library: str) -> AsyncRemoteChatBot:
            bot = AsyncRemoteChatBot(url, key, library=library, allow_http=allow_http)
            return await stack.enter_async_context(bot)

        async def opened(library: str) -> Backend:
            if library not in bots:
                bots[library] = await reached(library)
            return bots[library]

        await _look(await reached(DEFAULT), sorted({*names}))
        yield opened


async def _look(bot: AsyncRemoteChatBot, names: list[str]) -> None:
    """Find out at once what a person has to mend."""
    try:
        there = await bot.libraries()
    except (ServiceError, HistoryUnavailable) as error:
        kind = getattr(error, "kind", "unavailable")
        if kind == "unauthorized":
            raise SettingsError(str(error)) from None
        if not (is_away(error) or kind in ("unavailable", "rate-limited")):
            raise
        logs.tell("the service cannot be reached yet; questions wait for it", level="warning")
        return
    for name in names:
        if name not in there:
            logs.tell(
                "the key may not read a library of the settings", level="warning", library=name
            )
