"""The bots of a served Bifocal, for channels that run beside it. Knows nothing of any channel."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bot.channels.backend import Backend, OpenLibrary
from bot.remote import AsyncRemoteChatBot


@asynccontextmanager
async def open_there(url: str, key: str) -> AsyncIterator[OpenLibrary]:
    """Reach the service at ``url`` for the bots of its libraries, each opened once."""
    bots: dict[str, Backend] = {}
    async with AsyncExitStack() as stack:

        async def opened(library: str) -> Backend:
            if library not in bots:
                bot = AsyncRemoteChatBot(url, key, library=library)
                bots[library] = await stack.enter_async_context(bot)
            return bots[library]

        yield opened
