"""``/v1/turns``, ``/v1/pictures`` and health, over real HTTP."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx

TALL = "How tall is the lighthouse?"


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of a stream, by kind, and their values."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def trouble(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return a problem document of that status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    assert answer.headers["x-request-id"] in told["instance"]
    return told


async def test_a_question_gets_a_cited_answer(serve: Any) -> None:
    async with serve() as served:
        answer = (await served.client.post("/v1/turns", json={"text": TALL})).json()
        assert "34 metres" in answer["text"]
        assert answer["citations"][0]["quote"].startswith("The lighthouse")


async def test_a_stream_has_every_event_in_its_order(serve: Any) -> None:
    async with serve() as served:
        answer = await served.client.post("/v1/turns", json={"text": TALL, "stream": True})
        kinds = [kind for kind, _ in events(answer.text)]
        assert kinds == ["evidence", "token", "citation", "done"]
        done = events(answer.text)[-1][1]
        assert "34 metres" in done["text"]
        assert answer.headers["x-conversation"] == done["conversation"]


async def test_pictures_come_as_a_form_as_base64_and_by_their_upload(
    serve: Any, demo_files: Path
) -> None:
    data = (demo_files / "lighthouse.jpg").read_bytes()
    async with serve() as served:
        up = await served.client.post(
            "/v1/pictures", content=data, headers={"Content-Type": "image/jpeg"}
        )
        assert up.status_code == 201
        stored = await served.client.get(f"/v1/pictures/{up.json()['id']}")
        assert stored.headers["content-type"] == "image/jpeg"
        form = await served.client.post(
            "/v1/turns",
            data={"text": "How tall is this?"},
            files={"pictures": ("lighthouse.jpg", data, "image/jpeg")},
        )
        given = {"data": base64.b64encode(data).decode()}
        inline = await served.client.post(
            "/v1/turns", json={"text": "How tall is this?", "pictures": [given]}
        )
        by_id = await served.client.post(
            "/v1/turns",
            json={"text": "How tall is this?", "pictures": [{"upload": up.json()["id"]}]},
        )
        for answer in (form, inline, by_id):
            assert "34 metres" in answer.json()["text"], answer.text


async def test_a_conversation_goes_on_by_its_name(serve: Any) -> None:
    async with serve() as served:
        first = (await served.client.post("/v1/turns", json={"text": TALL})).json()
        then = {"text": "And how many steps has it?", "conversation": first["conversation"]}
        second = (await served.client.post("/v1/turns", json=then)).json()
        assert "163" in second["text"]
        assert second["searched"]


async def test_a_repeated_key_is_one_turn_and_another_question_is_refused(serve: Any) -> None:
    async with serve() as served:
        key = {"Idempotency-Key": "k1"}
        first = await served.client.post("/v1/turns", json={"text": TALL}, headers=key)
        again = await served.client.post("/v1/turns", json={"text": TALL}, headers=key)
        assert first.json()["turn"] == again.json()["turn"]
        other = await served.client.post("/v1/turns", json={"text": "Why?"}, headers=key)
        assert trouble(other, 422)["errors"][0]["field"] == "Idempotency-Key"


async def test_what_is_malformed_is_named_by_its_field(serve: Any) -> None:
    async with serve(question_chars=100, serve={"body_bytes": 2000}) as served:
        post = served.client.post
        assert trouble(await post("/v1/turns", json={"txt": 1}), 422)["errors"][0]["field"] == "txt"
        assert (
            "JSON"
            in trouble(
                await post("/v1/turns", content=b"{", headers={"Content-Type": "application/json"}),
                400,
            )["detail"]
        )
        trouble(await post("/v1/turns", content=b"x"), 415)
        trouble(await post("/v1/turns", json={"text": ""}), 422)
        trouble(await post("/v1/turns", json={"text": "x" * 101}), 422)
        bad = {"pictures": [{"data": "////"}]}
        assert trouble(await post("/v1/turns", json=bad), 422)["errors"][0]["field"] == "pictures"
        no_base64 = {"pictures": [{"data": "!"}]}
        told = trouble(await post("/v1/turns", json=no_base64), 422)
        assert told["errors"][0]["field"] == "pictures[0].data"
        trouble(await post("/v1/turns", json={"text": "x", "library": "nope"}), 404)
        trouble(await served.client.get("/nowhere"), 404)
        trouble(await served.client.get("/v1/turns"), 405)
        trouble(await post("/v1/turns", json={"text": "x" * 3000}), 413)


async def test_a_key_opens_what_it_is_bound_to_and_nothing_else(serve: Any) -> None:
    async with serve(serve={"keys": "on"}) as served:
        trouble(await served.client.post("/v1/turns", json={"text": TALL}), 401)
        reads = await served.key("anna")
        blind = await served.key("bert", read=["other"])
        ask = {"text": TALL}
        assert (await served.client.post("/v1/turns", json=ask, headers=reads)).is_success
        absent = await served.client.post(
            "/v1/turns", json={**ask, "library": "nope"}, headers=reads
        )
        forbidden = await served.client.post("/v1/turns", json=ask, headers=blind)
        one, other = trouble(absent, 404), trouble(forbidden, 404)
        assert {**one, "instance": ""} == {**other, "instance": ""}


async def test_a_page_of_another_origin_and_another_host_are_refused(serve: Any) -> None:
    async with serve() as served:
        evil = {"Origin": "https://evil.example"}
        trouble(await served.client.post("/v1/turns", json={"text": TALL}, headers=evil), 403)
        rebound = {"Host": "evil.example"}
        trouble(await served.client.get("/openapi.json", headers=rebound), 421)
        assert (await served.client.get("/livez", headers=rebound)).is_success


async def test_it_is_ready_when_every_part_is(serve: Any) -> None:
    async with serve() as served:
        assert (await served.client.get("/livez")).json() == {"status": "ok"}
        ready = await served.client.get("/readyz")
        assert ready.status_code == 200, ready.text
