"""The same stories, told to a bot in this process and to a served one: nothing differs."""

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scripted_chat import ScriptedChat

from bot import AsyncRemoteChatBot, Done, SentPicture, TurnError
from bot.service.stores.shared_redis import SharedRedis
from bot.show import source_name
from memory.errors import (
    ArchiveRefused,
    ConversationBusy,
    ConversationExists,
    ConversationNotFound,
    HistoryError,
    KeyReused,
    PictureNotFound,
    TurnNotFound,
)
from memory.feedback import Feedback, Said
from retrievers.errors import PictureRefused

TALL = "How tall is the lighthouse?"
NAMES = ["a/b", "..", ".", "%2F", "a b?c#d&e=f", "灯塔 🗼", "*[x]", "pictures/1", "x\ty"]


@pytest.fixture(params=["embedded", "served"])
def opened(request: pytest.FixtureRequest, open_bot: Any, serve: Any) -> Callable[..., Any]:
    """Open a bot: in this process, or behind a service."""

    @asynccontextmanager
    async def here(writer: Any = None, **changes: Any) -> AsyncIterator[Any]:
        async with open_bot(writer, model_name="extractive", **changes) as bot:
            yield bot

    @asynccontextmanager
    async def there(writer: Any = None, **changes: Any) -> AsyncIterator[Any]:
        async with (
            serve(writer=writer, **changes) as served,
            AsyncRemoteChatBot(served.url) as bot,
        ):
            yield bot

    return here if request.param == "embedded" else there


def png(colour: str) -> bytes:
    """Return a small picture."""
    out = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(out, "PNG")
    return out.getvalue()


def size(data: bytes) -> tuple[int, int]:
    """Return the size of a picture."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size


class TestSame:
    """What holds for every bot."""

    async def test_a_question_is_answered_by_events_in_their_order(self, opened: Any) -> None:
        async with opened() as bot:
            events = [event async for event in bot.stream(TALL, conversation="c")]
            assert [e.type for e in events] == ["evidence", "token", "citation", "done"]
            answer = events[-1].answer
            assert events[1].text.strip() == answer.text
            assert "34 metres" in answer.text
            assert answer.citations == (events[2].citation,)
            assert source_name(answer.citations[0].source) == "skerrin-guide.md"
            assert [e.evidence.id for e in answer.evidence] == [e.id for e in events[0].evidence]
            assert (answer.question, answer.conversation, answer.found) == (TALL, "c", True)
            assert {"load", "retrieve", "total"} <= answer.timings.keys()
            then = await bot.ask("And how many steps has it?", conversation="c")
            assert "163" in then.text
            assert then.searched

    async def test_pictures_come_as_paths_bytes_images_and_with_words(
        self, opened: Any, demo_files: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "note.png"
        path.write_bytes(png("white"))
        named = SentPicture(png("blue"), name="sea.png", alt="a blue sea")
        images = [
            demo_files / "lighthouse.jpg",
            str(path),
            png("red"),
            Image.new("RGB", (8, 9), "green"),
            named,
        ]
        async with opened() as bot:
            answer = await bot.ask("How tall is this?", images=images[:1])
            assert "34 metres" in answer.text
            await bot.ask("And these?", images=images[1:], conversation="c", sender="Anna")
            known = await bot.conversation("c")
            assert [(p.number, p.width, p.height, p.who) for p in known.pictures] == [
                (1, 30, 20, "Anna"), (2, 30, 20, "Anna"), (3, 8, 9, "Anna"),
                (4, 30, 20, "Anna"),
            ]  # fmt: skip
            assert known.pictures[3].name == "sea.png"
            assert known.pictures[3].caption == "a blue sea"
            assert known.turns[0].question.pictures == (1, 2, 3, 4)
            assert await bot.picture("c", 1) == png("white")
            assert await bot.picture("c", 2) == images[2]
            assert known.pictures[1].sha256 == hashlib.sha256(png("red")).hexdigest()
            await bot.drop("c", 2)
            assert (await bot.conversation("c")).dropped == (2,)
            with pytest.raises(PictureNotFound):
                await bot.drop("c", 2)
            with pytest.raises(HistoryError):
                await bot.picture("c", 2)

    async def test_a_cited_picture_is_fetched_and_shows_itself(
        self, opened: Any, demo_files: Path
    ) -> None:
        async with opened() as bot:
            receipt = demo_files / "receipt-chandlery.png"
            own = await bot.ask("What is the total on this receipt?", images=[receipt])
            library = await bot.ask("Which receipt is over 50?")
            for answer in (own, library):
                cited = [c for c in answer.citations if c.kind == "picture"]
                assert cited, answer
                data = await bot.cited_picture(answer, cited[0])
                assert size(data)[0] > 100
                assert answer.media is not None
                assert await asyncio.to_thread(answer.media, cited[0]) == data
                assert "data:image/jpeg;base64," in await asyncio.to_thread(answer._repr_html_)
            passage = await bot.ask(TALL)
            with pytest.raises(PictureRefused):
                await bot.cited_picture(passage, passage.citations[0])

    async def test_a_turn_is_edited_answered_again_and_deleted(self, opened: Any) -> None:
        async with opened() as bot:
            first = await bot.ask("How old is the ferry?", conversation="c")
            edited = await bot.edit("c", first.turn, TALL)
            assert (edited.turn, edited.question) == (first.turn, TALL)
            assert "34 metres" in edited.text
            again = await bot.regenerate("c")
            assert (again.turn, again.text) == (first.turn, edited.text)
            events = [e async for e in bot.stream_again("c", first.turn)]
            assert isinstance(events[-1], Done)
            assert await bot.edit("c", first.turn, "", answer=False) is None
            with pytest.raises(TurnNotFound):
                await bot.delete_turn("c", first.turn)
            with pytest.raises(TurnNotFound):
                await bot.regenerate("c", first.turn)
            with pytest.raises(ConversationNotFound):
                await bot.regenerate("c")

    async def test_a_stored_answer_is_told_again_with_its_evidence(
        self, opened: Any, demo_files: Path
    ) -> None:
        async with opened() as bot:
            given = await bot.ask("What is this?", images=[demo_files / "lighthouse.jpg"],
                                  conversation="c")  # fmt: skip
            last = await bot.ask("How many steps has it?", conversation="c")
            again = await bot.stored_answer("c", given.turn)
            assert (again.text, again.question) == (given.text, given.question)
            assert again.citations == given.citations
            assert [e.to_json() for e in again.evidence] == [e.to_json() for e in given.evidence]
            assert (again.model, again.found, again.timings) == (given.model, given.found, {})
            picture = next(c for c in again.citations if c.kind == "picture")
            data = await bot.cited_picture(again, picture)
            assert again.media is not None
            assert await asyncio.to_thread(again.media, picture) == data
            assert (await bot.stored_answer("c")).searched == last.searched != ""
            with pytest.raises(TurnNotFound):
                await bot.stored_answer("c", "none")
            with pytest.raises(ConversationNotFound):
                await bot.stored_answer("nobody")

    async def test_what_people_say_of_an_answer_is_kept_and_goes_with_it(
        self, opened: Any, demo_library: Path
    ) -> None:
        async def said() -> list[Said]:
            async with await SharedRedis.open(folder=demo_library / "redis") as redis:
                return await Feedback(redis).said("default", 0, 10)

        async with opened() as bot:
            answer = await bot.ask(TALL, conversation="c/é")
            await bot.give_feedback("c/é", answer.turn, "up", sender="Anna")
            await bot.give_feedback("c/é", answer.turn, "down", comment="no", sender="Anna")
            await bot.give_feedback("c/é", answer.turn, "up")
            kept = await said()
            assert [(s.rating, s.comment, s.sender) for s in kept] == [
                ("down", "no", "Anna"), ("up", "", ""),
            ]  # fmt: skip
            assert {(s.conversation, s.turn) for s in kept} == {("c/é", answer.turn)}
            with pytest.raises(TurnNotFound):
                await bot.give_feedback("c/é", "none", "up")
            await bot.delete_turn("c/é", answer.turn)
            assert await said() == []

    async def test_conversations_are_listed_named_found_copied_and_forgotten(
        self, opened: Any
    ) -> None:
        async with opened() as bot:
            first = await bot.ask(TALL, conversation="one")
            await bot.ask("How many steps has it?", conversation="one")
            await bot.ask("How old is the ferry?", conversation="two")
            assert [(s.id, s.turns) for s in await bot.conversations()] == [("two", 1), ("one", 2)]
            assert [s.id for s in await bot.conversations(1, 1)] == ["one"]
            assert await bot.conversations(0, 0) == await bot.conversations(9) == []
            await bot.rename("one", "The light")
            assert (await bot.conversations())[1].title == "The light"
            found = await bot.search("lighthouse")
            last = found.found[-1]
            assert (last.conversation, last.turn, last.by) == ("one", 1, "user")
            assert (last.id, last.title, last.line) == (first.turn, "The light", TALL)
            assert [last.line[a:b] for a, b in last.marks] == ["lighthouse"]
            with pytest.raises(HistoryError):
                await bot.search(" ")
            assert await bot.fork("one", "copy", turn=first.turn) == "copy"
            assert (await bot.conversation("copy")).total == 1
            assert (await bot.conversation(await bot.fork("one"))).total == 2
            with pytest.raises(ConversationExists):
                await bot.fork("one", "copy")
            with pytest.raises(TurnNotFound):
                await bot.fork("one", "other", turn="none")
            for name in ("fork", "forget"):
                with pytest.raises(ConversationNotFound):
                    await getattr(bot, name)("nobody")
            with pytest.raises(ConversationNotFound):
                await bot.rename("nobody", "x")
            with pytest.raises(ConversationNotFound):
                await bot.fork("nobody", turn=first.turn)
            await bot.forget("one")
            gone = await bot.conversation("one")
            assert (gone.id, gone.total, gone.turns) == ("one", 0, ())

    async def test_any_text_may_name_a_conversation(self, opened: Any) -> None:
        async with opened() as bot:
            for name in NAMES:
                answer = await bot.ask(TALL, conversation=name)
                assert answer.conversation == name
                assert (await bot.conversation(name)).total == 1, name
            assert {s.id for s in await bot.conversations()} == set(NAMES)
            for name in NAMES:
                await bot.forget(name)
            assert await bot.conversations() == []

    async def test_a_repeated_key_is_one_turn_and_another_question_is_refused(
        self, opened: Any
    ) -> None:
        async with opened() as bot:
            for key in ("k1", "schlüssel " * 40):
                first = await bot.ask(TALL, idempotency_key=key)
                again = await bot.ask(TALL, idempotency_key=key)
                assert (first.turn, first.conversation) == (again.turn, again.conversation)
                with pytest.raises(KeyReused):
                    await bot.ask("Why?", idempotency_key=key)

    async def test_what_cannot_be_asked_is_an_error_of_the_step_load(
        self, opened: Any, tmp_path: Path
    ) -> None:
        too_many = [png("red")] * 3
        async with opened(question_chars=100, pictures_per_turn=2) as bot:
            for text, images, told in [
                ("", [], "nothing was asked"),
                ("x" * 101, [], "the most is 100"),
                ("x", too_many, "the most is 2"),
                ("x", [b"no picture"], "picture"),
                ("x", [b""], "empty"),
                ("x", [tmp_path / "none.png"], "none.png"),
                ("x", [tmp_path], "not a file"),
                ("x", [7], "is no picture"),
            ]:
                with pytest.raises(TurnError, match=told) as caught:
                    await bot.ask(text, images=images)
                assert caught.value.stage == "load", told
            assert await bot.conversations() == []

    async def test_a_model_that_fails_is_an_error_of_the_step_generate(self, opened: Any) -> None:
        async with opened(ScriptedChat(says=["It ", "is ", RuntimeError("out of ink")])) as bot:
            events = bot.stream(TALL, conversation="c")
            seen = [(await anext(events)).type for _ in range(3)]
            with pytest.raises(TurnError) as caught:
                await anext(events)
            assert caught.value.stage == "generate"
            assert seen == ["evidence", "token", "token"]
            assert (await bot.conversation("c")).total == 0

    async def test_a_conversation_is_busy_until_its_turn_ends_or_is_left(self, opened: Any) -> None:
        async with opened(
            ScriptedChat(says=["It ", "is ", asyncio.Event()]), busy_seconds=0.2
        ) as bot:
            events = bot.stream(TALL, conversation="c")
            while (await anext(events)).type != "token":
                pass
            with pytest.raises(ConversationBusy) as caught:
                await bot.ask("And now?", conversation="c")
            assert caught.value.retry_after > 0
            await events.aclose()
            events = bot.stream("And now?", conversation="c")  # it is free
            assert (await anext(events)).type == "evidence"
            await events.aclose()
            assert (await bot.conversation("c")).total == 0

    async def test_a_conversation_goes_through_a_file(self, opened: Any, tmp_path: Path) -> None:
        file = tmp_path / "c.zip"
        async with opened() as bot:
            await bot.ask(TALL, images=[png("red")], conversation="c")
            out = await bot.export_conversation("c", file)
            assert (out.name, out.turns, out.pictures, out.notices) == ("c", 1, 1, ())
            with pytest.raises(ArchiveRefused, match="is there already"):
                await bot.export_conversation("c", file)
            with pytest.raises(ConversationNotFound):
                await bot.export_conversation("nobody", tmp_path / "bad.zip")
            with pytest.raises(ConversationExists):
                await bot.import_conversation(file)
            back = await bot.import_conversation(file, "copy")
            assert (back.name, back.turns, back.pictures) == ("copy", 1, 1)
            assert await bot.picture("copy", 1) == png("red")
            (tmp_path / "bad.zip").write_bytes(b"PK nothing")
            before = sorted(os.listdir(tmp_path))  # noqa: PTH208
            for bad in ("bad.zip", "none.zip"):
                with pytest.raises(ArchiveRefused):
                    await bot.import_conversation(tmp_path / bad)
            assert sorted(os.listdir(tmp_path)) == before  # noqa: PTH208
