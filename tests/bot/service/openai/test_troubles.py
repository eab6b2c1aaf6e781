"""What goes wrong is an error of OpenAI's client, by its class; what cannot be done is refused."""

import asyncio
from typing import Any

import openai
import pytest

TALL = "How tall is the lighthouse?"


def says(text: str, role: str = "user") -> dict[str, Any]:
    """Return a message of words."""
    return {"role": role, "content": text}


async def read_into(words: list[str], stream: Any) -> None:
    """Add a stream's words to a list as they come."""
    async for chunk in stream:
        words.append(chunk.choices[0].delta.content or "")


async def test_a_failure_in_mid_stream_is_an_error_of_the_client(
    serve: Any, client: Any, writer: Any
) -> None:
    """Words that came stay, then the client raises; nothing of the cause is told."""
    async with serve(writer=writer(fails=True)) as served, client(served) as asks:
        stream = await asks.chat.completions.create(
            model="default", messages=[says(TALL)], stream=True
        )
        words: list[str] = []
        with pytest.raises(openai.APIError, match="the model did not answer") as caught:
            await read_into(words, stream)
        assert "".join(words) == "It is tall [1]."
        assert "secret" not in str(caught.value.body)
        with pytest.raises(openai.InternalServerError, match="the model did not answer"):
            await asks.chat.completions.create(model="default", messages=[says(TALL)])


async def test_a_client_that_leaves_ends_its_turn(
    serve: Any, client: Any, writer: Any, until: Any
) -> None:
    """Its place is free again and the model is let go, streaming or not."""
    model = writer(stalls=True)
    async with serve(writer=model) as served, client(served) as asks:
        admission = served.server.config.app.inner.state.admission
        stream = await asks.chat.completions.create(
            model="default", messages=[says(TALL)], stream=True
        )
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        assert admission.running == 1
        await stream.close()
        await until(lambda: model.ended == 1 and admission.running == 0)
        waiting = asyncio.create_task(
            asks.chat.completions.create(model="default", messages=[says(TALL)])
        )
        await until(lambda: len(model.asked) == 2)
        waiting.cancel()
        await until(lambda: model.ended == 2 and admission.running == 0)


async def test_a_stop_of_the_service_is_told_in_openais_form(
    serve: Any, client: Any, writer: Any, until: Any
) -> None:
    """A stream that is cut by the end of the grace time ends with an error of the client."""
    model = writer(stalls=True)
    async with serve(writer=model, serve={"grace_seconds": 1}) as served, client(served) as asks:
        stream = await asks.chat.completions.create(
            model="default", messages=[says(TALL)], stream=True
        )
        words: list[str] = []
        reading = asyncio.create_task(read_into(words, stream))
        await until(lambda: bool("".join(words)))
        served.server.config.app.inner.state.cut.set()
        with pytest.raises(openai.APIError, match="the service was stopped"):
            await reading


async def test_too_much_at_once_and_a_busy_conversation_say_when_to_come_again(
    serve: Any, client: Any, writer: Any
) -> None:
    """503 and 409, each with Retry-After: what the client tries again by itself."""
    serving = {"turns_at_once": 1, "turns_waiting": 0}
    model = writer(stalls=True)
    question: dict[str, Any] = {"model": "default", "messages": [says(TALL)]}
    async with serve(writer=model, serve=serving) as served, client(served) as asks:
        stream = await asks.chat.completions.create(**question, stream=True)
        with pytest.raises(openai.InternalServerError) as caught:
            await asks.chat.completions.create(**question)
        assert caught.value.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) >= 1
        await stream.close()
    kept = {**question, "extra_body": {"conversation": "c1"}}
    async with serve(writer=model, busy_seconds=0) as served, client(served) as asks:
        stream = await asks.chat.completions.create(**kept, stream=True)
        with pytest.raises(openai.ConflictError) as busy:
            await asks.chat.completions.create(**kept)
        assert int(busy.value.response.headers["retry-after"]) >= 1
        await stream.close()


async def test_errors_are_the_clients_own_classes(serve: Any, client: Any) -> None:
    """No key, no such model or library, a bad field, too many requests: each its class."""
    async with serve(serve={"keys": "on"}) as served:
        key = (await served.key("anna"))["Authorization"].removeprefix("Bearer ")
        few = await served.key("few", rate="2/minute")
        few = few["Authorization"].removeprefix("Bearer ")
        question = {"model": "default", "messages": [says(TALL)]}
        async with client(served, "bf_wrong") as asks:
            with pytest.raises(openai.AuthenticationError) as caught:
                await asks.chat.completions.create(**question)
            assert caught.value.code == "invalid_api_key"
        async with client(served, key) as asks:
            for model in ("nope", "../default", "x" * 200):
                with pytest.raises(openai.NotFoundError) as missing:
                    await asks.chat.completions.create(model=model, messages=[says(TALL)])
                assert missing.value.code == "model_not_found"
                assert missing.value.param == "model"
            with pytest.raises(openai.NotFoundError):
                await asks.models.retrieve("nope")
            with pytest.raises(openai.NotFoundError):
                await asks.embeddings.create(model="nope", input="x")
            with pytest.raises(openai.BadRequestError) as bad:
                await asks.chat.completions.create(**question, n=2)
            assert bad.value.param == "n"
            assert (await asks.models.retrieve("default")).id == "default"
        async with client(served, few) as asks:
            await asks.models.list()
            await asks.models.list()
            with pytest.raises(openai.RateLimitError) as many:
                await asks.models.list()
            assert int(many.value.response.headers["retry-after"]) >= 1


async def test_the_client_comes_again_when_it_is_told_to(serve: Any, client: Any) -> None:
    """429 with Retry-After: the client waits by itself, and then gets its answer."""
    async with serve(serve={"keys": "on"}) as served:
        key = await served.key("few", rate="1/second")
        key = key["Authorization"].removeprefix("Bearer ")
        async with client(served, key, max_retries=5) as asks:
            for _ in range(3):
                assert (await asks.models.list()).data[0].id == "default"
