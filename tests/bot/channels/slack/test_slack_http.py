"""Slack's HTTP mode, in the real service: what is signed by Slack is answered, nothing else."""

import asyncio
import json
import os
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from bot.channels.slack_http import authentic

if TYPE_CHECKING:
    from slack_double import SlackDouble

FULL = bool(os.environ.get("BIFOCAL_FULL"))
FORGED, EVENTS = (1000, 500) if FULL else (120, 20)


@pytest.fixture
def slack_settings(slack: "SlackDouble") -> dict[str, Any]:
    """The table ``[slack]`` for HTTP mode."""
    return {
        "mode": "http",
        "bot_token": slack.bot_token,
        "signing_secret": slack.secret,
        "api_url": slack.api_url,
        "file_hosts": ["127.0.0.1"],
        "every": 0.2,
    }


def forged(slack: "SlackDouble", body: bytes, n: int) -> tuple[bytes, dict[str, bytes]]:
    """A request that Slack did not send: another signature, time, secret, or body."""
    rand = random.Random(n)
    headers = slack.signed(body)
    match n % 8:
        case 0:
            headers["X-Slack-Signature"] = f"v0={rand.randbytes(32).hex()}"
        case 1:
            headers = slack.signed(body, secret=f"other-{n}")
        case 2:
            headers = slack.signed(body, at=time.time() - 301 - rand.randrange(10**6))
        case 3:
            headers = slack.signed(body, at=time.time() + 302 + rand.randrange(10**6))
        case 4:
            del headers[rand.choice(["X-Slack-Signature", "X-Slack-Request-Timestamp"])]
        case 5:
            headers["X-Slack-Request-Timestamp"] = rand.choice(["", "-1", "1e9", "²", "9" * 400])
        case 6:
            body = body.replace(b"lighthouse", b"lighthaus%d" % n)
        case _:
            headers["X-Slack-Signature"] = rand.choice(["", "v0=", "v1=" + "0" * 64, "v0=" + "é"])
    return body, {name: value.encode() for name, value in headers.items()}


async def test_forgeries_are_refused(
    slack: "SlackDouble", serve: Any, slack_settings: dict[str, Any]
) -> None:
    """Wrong signatures, times, secrets and bodies are all refused, and nothing is answered (threat
    19)."""
    _, (event,) = slack.write("How tall is the lighthouse?", channel="D1")
    body = json.dumps(slack.envelope(event)).encode()
    slack.messages.clear()
    async with serve(slack=slack_settings) as served:
        for n in range(FORGED):
            sent, headers = forged(slack, body, n)
            answer = await served.client.post("/slack/events", content=sent, headers=headers)
            assert answer.status_code == 401, (n, answer.text)
        large = await served.client.post("/slack/events", content=b"x" * (2 << 20))
        assert large.status_code == 413
    assert not slack.messages


async def test_events_are_answered_once(
    slack: "SlackDouble", serve: Any, slack_settings: dict[str, Any], stepping: Any
) -> None:
    """Events that are delivered four times each, at once, are acknowledged while the model is
    busy, and answered once (threat 19)."""
    go = asyncio.Event()
    async with serve(writer=stepping(says=[go, "Aye."]), slack=slack_settings) as served:
        asked, waits = [], []

        async def post(body: bytes) -> None:
            began = time.monotonic()
            headers = slack.signed(body)
            answer = await served.client.post("/slack/events", content=body, headers=headers)
            waits.append(time.monotonic() - began)
            assert answer.status_code == 200

        for n in range(EVENTS):
            shown, (event,) = slack.write(f"Question {n}?", channel="D1")
            body = json.dumps(slack.envelope(event)).encode()
            asked.append(shown)
            await asyncio.gather(*(post(body) for _ in range(4)))
        assert not slack.answers()
        go.set()
        await slack.until(lambda: len(slack.answers()) == EVENTS, 200)
    print(f"acknowledged: p99 {sorted(waits)[int(len(waits) * 0.99)]:.3f} s of {len(waits)}")  # noqa: T201
    for one in asked:
        assert len(slack.answers(one.ts)) == 1


async def test_slacks_handshake_and_commands(
    slack: "SlackDouble", serve: Any, slack_settings: dict[str, Any]
) -> None:
    """The address is confirmed to Slack, and a command is answered where it was given."""
    async with serve(slack=slack_settings) as served:
        body = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
        said = await served.client.post("/slack/events", content=body, headers=slack.signed(body))
        assert "abc" in said.text
        body = slack.form(
            command="/bifocal", text="help", user_id="U1", channel_id="C1", team_id="T1",
            trigger_id="1.2", api_app_id="A1", response_url=f"{slack.url}/respond/1",
        )  # fmt: skip
        said = await served.client.post("/slack/events", content=body, headers=slack.signed(body))
    assert said.status_code == 200
    assert "/bifocal ask" in said.json()["text"]


async def test_without_http_mode_there_is_no_such_address(serve: Any) -> None:
    """A service without the setting knows nothing of Slack."""
    async with serve() as served:
        assert (await served.client.post("/slack/events", content=b"{}")).status_code == 404


def test_an_empty_secret_signs_nothing() -> None:
    """What is signed with an empty secret is not believed."""
    assert not authentic("", b"{}", str(int(time.time())), "v0=")
