"""Tenants never meet: row 12, over every route that the service has."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

NOTE = "# Harbour\n\nThe harbour master of {name} is {canary}.\n"
WHO = "Who is the harbour master?"
NO_KEY = {"/livez", "/readyz", "/openapi.json"}  #: what may be asked without a key
PAGE = {"/", "/sign-in", "/sign-out"}  #: the web page's own: test_page_access.py
TURNS = 10_000 if os.environ.get("BIFOCAL_FULL") else 200
#: What another tenant is told of nothing, since it is not of one: it only makes or lists its own
OWN = {
    ("GET", "/v1/conversations"), ("GET", "/v1/conversations/search"), ("GET", "/v1/feedback"),
    ("GET", "/v1/libraries"), ("GET", "/metrics"), ("POST", "/v1/conversations/import"),
    ("POST", "/v1/pictures"), ("GET", "/openapi.json"), ("GET", "/livez"), ("GET", "/readyz"),
    ("HEAD", "/openapi.json"), ("GET", "/v1/models"), ("POST", "/v1/embeddings"),
}  # fmt: skip


def routes(served: Any) -> Iterator[tuple[str, str]]:
    """Yield method and path of every route of the service that is running, the page's aside."""
    app = served.server.config.app.inner
    for route in iter_route_contexts(app.routes):
        assert route.path is not None
        for method in sorted(route.methods or ()):
            if route.path not in PAGE:
                yield method, route.path


@dataclass
class Named:
    """What a tenant has, by the names of the parameters that lead to it; and what nobody has."""

    values: dict[str, str]
    query: dict[str, str]
    bodies: dict[tuple[str, str], Any] = field(default_factory=dict)

    async def request(
        self, client: httpx.AsyncClient, method: str, path: str, key: dict[str, str]
    ) -> httpx.Response:
        """Make a request of a route; a parameter that is not known here fails."""
        ids = {"/v1/jobs": "job", "/v1/pictures": "upload", "/v1/libraries": "passage"}
        kind = next((k for p, k in ids.items() if path.startswith(p)), "id")

        def value(match: re.Match[str]) -> str:
            names = {"id": kind, "model": "library"}  # a model is a library
            return self.values[names.get(match[1], match[1])]

        body = self.bodies.get((method, path))
        sent: dict[str, Any] = {} if body is None else {"json": body}
        if (method, path) == ("POST", "/v1/sources"):
            sent = {"files": [("files", ("x.md", b"words"))]}
        address = re.sub(r"\{(\w+)(?::\w+)?\}", value, path)
        query = self.query if path.startswith(("/v1/sources", "/v1/feedback")) else {"q": "x"}
        return await client.request(method, address, params=query, headers=key, **sent)


def named(values: dict[str, str]) -> Named:
    """Return requests that lead to these values."""
    c, t, lib = values["conversation"], values["turn"], values["library"]
    return Named(
        values,
        {"library": lib, "conversation": c, "turn": t},
        {
            ("POST", "/v1/turns"): {"text": WHO, "library": lib},
            ("POST", "/v1/chat/completions"): {
                "model": lib, "messages": [{"role": "user", "content": WHO}]
            },
            ("POST", "/v1/libraries"): {"name": lib},
            ("POST", "/v1/feedback"): {"conversation": c, "turn": t, "rating": "up"},
            ("PATCH", "/v1/conversations/{conversation}"): {"title": "x"},
            ("POST", "/v1/conversations/{conversation}/fork"): {},
            ("PATCH", "/v1/conversations/{conversation}/turns/{turn}"): {
                "text": "x", "library": "beta"
            },
            ("POST", "/v1/conversations/{conversation}/turns/{turn}/regenerate"): {
                "library": "beta"
            },
        },
    )  # fmt: skip


def alike(told: dict[str, Any], asked: dict[str, str]) -> str:
    """Return what is told of a request, without its id and the name of the library it asked for."""
    return json.dumps({**told, "instance": ""}).replace(asked["library"], "")


ABSENT = {
    "conversation": "nobodys", "turn": "0" * 32, "number": "77", "library": "nowhere",
    "sha256": "0" * 64, "passage": "passage:999999", "upload": "0" * 64, "job": "0" * 32,
    "stream": "0" * 32, "name": "nothing.md",
}  # fmt: skip


async def fill(served: Any, key: dict[str, str], library: str, data: bytes) -> dict[str, str]:
    """Make one of everything; return what leads to it."""
    client, headers = served.client, {"headers": key}
    await client.post("/v1/libraries", json={"name": library}, **headers)
    note = NOTE.format(name=library, canary=f"CANARY{library}").encode()
    files = [("files", (f"{library}.md", note)), ("files", ("p.jpg", data))]
    job = await client.post("/v1/sources", files=files, params={"library": library}, **headers)
    assert job.status_code == 202, job.text
    await client.get(job.headers["location"] + "/events", **headers)
    up = (await client.post("/v1/pictures", files={"file": ("p.jpg", data)}, **headers)).json()
    asked = {
        "text": WHO, "library": library, "conversation": f"c-{library}",
        "pictures": [{"upload": up["id"]}], "stream": True, "resumable": True,
    }  # fmt: skip
    stream = await client.post("/v1/turns", json=asked, **headers)
    done = json.loads(stream.text.strip().split("data: ")[-1].split("\n")[0])
    said = {"conversation": f"c-{library}", "turn": done["turn"], "rating": "up"}
    assert (await client.post("/v1/feedback", json=said, **headers)).status_code == 201
    page = await client.get("/v1/sources", params={"library": library}, **headers)
    assert {s["state"] for s in page.json()["sources"]} == {"indexed"}, page.text
    passage = next(e["id"] for e in done["evidence"] if e["kind"] == "passage")
    shown = [e["id"] for e in done["evidence"] if e["id"].startswith("picture:")]
    media = ABSENT["sha256"]
    if shown:
        where = f"/v1/libraries/{library}/passages/{shown[0]}"
        media = (await client.get(where, **headers)).json()["media"]
    return {
        "conversation": f"c-{library}", "turn": done["turn"], "number": "1", "library": library,
        "sha256": media, "passage": passage, "upload": up["id"], "job": job.json()["id"],
        "stream": stream.headers["location"].split("/")[3], "name": f"{library}.md",
    }  # fmt: skip


async def test_no_route_answers_without_a_good_key(serve: Any, refused: Any) -> None:
    async with serve(serve={"keys": "on"}) as served:
        count = 0
        for method, path in routes(served):
            if path in NO_KEY:
                continue
            for key in ({}, {"Authorization": "Bearer bf_aaaaaaaa_" + "A" * 43}):
                answer = await named(ABSENT).request(served.client, method, path, key)
                refused(answer, 401)
                count += 1
        assert count > 60


async def test_another_tenant_is_told_the_same_of_what_is_there_and_what_is_not(
    serve: Any, demo_files: Path, refused: Any
) -> None:
    hers_data, his_data = (
        (demo_files / f"{n}.jpg").read_bytes() for n in ("lighthouse", "north-quay")
    )
    async with serve(serve={"keys": "on", "rate": "100000/minute"}) as served:
        anna = await served.key("anna", read=[], write=["alpha"])
        bert = await served.key("bert", read=[], write=["beta"])
        cleo = await served.key("cleo", tenant="anna", read=["gamma"])  # the same tenant's
        dora = await served.key("dora", read=[], write=["alpha", "beta"])
        hers = await fill(served, anna, "alpha", hers_data)
        await fill(served, bert, "beta", his_data)
        for method, path in routes(served):
            if (method, path) in OWN:
                continue
            there = await named(hers).request(served.client, method, path, bert)
            absent = await named(ABSENT).request(served.client, method, path, bert)
            assert (there.status_code, absent.status_code) == (404, 404), (method, path, there.text)
            one, other = refused(there, 404), refused(absent, 404)
            assert alike(one, hers) == alike(other, ABSENT), (method, path)
        for method, path in routes(served):  # a library is its readers' also within a tenant
            if "/v1/jobs" in path or "/v1/sources" in path or "{library}" in path:
                there = await named(hers).request(served.client, method, path, cleo)
                absent = await named(ABSENT).request(served.client, method, path, cleo)
                assert (there.status_code, absent.status_code) == (404, 404), (method, path)
                one, other = refused(there, 404), refused(absent, 404)
                assert {**one, "instance": ""} == {**other, "instance": ""}, (method, path)
        shares = ("/v1/jobs/", "/v1/conversations/{", "/v1/turns/{", "/v1/pictures/{")
        for method, path in routes(served):  # and sharing a library shares nothing else
            if path.startswith(shares):
                there = await named(hers).request(served.client, method, path, dora)
                absent = await named(ABSENT).request(served.client, method, path, dora)
                one, other = refused(there, 404), refused(absent, 404)
                assert {**one, "instance": ""} == {**other, "instance": ""}, (method, path)
        for path in ("/v1/conversations", "/v1/conversations/search?q=harbour", "/v1/feedback",
                     "/v1/libraries", "/metrics"):  # fmt: skip
            listed = await served.client.get(path, headers=bert)
            assert listed.status_code == 200
            assert "alpha" not in listed.text, path
        for method, path in routes(served):  # it is all still there
            if method == "GET" and path.startswith("/v1/") and (method, path) not in OWN:
                answer = await named(hers).request(served.client, method, path, anna)
                assert answer.status_code == 200, (path, answer.text)


@pytest.mark.timeout(3600)
async def test_interleaved_turns_never_show_another_tenants_canary(serve: Any) -> None:
    roomy = {"keys": "on", "rate": "1000000/minute", "turns_waiting": 1000}
    names = ["alpha", "beta", "gamma", "delta"]
    async with serve(serve=roomy) as served:
        keys = {name: await served.key(name, read=[], write=[name]) for name in names}
        for name, key in keys.items():
            headers = {"headers": key}
            await served.client.post("/v1/libraries", json={"name": name}, **headers)
            note = NOTE.format(name="Pellworm", canary=f"CANARY{name}").encode()
            job = await served.client.post(
                "/v1/sources",
                files=[("files", ("h.md", note))],
                params={"library": name},
                **headers,
            )
            await served.client.get(job.headers["location"] + "/events", **headers)
        places = asyncio.Semaphore(8)
        found = 0

        async def turn(number: int) -> None:
            nonlocal found
            name = names[number % len(names)]
            asked = {
                "text": f"{WHO} I am MINE{name}.", "library": name,
                "conversation": f"c{number // len(names) % 50}", "stream": number % 3 == 0,
            }  # fmt: skip
            async with places:
                headers = {"headers": keys[name]}
                answers = [await served.client.post("/v1/turns", json=asked, **headers)]
                if number % 10 == 0:
                    for path in (f"/v1/conversations/{asked['conversation']}", "/v1/conversations",
                                 "/v1/conversations/search?q=harbour"):  # fmt: skip
                        answers.append(await served.client.get(path, **headers))
            for answer in answers:
                assert answer.status_code == 200, answer.text
                for other in names:
                    foreign = f"CANARY{other}" in answer.text or f"MINE{other}" in answer.text
                    assert other == name or not foreign
            found += f"CANARY{name}" in answers[0].text

        await asyncio.gather(*(turn(number) for number in range(TURNS)))
        assert found == TURNS
