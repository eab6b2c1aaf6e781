"""The webhook believes only what is signed, lately, with its secret."""

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
