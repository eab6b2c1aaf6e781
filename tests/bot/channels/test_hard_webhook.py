"""What the program at the other end of the webhook does when it is not kind."""

import asyncio

import httpx
import pytest
from pydantic import SecretStr

from bot.channels.settings import WebhookSettings
from bot.channels.webhook_callback import Callback
from bot.channels.working import Unreachable


async def posted(status: int) -> int:
    """Post to a callback that always answers with a status; return how often it was asked."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        secret = SecretStr("a secret of the webhook for tests")
        settings = WebhookSettings(secret=secret, callback=address)
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                await Callback(settings, client).post_surely({"type": "answer"}, first)
            finally:
                assert asked == 4 or status < 300
    return asked


async def first() -> int:
    """Return the number of an attempt."""
    return 1


async def test_an_answer_waits_for_a_callback_that_is_down() -> None:
    """A server that fails is down, and the answer waits for it; one that refuses is not."""
    down, busy, refuses = await asyncio.gather(
        posted(503), posted(429), posted(404), return_exceptions=True
    )
    assert isinstance(down, Unreachable)
    assert isinstance(busy, Unreachable)
    assert isinstance(refuses, httpx.HTTPStatusError)
    assert await posted(204) == 1


async def test_a_callback_that_nobody_listens_at_is_down() -> None:
    secret = SecretStr("a secret of the webhook for tests")
    settings = WebhookSettings(secret=secret, callback="http://127.0.0.1:1/")
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(Unreachable):
            await Callback(settings, client).post_surely({"type": "answer"}, first)
