"""``/v1/conversations`` over real HTTP."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

TALL = "How tall is the lighthouse?"
#: Names that would mean something else where they are not taken as mere text
HOSTILE = [
    "a/b", "a/turns/b", "/", "//", "../..", "..%2f..", "*", "c[a-z]?", "{tenant}", "a:b", "a b",
    "search", "import", "a/export", "tab\there", "line\nbreak", "nul\x00byte", "esc\x1b[31m",
    "\u202egnp.exe", "name#frag", "name?q=1", "name;p", "100%", "%41", "+", "&", "名前",
    "caf\u00e9", "cafe\u0301",
    "🙂", "'\"<script>", "\\..\\..", "x" * 256, " ", "bifocal:c:{default:x}:turns", "~", "@", ",",
    "$(id)", "`id`", "-rf", "C:\\con", "con", "\u200b", "\ufeff", "\x7f", "a\r\nSet-Cookie: x=1",
]  # fmt: skip


def at(name: str, *rest: str) -> str:
    """Return the address of a conversation, or of something of it."""
    return "/".join(["/v1/conversations", quote(name, safe=""), *rest])


async def ask(client: httpx.AsyncClient, text: str = TALL, **of: Any) -> dict[str, Any]:
    """Take a turn and return its answer."""
    answer = await client.post("/v1/turns", json={"text": text, **of})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_conversations_are_listed_by_page_and_read_whole(serve: Any) -> None:
    async with serve() as served:
        for name in ("c1", "c2", "c3"):
            await ask(served.client, conversation=name)
        page = (await served.client.get("/v1/conversations?offset=1&limit=1")).json()
        assert page["total"] == 3
        assert [line["id"] for line in page["conversations"]] == ["c2"]
        whole = (await served.client.get(at("c1"))).json()
        assert whole["title"] == TALL
        assert "34 metres" in whole["turns"][0]["answer"]["text"]
        assert whole["turns"][0]["citations"]


async def test_hostile_names_are_mere_names(serve: Any, refused: Any) -> None:
    async with serve(model="extractive", question_chars=100) as served:
        client = served.client
        for number, name in enumerate(HOSTILE):
            await ask(client, f"Who is number{number}x?", conversation=name)
        page = (await client.get("/v1/conversations?limit=500")).json()
        assert {line["id"] for line in page["conversations"]} == set(HOSTILE)
        for number, name in enumerate(HOSTILE):
            address = at(name) if name != "search" else "/v1/conversations/%73earch"
            whole = await client.get(address)
            assert whole.status_code == 200, (name, whole.text)
            assert whole.json()["id"] == name
            (turn,) = whole.json()["turns"]
            assert f"number{number}x" in turn["question"]["text"]
            one = await client.get(at(name, "turns", turn["id"]))
            assert one.json()["conversation"] == name
        for left, name in zip(range(len(HOSTILE) - 1, -1, -1), HOSTILE, strict=True):
            assert (await client.delete(at(name))).status_code == 204, name
            refused(await client.get(at(name, "turns", "x")), 404)
            total = (await client.get("/v1/conversations")).json()["total"]
            assert total == left, name


async def test_dots_as_a_name_reach_their_conversation(serve: Any) -> None:
    async with serve() as served:
        for name, segment in ((".", b"%2E"), ("..", b"%2E%2E")):
            turn = await ask(served.client, conversation=name)
            url = httpx.URL(served.url).copy_with(raw_path=b"/v1/conversations/" + segment)
            whole = await served.client.get(url)
            assert whole.json()["turns"][0]["id"] == turn["turn"]


async def test_past_turns_are_found_by_their_words(serve: Any, refused: Any) -> None:
    async with serve() as served:
        turn = await ask(served.client, conversation="c1")
        await ask(served.client, "Which receipt is over 50?", conversation="c2")
        result = (await served.client.get("/v1/conversations/search?q=TALL lighthouse")).json()
        assert [hit["turn"] for hit in result["found"]] == [turn["turn"]]
        refused(await served.client.get("/v1/conversations/search"), 422)
        refused(await served.client.get("/v1/conversations/search?q=" + "x" * 1001), 422)
        assert (await served.client.get("/v1/conversations/search?q=%21%21")).status_code < 500


async def test_a_title_is_given_and_a_bad_one_refused(serve: Any, refused: Any) -> None:
    async with serve() as served:
        await ask(served.client, conversation="c1")
        renamed = await served.client.patch(at("c1"), json={"title": "The tower"})
        assert renamed.status_code == 204
        assert (await served.client.get(at("c1"))).json()["title"] == "The tower"
        told = refused(await served.client.patch(at("c1"), json={"title": "x" * 81}), 422)
        assert told["errors"][0]["field"] == "title"
        refused(await served.client.patch(at("c1"), json={"title": " \n "}), 422)
        refused(await served.client.patch(at("none"), json={"title": "x"}), 404)


async def test_a_fork_goes_on_by_itself(serve: Any, refused: Any) -> None:
    async with serve() as served:
        first = await ask(served.client, conversation="c1")
        await ask(served.client, "And how many steps has it?", conversation="c1")
        asked = {"turn": first["turn"], "name": "c/2"}
        copy = await served.client.post(at("c1", "fork"), json=asked)
        assert copy.status_code == 201
        assert copy.json()["turns"] == 1
        assert (await served.client.get(copy.headers["location"])).json()["total"] == 1
        refused(await served.client.post(at("c1", "fork"), json=asked), 409)
        refused(await served.client.post(at("c1", "fork"), json={"turn": "nope"}), 404)
        unnamed = await served.client.post(at("c1", "fork"), json={})
        assert unnamed.json()["turns"] == 2


async def test_a_turn_is_edited_answered_again_and_deleted(serve: Any, refused: Any) -> None:
    async with serve() as served:
        client = served.client
        turn = (await ask(client, conversation="c1"))["turn"]
        steps = {"text": "How many steps has the lighthouse?"}
        edited = await client.patch(at("c1", "turns", turn), json=steps)
        assert "163" in edited.json()["text"]
        assert edited.json()["turn"] == turn
        again = await client.post(at("c1", "turns", turn, "regenerate"))
        assert "163" in again.json()["text"]
        stream = await client.post(at("c1", "turns", turn, "regenerate"), json={"stream": True})
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "event: done" in stream.text
        stored = (await client.get(at("c1", "turns", turn))).json()
        assert stored["text"] == again.json()["text"]
        assert stored["evidence"]
        assert (await client.get(at("c1"))).json()["total"] == 1
        refused(await client.patch(at("c1", "turns", "nope"), json=steps), 404)
        refused(await client.patch(at("c1", "turns", turn), json={"text": " "}), 422)
        refused(await client.patch(at("c1", "turns", turn), json={**steps, "library": "no"}), 404)
        assert (await client.delete(at("c1", "turns", turn))).status_code == 204
        refused(await client.get(at("c1", "turns", turn)), 404)


async def test_a_picture_of_a_conversation_is_read_and_dropped(
    serve: Any, demo_files: Path, refused: Any
) -> None:
    data = (demo_files / "lighthouse.jpg").read_bytes()
    async with serve() as served:
        sent = await served.client.post(
            "/v1/turns",
            data={"text": "How tall is this?", "conversation": "c1", "sender": "Anna"},
            files={"pictures": ("lighthouse.jpg", data, "image/jpeg")},
        )
        assert sent.is_success, sent.text
        (picture,) = (await served.client.get(at("c1"))).json()["pictures"]
        assert (picture["number"], picture["sender"]) == (1, "Anna")
        shown = await served.client.get(at("c1", "pictures", "1"))
        assert shown.headers["content-type"] == "image/jpeg"
        assert len(shown.content) == picture["bytes"]
        refused(await served.client.get(at("c1", "pictures", "2")), 404)
        refused(await served.client.get(at("c1", "pictures", "x")), 422)
        assert (await served.client.delete(at("c1", "pictures", "1"))).status_code == 204
        refused(await served.client.get(at("c1", "pictures", "1")), 404)
        refused(await served.client.delete(at("c1", "pictures", "1")), 404)
        assert (await served.client.get(at("c1"))).json()["dropped"] == [1]


async def test_an_export_comes_back_whole_and_tells_no_folder(
    serve: Any, demo_files: Path, tmp_path: Path, refused: Any
) -> None:
    data = (demo_files / "lighthouse.jpg").read_bytes()
    async with serve() as served:
        await served.client.post(
            "/v1/turns",
            data={"text": "How tall is this?", "conversation": "c/1"},
            files={"pictures": ("lighthouse.jpg", data, "image/jpeg")},
        )
        out = await served.client.get(at("c/1", "export"))
        assert out.headers["content-type"] == "application/zip"
        text = zipfile.ZipFile(io.BytesIO(out.content)).read("conversation.json").decode()
        assert json.loads(text)["turns"]
        for folder in (demo_files.parent, tmp_path):
            assert str(folder) not in text
        files = {"file": ("x.zip", out.content)}
        refused(await served.client.post("/v1/conversations/import", files=files), 409)
        back = await served.client.post(
            "/v1/conversations/import", files=files, data={"name": "c/2"}
        )
        assert back.status_code == 201, back.text
        assert (await served.client.get(back.headers["location"])).json()["total"] == 1
        pictures = [await served.client.get(at(c, "pictures", "1")) for c in ("c/1", "c/2")]
        assert pictures[0].content == pictures[1].content
        assert pictures[0].is_success
        refused(await served.client.get(at("none", "export")), 404)


def _archive(**changes: Any) -> bytes:
    turn: dict[str, Any] = {
        "v": 1, "id": "t1", "at": 1.0, "q": {"text": "q", "pictures": []},
        "a": {"text": "a", "pictures": []}, "citations": [], "ledger": {},
        **changes.pop("turn", {}),
    }  # fmt: skip
    value = {"format": 1, "id": "c9", "turns": [turn], "pictures": [], "gone": [], "notices": []}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("conversation.json", json.dumps({**value, **changes}))
    return out.getvalue()


async def test_a_hostile_import_is_refused_by_name_and_stores_nothing(
    serve: Any, refused: Any
) -> None:
    bad = [
        b"", b"no zip", _archive(format=2), _archive(turns=[]), _archive(id=""),
        _archive(id="x" * 257), _archive(id="\ud800"), _archive(turn={"citations": [{}]}),
        _archive(turn={"citations": [{"source": 1}]}), _archive(turn={"at": 1e999}),
        _archive(turn={"at": -1}), _archive(turn={"q": {"text": "\ud800", "pictures": []}}),
        _archive(turn={"ledger": {"evidence": [{}]}}), _archive(turn={"ledger": {"evidence": 1}}),
        _archive(turn={"id": "x" * 200}), _archive(turn={"ledger": {"evidence": ["x"]}}),
        _archive(pictures=[{"n": 1}]), _archive(turn={"q": {"text": "q", "pictures": ["x"]}}),
    ]  # fmt: skip
    async with serve() as served:
        for data in bad:
            answer = await served.client.post(
                "/v1/conversations/import", files={"file": ("../../x.zip", data)}
            )
            told = refused(answer, 422)
            assert told["errors"][0]["field"] == "file"
            assert "/tmp" not in answer.text
            assert "bifocal-import" not in answer.text
        refused(await served.client.post("/v1/conversations/import", data={"name": "x"}), 415)
        refused(await served.client.post("/v1/conversations/import", json={}), 415)
        assert (await served.client.get("/v1/conversations")).json()["total"] == 0
        good = await served.client.post(
            "/v1/conversations/import", files={"file": ("x", _archive())}
        )
        assert good.status_code == 201


async def test_no_answer_tells_a_folder_of_the_server(
    serve: Any, demo_files: Path, tmp_path: Path
) -> None:
    async with serve() as served:
        client = served.client
        turn = await ask(client, conversation="c1")
        stream = await client.post("/v1/turns", json={"text": TALL, "stream": True})
        key = {"Idempotency-Key": "k"}
        await client.post("/v1/turns", json={"text": TALL}, headers=key)
        told = [
            json.dumps(turn),
            stream.text,
            (await client.post("/v1/turns", json={"text": TALL}, headers=key)).text,
            (await client.get(at("c1"))).text,
            (await client.get(at("c1", "turns", turn["turn"]))).text,
            (await client.post(at("c1", "turns", turn["turn"], "regenerate"))).text,
        ]
        for text in told:
            assert "lighthouse" in text
            assert str(demo_files.parent) not in text
            assert str(tmp_path) not in text
