"""A broken stream is taken up again, here or at another process; one that is left is ended."""

import asyncio
import json
from typing import Any

import pytest

TALL = "How tall is the lighthouse?"


async def until(what: Any) -> None:
    """Wait until ``what()`` is true."""
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.02)


async def read(lines: Any, wanted: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the next events of a stream: id, kind and value."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    fields: dict[str, str] = {}
    async for line in lines:
        name, colon, value = line.partition(": ")
        if colon and name:
            fields[name] = value
        elif not line and fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
            fields = {}
            if len(found) == wanted:
                break
    return found


ASK = {"text": TALL, "stream": True, "resumable": True}


async def test_a_stream_goes_on_behind_the_last_event_that_arrived(serve: Any, slow: Any) -> None:
    async with serve(writer=slow) as served, serve(writer=slow) as other:
        async with served.client.stream("POST", "/v1/turns", json=ASK) as answer:
            slow.let.release()
            slow.let.release()
            begun = await read(answer.aiter_lines(), 3)
            place = answer.headers["location"]
        assert [kind for _, kind, _ in begun] == ["evidence", "token", "token"]
        for _ in range(slow.words):
            slow.let.release()
        last = {"Last-Event-ID": begun[-1][0]}
        for client in (served.client, other.client):  # the same process, and another one
            async with client.stream("GET", place, headers=last) as rest:
                assert rest.status_code == 200, await rest.aread()
                went_on = await read(rest.aiter_lines(), 100)
            said = [value["text"] for _, kind, value in [*begun, *went_on] if kind == "token"]
            assert "".join(said) == "".join(f"w{n} " for n in range(slow.words))
            assert went_on[-1][1] == "done"


async def test_a_stream_that_nobody_comes_back_to_is_ended(serve: Any, slow: Any) -> None:
    async with serve(writer=slow, serve={"resume_seconds": 1}) as served:
        async with served.client.stream("POST", "/v1/turns", json=ASK) as answer:
            slow.let.release()
            await read(answer.aiter_lines(), 2)
        await until(lambda: slow.ended)


async def test_a_client_that_leaves_ends_a_turn_that_is_not_resumable(
    serve: Any, slow: Any
) -> None:
    ask = {**ASK, "resumable": False}
    async with serve(writer=slow) as served:
        async with served.client.stream("POST", "/v1/turns", json=ask) as answer:
            slow.let.release()
            await read(answer.aiter_lines(), 2)
        await until(lambda: slow.ended)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_resumable_turn_can_be_ended_from_any_process(
    serve: Any, slow: Any, elsewhere: bool
) -> None:
    async with serve(writer=slow) as served, serve(writer=slow) as other:
        async with served.client.stream("POST", "/v1/turns", json=ASK) as answer:
            slow.let.release()
            lines = answer.aiter_lines()
            await read(lines, 2)
            client = other.client if elsewhere else served.client
            ended = await client.delete(answer.headers["location"].removesuffix("/events"))
            assert ended.status_code == 204
            assert (await read(lines, 9))[-1][2]["problem"]["type"].endswith(":ended")
        await until(lambda: slow.ended)


async def test_a_stream_belongs_to_its_tenant(serve: Any, slow: Any) -> None:
    async with serve(writer=slow, serve={"keys": "on"}) as served:
        anna, bert = await served.key("anna"), await served.key("bert")
        async with served.client.stream("POST", "/v1/turns", json=ASK, headers=anna) as answer:
            slow.let.release()
            await read(answer.aiter_lines(), 1)
            place = answer.headers["location"]
        foreign = await served.client.get(place, headers=bert)
        absent = await served.client.get(f"/v1/turns/{'0' * 32}/events", headers=anna)
        assert foreign.status_code == absent.status_code == 404
        assert {**foreign.json(), "instance": ""} == {**absent.json(), "instance": ""}
        not_ended = await served.client.delete(place.removesuffix("/events"), headers=bert)
        assert not_ended.status_code == 404
