"""The Python interface: synchronous, asynchronous, in notebooks, and its errors."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from PIL import Image

import bot as package
from bot import AsyncChatBot, ChatBot, Done, Settings, SettingsError
from bot.demo import questions
from memory.errors import ConversationNotFound
from retrievers.errors import EncoderMismatch, LibraryError


def test_the_public_names_are_sorted_and_all_there() -> None:
    assert [n for n in package.__all__ if n.isupper()] + sorted(
        n for n in package.__all__ if not n.isupper()
    ) == list(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_the_synchronous_bot_asks_streams_and_remembers(demo_library: Path) -> None:
    with ChatBot.open(demo_library) as bot:
        answer = bot.ask("How tall is the lighthouse?", conversation="c1")
        events = list(bot.stream("When was it built?", conversation="c1"))
        assert isinstance(events[-1], Done)
        assert "34 metres" in answer.text
        assert bot.conversation("c1").total == 2
        assert [line.id for line in bot.conversations()] == ["c1"]
        bot.forget("c1")
        assert bot.conversation("c1").total == 0


def test_a_bot_opens_inside_a_running_loop_as_in_a_notebook(demo_library: Path) -> None:
    async def cell() -> str:
        with ChatBot.open(demo_library) as bot:
            return bot.ask("How tall is the lighthouse?").text

    assert "34 metres" in asyncio.run(cell())


def test_conversations_are_there_after_the_bot_was_closed(demo_library: Path) -> None:
    with ChatBot.open(demo_library) as bot:
        bot.ask("What is this?", images=[Image.new("RGB", (30, 20), "red")], conversation="c")
    with ChatBot.open(demo_library) as bot:
        found = bot.conversation("c")
        assert (found.total, [p.number for p in found.pictures]) == (1, [1])
        assert bot.picture("c", 1).startswith(b"\x89PNG")


def test_an_answer_shows_its_pictures_in_a_notebook(demo_library: Path) -> None:
    puffin = next(q for q in questions() if q.expect == "puffin")
    assert puffin.picture is not None
    with ChatBot.open(demo_library) as bot:
        answer = bot.ask("What is this?", images=[puffin.picture])
        html = answer._repr_html_()
    assert "puffin" in html.lower()
    assert "src='data:image/jpeg;base64," in html
    assert "http" not in html


def test_what_is_ingested_is_found_by_the_next_question(demo_library: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("The password of the Kestrel observatory is gooseberry.")
    with ChatBot.open(demo_library) as bot:
        before = bot.ask("What is the password of the Kestrel observatory?")
        report = bot.ingest(note)
        after = bot.ask("What is the password of the Kestrel observatory?")
    assert report.indexed == 1
    assert "gooseberry" not in before.text
    assert "gooseberry" in after.text
    assert after.citations[0].source == str(note)


def test_stopping_in_mid_stream_saves_nothing_and_harms_nothing(demo_library: Path) -> None:
    with ChatBot.open(demo_library) as bot:
        events = bot.stream("How tall is the lighthouse?", conversation="c")
        next(events)
        events.close()  # type: ignore[attr-defined]
        assert bot.conversation("c").total == 0
        assert "34 metres" in bot.ask("How tall is the lighthouse?", conversation="c").text


def test_ctrl_c_ends_a_turn_saves_nothing_and_the_bot_goes_on(demo_library: Path) -> None:
    class Stalls(GenericFakeChatModel):
        asked: ClassVar[threading.Event] = threading.Event()

        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            yield ChatGenerationChunk(message=AIMessageChunk(content="It "))
            self.asked.set()
            await asyncio.sleep(3600)

    def interrupt() -> None:
        Stalls.asked.wait()
        os.kill(os.getpid(), signal.SIGINT)

    with ChatBot.open(demo_library) as bot:
        writer = bot._bot
        bot._bot = AsyncChatBot(replace(bot.parts, model=Stalls(messages=iter(()))))
        for ask in (bot.ask, lambda *a, **k: list(bot.stream(*a, **k))):
            Stalls.asked.clear()
            threading.Thread(target=interrupt).start()
            with pytest.raises(KeyboardInterrupt):
                ask("How tall?", conversation="c")
        assert bot.conversation("c").total == 0
        bot._bot = writer
        assert "34 metres" in bot.ask("How tall is the lighthouse?", conversation="c").text


def test_a_closed_bot_says_so_and_its_answers_still_show_their_words(demo_library: Path) -> None:
    puffin = next(q for q in questions() if q.expect == "puffin")
    assert puffin.picture is not None
    with ChatBot.open(demo_library) as bot:
        answer = bot.ask("", images=[puffin.picture])
    with pytest.raises(package.BifocalError, match="closed"):
        bot.ask("Hello?")
    assert "puffin" in answer.text
    assert "puffin" in answer._repr_html_()


def test_the_persons_own_environment_counts_for_python_too(
    demo_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIFOCAL_FUSION", "attention")
    with ChatBot.open(demo_library) as bot:
        assert bot.parts.settings.fusion == "attention"


def test_forgetting_a_conversation_that_is_not_there_names_it(demo_library: Path) -> None:
    with ChatBot.open(demo_library) as bot, pytest.raises(ConversationNotFound, match="nobody"):
        bot.forget("nobody")


def test_a_library_that_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        LibraryError, match=r"none: no library here; make one with `bifocal ingest`"
    ):
        ChatBot.open(tmp_path / "none")


def test_another_encoder_than_the_librarys_is_refused_with_the_command_that_re_encodes(
    demo_library: Path,
) -> None:
    pocket = Path(__file__).parents[1] / "pocket" / "clip"
    with pytest.raises(EncoderMismatch, match="bifocal reencode"):
        ChatBot.open(demo_library, picture_encoder=f"transformers:{pocket}")


def test_an_unknown_setting_and_an_unknown_model_are_named(demo_library: Path) -> None:
    with pytest.raises(SettingsError, match="modle"):
        ChatBot.open(demo_library, modle="x")
    with pytest.raises(package.ModelError, match="extractive"):
        ChatBot.open(demo_library, model="extractiv")


def test_a_redis_that_is_not_there_is_named_without_its_password(demo_library: Path) -> None:
    settings = Settings.load(library=demo_library, redis_url="redis://:hunter2@127.0.0.1:1/0")
    with pytest.raises(package.KNOWN_ERRORS, match=r"127\.0\.0\.1:1") as caught:
        ChatBot.open(settings=settings)
    assert "hunter2" not in str(caught.value)
