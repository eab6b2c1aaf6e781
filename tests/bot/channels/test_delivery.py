"""A turn is shown as it comes: throttled, harmless, whole at the end, errors in one line."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot import AsyncChatBot
from bot.channels.backend import Backend, Libraries
from bot.channels.delivery import AWAY, Final, Incoming, answer, line_of
from bot.channels.final import why_lines
from bot.errors import ModelBusy, ModelError, ServiceError, TurnError
from bot.events import Answer, Done, Event, Token
from bot.sent import SentPicture
from memory.errors import HistoryUnavailable, TurnInFlight, TurnNotFound

TALL = "How tall is the lighthouse?"


class Written:
    """A draft that keeps what it was told, and when."""

    limit = 200

    def __init__(self, every: float = 0.2) -> None:
        self.every = every
        self.shown: list[list[str]] = []
        self.at: list[float] = []
        self.waits: list[str] = []
        self.waiting = asyncio.Event()
        self.final: Final | None = None
        self.failed = ""
        self.seen = asyncio.Event()

    async def show(self, parts: Sequence[str]) -> None:
        """Keep the text so far."""
        self.shown.append(list(parts))
        self.at.append(asyncio.get_running_loop().time())
        self.seen.set()

    async def wait(self, line: str) -> None:
        """Keep the line."""
        self.waits.append(line)
        self.waiting.set()

    async def finish(self, final: Final) -> None:
        """Keep the whole answer."""
        self.final = final
        self.at.append(asyncio.get_running_loop().time())

    async def fail(self, line: str) -> None:
        """Keep the line."""
        self.failed = line


class Told(AsyncChatBot):
    """A bot whose turns tell what the test says; everything else is a real bot's."""

    def __init__(self, bot: AsyncChatBot, *says: Any) -> None:
        super().__init__(bot.parts)
        self.says = list(says)
        self.begun = 0

    async def stream(self, *args: Any, **of: Any) -> AsyncGenerator[Event, None]:
        """Tell the next thing: an error, or pieces between which a gate may stand."""
        self.begun += 1
        says = self.says.pop(0)
        if isinstance(says, Exception):
            raise says
        text = ""
        for piece in says:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                text += piece
                yield Token(piece)
        yield Done(Answer(text=text, turn="t"))


async def test_a_real_turn_is_shown_with_footnotes_and_the_picture_it_cites(
    open_bot: Any, demo_files: Path
) -> None:
    async with open_bot(model_name="extractive") as bot:
        draft = Written()
        backend: Backend = bot
        asked = Incoming("c1", text=TALL, unsupported=["song.mp3"])
        done = await answer(backend, asked, draft)
        assert done is not None
        assert draft.final is not None
        assert "34 metres" in draft.final.text
        assert draft.final.footnotes
        assert "/" not in draft.final.footnotes[0].place
        assert draft.final.notices[0] == "song.mp3 cannot be read here"
        picture = SentPicture((demo_files / "lighthouse.jpg").read_bytes(), name="photo.jpg")
        shown = Written()
        await answer(backend, Incoming("c1", text="What is this?", pictures=[picture]), shown)
        assert shown.final is not None
        assert shown.final.pictures
        stored = await backend.stored_answer("c1", done.turn)
        assert stored.text == done.text
        assert any("cited" in line for line in why_lines(stored))
        with pytest.raises(TurnNotFound):
            await backend.stored_answer("c1", "none")


async def test_edits_are_no_faster_than_the_channel_allows_and_the_last_is_whole(
    open_bot: Any,
) -> None:
    async with open_bot(model_name="extractive") as bot:
        gate, draft = asyncio.Event(), Written(every=0.3)
        told = Told(bot, ["One ", gate, *["word "] * 200, "end"])
        running = asyncio.create_task(answer(told, Incoming("c", text="?"), draft))
        async with asyncio.timeout(60):
            await draft.seen.wait()  # the first words are out while the rest is not there yet
            assert draft.shown == [["One "]]
            gate.set()
            await running
        assert draft.final is not None
        assert draft.final.text.endswith("end")
        assert len(draft.final.parts) > 1
        assert all(b - a >= 0.29 for a, b in zip(draft.at, draft.at[1:], strict=False))


async def test_the_first_word_is_shown_when_it_is_whole_not_a_pause_later(open_bot: Any) -> None:
    """A channel that streams cannot show half a word; were it asked to, it would show nothing, and
    its next chance be a pause away."""
    async with open_bot(model_name="extractive") as bot:
        half, draft = asyncio.Event(), Written(every=3600)
        told = Told(bot, ["Gran", half, "ite ", asyncio.Event()])
        running = asyncio.create_task(answer(told, Incoming("c", text="?"), draft))
        async with asyncio.timeout(60):
            await asyncio.sleep(0.3)
            half.set()
            await draft.seen.wait()
        assert draft.shown == [["Granite "]]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_busy_is_waited_for_and_said_when_it_does_not_end(open_bot: Any) -> None:
    busy = TurnError("generate", "busy")
    busy.__cause__ = ModelBusy("busy", 0.1)
    async with open_bot(model_name="extractive") as bot:
        told, draft = Told(bot, TurnInFlight("…", 0.1), busy, ["Aye."]), Written()
        assert await answer(told, Incoming("c", text="?"), draft) is not None
        assert told.begun == 3
        draft = Written()
        assert await answer(Told(bot, busy), Incoming("c", text="?"), draft, patience=0) is None
        assert draft.failed == "There is too much to do at the moment. Ask again in a minute."


async def test_a_service_that_is_away_is_waited_for_however_long_and_said_once(
    open_bot: Any,
) -> None:
    away = ServiceError("service http://x: it cannot be reached", retry_after=1.0)
    async with open_bot(model_name="extractive") as bot:
        told, draft = Told(bot, away, away, ["Aye."]), Written()
        places = asyncio.Semaphore(1)
        asked = Incoming("c", text="?")
        running = asyncio.create_task(answer(told, asked, draft, places=places, patience=0))
        async with asyncio.timeout(60):
            await draft.waiting.wait()
            async with places:  # whoever waits takes nobody's place
                pass
            assert await running is not None
        assert told.begun == 3
        assert draft.waits == [AWAY]
        assert draft.final is not None
        assert draft.final.text == "Aye."


async def test_an_error_is_one_line_without_paths_secrets_or_links(open_bot: Any) -> None:
    errors = [
        ModelError("key xoxb-1 at https://x.example/ in /home/anna/models failed\nTraceback"),
        HistoryUnavailable("redis://:hunter2@x.example is down"),
        ValueError("/home/anna/x"),
    ]
    for error in errors:
        line = line_of(error)
        assert "\n" not in line
        assert not any(word in line for word in ("xoxb", "hunter2", "anna", "://"))
    async with open_bot(model_name="extractive") as bot:
        draft = Written()
        assert await answer(Told(bot, errors[0]), Incoming("c", text="?"), draft) is None
        assert draft.failed == line_of(errors[0])


async def test_a_message_with_nothing_that_can_be_read_says_so(open_bot: Any) -> None:
    async with open_bot(model_name="extractive") as bot:
        draft = Written()
        asked = Incoming("c", unsupported=["<@U1> a.mp3", "https://evil.example/b.mov"])
        assert await answer(bot, asked, draft) is None
        assert "cannot be read here" in draft.failed
        assert "<@" not in draft.failed
        assert "://" not in draft.failed


async def test_the_narrowest_place_names_the_library() -> None:
    async def none(name: str) -> Backend:
        raise AssertionError(name)

    libraries = Libraries(none, {"T1": "handbook", "T1/C2": "papers"})
    assert libraries.name("T1/C2", "T1") == "papers"
    assert libraries.name("T1/C3", "T1") == "handbook"
    assert libraries.name("T9/C3", "T9") == "default"
