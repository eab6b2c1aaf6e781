"""A connection of the web server, with the caps that the server itself does not have.

What comes before a request's body (the address, headers, trailers) is bounded, it must come in
time, and so must the next request; a connection that is to be closed is closed even when its other
end stands still; and there are only so many of them. Knows nothing of requests.
"""

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bot.service.http.problems import RETRY

MOST_HEAD = 64 * 1024  #: bytes of a request that are not its body


class Wire(HttpToolsProtocol):
    """Minds the server's ``timeout_keep_alive`` (from the last answer to the next request's head)
    and ``limit_concurrency`` (connections)."""

    _unread = 0  #: bytes since the last piece of a body
    _heads = 0  #: heads that were read
    _seen = -1  #: how many there had been at the last look
    _look: asyncio.TimerHandle | None = None

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._seconds = config.timeout_keep_alive

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See ``asyncio.Protocol``."""
        super().connection_made(transport)
        if self._most is not None and len(self.connections) > self._most:
            self._refuse(503, b"retry-after: %d\r\n" % RETRY)
        self._look = self.loop.call_later(self._seconds, self._look_after)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to another protocol."""
        if self._look is not None:
            self._look.cancel()
        super().handle_websocket_upgrade()

    def _look_after(self) -> None:
        """Close what has waited for a head since the last look, and break what does not close."""
        self._look = self.loop.call_later(self._seconds, self._look_after)
        waits = self.cycle is None or self.cycle.response_complete
        if self.transport.is_closing():
            self.transport.abort()
        elif waits and self._seen == self._heads:
            self.transport.close()
        self._seen = self._heads if waits else -1

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self.transport.is_closing():
            return
        self._unread += len(data)
        super().data_received(data)
        if self._unread > MOST_HEAD and not self.transport.is_closing():
            self._refuse(431)

    def on_headers_complete(self) -> None:
        """See ``httptools``."""
        self._unread = 0
        self._heads += 1
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See ``httptools``."""
        self._unread = 0
        super().on_body(body)

    def _refuse(self, status: int, header: bytes = b"") -> None:
        """Answer before there is a request, and close; in the midst of one only close."""
        if self.cycle is None or self.cycle.response_complete:
            told: list[Any] = [STATUS_LINE[status], header]
            self.transport.write(b"".join(told) + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
