"""What a client of a service refuses, keeps to itself, and tells."""

import asyncio
import inspect
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot import (
    AsyncChatBot,
    AsyncRemoteChatBot,
    BifocalError,
    ChatBot,
    Done,
    RemoteChatBot,
    ServiceError,
    SettingsError,
    TurnError,
)
from bot.errors import ModelBusy
from memory.errors import HistoryUnavailable
from retrievers.errors import LibraryError, SourceRefused

TALL = "How tall is the lighthouse?"
SECRET = "bf_abcdefgh_" + "S" * 43
JSON = "application/problem+json"


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("here", "there"), [(ChatBot, RemoteChatBot), (AsyncChatBot, AsyncRemoteChatBot)]
)
def test_a_served_bot_has_the_methods_of_one_here(here: type, there: type) -> None:
    """With the same arguments and results; only opening, and what a bot is made of, differ."""
    names = public(here) - {"open", "aopen", "parts", "varied"}
    assert names <= public(there)
    assert public(there) - names <= {"aclose", "ingest", "libraries"}
    for name in names:
        one, other = inspect.signature(getattr(here, name)), inspect.signature(getattr(there, name))
        assert list(one.parameters) == list(other.parameters), name
        for key, parameter in one.parameters.items():
            assert parameter.kind == other.parameters[key].kind, (name, key)
            assert parameter.default == other.parameters[key].default, (name, key)
        assert str(one.return_annotation).strip("'") == str(other.return_annotation).strip("'")


@pytest.mark.parametrize(
    "url",
    ["http://bot.example", "ftp://x", "bot.example", "", "https://", "https://a:b@bot.example",
     "https://bot.example/?key=1", "http://127.0.0.1.example", "https://x:99999", "http://[::2]"],
)  # fmt: skip
def test_an_address_that_would_give_the_key_away_or_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        AsyncRemoteChatBot(url, SECRET)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("key", ["a b", "bf\r\nX-Evil: 1", "schlüssel", "x" * 600])
def test_a_key_that_no_header_may_carry_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        AsyncRemoteChatBot("https://bot.example", key)
    assert key not in str(caught.value)


async def test_loopback_and_what_is_allowed_may_be_http() -> None:
    for url in (
        "http://localhost:1",
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "https://bot.example/x/",
    ):
        async with AsyncRemoteChatBot(url, SECRET) as bot:
            assert SECRET not in repr(bot)
    async with AsyncRemoteChatBot("http://bot.example", SECRET, allow_http=True):
        pass


@asynccontextmanager
async def answering(*answers: tuple[int, dict[str, str], bytes]) -> AsyncIterator[Any]:
    """A server that gives these answers, one a request, the last one ever after."""
    asked: list[bytes] = []

    async def serve_one(reader: Any, writer: Any) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [v for v in head.lower().split(b"\r\n") if v.startswith(b"content-length:")]
        if length:
            await reader.readexactly(int(length[0].split(b":")[1]))
        status, headers, body = answers[min(len(asked), len(answers) - 1)]
        asked.append(head)
        lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{k}: {v}" for k, v in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


def problem(status: int, kind: str, detail: str = "no", **headers: str) -> Any:
    value = {"type": f"urn:bifocal:problem:{kind}", "status": status, "detail": detail}
    return status, {"Content-Type": JSON, **headers}, json.dumps(value).encode()


async def test_a_key_that_is_not_taken_is_said_and_is_in_no_log_and_no_error(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        serve(serve={"keys": "on"}) as served,
        AsyncRemoteChatBot(served.url, SECRET) as bot,
    ):
        with pytest.raises(ServiceError, match="does not take this API key") as caught:
            await bot.ask(TALL)
        assert (caught.value.status, caught.value.kind) == (401, "unauthorized")
    async with AsyncRemoteChatBot("http://127.0.0.1:9", SECRET) as bot:
        with pytest.raises(ServiceError, match="cannot be reached") as unreachable:
            await bot.conversations()
        assert unreachable.value.retry_after
    said = caplog.text + "".join(repr(vars(e.value)) + str(e) for e in (caught, unreachable))
    assert SECRET not in said + repr(bot) + repr(vars(bot)) + repr(vars(bot._wire))
    assert "HTTP Request: POST" in caplog.text


async def test_a_good_key_opens_its_library_and_no_other(serve: Any) -> None:
    async with serve(serve={"keys": "on"}) as served:
        key = (await served.key("anna"))["Authorization"].split()[1]
        async with AsyncRemoteChatBot(served.url, key) as bot:
            assert "34 metres" in (await bot.ask(TALL)).text
        async with AsyncRemoteChatBot(served.url, key, library="other") as bot:
            with pytest.raises(LibraryError):
                await bot.ask(TALL)


async def test_a_rate_is_waited_for_if_that_is_not_long() -> None:
    ok: Any = (200, {}, b'{"conversations": []}')
    limited = problem(429, "rate-limited", "60 a minute", **{"Retry-After": "1"})
    async with answering(limited, ok) as (url, asked), AsyncRemoteChatBot(url, SECRET) as bot:
        assert await bot.conversations() == []
        assert len(asked) == 2
    long = problem(429, "rate-limited", "60 a minute", **{"Retry-After": "3600"})
    async with answering(long) as (url, asked), AsyncRemoteChatBot(url, SECRET) as bot:
        with pytest.raises(ServiceError, match="60 a minute") as caught:
            await bot.conversations()
        assert caught.value.retry_after == 3600
        assert len(asked) == 1


async def test_every_try_of_a_question_has_the_same_key_of_its_own() -> None:
    busy = problem(503, "overloaded", **{"Retry-After": "1"})
    async with answering(busy) as (url, asked), AsyncRemoteChatBot(url, SECRET) as bot:
        with pytest.raises(TurnError) as caught:
            await bot.ask(TALL)
        assert isinstance(caught.value.__cause__, ModelBusy)
        keys = {line for head in asked for line in head.split(b"\r\n") if b"dempotency" in line}
        assert (len(asked), len(keys)) == (3, 1)


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ((302, {"Location": "http://127.0.0.1:9/evil"}, b""), ServiceError, "redirect"),
        ((502, {"Content-Type": "text/html"}, b"<b>Bad</b>"), ServiceError, "status 502"),
        ((200, {}, b"<html>"), ServiceError, "no JSON"),
        ((200, {}, b'{"conversations": [1]}'), ServiceError, "another form"),
        (problem(500, "internal", "unexp\x1b[31mected\n"), ServiceError, r"unexp\[31mected$"),
        (problem(503, "unavailable", **{"Retry-After": "99"}), HistoryUnavailable, "no"),
        ((418, {"Content-Type": JSON}, b"[]"), ServiceError, "status 418"),
        ((418, {"Content-Type": JSON}, b"{" * 10), ServiceError, "status 418"),
    ],
)  # fmt: skip
async def test_whatever_a_service_answers_is_an_error_in_one_line(
    answer: Any, error: type[Exception], told: str
) -> None:
    async with answering(answer) as (url, _), AsyncRemoteChatBot(url, SECRET) as bot:
        with pytest.raises(error, match=told):
            await bot.conversations()


@pytest.mark.parametrize(
    "body",
    [b"data: {}\n\n", b"event: token\ndata: {\n\n", b"event: token\ndata: 7\n\n",
     b'event: done\ndata: {"type": "done", "text": 1}\n\n', b"\xff\xfe\n\n", b""],
)  # fmt: skip
async def test_whatever_a_service_streams_is_an_error_in_one_line(body: bytes) -> None:
    stream = (200, {"Content-Type": "text/event-stream"}, body)
    async with answering(stream) as (url, _), AsyncRemoteChatBot(url, SECRET) as bot:
        with pytest.raises(ServiceError):
            await bot.ask(TALL)


async def test_what_has_no_meaning_there_is_refused(tmp_path: Path) -> None:
    from langchain_core.callbacks import StdOutCallbackHandler

    async with AsyncRemoteChatBot("https://bot.example", SECRET) as bot:
        with pytest.raises(BifocalError, match="callbacks"):
            await bot.ask(TALL, callbacks=[StdOutCallbackHandler()])
        with pytest.raises(BifocalError, match="callbacks"):
            await bot.regenerate("c", callbacks=[StdOutCallbackHandler()])
        with pytest.raises(BifocalError, match="prune"):
            await bot.ingest(tmp_path, prune=True)


async def test_ordinary_code_does_the_same(serve: Any, tmp_path: Path) -> None:
    """In a thread of its own, as the service has this one's loop."""

    def work(url: str) -> None:
        with RemoteChatBot(url) as bot:
            answer = bot.ask("Which receipt is over 50?", conversation="c")
            assert "73.40" in answer.text
            assert "data:image/jpeg;base64," in answer._repr_html_()
            events = bot.stream(TALL, conversation="left")
            assert next(events).type == "evidence"
            events.close()  # type: ignore[attr-defined]
            assert [type(e) for e in bot.stream(TALL, conversation="c")][-1] is Done
            assert bot.conversation("c").total == 2
            assert bot.edit("c", answer.turn, TALL) is not None
            assert bot.export_conversation("c", tmp_path / "c.zip").turns == 2
            assert repr(bot) == f"RemoteChatBot('{url}', library='default')"
        with pytest.raises(BifocalError, match="was closed"):
            bot.conversations()

    async with serve() as served:
        await asyncio.to_thread(work, served.url)


async def test_files_and_folders_are_uploaded_and_waited_for(serve: Any, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "sub").mkdir(parents=True)
    (folder / "gulls.md").write_text("# Gulls\n\nThe grey gull of Skerrin weighs 812 grams.\n")
    (folder / "sub" / "gulls.md").write_text("Another one of the same name.\n")
    (folder / "empty.pdf").write_bytes(b"%PDF-1.4 nothing")
    events: list[Any] = []
    async with serve() as served, AsyncRemoteChatBot(served.url) as bot:
        report = await bot.ingest(folder, on_event=events.append)
        assert (report.indexed, report.stopped) == (1, False)
        assert report.passages >= 1
        skipped = {Path(name).relative_to(folder).as_posix(): why for name, why in report.skipped}
        assert skipped.keys() == {"sub/gulls.md", "empty.pdf"}
        assert "of this name" in skipped["sub/gulls.md"]
        assert "812" in (await bot.ask("How much does the grey gull weigh?")).text
        assert [events[0].state, events[-1].state] == ["start", "end"]
        done = {Path(e.file).name: e.state for e in events if e.state in ("indexed", "skipped")}
        assert done == {"gulls.md": "indexed", "empty.pdf": "skipped"}
        assert (events[-1].done, events[-1].total) == (2, 2)
        again = await bot.ingest(folder / "gulls.md")
        assert (again.indexed, again.unchanged) == (0, 1)
        with pytest.raises(SourceRefused):
            await bot.ingest(tmp_path / "none")


async def test_the_command_asks_a_served_bot(serve: Any) -> None:
    def run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bot", *args],
            env={**os.environ, **environ},
            capture_output=True, text=True, timeout=120, check=False,
            input="How many steps has it?\n/quit\n",
        )  # fmt: skip

    async with serve(serve={"keys": "on"}) as served:
        key = (await served.key("anna"))["Authorization"].split()[1]
        known = {"BIFOCAL_URL": served.url, "BIFOCAL_KEY": key}
        asked = await asyncio.to_thread(run, "ask", TALL, "-c", "c", **known)
        assert "34 metres" in asked.stdout, asked.stderr
        talked = await asyncio.to_thread(run, "chat", "--resume", "c", **known)
        assert "163" in talked.stdout, talked.stderr
        no_key = await asyncio.to_thread(run, "ask", TALL, "--url", served.url)
        assert (no_key.returncode, "API key" in no_key.stderr) == (1, True), no_key.stderr
        assert key not in asked.stdout + asked.stderr + talked.stdout + talked.stderr
