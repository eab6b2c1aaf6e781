"""``bifocal conversations``: the list by pages, search, titles; as a person types them."""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from bot.channels.terminal_conversations import age, marked, print_page
from bot.chatbot import ChatBot
from bot.cli import app
from bot.errors import KNOWN_ERRORS
from memory.found import Found
from memory.messages import Message, Turn
from memory.redis_history import RedisHistory
from retrievers.library import Library

HOUR = 3600.0


def write(library: Path, turns: Sequence[tuple[str, str, str, float]]) -> None:
    """Save turns (conversation, question, answer, seconds ago) where the command looks for them."""

    async def save() -> None:
        async with await RedisHistory.open(folder=library / "redis") as history:
            for name, question, answer, ago in turns:
                at = time.time() - ago
                turn = Turn(uuid.uuid4().hex, Message(question), Message(answer), at)
                await history.save(name, turn)

    asyncio.run(save())


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library without sources, and 25 conversations: ``c24`` is the last one."""
    folder = tmp_path / "library"
    Library.open(folder, create=True).close()
    write(folder, [(f"c{n}", f"question {n}", "so", (50 - n) * HOUR) for n in range(25)])
    return folder


def run(library: Path, *args: str) -> str:
    """Run ``bifocal conversations`` and return what it printed."""
    result = CliRunner().invoke(app, ["conversations", *args, "-l", str(library)])
    assert result.exit_code == 0, result.output
    return result.output


def refused(library: Path, *args: str) -> str:
    """Check that the command fails with an error that is told in one line, and return it."""
    result = CliRunner().invoke(app, ["conversations", *args, "-l", str(library)])
    assert isinstance(result.exception, KNOWN_ERRORS)
    return str(result.exception)


def test_the_list_is_shown_page_by_page_newest_first(library: Path) -> None:
    """A page has 20 lines unless told, and says where the next one is."""
    first, second = run(library), run(library, "list", "--page", "2")
    assert first.index("question 24") < first.index("question 5")
    assert "question 4 " not in first
    assert "Page 1 of 2, 25 conversations; the next: bifocal conversations --page 2" in first
    assert "question 4 " in second
    assert "Page 2 of 2" in second
    assert "1 day ago" in first
    assert "question 0" in run(library, "--all")
    assert "Page" not in run(library, "--all")
    assert "no page 9: the last one is 2" in run(library, "--page", "9")


def test_json_has_the_page_and_the_total(library: Path) -> None:
    """What a program needs to go on."""
    got = json.loads(run(library, "--json", "--page", "2", "--page-size", "10"))
    assert (got["page"], got["page_size"], got["total"]) == (2, 10, 25)
    assert [line["id"] for line in got["conversations"]] == [f"c{n}" for n in range(14, 4, -1)]
    assert {"title", "turns", "pictures", "updated"} <= got["conversations"][0].keys()
    assert len(json.loads(run(library, "list", "--all", "--json"))["conversations"]) == 25


def test_a_conversation_gets_a_title_and_keeps_its_name(library: Path) -> None:
    """Renaming, and what cannot be renamed."""
    run(library, "rename", "c3", "The harbour at night")
    got = json.loads(run(library, "--all", "--json"))["conversations"]
    assert {line["id"]: line["title"] for line in got}["c3"] == "The harbour at night"
    assert "nobody" in refused(library, "rename", "nobody", "x")
    assert "81 characters" in refused(library, "rename", "c3", "x" * 81)


def test_the_last_turns_of_a_conversation_can_be_shown_alone(library: Path) -> None:
    """A long conversation need not be printed whole."""
    write(library, [("c3", f"more {n}", "so", 0.0) for n in range(3)])
    shown = run(library, "show", "c3", "--last", "2")
    assert "more 2" in shown
    assert "more 1" in shown
    assert "more 0" not in shown
    assert len(json.loads(run(library, "show", "c3", "--last", "2", "--json"))["turns"]) == 2
    assert "question 3" in run(library, "show", "c3")


def answered(library: Path) -> str:
    """Have a bot answer two questions in ``talk``, the second about two pictures of which one is
    dropped, and return the second turn's id."""
    text, kept, dropped = (library.parent / name for name in ("mill.md", "mill.png", "barn.png"))
    text.write_text("# The mill\n\nThe mill at Oakford is 21 metres tall.\n")
    for file, colour in ((kept, "red"), (dropped, "blue")):
        Image.new("RGB", (40, 30), colour).save(file)
    with ChatBot.open(library) as bot:
        bot.ingest(text)
        bot.ask("Good day", conversation="talk")
        asked = bot.ask(
            "How tall is the mill at Oakford?", images=[kept, dropped], conversation="talk"
        )
        bot.drop("talk", 2)
    assert asked.citations
    return asked.turn


def test_one_turn_is_shown_with_its_pictures_its_citations_and_all_that_was_found(
    library: Path,
) -> None:
    """By its number or its id; a picture that was dropped is named as such."""
    id = answered(library)
    shown = run(library, "show", "talk", "--turn", "2")
    assert shown.startswith("talk, turn 2 of 2, just now, id ")
    for words in (
        "you ›  How tall is the mill at Oakford?",
        "mill.png",
        "40x30",
        "picture 2 was dropped",
        "21 metres",
        "] mill.md",
        "Evidence for",
        "cited",
        "written by extractive",
    ):
        assert words in shown
    assert "Good day" not in shown
    assert run(library, "show", "talk", "--turn", id).splitlines()[1:] == shown.splitlines()[1:]
    got = json.loads(run(library, "show", "talk", "--turn", "2", "--json"))
    assert (got["id"], got["turn"]["id"]) == ("talk", id)
    assert ([ref["n"] for ref in got["pictures"]], got["dropped"]) == ([1], [2])
    assert got["turn"]["ledger"]["evidence"]
    assert got["turn"]["citations"][0]["source"].endswith("mill.md")


def test_a_turn_that_is_not_there_is_told_in_one_line(library: Path) -> None:
    """With the numbers that there are; so is a conversation, and two options that do not fit."""
    for turn in ("0", "2", "-1", "1.0", "nothing", "9" * 5000, "²"):
        told = refused(library, "show", "c3", f"--turn={turn}")
        assert f"has no turn {turn[:80]}: give a number from 1 to 1, or an id" in told
    assert "c77: there is none" in refused(library, "show", "c77", "--turn", "1")
    both = ["conversations", "show", "c3", "--turn", "1", "--last", "1", "-l", str(library)]
    assert CliRunner().invoke(app, both).exit_code == 2


def test_a_turn_of_another_form_is_shown_without_what_it_rests_on(library: Path) -> None:
    """Its record was written by LangChain or by somebody's own program; it cannot steer."""
    evil = "\x1b[31mred [bold]b[/]"
    entry = {
        "number": 1, "id": "x", "kind": evil, "source": evil, "page": evil, "caption": evil,
        "score": 1, "scores": {evil: 1}, "in_prompt": True, "pixels_shown": False, "cited": False,
    }  # fmt: skip
    ledgers: list[dict[str, Any]] = [
        {},
        {"evidence": [{**entry, "scores": {"x": "y"}}]},
        {"evidence": [entry], "model": evil, "notices": [evil]},
        {"references": 7},
    ]

    async def save() -> None:
        async with await RedisHistory.open(folder=library / "redis") as history:
            for number, ledger in enumerate(ledgers):
                turn = Turn(f"t{number}", Message(evil), Message("so"), -1e308, (), ledger)
                await history.save("odd", turn)

    asyncio.run(save())
    odd = [run(library, "show", "odd", "--turn", str(number)) for number in (1, 2, 3, 4)]
    assert all("\x1b" not in shown and "red [bold]b[/]" in shown for shown in odd)
    assert [("not in the form" in shown, "Evidence for" in shown) for shown in odd] == [
        (False, False), (True, False), (False, True), (True, False),
    ]  # fmt: skip


@pytest.mark.parametrize("option", [["-l", "elsewhere"], ["--page", "2"], ["--all"], ["--json"]])
def test_an_option_before_a_command_is_refused_instead_of_passed_over(
    library: Path, option: list[str]
) -> None:
    """A library that was named there would not be the one where something is forgotten."""
    result = CliRunner().invoke(app, ["conversations", *option, "forget", "c3", "-l", str(library)])
    assert result.exit_code == 2
    assert "behind the command" in " ".join(result.output.replace("│", " ").split())
    assert "question 3" in run(library, "show", "c3")


def test_search_shows_the_line_with_its_words_marked_where_and_when(library: Path) -> None:
    """A past turn is found by words of question and answer, in another case and without accents."""
    write(library, [("c7", "How tall is it?", "Hm.\nDie Fähre misst 34 m.\nOr so.", 3 * HOUR)])
    shown = run(library, "search", "FAEHRE", "34")
    assert "question 7" in shown
    assert "c7, turn 2, 3 hours ago" in shown
    assert "bot ›  Die [Fähre] misst [34] m." in shown
    got = json.loads(run(library, "search", "faehre 34", "--json"))
    (found,) = got["found"]
    assert [found["line"][a:b] for a, b in found["marks"]] == ["Fähre", "34"]
    assert (found["conversation"], found["turn"], got["partial"]) == ("c7", 2, False)
    assert "Nothing was found in 26 turns" in run(library, "search", "zeppelin")
    assert "only the last 2 are shown" in run(library, "search", "question", "-n", "2")
    assert "nothing to look for" in refused(library, "search", "?!")


def test_what_was_said_cannot_steer_the_terminal(library: Path) -> None:
    """Escape sequences and markup in titles, names and answers are printed without effect."""
    evil = "\x1b[31mred\x1b[0m [bold]b[/] \u202eback gull"
    write(library, [("n\x1b[2Jm", evil, evil, 0.0)])
    for output in (run(library), run(library, "search", "gull")):
        assert "\x1b" not in output
        assert "\u202e" not in output
        assert "[bold]b[/]" in output


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7300, "2 hours ago"),
        (86400 * 6.9, "6 days ago"),
        (86400 * 8, "1 week ago"),
        (86400 * 65, "2 months ago"),
        (86400 * 800, "2 years ago"),
    ],
)
def test_an_age_is_told_in_words(seconds: float, words: str) -> None:
    """The largest unit that has passed, rounded down."""
    assert age(seconds) == words


def test_an_age_without_end_is_told() -> None:
    """A file that was imported may hold any time."""
    assert age(float("inf")) == "at an unknown time"
    assert age(float("-inf")) == "just now"


def test_marks_stay_in_place_when_control_characters_go(capsys: Any) -> None:
    """The spans are those of the line as it was written, not as it is printed."""
    found = Found("c", "t", 1, "i", 0.0, "bot", "a\x1b\x1b b\x00ell c", ((4, 9),))
    assert marked(found, Console(color_system=None)).plain == "a [bell] c"
    coloured = marked(found, Console(color_system="truecolor", force_terminal=True))
    assert coloured.plain == "a bell c"
    assert [(span.start, span.end) for span in coloured.spans] == [(2, 6)]


def test_no_conversations_yet_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list says how to begin."""
    print_page(Console(), [], 0, 20, 0)
    assert "bifocal chat" in capsys.readouterr().out


def test_a_bot_lists_renames_and_searches(library: Path) -> None:
    """The same from Python."""
    with ChatBot.open(library) as bot:
        assert [line.id for line in bot.conversations(1, 2)] == ["c23", "c22"]
        bot.rename("c23", "A new title")
        (found,) = bot.search("QUESTION 23", limit=5).found
        assert (found.conversation, found.title) == ("c23", "A new title")


def test_a_bots_conversations_are_langchains_too(library: Path) -> None:
    """From ordinary code, the bot's event loop being in a thread of its own."""
    with ChatBot.open(library) as bot:
        chat = bot.parts.history.as_langchain("c3")
        chat.add_user_message("And then?")
        assert [m.content for m in chat.messages] == ["question 3", "so", "And then?"]
        assert bot.conversation("c3").turns[1].question.text == "And then?"
