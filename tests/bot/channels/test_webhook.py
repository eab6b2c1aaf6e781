"""The webhook believes only what is signed, lately, with its secret."""

import asyncio
import json
import time
from typing import Any

import httpx
from pydantic import SecretStr

from bot.channels.webhook_message import signed

TALL = "How tall is the lighthouse?"


async def test_a_bad_signature_time_or_body_is_refused_and_a_good_one_answered_at_once(
    webhook_stage: Any,
) -> None:
    async with webhook_stage(BIFOCAL_WEBHOOK_CALLBACK="") as stage:
        body = json.dumps({"id": "1", "conversation": "c", "text": TALL, "wait": True}).encode()
        secret = stage.secret
        good, now = signed(secret, body), int(time.time())
        bad = [
            (body, {}),
            (body + b" ", good),
            (body, {**good, "X-Bifocal-Signature": good["X-Bifocal-Signature"][:-1]}),
            (body, {**good, "X-Bifocal-Signature": ""}),
            (body, {**good, "X-Bifocal-Timestamp": str(now + 7)}),
            (body, {**good, "X-Bifocal-Timestamp": "٣"}),
            (body, {**good, "X-Bifocal-Timestamp": "9" * 400}),
            (body, signed(secret, body, str(now - 1000))),
            (body, signed(secret, body, str(now + 1000))),
            (body, signed(SecretStr("another secret of theirs"), body)),
        ]
        async with httpx.AsyncClient(base_url=stage.url, timeout=60, trust_env=False) as client:
            for content, headers in bad:
                coded = [(name.encode(), value.encode()) for name, value in headers.items()]
                sent = await client.post("/v1/webhook", content=content, headers=coded)
                assert sent.status_code == 401, sent.text
            told = [
                (await client.post("/v1/webhook", content=body, headers=good)).json()
                for _ in range(3)
            ]
            assert "34 metres" in told[0]["parts"][0]
            assert {one["turn"] for one in told} == {told[0]["turn"]}
            no_wait = json.dumps({"id": "2", "conversation": "c", "text": TALL}).encode()
            sent = await client.post(
                "/v1/webhook", content=no_wait, headers=signed(secret, no_wait)
            )
            assert sent.status_code == 422
            assert "webhook.callback" in sent.json()["detail"]
        assert secret.get_secret_value() not in stage.log()


async def test_a_callback_that_fails_is_tried_again_under_the_same_id(webhook_stage: Any) -> None:
    """Whoever took it and could not say so sees by its id and attempt that it is the same."""
    async with webhook_stage() as stage:
        stage.failing = 5  # of four by one try
        message = await stage.say("c", TALL)
        posted = [told for told in await stage.answers(6) if told.of == message]
        assert len(posted) == 6
        assert [told["attempt"] for told in stage.posted] == [1, 2, 3, 4, 5, 6]
        assert len({told["turn"] for told in stage.posted}) == 1


async def test_a_message_that_is_deleted_while_it_is_answered_is_told_withdrawn(
    webhook_stage: Any, stalled: Any
) -> None:
    slow = {"BIFOCAL_MODEL": "openai:x", "BIFOCAL_MODEL_URL": stalled.url}
    async with webhook_stage(**slow, BIFOCAL_MODEL_KEY="none") as stage:
        message = await stage.say("c", TALL)
        await stalled.asked.wait()
        await stage.delete("c", message)
        async with asyncio.timeout(60):
            await stalled.left.wait()
            while not stage.posted:  # noqa: ASYNC110 - another process's work
                await asyncio.sleep(0.05)
        (told,) = stage.posted
        assert (told["type"], told["id"], told["attempt"]) == ("withdrawn", message, 1)


async def test_its_turns_are_counted_as_others_are(webhook_stage: Any) -> None:
    async with webhook_stage() as stage:
        message = await stage.say("c", TALL)
        await stage.answers(1)
        await stage.edit("c", message, "When was the lighthouse built?")
        await stage.answers(2)
        await stage.post(id="w", conversation="d", text=TALL, wait=True)
        async with httpx.AsyncClient(base_url=stage.url, trust_env=False) as client:
            counted = (await client.get("/metrics")).text
        assert 'bifocal_turns_total{outcome="answered"} 3.0' in counted
        assert "bifocal_first_token_seconds_count 3.0" in counted
