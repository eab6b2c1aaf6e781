"""Models behind an OpenAI-compatible address, through a real HTTP server on loopback."""

import asyncio
import socket
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from PIL import Image
from pydantic import SecretStr

from bot.models.choose import explain, load_model
from bot.models.llama import picture_part

KEY = "swordfish-4711"
WAIT = 60


def model_at(url: str, **options: Any) -> BaseChatModel:
    """Return a model at an address, with a key, that does not try again."""
    return load_model(
        "openai:any", base_url=url, api_key=SecretStr(KEY), options={"max_retries": 0, **options}
    )


def question() -> HumanMessage:
    """Return words and a picture."""
    part = picture_part(Image.new("RGB", (8, 6), "red"))
    return HumanMessage([{"type": "text", "text": "what?"}, part])


def failure(url: str, *, stream: bool = False) -> str:
    """Return the line for how a call fails."""
    model = model_at(url)
    try:
        if stream:
            list(model.stream("x"))
        else:
            model.invoke("x")
    except Exception as error:
        return explain(error, "openai:any")
    raise AssertionError("it did not fail")


def test_pictures_are_sent_as_parts_and_the_answer_streams(server: Any) -> None:
    """The server gets text and image_url parts, in order, and its words come one by one."""
    chunks = list(model_at(server.url).stream([SystemMessage("rules"), question()]))
    (request,) = server.requests
    system, user = request["body"]["messages"]
    assert system == {"role": "system", "content": "rules"}
    assert [part["type"] for part in user["content"]] == ["text", "image_url"]
    assert user["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    pieces = [str(chunk.content) for chunk in chunks if chunk.content]
    assert pieces == ["I", " see", " 1", " and", " read", " what?", " 😀", "."]


def test_the_request_carries_model_key_and_limit(server: Any) -> None:
    """The name after the colon, the key, and max_tokens reach the server."""
    load_model(
        "openai:some/model:8b", base_url=server.url, api_key=SecretStr(KEY), max_tokens=33
    ).invoke("x")
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["key"] == KEY
    assert request["body"]["model"] == "some/model:8b"
    assert request["body"]["max_completion_tokens"] == 33


def test_a_key_of_the_environment_never_goes_to_a_given_address(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's OpenAI key is not handed to whatever address is set."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-person")
    load_model("openai:any", base_url=server.url).invoke("x")
    assert "person" not in str(server.requests)


def test_streams_and_answers_tell_their_usage(server: Any) -> None:
    """Usage is asked for in streams too."""
    model = model_at(server.url)
    whole = model.invoke("x")
    streamed = [c.usage_metadata for c in model.stream("x") if c.usage_metadata]
    assert whole.usage_metadata is not None
    assert [u["total_tokens"] for u in streamed] == [15] == [whole.usage_metadata["total_tokens"]]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "refused the request (400): on purpose"),
        (401, "the key was refused"),
        (403, "may not use this model"),
        (404, "no such model or address"),
        (413, "refused the request (413)"),
        (429, "too many requests"),
        (500, "failed (500); see its log, or try again: on purpose"),
        (503, "failed (503)"),
        (504, "no answer in time"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_is_one_line(server: Any, status: int, said: str, stream: bool) -> None:
    """It names the model and the address, says what failed, and holds no key."""
    server.fail = status
    line = failure(server.url, stream=stream)
    assert said in line
    assert line.startswith("openai:any: ")
    assert server.url.removesuffix("/v1") in line
    assert "\n" not in line
    assert KEY not in line


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_a_server_that_repeats_the_key_gives_nothing_away(server: Any, status: int) -> None:
    """The key that was sent is cut out of the server's words."""
    server.fail, server.complaint = status, "the key {key} is bad: Bearer {key}"
    line = failure(server.url)
    assert server.requests[0]["key"] == KEY
    assert KEY not in line


def test_a_context_that_is_too_long_is_told(server: Any) -> None:
    """Servers word it differently; the way out is the same."""
    server.fail = 400
    for words in (
        "This model's maximum context length is 4096 tokens.",
        "the request exceeds the available context size (4096 tokens), try increasing it",
        "prompt is too long: 9 tokens > 8 maximum",
    ):
        server.complaint = words
        assert "the prompt is longer than it takes" in failure(server.url)


def test_a_server_that_is_not_there_is_told() -> None:
    """A refused connection names the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = failure(f"http://127.0.0.1:{port}/v1")
    assert f"cannot be reached at http://127.0.0.1:{port}" in line
    assert KEY not in line


def test_an_answer_that_breaks_off_is_an_error(server: Any) -> None:
    """Half an answer is never taken for a whole one: some text comes, then an error."""
    server.break_after = 3
    seen: list[str] = []
    with pytest.raises(Exception, match=r".") as caught:
        seen.extend(str(chunk.content) for chunk in model_at(server.url).stream("x"))
    line = explain(caught.value, "openai:any")
    assert line.startswith("openai:any: ")
    assert "\n" not in line


async def test_a_client_that_leaves_lets_the_server_go(server: Any) -> None:
    """Cancelling hangs up: the server sees the client leave."""
    server.endless = True
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in model_at(server.url, max_tokens=10**9).astream("x"):
            begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.left.wait, WAIT)


def test_the_key_is_not_in_the_models_repr(server: Any) -> None:
    """Printing a model is safe."""
    assert KEY not in repr(model_at(server.url))
