"""``/v1/libraries``, ``/v1/sources`` and ``/v1/jobs`` over real HTTP."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from bot.service.stores.shared_redis import SharedRedis

NOTE = b"# Harbour\n\nThe harbour master of Pellworm is Wilma Feddersen.\n"
WHO = "Who is the harbour master of Pellworm?"
#: Names that mean a place elsewhere, a device, or nothing
HOSTILE = [
    "../../evil.md", "/etc/evil.md", "..\\..\\evil.md", "C:\\evil.md", "\\\\host\\share\\evil.md",
    "a/../../evil.md", "%2e%2e%2fevil.md", "..%2f..%2fevil.md", "..;/evil.md", "....//evil.md",
    "con.md", "CON.md", "nul.txt", "com1.md", "LPT9.md", "aux.tar.md", "com¹.md", "prn .md",
    "evil.md.", "evil.md ", " evil.md", ".evil.md", "...md.md", "-rf.md", "~root.md", "~/evil.md",
    "evil\x00.md", "evil.md\x00.exe", "evil\n.md", "evil\r\n.md", "evil\x1b[2J.md", "evil\x7f.md",
    "\u202edm.live.md", "e\u0301vil.md", "\u00e9vil.md", "evil\u2028.md", "\ufeffevil.md",
    "evil\u200b.md", "\uff0e\uff0e\uff0fevil.md", "\u2025/evil.md", "evil<script>.md", 'e"v.md',
    "e|v.md", "e*v?.md", "e:stream.md", "evil.md::$DATA", "$(id).md", "`id`.md", "evil;id.md",
    "evil&id.md", "x" * 300 + ".md", "é" * 300 + ".md", "名" * 200 + ".md", "a" * 250 + ".b.md",
    "uploads/evil.md", "library.sqlite/evil.md", "media/evil.md", "./evil.md", "evil.md/",
    "{evil}.md", "🙂.md", "file:evil.md", "CLOCK$.md", ".part-evil.md",
]  # fmt: skip


def files_outside(root: Path, folder: Path) -> set[Path]:
    """Return what is under ``root`` but not in ``folder``, and whether there is one in /etc."""
    found = {p for p in root.rglob("*") if folder not in p.parents}
    return found | {p for p in [Path("/etc/evil.md")] if p.exists()}


async def upload(client: httpx.AsyncClient, *files: tuple[str, bytes], **of: Any) -> dict[str, Any]:
    """Upload files, wait for the end of their job, and return it."""
    parts = [("files", file) for file in files]
    answer = await client.post("/v1/sources", files=parts, **of)
    assert answer.status_code == 202, answer.text
    return await ended(client, answer.headers["location"], headers=of.get("headers"))


async def ended(client: httpx.AsyncClient, address: str, headers: Any = None) -> dict[str, Any]:
    """Wait for the end of a job."""
    while True:
        job: dict[str, Any] = (await client.get(address, headers=headers)).json()
        if job["ended"] is not None:
            return job
        await asyncio.sleep(0.05)


async def test_an_uploaded_file_answers_and_is_gone_once_it_is_removed(
    serve: Any, refused: Any, demo_library: Path
) -> None:
    async with serve() as served:
        client = served.client
        job = await upload(client, ("harbour.md", NOTE))
        assert (job["state"], job["done"], job["passages"]) == ("done", 1, 1)
        assert job["files"] == [{"name": "harbour.md", "state": "indexed", "reason": ""}]
        answer = (await client.post("/v1/turns", json={"text": WHO})).json()
        assert "Wilma Feddersen" in answer["text"]
        assert answer["citations"][0]["source"] == "harbour.md"
        listed = (await client.get("/v1/sources?limit=1000")).json()
        (source,) = [s for s in listed["sources"] if s["uploaded"]]
        assert (source["name"], source["state"], source["bytes"]) == ("harbour.md", "indexed", 62)
        assert len(listed["sources"]) == listed["total"] > 3
        page = (await client.get("/v1/sources?offset=1&limit=2")).json()["sources"]
        assert page == listed["sources"][1:3]
        assert (await client.delete("/v1/sources/harbour.md")).status_code == 204
        assert not (demo_library / "uploads" / "harbour.md").exists()
        refused(await client.delete("/v1/sources/harbour.md"), 404)
        answer = (await client.post("/v1/turns", json={"text": WHO})).json()
        assert "Wilma" not in answer["text"]


async def test_the_same_name_again_replaces_what_was_uploaded_before(serve: Any) -> None:
    async with serve() as served:
        await upload(served.client, ("harbour.md", NOTE))
        await upload(served.client, ("harbour.md", NOTE.replace(b"Wilma", b"Berta")))
        answer = (await served.client.post("/v1/turns", json={"text": WHO})).json()
        assert "Berta Feddersen" in answer["text"]
        again = await upload(served.client, ("harbour.md", NOTE.replace(b"Wilma", b"Berta")))
        assert again["files"][0]["state"] == "unchanged"
        listed = (await served.client.get("/v1/sources?limit=1000")).json()["sources"]
        assert [s["name"] for s in listed if s["uploaded"]] == ["harbour.md"]


async def test_a_file_that_cannot_be_read_ends_with_its_reason(serve: Any, refused: Any) -> None:
    async with serve() as served:
        job = await upload(served.client, ("broken.pdf", b"%PDF-1.4 no"), ("ok.md", NOTE))
        states = {f["name"]: f for f in job["files"]}
        assert job["state"] == "done"
        assert (states["broken.pdf"]["state"], states["ok.md"]["state"]) == ("skipped", "indexed")
        assert states["broken.pdf"]["reason"]
        assert str(served.settings.library) not in json.dumps(job)
        post = served.client.post
        for name in ("x.exe", "noending", ".md", "..", "", "a/b/"):
            answer = await post("/v1/sources", files=[("files", (name, b"x"))])
            told = refused(answer, 422)
            assert told["errors"][0]["field"] in ("file", "files")
        twice = [("files", ("a/x.md", NOTE)), ("files", ("b/x.md", NOTE))]
        refused(await post("/v1/sources", files=twice), 422)
        refused(await post("/v1/sources", json={}), 415)
        refused(await post("/v1/sources", data={"files": "x"}), 415)


async def test_a_picture_with_its_note_is_taken_as_one(serve: Any, demo_files: Path) -> None:
    data = (demo_files / "lighthouse.jpg").read_bytes()
    async with serve() as served:
        job = await upload(served.client, ("p.jpg", data), ("p.txt", b"The tower of Amrum"))
        states = {f["name"]: f for f in job["files"]}
        assert {f["state"] for f in job["files"]} == {"indexed"}
        assert "picture of the same name" in states["p.txt"]["reason"]


async def test_hostile_names_never_leave_the_folder(serve: Any, tmp_path: Path) -> None:
    """Row 11: 60 hostile names, no file outside."""
    assert len(HOSTILE) >= 60
    async with serve() as served:
        folder = served.settings.library
        before = files_outside(tmp_path, folder)
        taken = 0
        for start in range(0, len(HOSTILE), 10):
            for name in HOSTILE[start : start + 10]:
                body = (
                    b'--x\r\nContent-Disposition: form-data; name="files"; filename="'
                    + name.replace("\\", "\\\\").replace('"', '\\"').encode()
                    + b'"\r\n\r\n' + NOTE + b"\r\n--x--\r\n"
                )  # fmt: skip
                kind = {"Content-Type": "multipart/form-data; boundary=x"}
                answer = await served.client.post("/v1/sources", content=body, headers=kind)
                assert answer.status_code in (202, 400, 422), (name, answer.text)
                taken += answer.status_code == 202
                if answer.status_code == 202:
                    await served.client.delete(answer.headers["location"])
                    await ended(served.client, answer.headers["location"])
        assert files_outside(tmp_path, folder) == before
        uploads = list((folder / "uploads").iterdir())
        assert taken > 40
        for path in uploads:
            assert path.is_file()
            assert not path.name.startswith(".")
            assert len(path.name.encode()) <= 255
            assert path.name.isprintable()


@pytest.mark.parametrize("given", HOSTILE)
def test_a_clean_name_stays_as_it_is_when_cleaned_again(given: str) -> None:
    from bot.service.http.problems import Problem
    from bot.service.ingestion.upload_files import clean_name

    try:
        name = clean_name(given)
    except Problem:
        return
    assert clean_name(name) == name
    assert "/" not in name
    assert "\\" not in name
    assert not name.startswith(".")
    assert name.split(".")[0].strip().lower() not in ("con", "nul", "aux", "com1", "lpt9", "prn")


async def test_a_job_is_followed_to_its_end(serve: Any, refused: Any) -> None:
    async with serve() as served:
        parts = [("files", (f"n{n}.md", NOTE)) for n in range(5)]
        answer = await served.client.post("/v1/sources", files=parts)
        address = answer.headers["location"]
        stream = await served.client.get(f"{address}/events")
        kinds = [b.split("\n")[0] for b in stream.text.strip().split("\n\n")]
        assert kinds[-1] == "event: end"
        assert set(kinds[:-1]) <= {"event: progress"}
        last = json.loads(stream.text.strip().split("data: ")[-1].split("\n")[0])
        assert (last["state"], last["done"]) == ("done", 5)
        assert (await served.client.get(address)).json() == last
        refused(await served.client.get("/v1/jobs/" + "0" * 32), 404)
        refused(await served.client.get("/v1/jobs/" + "0" * 32 + "/events"), 404)
        refused(await served.client.delete("/v1/jobs/x"), 422)


async def test_jobs_of_a_library_wait_for_each_other_and_can_be_stopped(serve: Any) -> None:
    async with serve() as served, await SharedRedis.of(served.settings) as redis:
        lease = "bifocal:{library:default}:ingest"
        await redis.write(lambda client: client.set(lease, b"another", ex=600))
        waits = await served.client.post("/v1/sources", files=[("files", ("a.md", NOTE))])
        stops = await served.client.post("/v1/sources", files=[("files", ("b.md", NOTE))])
        assert (await served.client.get(waits.headers["location"])).json()["state"] == "queued"
        assert (await served.client.delete(stops.headers["location"])).status_code == 202
        stopped = await ended(served.client, stops.headers["location"])
        assert (stopped["state"], stopped["files"][0]["state"]) == ("stopped", "waiting")
        assert not (served.settings.library / "uploads" / "b.md").exists()
        await redis.write(lambda client: client.delete(lease))
        done = await ended(served.client, waits.headers["location"])
        assert (done["state"], done["files"][0]["state"]) == ("done", "indexed")

        again = await upload(served.client, ("c.md", NOTE))  # so the lease was given back
        assert again["state"] == "done"


async def test_a_job_whose_process_is_gone_is_told_as_failed(serve: Any) -> None:
    async with serve() as served, await SharedRedis.of(served.settings) as redis:
        lease = "bifocal:{library:default}:ingest"
        await redis.write(lambda client: client.set(lease, b"another", ex=600))
        answer = await served.client.post("/v1/sources", files=[("files", ("a.md", NOTE))])
        id = answer.json()["id"]
        state, other = (f"bifocal:default:{{job:{i}}}:state" for i in (id, "f" * 32))

        async def orphan(client: Any) -> None:  # what a killed process leaves, without its sign
            raw = await client.get(state)
            await client.set(other, raw.replace(id.encode(), b"f" * 32), ex=600)

        await redis.write(orphan)
        left = await served.client.get("/v1/jobs/" + "f" * 32)
        assert left.json()["state"] == "failed"
        assert "upload again" in left.json()["reason"]
        events = await served.client.get("/v1/jobs/" + "f" * 32 + "/events")
        assert events.text.startswith("event: end")
        await served.client.delete(answer.headers["location"])
        await ended(served.client, answer.headers["location"])


async def test_a_service_that_stops_says_so_of_its_jobs(serve: Any) -> None:
    async with serve() as served:
        redis = await SharedRedis.of(served.settings)
        lease = "bifocal:{library:default}:ingest"
        await redis.write(lambda client: client.set(lease, b"another", ex=600))
        answer = await served.client.post("/v1/sources", files=[("files", ("a.md", NOTE))])
        state = f"bifocal:default:{{job:{answer.json()['id']}}}:state"

    async def read(client: Any) -> Any:
        return json.loads(await client.get(state))

    left = await redis.read(read)
    await redis.aclose()
    assert (left["state"], left["ended"] is None) == ("failed", False)
    assert "upload again" in left["reason"]


async def test_libraries_are_made_filled_and_asked_apart(serve: Any, refused: Any) -> None:
    async with serve() as served:
        client = served.client
        made = await client.post("/v1/libraries", json={"name": "harbours"})
        assert made.status_code == 201, made.text
        assert made.headers["location"] == "/v1/libraries/harbours"
        refused(await client.post("/v1/libraries", json={"name": "harbours"}), 409)
        refused(await client.post("/v1/libraries", json={"name": "default"}), 409)
        refused(await client.post("/v1/libraries", json={"name": "../x"}), 422)
        await upload(client, ("harbour.md", NOTE), params={"library": "harbours"})
        here = await client.post("/v1/turns", json={"text": WHO, "library": "harbours"})
        assert "Wilma" in here.json()["text"]
        there = await client.post("/v1/turns", json={"text": WHO})
        assert "Wilma" not in there.json()["text"]
        both = (await client.get("/v1/libraries")).json()["libraries"]
        assert [(one["name"], one["may_write"]) for one in both] == [
            ("default", True), ("harbours", True)
        ]  # fmt: skip
        one = (await client.get("/v1/libraries/harbours")).json()
        assert (one["sources"], one["passages"]) == (1, 1)
        refused(await client.get("/v1/libraries/none"), 404)


async def test_what_an_answer_cites_can_be_opened(serve: Any, refused: Any) -> None:
    async with serve() as served:
        client = served.client
        answer = (
            await client.post("/v1/turns", json={"text": "How tall is the lighthouse?"})
        ).json()
        cited = answer["citations"][0]
        opened = (await client.get(f"/v1/libraries/default/passages/{cited['evidence']}")).json()
        assert cited["quote"] in opened["text"]
        assert opened["source"] == cited["source"]
        assert opened["before"] or opened["after"]
        alone = await client.get(f"/v1/libraries/default/passages/{cited['evidence']}?around=0")
        assert alone.json()["before"] == alone.json()["after"] == []
        refused(await client.get("/v1/libraries/default/passages/passage:999999"), 404)
        refused(await client.get("/v1/libraries/default/passages/shown:1"), 422)


async def test_passages_and_pictures_are_found_by_their_words(serve: Any, refused: Any) -> None:
    async with serve() as served:
        address = "/v1/libraries/default/find"
        words = {"q": "tall lighthouse", "limit": 3}
        found = (await served.client.get(address, params=words)).json()["found"]
        assert 0 < len(found) <= 3
        assert [f["score"] for f in found] == sorted((f["score"] for f in found), reverse=True)
        assert "lighthouse" in found[0]["text"].lower()
        pictures = await served.client.get(address, params={"q": "receipt", "kind": "picture"})
        assert {f["kind"] for f in pictures.json()["found"]} == {"picture"}
        for odd in ('"', "a AND", "NEAR(", "*", "col:x", "\x00", "'; DROP TABLE items", "^"):
            assert (await served.client.get(address, params={"q": odd})).status_code == 200, odd
        refused(await served.client.get(address), 422)


async def test_a_cited_picture_is_returned_small_and_with_its_box(serve: Any, refused: Any) -> None:
    import io

    from PIL import Image

    async with serve() as served:
        client = served.client
        asked = {"text": "Which receipt is over 50?"}
        answer = (await client.post("/v1/turns", json=asked)).json()
        cited = next(c for c in answer["citations"] if c["media"])
        address = f"/v1/libraries/default/media/{cited['media']}"
        whole = Image.open(io.BytesIO((await client.get(address)).content))
        box = {"box": "0.1,0.1,0.9,0.9", "side": 100}
        small = await client.get(address, params=box)
        drawn = Image.open(io.BytesIO(small.content)).convert("RGB")
        assert max(drawn.size) == 100 < max(whole.size)
        red = drawn.getpixel((drawn.width // 2, round(drawn.height * 0.1) - 4))
        assert isinstance(red, tuple)
        reds = [drawn.getpixel((drawn.width // 2, y)) for y in range(drawn.height // 4)]
        assert any(r > 150 and g < 130 for r, g, _ in reds)  # type: ignore[misc]
        for bad in ({"box": "1,2"}, {"box": "0.5,0,0.1,1"}, {"box": "nan,0,1,1"}, {"side": 1},
                    {"side": 99999}, {"box": "0,0,0,0"}, {"box": "-1,0,1,1"}):  # fmt: skip
            refused(await client.get(address, params=bad), 422)
        refused(await client.get("/v1/libraries/default/media/" + "0" * 64), 404)
        refused(await client.get("/v1/libraries/default/media/..%2f..%2flibrary.sqlite"), 404)


async def test_sources_of_one_name_are_told_apart(serve: Any, tmp_path: Path) -> None:
    from bot.build import ingestor
    from retrievers.library import Library

    for folder, name in (("a", "Xanthe"), ("b", "Yorick")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.md").write_text(f"# Keeper\n\nThe keeper of {folder} is {name}.")
    async with serve() as served:
        with Library.open(served.settings.library) as library:
            runs = ingestor(served.settings, library)
            await asyncio.to_thread(runs.run, [tmp_path / "a", tmp_path / "b"])
        await upload(served.client, ("same.md", NOTE))
        listed = (await served.client.get("/v1/sources?limit=1000")).json()["sources"]
        names = [s["name"] for s in listed if s["name"].startswith("same")]
        assert len(set(names)) == 3
        assert [s["name"] for s in listed if s["uploaded"]] == ["same.md"]
        hashed = [name for name in names if name != "same.md"]
        assert all(len(name) == len("same~12345678.md") for name in hashed)
        answer = await served.client.post("/v1/turns", json={"text": "Who is keeper of a? Xanthe"})
        assert set(hashed) & {c["source"] for c in answer.json()["citations"]}
        assert str(tmp_path) not in answer.text
        gone = await served.client.delete(f"/v1/sources/{quote(hashed[0], safe='')}")
        assert gone.status_code == 204
        assert (tmp_path / "a" / "same.md").exists()  # it is not the service's
        assert (tmp_path / "b" / "same.md").exists()
        listed = (await served.client.get("/v1/sources?limit=1000")).json()["sources"]
        assert len([s for s in listed if s["name"].startswith("same")]) == 2


async def test_a_name_is_never_made_a_path_to_delete(serve: Any, refused: Any) -> None:
    async with serve() as served:
        folder = served.settings.library
        await upload(served.client, ("harbour.md", NOTE))
        for name in ("../library.sqlite", "..%2flibrary.sqlite", "uploads/harbour.md", "..", "/",
                     str(folder / "uploads" / "harbour.md"), "harbour", "*", "."):  # fmt: skip
            url = httpx.URL(served.url).copy_with(
                raw_path=b"/v1/sources/" + quote(name, safe="").replace(".", "%2E").encode()
            )
            refused(await served.client.delete(url), 404)
        assert (folder / "library.sqlite").is_file()
        assert (folder / "uploads" / "harbour.md").is_file()


async def test_an_upload_that_is_too_large_is_refused_before_it_is_read(
    serve: Any, refused: Any
) -> None:
    async with serve(serve={"upload_bytes": 4096}) as served:
        big = [("files", ("a.md", b"x" * 8000))]
        refused(await served.client.post("/v1/sources", files=big), 413)

        async def pieces() -> Any:
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.md"\r\n\r\n'
            for _ in range(10):
                yield b"x" * 1000
            yield b"\r\n--x--\r\n"

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        chunked = await served.client.post("/v1/sources", content=pieces(), headers=kind)
        refused(chunked, 413)
        uploads = served.settings.library / "uploads"
        assert not uploads.exists() or not list(uploads.iterdir())
