"""OpenAI's messages read as a question with what was said before; the forms of its answers."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.model import Model as OpenAIModel
from pydantic import ValidationError

from bot.service.openai import schema as ours
from bot.service.openai.messages import (
    CHARS,
    MESSAGES,
    PICTURES,
    Address,
    MessageRefused,
    Picture,
    Said,
    read_messages,
)

PNG = "data:image/png;base64," + base64.b64encode(b"png").decode()


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def image(url: str = PNG) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


def said(role: str, words: Any) -> dict[str, Any]:
    return {"role": role, "content": words}


def test_everything_is_read_to_its_place() -> None:
    """System texts apart, pairs in order, pictures where they stood, addresses not looked at."""
    asked = read_messages(
        [
            said("system", "Be brief."),
            {**user(text("What"), image(), text("is this?")), "name": "Anna"},
            said("assistant", [text("A boat.")]),
            said("developer", [text("In German.")]),
            said("user", "And this?"),
            user(image("https://example.com/a.png"), {"type": "image_url", "image_url": PNG}),
        ]
    )
    first = Picture("messages[1].content[1].image_url.url", b"png")
    assert asked.system == ("Be brief.", "In German.")
    assert asked.earlier == ((Said("What\nis this?", (first,), "Anna"), Said("A boat.")),)
    assert asked.question.text == "And this?"
    assert asked.where == "messages[5]"
    assert asked.question.pictures == (
        Address("messages[5].content[0].image_url.url", "https://example.com/a.png"),
        Picture("messages[5].content[1].image_url", b"png"),
    )


def test_an_answer_may_come_first_and_answers_are_joined() -> None:
    greeting = [said("assistant", "Hello."), said("assistant", None), said("user", "Hi.")]
    assert read_messages(greeting).earlier == ((Said(), Said("Hello.")),)


REFUSED = [
    ([], "messages"),
    ([said("user", "x")] * (MESSAGES + 1), "messages"),
    ([said("system", "x")], "messages[0]"),
    ([said("user", "x"), said("assistant", "y")], "messages[1]"),
    ([{"content": "x"}], "messages[0].role"),
    ([said("tool", "x")], "messages[0].role"),
    ([said("user", None)], "messages[0].content"),
    ([{"role": "user"}], "messages[0].content"),
    ([user("x")], "messages[0].content[0]"),
    ([user({"type": "text"})], "messages[0].content[0]"),
    ([user(text("x"), {"type": "file", "file": {}})], "messages[0].content[1]"),
    ([user({"type": "image_url"})], "messages[0].content[0].image_url"),
    ([user(image("ftp://a/b"))], "messages[0].content[0].image_url.url"),
    ([user(image("https://" + "a" * 3000))], "messages[0].content[0].image_url.url"),
    ([user(*[image()] * (PICTURES + 1))], f"messages[0].content[{PICTURES}].image_url.url"),
    ([said("system", [image()])], "messages[0].content[0]"),
    ([said("user", "x" * CHARS), said("user", "x")], "messages[1].content"),
    (
        [said("user", "x"), {"role": "assistant", "tool_calls": [{}]}, said("user", "y")],
        "messages[1].tool_calls",
    ),
]


@pytest.mark.parametrize(("messages", "where"), REFUSED)
def test_what_cannot_be_taken_is_refused_by_its_place(messages: Any, where: str) -> None:
    with pytest.raises(MessageRefused) as caught:
        read_messages(messages)
    assert caught.value.where == where
    assert caught.value.why.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "image_url", "file", "refusal"]) | JSON,
        "text": st.text(max_size=8) | JSON,
        "image_url": st.sampled_from([PNG, {"url": PNG}, "http://x"]) | JSON,
    },
)
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": ROLES | JSON,
        "content": st.text(max_size=8) | st.lists(PARTS | JSON, max_size=3) | JSON,
        "name": JSON,
        "tool_calls": JSON,
    },
)


@given(st.lists(MESSAGE, max_size=4))
def test_anything_is_read_or_refused_in_one_short_line(messages: list[dict[str, Any]]) -> None:
    """No other error, whatever the JSON."""
    try:
        told = read_messages(messages).where
    except MessageRefused as error:
        told = str(error)
    assert told.startswith("messages")
    assert told.isprintable()
    assert len(told) < 300


def test_what_we_send_is_what_openais_types_read() -> None:
    """Answers, pieces, models and vectors go through the official types without loss."""
    usage = ours.Usage(
        prompt_tokens=1,
        completion_tokens=2,
        total_tokens=3,
        prompt_tokens_details=ours.TokenDetails(cached_tokens=1),
    )
    extension = ours.Extension(citations=[{"mark": 1}], evidence=["passage:1"], turn="t")
    message = ours.ChatMessage(content="Aye [1].", bifocal=extension)
    whole = ours.ChatCompletion(
        id="c", created=1, model="m", usage=usage,
        choices=[ours.Choice(message=message, finish_reason="stop")],
    )  # fmt: skip
    piece = ours.ChatCompletionChunk(
        id="c", created=1, model="m", usage=usage,
        choices=[ours.ChunkChoice(delta=ours.Delta(content="A"), finish_reason="length")],
    )  # fmt: skip
    vectors = ours.EmbeddingResponse(
        data=[ours.Embedding(index=0, embedding=[0.5])],
        model="text",
        usage=ours.EmbeddingUsage(prompt_tokens=1, total_tokens=1),
    )
    for theirs, value in (
        (ChatCompletion, whole),
        (ChatCompletionChunk, piece),
        (CreateEmbeddingResponse, vectors),
        (OpenAIModel, ours.Model(id="m", created=1)),
    ):
        sent = value.model_dump()
        back = theirs.model_validate(sent, strict=True).model_dump()
        assert type(value).model_validate(back) == value


def test_unknown_fields_are_ignored_and_wrong_types_are_not() -> None:
    base = {"model": "m", "messages": [said("user", "x")]}
    asked = ours.ChatCompletionRequest.model_validate({**base, "store": True, "n": 1})
    assert asked.kept is None
    for wrong in ({"model": 5}, {"messages": "x"}, {"messages": [5]}, {"stream": 1}, {"n": "1"}):
        with pytest.raises(ValidationError):
            ours.ChatCompletionRequest.model_validate({**base, **wrong})
