"""What cannot be done here is refused by its name, and pictures by their place."""

from pathlib import Path
from typing import Any

import openai
import pytest

from bot.errors import BifocalError

TALL = "How tall is the lighthouse?"


def says(text: str, role: str = "user") -> dict[str, Any]:
    """Return a message of words."""
    return {"role": role, "content": text}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": [says("x", "tool")]}, "messages[0].role"),
    ({"messages": [says("x", "robot")]}, "messages[0].role"),
    ({"messages": [says("x"), says("y", "assistant")]}, "messages[1]"),
    ({"messages": [says("  ")]}, "messages[0]"),
    ({"messages": [says("x" * 8001)]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        "messages[0].content[0]",
    ),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"functions": [{}]}, "functions"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"modalities": ["audio"]}, "modalities"),
    ({"logprobs": True}, "logprobs"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"stream": "yes"}, "stream"),
    ({"stop": ["END"]}, "stop"),
    ({"citations": "all"}, "citations"),
    ({"conversation": ""}, "conversation"),
    ({"model": ""}, "model"),
]


async def test_what_cannot_be_done_is_refused_by_its_name(serve: Any) -> None:
    """Status 400 in OpenAI's form, with the field, and nothing of status 5xx."""
    async with serve() as served:
        for changes, param in REFUSED:
            asked = {"model": "default", "messages": [says(TALL)], **changes}
            answer = await served.client.post("/v1/chat/completions", json=asked)
            assert answer.status_code == 400, answer.text
            error = answer.json()["error"]
            assert error["param"] == param, error
            assert error["type"] == "invalid_request_error"
            assert error["message"].isprintable()


async def test_what_is_no_request_is_refused_in_the_same_form(serve: Any) -> None:
    """Bodies that are no JSON, no object, too large, and other methods get OpenAI's errors."""
    async with serve(serve={"body_bytes": 2000}) as served:
        kind = {"Content-Type": "application/json"}
        for status, sent in (
            (400, {"content": b"{", "headers": kind}),
            (400, {"content": b"[]", "headers": kind}),
            (400, {"content": b'{"model": "\\ud800"}', "headers": kind}),
            (400, {"content": b"[" * 1900, "headers": kind}),
            (413, {"content": b"x" * 3000, "headers": kind}),
            (415, {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
        ):
            answer = await served.client.post("/v1/chat/completions", **sent)
            assert answer.status_code == status, answer.text
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        answer = await served.client.get("/v1/embeddings")
        assert answer.status_code == 405
        assert answer.json()["error"]["type"] == "invalid_request_error"


NO_PICTURES = [
    "http://127.0.0.1/x.png",
    "http://[::ffff:127.0.0.1]/x.png",
    "http://2130706433/x.png",
    "http://169.254.169.254/latest/meta-data",
    "HTTPS://example.com/x.png",
    "file:///etc/passwd",
    "/etc/passwd",
    "ftp://example.com/x.png",
    "data:text/html;base64,PGI+",
    "data:image/png;base64,!!!!",
    "data:image/png;base64,AAAA",
    "data:image/png,plain",
    "",
]


async def test_what_is_no_picture_is_refused_by_its_place(serve: Any, client: Any) -> None:
    """Addresses are not fetched, paths not opened, and bytes that are no picture not taken."""
    async with serve() as served, client(served) as asks:
        for url in NO_PICTURES:
            part = {"type": "image_url", "image_url": {"url": url}}
            content = [{"type": "text", "text": "What?"}, part]
            with pytest.raises(openai.BadRequestError) as caught:
                await asks.chat.completions.create(
                    model="default", messages=[{"role": "user", "content": content}]
                )
            assert caught.value.param == "messages[0].content[1].image_url.url", url


class Web:
    """A web of one picture."""

    def __init__(self, data: bytes) -> None:
        self.data, self.asked = data, list[str]()

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if not url.endswith("/lighthouse.jpg"):
            raise BifocalError("example.com: no picture could be fetched; send it as a data URI")
        return self.data


async def test_addresses_are_fetched_only_by_the_fetcher(
    serve: Any, client: Any, demo_files: Path
) -> None:
    """With one, its bytes are the picture; what it refuses is refused by its place, and what is
    fetched is capped in all."""
    web = Web((demo_files / "lighthouse.jpg").read_bytes())
    size = len(web.data)

    def asked(*urls: str) -> list[dict[str, Any]]:
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return [
            {"role": "user", "content": [{"type": "text", "text": "How tall is this?"}, *parts]}
        ]

    async with serve(serve={"body_bytes": size * 2 + 10}) as served, client(served) as asks:
        served.server.config.app.inner.state.fetcher = web
        good = "https://example.com/lighthouse.jpg"
        whole = await asks.chat.completions.create(model="default", messages=asked(good))
        assert "34 metres" in whole.choices[0].message.content
        with pytest.raises(openai.BadRequestError, match=r"example\.com: no picture") as caught:
            await asks.chat.completions.create(
                model="default", messages=asked(good, "http://10.0.0.1/x.png?secret")
            )
        assert caught.value.param == "messages[0].content[2].image_url.url"
        with pytest.raises(openai.BadRequestError, match="bytes were fetched"):
            await asks.chat.completions.create(model="default", messages=asked(good, good, good))
        assert web.asked[0] == good


NOT_EMBEDDED: list[tuple[dict[str, Any], str]] = [
    ({"input": []}, "input"),
    ({"input": ""}, "input"),
    ({"input": [1, 2]}, "input"),
    ({"input": [[1, 2]]}, "input"),
    ({"input": {"a": 1}}, "input"),
    ({"input": ["x", 5.5]}, "input"),
    ({"input": ["x"] * 2049}, "input"),
    ({"input": "x" * 8193}, "input"),
    ({"dimensions": 7}, "dimensions"),
    ({"encoding_format": "hex"}, "encoding_format"),
]


async def test_embeddings_refuse_what_they_cannot_do(serve: Any) -> None:
    async with serve() as served:
        for changes, param in NOT_EMBEDDED:
            asked = {"model": "text", "input": "x", **changes}
            answer = await served.client.post("/v1/embeddings", json=asked)
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"]["param"] == param
