"""What must hold at the webhook whatever comes: rows 8, 16 and 28 of the threats.

Malformed pictures, sources that give orders, secrets in logs.
"""

import asyncio
import base64
import itertools
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_orders import drawn, orders
from hostile_pictures import LATER, foreign, good, held, malformed, refused
from live import live
from pydantic import SecretStr

FULL = bool(os.environ.get("BIFOCAL_FULL"))
MANY = 2000 if FULL else 48
ORDERS, PICTURES = (374, 84) if FULL else (30, 4)
MOST_MB = 300


# --- row 8 ----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
@pytest.mark.timeout(300 + MANY * 5)
async def test_every_message_of_the_webhook_with_a_malformed_picture_is_answered(
    webhook_stage: Any,
) -> None:
    async def ask(number: int, data: bytes) -> bool:
        told = {"data": base64.b64encode(data).decode(), "name": f"p{number}.png"}
        words = "How tall is the lighthouse?" if number % 2 else ""
        for again in itertools.count():
            sent = await stage.post(id=f"m{number}-{again}", conversation=f"c{number}", text=words,
                                    pictures=[told], wait=True)  # fmt: skip
            assert sent.status_code == 200, sent.text
            if LATER not in sent.text:
                break
        bad, answer = await asyncio.to_thread(refused, data), sent.json()
        assert (f"left out p{number}.png: " in sent.text.lower()) is bad, (data[:99], sent.text)
        assert answer["type"] == ("failed" if bad and not words else "answer"), answer
        assert foreign(sent.text) == []
        return bad

    async with webhook_stage(BIFOCAL_WEBHOOK_CALLBACK="", BIFOCAL_WEBHOOK_EVERY="0.2") as stage:
        assert not await ask(-1, good("PNG"))
        before = held(stage.pid, "VmRSS")
        bad = sum([await ask(number, data) for number, data in enumerate(malformed(MANY))])
        grown = held(stage.pid, "VmHWM") - before
        assert "Traceback" not in stage.log()
    assert bad > MANY / 4
    assert grown <= MOST_MB
    sys.stdout.write(f"{MANY} answered, {bad} left out, {grown:.0f} MB more at most\n")


# --- row 16 ---------------------------------------------------------------------------------------


@pytest.mark.timeout(300 + 5 * (ORDERS + PICTURES))
async def test_a_library_and_pictures_full_of_orders_link_to_nothing(
    orders_library: Path, webhook_stage: Any
) -> None:
    """Orders in documents, in their names, and in pictures: neither in a draft nor in an answer is
    anything live."""
    async with webhook_stage(BIFOCAL_WEBHOOK_DRAFTS="true", BIFOCAL_WEBHOOK_EVERY="0.2") as stage:
        for number in range(ORDERS):
            await stage.say(f"c{number}", f"What is the code of box {number}?")
        for number, order in enumerate(orders(PICTURES)):
            await stage.say(f"p{number}", "What is written on it?", pictures=[drawn(order)])
        await stage.until_whole(ORDERS + PICTURES, 60 + 5 * ORDERS)
    answers = [told for told in stage.posted if told["type"] == "answer"]
    said = [text for told in stage.posted for text in words_of(told)]
    assert len(answers) == ORDERS + PICTURES
    assert sum("the code of box" in text.lower() for text in said) > ORDERS / 2
    assert [(text, live(text)) for text in said if live(text)] == []


def words_of(told: dict[str, Any]) -> Iterator[str]:
    """Yield all words of what was posted."""
    yield from told.get("parts", [])
    yield from told.get("notices", [])
    yield told.get("reason", "")
    for note in told.get("footnotes", []):
        yield from (note["place"], note["quote"])
    for picture in told.get("pictures", []):
        yield from (picture["name"], picture["alt"])


# --- row 28 ---------------------------------------------------------------------------------------


async def test_no_secret_of_the_webhook_is_in_any_log(webhook_stage: Any) -> None:
    """At DEBUG, while messages and signatures are right and wrong, and the callback cannot be
    reached, whose address may hold a secret, too."""
    hidden = secrets.token_hex(12)
    gone = f"http://127.0.0.1:9/{hidden}?key={hidden}"
    async with webhook_stage(
        BIFOCAL_WEBHOOK_CALLBACK=gone, BIFOCAL_SERVE_LOG_LEVEL="debug"
    ) as stage:
        for body in (
            {"id": "1", "conversation": "c", "text": "How tall is the lighthouse?", "wait": True},
            {"id": "2", "conversation": "c", "text": "How tall is the lighthouse?"},
            {"id": "3", "conversation": "c", "pictures": [{"data": "QUJD"}], "wait": True},
            {"id": "4", "text": hidden, "wait": True},
        ):
            await stage.post(**body)
        right, stage.secret = stage.secret, SecretStr(secrets.token_hex(12))
        wrong = await stage.post(id="5", conversation="c", text=hidden)
        assert wrong.status_code == 401
        await stage.until_logged("the channel cannot be reached")
    log = stage.log()
    known = (hidden, right.get_secret_value(), stage.secret.get_secret_value())
    assert [secret for secret in known if secret in log] == []
