"""``/v1/feedback`` over real HTTP."""

import json
from typing import Any

import httpx

from bot.service.stores.shared_redis import SharedRedis

TALL = "How tall is the lighthouse?"


async def _turn(client: httpx.AsyncClient, conversation: str, **headers: str) -> dict[str, str]:
    asked = {"text": TALL, "conversation": conversation}
    answer = (await client.post("/v1/turns", json=asked, headers=headers)).json()
    return {"conversation": conversation, "turn": answer["turn"]}


async def test_a_later_word_of_the_same_sender_replaces_the_first(serve: Any) -> None:
    async with serve() as served:
        turn = await _turn(served.client, "c/*1")
        post = served.client.post
        assert (await post("/v1/feedback", json={**turn, "rating": "down"})).status_code == 201
        better = {**turn, "rating": "up", "comment": "right after all"}
        await post("/v1/feedback", json=better)
        await post("/v1/feedback", json={**turn, "rating": "down", "sender": "Bert/é"})
        said = (await served.client.get("/v1/feedback")).json()["feedback"]
        assert [(s["sender"], s["rating"]) for s in said] == [("", "up"), ("Bert/é", "down")]
        since = (await served.client.get(f"/v1/feedback?since={said[0]['at']!r}")).json()
        assert since["feedback"] == said[1:]
        accept = {"Accept": "application/x-ndjson"}
        lines = await served.client.get("/v1/feedback?limit=1", headers=accept)
        assert lines.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line) for line in lines.text.splitlines()] == said[:1]


async def test_feedback_needs_a_turn_that_is_there(serve: Any, refused: Any) -> None:
    async with serve() as served:
        turn = await _turn(served.client, "c1")
        post = served.client.post
        refused(await post("/v1/feedback", json={**turn, "turn": "no", "rating": "up"}), 404)
        refused(await post("/v1/feedback", json={**turn, "rating": "fine"}), 422)
        long = {**turn, "rating": "up", "comment": "x" * 4001}
        assert (
            refused(await post("/v1/feedback", json=long), 422)["errors"][0]["field"] == "comment"
        )
        assert (await served.client.get("/v1/feedback")).json() == {"feedback": []}


async def test_feedback_is_withdrawn_once(serve: Any, refused: Any) -> None:
    async with serve() as served:
        turn = await _turn(served.client, "c1")
        await served.client.post("/v1/feedback", json={**turn, "rating": "up"})
        assert (await served.client.delete("/v1/feedback", params=turn)).status_code == 204
        refused(await served.client.delete("/v1/feedback", params=turn), 404)


async def test_feedback_goes_with_its_turn_and_with_its_conversation(serve: Any) -> None:
    async with serve() as served:
        one, two = await _turn(served.client, "c1"), await _turn(served.client, "c1")
        other = await _turn(served.client, "c10")
        for turn in (one, two, other):
            given = {**turn, "rating": "up", "comment": "CANARY-" + turn["turn"]}
            await served.client.post("/v1/feedback", json=given)
        await served.client.delete(f"/v1/conversations/c1/turns/{one['turn']}")
        said = (await served.client.get("/v1/feedback")).json()["feedback"]
        assert [s["turn"] for s in said] == [two["turn"], other["turn"]]
        await served.client.delete("/v1/conversations/c1")
        said = (await served.client.get("/v1/feedback")).json()["feedback"]
        assert [s["turn"] for s in said] == [other["turn"]]
        assert await _places(served.settings, two["turn"]) == []
        assert await _places(served.settings, other["turn"]) != []


async def test_feedback_goes_also_when_another_program_forgets_the_conversation(
    serve: Any,
) -> None:
    from bot.build import open_history

    async with serve() as served:
        turn = await _turn(served.client, "c1")
        await served.client.post("/v1/feedback", json={**turn, "rating": "up", "comment": "CANARY"})
        history = await open_history(served.settings)
        await history.forget("c1")
        await history.aclose()
        assert (await served.client.get("/v1/feedback")).json() == {"feedback": []}
        assert await _places(served.settings, turn["turn"]) == []


async def _places(settings: Any, needle: str) -> list[bytes]:
    """Return the keys of Redis that name a text, in their values too."""

    async def work(client: Any) -> list[bytes]:
        found = []
        async for key in client.scan_iter("bifocal:*"):
            kind = await client.type(key)
            held: Any = key
            if kind == b"hash":
                held = await client.hgetall(key)
            elif kind == b"zset":
                held = await client.zrange(key, 0, -1)
            elif kind == b"list":
                held = await client.lrange(key, 0, -1)
            if needle in str(held):
                found.append(key)
        return found

    async with await SharedRedis.of(settings) as redis:
        return await redis.read(work)
