"""``RemoteChatBot``: a served bot for ordinary code and notebooks. See :mod:`bot.blocking`."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bot.blocking import BlockingBot
from bot.remote.client import SECONDS, AsyncRemoteChatBot

if TYPE_CHECKING:
    from retrievers.ingest.pipeline import IngestEvent, Report


class RemoteChatBot(BlockingBot):
    """A bot behind a service: ``bot = RemoteChatBot("https://…", key)``, then as :class:`ChatBot`.

    Close it, or use it in a ``with`` statement. Takes and raises what :class:`AsyncRemoteChatBot`
    does.
    """

    _bot: AsyncRemoteChatBot

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        library: str = "default",
        timeout: float = SECONDS,
        allow_http: bool = False,
    ) -> None:
        from anyio.from_thread import start_blocking_portal

        bot = AsyncRemoteChatBot(url, key, library=library, timeout=timeout, allow_http=allow_http)
        closing = ExitStack()
        portal = closing.enter_context(start_blocking_portal())
        closing.callback(portal.call, bot.aclose)
        super().__init__(bot, portal, closing)

    def __repr__(self) -> str:
        return f"Remote{repr(self._bot).removeprefix('AsyncRemote')}"

    def libraries(self) -> list[str]:
        """Return the names of the libraries that the key may read."""
        return self._run(self._bot.libraries)

    def ingest(
        self,
        *paths: str | Path,
        prune: bool = False,
        on_event: "Callable[[IngestEvent], None] | None" = None,
    ) -> "Report":
        """Upload files into the library. See :meth:`AsyncRemoteChatBot.ingest`."""
        return self._run(lambda: self._bot.ingest(*paths, prune=prune, on_event=on_event))
