"""More than it can take, and clients that leave: rows 21 and 22.

A few rounds in the ordinary run; the full counts with ``BIFOCAL_FULL=1``.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

FULL = bool(os.environ.get("BIFOCAL_FULL"))
ABORTS = 200 if FULL else 40
AT_ONCE, WAITING = 4, 6
TALL = "How tall is the lighthouse?"


class GatedChat(BaseChatModel):
    """Reads its prompt until it is let, and then says its words, each when it is let."""

    reads_evidence: bool = False
    context_tokens: int = 8192
    says: tuple[str, ...] = ("Aye", ".")
    let: Any = None  #: asyncio.Semaphore
    begun: int = 0
    ended: int = 0  #: answers that are no longer under way

    @property
    def _llm_type(self) -> str:
        return "gated"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        self.begun += 1
        try:
            for word in self.says:
                await self.let.acquire()
                yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        finally:
            self.ended += 1


@pytest.fixture
def gated() -> GatedChat:
    """A model that goes on whenever ``gated.let.release()`` is called."""
    return GatedChat(let=asyncio.Semaphore(0))


async def until(what: Any) -> None:
    """Wait until ``what()`` is true."""
    async with asyncio.timeout(60):
        while not what():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.01)


def gauge(text: str, name: str) -> float:
    """Return what Prometheus reads of a gauge."""
    found = re.search(rf"^bifocal_{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


@pytest.mark.parametrize("while_writing", [False, True])
async def test_a_client_that_leaves_frees_the_model_the_place_and_the_conversation(
    serve: Any, gated: GatedChat, while_writing: bool
) -> None:
    """All turns are of one conversation, so each needs the claim of the one before; a
    quarter of them do not stream."""
    async with serve(
        writer=gated, condense_seconds=0.01, serve={"turns_at_once": 1, "turns_waiting": 0}
    ) as served:
        admission = served.server.config.app.inner.state.admission
        for number in range(ABORTS // 2):
            body = {"text": TALL, "conversation": "c", "stream": number % 4 != 0}
            asking = asyncio.create_task(leave_after(served.client, body, gated, while_writing))
            await asking
            await until(lambda: gated.ended == gated.begun)
            await until(lambda: admission.running == 0)
        assert gated.begun >= ABORTS // 2
        for _ in gated.says:
            gated.let.release()
        answer = await served.client.post("/v1/turns", json={"text": TALL, "conversation": "c"})
        assert answer.json()["text"] == "Aye."
        told = (await served.client.get("/metrics")).text
        assert gauge(told, "turns_running") == gauge(told, "turns_waiting") == 0


async def leave_after(
    client: httpx.AsyncClient, body: dict[str, Any], gated: GatedChat, while_writing: bool
) -> None:
    """Ask, and hang up once the model reads its prompt, or once it has said a word."""
    begun = gated.begun

    async def asks() -> None:
        async with client.stream("POST", "/v1/turns", json=body) as answer:
            async for _ in answer.aiter_lines():
                pass

    asking = asyncio.create_task(asks())
    await until(lambda: gated.begun > begun or asking.done())
    assert not asking.done(), asking.result()
    if while_writing:
        gated.let.release()
        await until(lambda: gated.let.locked())
    asking.cancel()
    await asyncio.wait({asking})


async def test_twenty_times_the_load_is_told_to_come_again_and_the_queue_keeps_its_cap(
    serve: Any, gated: GatedChat
) -> None:
    """The first are worked at, some wait, all others get a 503 at once, and it recovers."""
    many = 20 * (AT_ONCE + WAITING)
    async with serve(
        writer=gated, serve={"turns_at_once": AT_ONCE, "turns_waiting": WAITING}
    ) as served:
        admission = served.server.config.app.inner.state.admission
        limits = httpx.Limits(max_connections=many)
        async with httpx.AsyncClient(
            base_url=served.url, timeout=120, limits=limits, trust_env=False
        ) as clients:
            asking = [
                asyncio.create_task(clients.post("/v1/turns", json={"text": f"{TALL} {n}"}))
                for n in range(many)
            ]
            refused = many - AT_ONCE - WAITING
            await until(lambda: admission.refused == refused)
            await until(lambda: gated.begun == AT_ONCE)
            told = (await served.client.get("/metrics")).text
            assert gauge(told, "turns_running") == AT_ONCE == admission.running
            assert gauge(told, "turns_waiting") == WAITING == admission.waiting
            for _ in range(many):
                gated.let.release()
            answers = await asyncio.gather(*asking)
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(200) == AT_ONCE + WAITING
        assert statuses.count(503) == refused
        for answer in answers:
            if answer.status_code == 503:
                assert 1 <= int(answer.headers["retry-after"]) <= 120
                assert answer.json()["type"].endswith(":overloaded")
        after = await served.client.post("/v1/turns", json={"text": TALL})
        assert after.json()["text"] == "Aye."


async def test_a_key_that_asks_too_much_is_told_when_to_come_again(serve: Any) -> None:
    async with serve(serve={"keys": "on"}) as served:
        key = await served.key("anna", rate="10/day")
        answers = await asyncio.gather(
            *(served.client.get("/v1/pictures/" + "0" * 64, headers=key) for _ in range(200))
        )
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(404), statuses.count(429)) == (10, 190)
        assert all(
            1 <= int(answer.headers["retry-after"]) <= 86_400
            for answer in answers
            if answer.status_code == 429
        )


async def test_more_requests_than_are_taken_at_once_are_told_to_come_again(
    serve: Any, gated: GatedChat
) -> None:
    async with serve(writer=gated, serve={"requests_at_once": 3}) as served:
        asking = [
            asyncio.create_task(served.client.post("/v1/turns", json={"text": TALL}))
            for _ in range(3)
        ]
        await until(lambda: gated.begun == 3)
        refused = await served.client.get("/livez")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        for _ in range(6):
            gated.let.release()
        assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200] * 3
        assert (await served.client.get("/livez")).is_success


async def test_a_reader_who_stands_still_is_hung_up_on(serve: Any) -> None:
    """The answer has more than the buffers between take; the model is freed."""
    loud = GatedChat(let=asyncio.Semaphore(10**6), says=("x" * 50_000,) * 2000)
    async with serve(writer=loud, serve={"read_seconds": 1}) as served:
        host, port = served.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        body = b'{"text": "Tell me all", "stream": true}'
        writer.write(
            b"POST /v1/turns HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert b"200" in await reader.readline()
        await until(lambda: loud.ended == 1)
        await until(lambda: not served.server.server_state.connections)
        writer.close()
