"""Editing, answering again, deleting and forking, from Python and by the command."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot import ChatBot, Done, TurnError
from memory.errors import ConversationNotFound, TurnNotFound


async def test_an_edited_question_is_answered_in_its_place(open_bot: Any) -> None:
    """Same id and time, its picture stays, later turns too; the ledger says that it was again."""
    red = Image.new("RGB", (30, 20), "red")
    async with open_bot() as bot:
        first = await bot.ask("How old is the ferry?", images=[red], conversation="c")
        second = await bot.ask("When was the lighthouse built?", conversation="c")
        before = await bot.conversation("c")
        answer = await bot.edit("c", first.turn, "How tall is the lighthouse?")
        after = await bot.conversation("c")
    assert answer is not None
    assert "34 metres" in answer.text
    assert (answer.turn, answer.question) == (first.turn, "How tall is the lighthouse?")
    assert [t.id for t in after.turns] == [first.turn, second.turn]
    assert after.turns[1] == before.turns[1]
    assert after.turns[0].question.text == "How tall is the lighthouse?"
    assert after.turns[0].question.pictures == (1,)
    assert after.turns[0].at == before.turns[0].at
    assert after.turns[0].ledger["again"] > after.turns[0].at
    assert after.pictures == before.pictures


async def test_an_edit_without_an_answer_removes_the_turn(open_bot: Any) -> None:
    """As when a question is taken back."""
    async with open_bot() as bot:
        first = await bot.ask("How old is the ferry?", conversation="c")
        second = await bot.ask("How tall is the lighthouse?", conversation="c")
        assert await bot.edit("c", first.turn, "", answer=False) is None
        assert [t.id for t in (await bot.conversation("c")).turns] == [second.turn]
        with pytest.raises(TurnNotFound):
            await bot.edit("c", first.turn, "What?")
        with pytest.raises(TurnError, match="nothing was asked"):
            await bot.edit("c", second.turn, " ")
        with pytest.raises(TurnError, match="question_chars"):
            await bot.edit("c", second.turn, "x" * 9000)
        assert [t.id for t in (await bot.conversation("c")).turns] == [second.turn]


async def test_answering_again_sees_the_turns_before_it_and_its_own_picture(open_bot: Any) -> None:
    """The same question over the same conversation gives the same answer and ledger again."""
    async with open_bot() as bot:
        await bot.ask("How tall is the lighthouse?", conversation="c")
        given = await bot.ask(
            "And what is this?", images=[Image.new("RGB", (30, 20), "blue")], conversation="c"
        )
        again = await bot.regenerate("c")
        assert (again.turn, again.text) == (given.turn, given.text)
        assert [e.evidence.id for e in again.evidence] == [e.evidence.id for e in given.evidence]
        assert again.citations == given.citations
        assert (await bot.conversation("c")).total == 2
        events = [event async for event in bot.stream_again("c", given.turn)]
        assert isinstance(events[-1], Done)
        assert events[0].type == "evidence"
        with pytest.raises(ConversationNotFound, match="'none'"):
            await bot.regenerate("none")


def test_the_synchronous_bot_edits_too(demo_library: Path) -> None:
    """edit, regenerate, stream_again, delete_turn and fork."""
    with ChatBot.open(demo_library) as bot:
        first = bot.ask("How old is the ferry?", conversation="c")
        answer = bot.edit("c", first.turn, "How tall is the lighthouse?")
        assert answer is not None
        assert bot.regenerate("c").text == answer.text
        assert [e.type for e in bot.stream_again("c")][-1] == "done"
        copy = bot.fork("c", turn=first.turn)
        bot.delete_turn("c", first.turn)
        assert bot.conversation("c").total == 0
        assert bot.conversation(copy).turns[0].answer.text == answer.text


def run(*args: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bot", "conversations", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_forks_deletes_exports_and_imports(demo_library: Path) -> None:
    """By number or id; what is not there is one line."""
    with ChatBot.open(demo_library) as bot:
        for text in ("How tall is the lighthouse?", "When was it built?", "By whom?"):
            bot.ask(text, conversation="trip")
        assert run("fork", "trip", "trip-2", "--at", 2, "-l", demo_library).returncode == 0
        done = run("delete-turn", "trip", 1, "-l", demo_library)
        assert (done.returncode, done.stdout) == (0, "Removed turn 1 of trip.\n")
        shown = json.loads(run("show", "trip-2", "--json", "-l", demo_library).stdout)
        assert len(shown["turns"]) == 2
        assert bot.conversation("trip").total == 2
        wrong = run("delete-turn", "trip", 7, "-l", demo_library)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert wrong.stderr.startswith("bifocal: conversation trip has no turn 7")
        file = demo_library.parent / "trip.zip"
        done = run("export", "trip", file, "-l", demo_library)
        assert (done.returncode, done.stdout) == (
            0,
            f"trip: 2 turns and 0 pictures to {file}\n",
        )
        assert run("import", file, "--as", "back", "-l", demo_library).returncode == 0
        assert bot.conversation("back").turns == bot.conversation("trip").turns
        assert bot.import_conversation(file, "again").turns == 2
        wrong = run("import", file, "-l", demo_library)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
