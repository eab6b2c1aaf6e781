"""Discord over a served Bifocal: real HTTP with a key, and a service that comes and goes."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import discord as discord_py
import httpx
import pytest
from discord_double import TOKEN, Discord, File
from discord_story import calm_discord, connected, settings_for

from bot import AsyncRemoteChatBot, ServiceError, SettingsError
from bot.channels.backend import Libraries
from bot.channels.delivery import AWAY, line_of
from bot.channels.discord_bot import DiscordChannel
from bot.channels.final import why_lines
from bot.channels.served import open_there
from bot.service.stores.shared_redis import SharedRedis
from retrievers.errors import LibraryNotFound

TALL = "How tall is the lighthouse?"
WRONG = "bf_abcdefgh_" + "W" * 43


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of the environment out of the way to loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with calm_discord() as made:
        yield made


@asynccontextmanager
async def in_discord(
    discord: Discord, url: str, key: str, folder: Path, **changes: Any
) -> AsyncIterator[DiscordChannel]:
    """Bifocal in Discord, over the service at ``url``; what waits is kept in ``folder``."""
    settings = settings_for(discord, **changes)
    async with (
        open_there(url, key, names=settings.libraries.values()) as opening,
        await SharedRedis.open(folder=folder) as redis,
    ):
        libraries = Libraries(opening, settings.libraries)
        channel = DiscordChannel(settings, libraries, redis, identify=0)
        async with connected(channel, discord):
            yield channel


async def key_of(served: Any, *read: str, write: tuple[str, ...] = ()) -> str:
    """Return a key of the service's own tenant."""
    name = f"k{len(read)}{len(write)}"
    header = await served.key(name, tenant="default", read=list(read), write=list(write))
    return str(header["Authorization"].removeprefix("Bearer "))


async def whole(discord: Discord, question: str) -> list[dict[str, Any]]:
    """Wait for the whole answer to a question, which has buttons, and return its messages."""

    def found() -> list[dict[str, Any]]:
        ended = any(m["components"] for m in discord.mine())
        return discord.to(question) if ended else []

    return list(await discord.until(found, 60))


async def pressed(discord: Discord, button: str) -> str:
    """Press a button below the answer, and return what the bot says then."""
    message = next(m["id"] for m in discord.mine() if m["components"])
    token = await discord.press(message, button, by="7")

    def told() -> str:
        answer = discord.messages.get(discord.interactions[token]["answer"] or "")
        return str(answer["content"]) if answer else ""

    return str(await discord.until(told, 60))


async def test_the_buttons_reach_the_service_and_tell_its_evidence(
    discord: Discord, serve: Any, aside_chat: Any, demo_files: Path, tmp_path: Path
) -> None:
    writer = aside_chat(pictures=True, says="It is the lighthouse. [1]")
    photo = File("photo.jpg", (demo_files / "lighthouse.jpg").read_bytes(), "image/jpeg")
    async with serve(writer=writer, serve={"keys": "on"}) as served:
        key = await key_of(served, "default")
        async with in_discord(discord, served.url, key, tmp_path / "beside") as channel:
            asked = await discord.say("What is this?", mention=True, files=[photo])
            await whole(discord, asked)
            await channel.idle()  # by then the messages are known to be this turn
            why = await pressed(discord, "why")
            assert await pressed(discord, "down") == "Thank you."
        bot = await served.server.config.app.inner.state.bots.bot("default", "default")
        kept = await bot.stored_answer(f"discord:100:{asked}")
        assert why == discord_py.utils.escape_markdown("\n".join(why_lines(kept)))
        assert "photo.jpg - cited, the picture was shown to the model (shown 1.00)" in why
        assert "lighthouse.jpg - read, the picture was shown to the model (" in why
        headers = {"Authorization": f"Bearer {key}"}
        (said,) = (await served.client.get("/v1/feedback", headers=headers)).json()["feedback"]
        assert (said["turn"], said["rating"], said["sender"]) == (kept.turn, "down", "discord:7")


async def test_each_place_has_its_library_of_the_service_and_one_not_to_be_read_is_said(
    discord: Discord, serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "paper.md"
    file.write_text("# Otters\n\nThe otter of Skerrin weighs nine kilograms.\n")
    places = {"100/200": "papers", "100/201": "secret"}
    async with serve(serve={"keys": "on"}) as served:
        headers = {"Authorization": f"Bearer {await key_of(served, write=('papers', 'secret'))}"}
        for name in ("papers", "secret"):
            made = await served.client.post("/v1/libraries", json={"name": name}, headers=headers)
            assert made.status_code == 201
        token = headers["Authorization"].removeprefix("Bearer ")
        async with AsyncRemoteChatBot(served.url, token, library="papers") as bot:
            await bot.ingest(file)
            assert await bot.libraries() == ["papers", "secret"]
        key = await key_of(served, "default", "papers")
        discord.channel("201", "hidden")
        async with in_discord(discord, served.url, key, tmp_path / "beside", libraries=places):
            otter = await discord.say("What does the otter weigh?", mention=True, channel="200")
            assert "nine kilograms" in (await whole(discord, otter))[0]["content"]
            hidden = await discord.say("What is there?", mention=True, channel="201")
            (line,) = await discord.until(lambda: discord.to(hidden), 60)
            assert line["content"] == (
                "There is no library 'secret' that this key may read; the setting libraries names"
                " it for this place."
            )
            direct = await discord.say(TALL, channel=discord.direct())
            (answer,) = await discord.until(lambda: discord.to(direct), 60)
            assert "34 metres" in answer["content"]


async def test_a_question_waits_for_a_service_that_is_not_there_yet(
    discord: Discord, service: Any, tmp_path: Path
) -> None:
    """The person sees one line meanwhile, and the answer in its place, once."""
    await service.start()
    key = await service.make_key("default")
    await service.stop()
    async with in_discord(discord, service.url, key, tmp_path / "beside") as channel:
        asked = await discord.say(TALL, mention=True)
        (line,) = await discord.until(lambda: discord.to(asked), 60)
        assert line["content"] == AWAY
        try:
            await service.start()
            (answer,) = await whole(discord, asked)
            assert answer["id"] == line["id"]
            assert "34 metres" in answer["content"]
            await discord.delete(asked)
            await discord.until(lambda: not discord.to(asked), 60)
            await channel.idle()
            async with AsyncRemoteChatBot(service.url, key) as bot:
                assert await bot.conversations() == []
        finally:
            await service.stop()


async def test_a_service_that_dies_in_the_midst_of_an_answer_answers_once(
    discord: Discord, service: Any, stalled: Any, tmp_path: Path
) -> None:
    slow = {"BIFOCAL_MODEL": "openai:x", "BIFOCAL_MODEL_URL": stalled.url}
    await service.start(**slow, BIFOCAL_MODEL_KEY="none", BIFOCAL_SERVE_RESUME_SECONDS="2")
    key = await service.make_key("default")
    async with in_discord(discord, service.url, key, tmp_path / "beside") as channel:
        asked = await discord.say(TALL, mention=True)
        await stalled.asked.wait()
        await service.kill()
        await service.start()
        try:
            async with asyncio.timeout(120):
                while not any(m["components"] for m in discord.mine()):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await channel.idle()
            (answer,) = discord.to(asked)
            assert "34 metres" in answer["content"]
            async with AsyncRemoteChatBot(service.url, key) as bot:
                (one,) = await bot.conversations()
                assert one.turns == 1
        finally:
            await service.stop()


async def test_a_wrong_key_or_none_stops_at_the_start_with_one_line(serve: Any) -> None:
    async with serve(serve={"keys": "on"}) as served:
        for key, told in ((WRONG, "does not take this API key"), ("", "asks for an API key")):
            with pytest.raises(SettingsError, match=told) as caught:
                async with open_there(served.url, key):
                    pass
            assert "BIFOCAL_KEY" in str(caught.value)
            assert served.url in str(caught.value)
            assert WRONG not in str(caught.value)


@pytest.mark.parametrize("channel", ["slack", "discord"])
async def test_the_command_stops_at_a_wrong_key(channel: str, serve: Any, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        given = {
            "BIFOCAL_SLACK_BOT_TOKEN": "xoxb-1",
            "BIFOCAL_SLACK_APP_TOKEN": "xapp-1",
            "BIFOCAL_SLACK_API_URL": closed,
            "BIFOCAL_DISCORD_TOKEN": TOKEN,
            "BIFOCAL_DISCORD_API_URL": closed,
            "BIFOCAL_LIBRARY": str(tmp_path / "beside"),
            "BIFOCAL_KEY": WRONG,
        }
        async with serve(serve={"keys": "on"}) as served:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", channel, "--url", served.url),
                env={**os.environ, **given},
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(120):
                _, err = await process.communicate()
    (line,) = err.decode().splitlines()
    assert process.returncode == 1
    assert line.startswith(f"bifocal: service {served.url} does not take this API key")
    assert "BIFOCAL_KEY" in line
    assert WRONG not in line


def test_what_a_service_refuses_is_said_in_words_for_people() -> None:
    for error, told in (
        (ServiceError("service http://x: no", status=401, kind="unauthorized"), "BIFOCAL_KEY"),
        (ServiceError("60/minute", status=429, kind="rate-limited", retry_after=9), "Ask again"),
        (ServiceError("service http://x: no", retry_after=1.0), "cannot be reached"),
        (ServiceError("the service answers with status 502", status=502), "cannot be reached"),
        (ServiceError("the service answers with status 418", status=418), "went wrong here"),
        (LibraryNotFound("there is no library 'p' that this key may read"), "no library 'p'"),
    ):
        line = line_of(error)
        assert told in line
        assert "://" not in line


async def test_over_http_to_another_machine_the_command_names_the_way_out(
    serve: Any, tmp_path: Path
) -> None:
    """0.0.0.0 is this machine by a number that is none of loopback's."""
    async with serve(serve={"keys": "on"}) as served:
        key = await key_of(served, "default")
        url = served.url.replace("127.0.0.1", "0.0.0.0")
        assert httpx.URL(url).host == "0.0.0.0"
        given = {"BIFOCAL_KEY": key, "NO_PROXY": "0.0.0.0", "BIFOCAL_LIBRARY": ""}

        async def run(*options: str) -> tuple[int | None, str, str]:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "ask", TALL, "--url", url, *options),
                env={**os.environ, **given},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(120):
                out, err = await process.communicate()
            return process.returncode, out.decode(), err.decode()

        code, _, told = await run()
        assert (code, len(told.splitlines())) == (1, 1)
        assert "--allow-http" in told
        code, said, _ = await run("--allow-http")
        assert code == 0
        assert "34 metres" in said
