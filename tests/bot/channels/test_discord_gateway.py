"""Discord's gateway and limits: what breaks is mended; what a person must mend is one line."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from discord_double import TOKEN, Discord, File
from discord_story import LIGHTHOUSE, HalfChat, Play, calm_discord, half_chat, player
from pydantic import SecretStr

from bot.errors import SettingsError
from retrievers.errors import LibraryError

BREAKS = 400 if os.environ.get("BIFOCAL_FULL") else 8  #: of four kinds


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """A Discord in which nobody is called and nothing previewed."""
    async with calm_discord() as made:
        yield made


@pytest.fixture
def play(open_bot: Any, discord: Discord) -> Play:
    """Put a bot over the demo's library into Discord."""
    return player(open_bot, discord)


async def test_nothing_is_lost_or_doubled_by_what_breaks(play: Play, aside_chat: Any) -> None:
    """Row 20: reconnects, invalid sessions and drops. What was said while nobody listened is
    answered, once, if Discord lets the session be resumed; after a new session it goes on."""
    async with play(aside_chat(says="Aye.")) as story:
        gateway, asked = story.discord.gateway, list[str]()
        for number in range(BREAKS):
            kind = number % 4
            before = gateway.seen.count("identify"), gateway.seen.count("resumed")
            if kind == 0:
                await gateway.reconnect()
            elif kind == 1:
                await gateway.invalidate(resumable=True)
            elif kind == 2:
                await gateway.drop(4000)
            else:
                await gateway.invalidate(resumable=False)
                await story.discord.until(
                    lambda b=before: gateway.seen.count("identify") > b[0]  # type: ignore[misc]
                )
                await story.discord.until(lambda: gateway.connected)
            asked.append(await story.discord.say(f"Question {number}?", mention=True))
            await story.discord.repeat(asked[0])
            if kind != 3:
                await story.discord.until(
                    lambda b=before: gateway.seen.count("resumed") > b[1]  # type: ignore[misc]
                )
        await story.discord.until(lambda: all(map(story.discord.to, asked)))
        await story.channel.idle()
        assert [len(story.discord.to(one)) for one in asked] == [1] * BREAKS
        assert gateway.seen.count("identify") == 1 + BREAKS // 4
        assert len(story.discord.answers()) == BREAKS


async def test_a_refused_token_stops_it_with_one_line(play: Play, discord: Discord) -> None:
    with pytest.raises(SettingsError, match=r"refused the token.*BIFOCAL_DISCORD") as why:
        async with play(token=SecretStr("wrong-token-do-not-show")):
            pass
    assert "do-not-show" not in str(why.value)
    discord.gateway.close_with = 4004
    with pytest.raises(SettingsError, match="refused the token"):
        async with play():
            pass


async def test_a_missing_token_or_intent_is_named(play: Play, discord: Discord) -> None:
    with pytest.raises(SettingsError, match=r"no token.*BIFOCAL_DISCORD_TOKEN"):
        async with play(token=None):
            pass
    discord.gateway.allowed_intents &= ~(1 << 15)
    with pytest.raises(SettingsError, match=r"Message Content.*page Bot"):
        async with play(message_content=True):
            pass


async def test_it_waits_while_discord_is_down(play: Play, discord: Discord) -> None:
    """It comes back after an outage, at the start and later."""
    discord.down = True

    async def mend() -> None:
        await discord.until(lambda: any(call.status == 503 for call in discord.transcript))
        discord.down = False

    mending = asyncio.create_task(mend())
    async with play() as story:
        await mending
        asked = await discord.say(LIGHTHOUSE, mention=True)
        await story.asked(asked)
        await story.channel.idle()


async def test_it_waits_while_the_gateway_is_down(
    play: Play, discord: Discord, caplog: pytest.LogCaptureFixture
) -> None:
    """Discord's API answers, its gateway does not: one line each time, and it comes back."""
    discord.gateway_down = True

    async def mend() -> None:
        await discord.until(lambda: sum(c.path == "/gateway-down" for c in discord.transcript) > 1)
        discord.gateway_down = False

    mending = asyncio.create_task(mend())
    async with play() as story:
        await mending
        await story.asked(await discord.say(LIGHTHOUSE, mention=True))
        await story.channel.idle()
    assert "Traceback" not in caplog.text


async def test_a_gateway_that_is_nowhere_is_tried_again(
    open_bot: Any, discord: Discord, caplog: pytest.LogCaptureFixture
) -> None:
    play = player(open_bot, discord)
    story = play(gateway_url="ws://127.0.0.1:1/")
    waiting = asyncio.create_task(story.__aenter__())
    asked = "/gateway/bot"
    await discord.until(lambda: sum(call.path == asked for call in discord.transcript) > 1, 60)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert "Traceback" not in caplog.text


async def test_a_large_bot_listens_in_shards(play: Play, discord: Discord) -> None:
    """Discord wants two: each hears of its own servers, the first of direct messages."""
    discord.shards = 2
    discord.channel("500", "far away", guild_id=str(1 << 22))
    async with play() as story:
        await discord.until(lambda: discord.gateway.connected == 2)
        asked = [
            await discord.say(LIGHTHOUSE, mention=True),
            await discord.say(LIGHTHOUSE, mention=True, channel="500"),
            await discord.say(LIGHTHOUSE, channel=discord.direct()),
        ]
        await discord.until(lambda: all(map(discord.to, asked)))
        await story.channel.idle()
        await discord.gateway.drop(4000)
        await discord.until(lambda: discord.gateway.seen.count("resumed") == 2)
        asked.append(await discord.say(LIGHTHOUSE, mention=True, channel="500"))
        await discord.until(lambda: all(map(discord.to, asked)))
        await story.channel.idle()
        assert [len(discord.to(one)) for one in asked] == [1] * 4
        assert discord.gateway.seen.count("identify") == 2


async def test_every_request_may_be_limited(play: Play, discord: Discord) -> None:
    """Each kind of request that is made gets a 429 once: all is done nevertheless."""
    kinds = {
        *("GET /api/users/@me", "GET /api/gateway/bot", "PUT /api/applications/{app}/commands"),
        "POST /api/channels/{channel}/typing",
        "POST /api/channels/{channel}/messages",
        "PATCH /api/channels/{channel}/messages/{id}",
        "DELETE /api/channels/{channel}/messages/{id}",
        "POST /api/channels/{channel}/messages/{id}/threads",
        "POST /api/interactions/{id}/{token}/callback",
        "POST /api/webhooks/{app}/{token}",
    }
    discord.limited.update(dict.fromkeys(kinds, 1))
    async with play(threads=True) as story:
        asked = await discord.say("How tall is the mast?", mention=True)
        await discord.until(lambda: any(m["components"] for m in discord.mine(asked)))
        await story.channel.idle()
        await discord.edit(asked, LIGHTHOUSE)
        await discord.until(lambda: any(call.method == "PATCH" for call in discord.transcript))
        await story.channel.idle()
        await discord.delete(asked)
        await discord.until(lambda: not discord.mine(asked))
        await discord.command("ask", question=LIGHTHOUSE)
        await discord.until(lambda: any(m["components"] for m in discord.mine()))
        await story.channel.idle()
    assert sum(discord.limited.values()) == 0
    assert len([call for call in discord.transcript if call.status == 429]) == len(kinds)


async def test_an_outage_in_the_middle_of_an_answer_is_waited_for(
    play: Play, discord: Discord
) -> None:
    """Half of an answer is shown when Discord goes; the other half comes in the same message."""
    async with play(half_chat()) as story:
        asked = await discord.say(LIGHTHOUSE, mention=True)
        (half,) = await discord.until(lambda: discord.to(asked))
        discord.down = True
        await discord.gateway.drop(4000)
        HalfChat.half.set()
        await discord.until(lambda: any(call.status == 503 for call in discord.transcript))
        discord.down = False
        (answer,) = await story.asked(asked)
        await story.channel.idle()
        assert answer["id"] == half["id"]
        assert answer["content"] == "The first half and the second."
        assert await story.turns(f"discord:100:{asked}") == [LIGHTHOUSE]


async def test_a_limit_of_rate_slows_and_drops_nothing(play: Play, discord: Discord) -> None:
    """Two messages a second by headers, and a 429 for everything once: all is answered."""
    discord.limit, discord.window = 2, 0.5
    discord.errors.append((429, {"message": "limited", "retry_after": 0.2, "global": True}))
    async with play() as story:
        asked = [await discord.say(LIGHTHOUSE, mention=True) for _ in range(4)]
        await discord.until(lambda: all(map(discord.to, asked)))
        await story.channel.idle()
        assert [len(discord.to(one)) for one in asked] == [1] * 4
        assert sum(call.status == 429 for call in discord.transcript) < 5


async def test_edits_are_no_faster_than_the_setting(play: Play, aside_chat: Any) -> None:
    """A model that writes 400 pieces causes few edits, and the last is whole."""
    words = " ".join(f"word{n}" for n in range(200))
    async with play(aside_chat(says=words), every=1.0) as story:
        asked = await story.discord.say("Speak.", mention=True)
        (answer,) = await story.asked(asked)
        await story.channel.idle()
        assert story.discord.messages[answer["id"]]["content"] == words
        edits = [c for c in story.discord.transcript if c.method == "PATCH"]
        assert len(edits) <= 4


async def test_it_speaks_with_or_without_compression(play: Play, discord: Discord) -> None:
    """Heartbeats are sent and a plain gateway is understood as well."""
    discord.gateway.compress = False
    discord.gateway.heartbeat_interval = 100
    async with play() as story:
        await discord.until(lambda: discord.gateway.seen.count("heartbeat") > 3)
        await story.asked(await discord.say(LIGHTHOUSE, mention=True))
        await story.channel.idle()


async def test_no_secret_is_in_the_log(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """Row 28: neither the bot's token nor a command's is logged, with everything at DEBUG."""
    caplog.set_level(logging.DEBUG)
    async with play() as story:
        discord = story.discord
        token = await discord.command(
            "ask", question=LIGHTHOUSE, picture=File("a.png", b"no picture")
        )
        await discord.until(lambda: discord.interactions[token]["answer"])
        await story.channel.idle()
        await discord.gateway.drop(4000)
        await discord.until(lambda: "resumed" in discord.gateway.seen)
        token = await discord.command("why")
        await discord.until(lambda: discord.interactions[token]["answer"])
        await story.channel.idle()
    assert caplog.text
    assert TOKEN not in caplog.text
    assert "do-not-show" not in caplog.text


async def test_a_crash_loses_no_question(discord: Discord, demo_library: Path) -> None:
    """The process is killed between the question and the answer; the next one answers, once. It
    stops by SIGTERM without a traceback."""
    env = {
        **os.environ,
        "BIFOCAL_DISCORD_TOKEN": TOKEN,
        "BIFOCAL_DISCORD_API_URL": discord.api_url,
        "BIFOCAL_DISCORD_GATEWAY_URL": discord.gateway_url,
        "BIFOCAL_DISCORD_FILE_HOSTS": "127.0.0.1",
        "BIFOCAL_LIBRARY": str(demo_library),
        "BIFOCAL_MODEL": "extractive",
    }

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "discord", env=env, stderr=asyncio.subprocess.PIPE
        )
        await discord.until(lambda: discord.gateway.connected, 120)
        return process

    process = await start()
    discord.held.clear()  # answers cannot be posted
    asked = await discord.say(LIGHTHOUSE, mention=True)
    await discord.until(lambda: discord.waiting, 120)
    process.kill()
    await process.wait()
    assert discord.mine() == []
    discord.held.set()
    process = await start()
    try:
        await discord.until(lambda: any(m["components"] for m in discord.mine()), 120)
        assert len(discord.to(asked)) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in told
    assert TOKEN.encode() not in told


async def test_a_dead_redis_loses_no_question(play: Play) -> None:
    """Redis is killed; what is said then is stored when it is back, and answered once."""
    async with play() as story:
        told: Any = await story.redis.read(lambda client: client.info("server"))
        os.kill(told["process_id"], signal.SIGKILL)
        asked = await story.discord.say(LIGHTHOUSE, mention=True)
        await story.discord.until(lambda: any(m["components"] for m in story.discord.mine()), 60)
        await story.channel.idle()
        assert len(story.discord.to(asked)) == 1


async def test_a_library_that_is_not_there_is_said(play: Play) -> None:
    async with play(error=LibraryError("library papers: there is none; make it")) as story:
        asked = await story.discord.say(LIGHTHOUSE, mention=True)
        (line,) = await story.discord.until(lambda: story.discord.to(asked))
        assert "\n" not in line["content"]


@pytest.mark.skipif(not os.environ.get("BIFOCAL_FULL"), reason="it tries five times, 20 s")
async def test_what_fails_again_and_again_is_given_up_in_one_line(play: Play) -> None:
    async with play(error=RuntimeError("secret-do-not-show /home/anna")) as story:
        asked = await story.discord.say(LIGHTHOUSE, mention=True)
        (line,) = await story.discord.until(lambda: story.discord.to(asked), 120)
        assert line["content"].startswith("Something went wrong")
        assert "do-not-show" not in line["content"]
