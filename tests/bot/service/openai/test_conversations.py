"""The messages of a request are its conversation, or one is kept here: by OpenAI's client."""

import base64
from pathlib import Path
from typing import Any

import openai
import pytest

from bot.service.openai.given_history import GivenHistory, GivenTurn
from memory.errors import HistoryError, PictureNotFound

TALL = "How tall is the lighthouse?"


def data_uri(file: Path) -> str:
    """Return a picture of the demo as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"


def shows(file: Path, text: str = "") -> dict[str, Any]:
    """Return a message of the user with a picture."""
    words = [{"type": "text", "text": text}] if text else []
    picture = {"type": "image_url", "image_url": {"url": data_uri(file)}}
    return {"role": "user", "content": [*words, picture]}


def says(text: str, role: str = "user") -> dict[str, Any]:
    """Return a message of words."""
    return {"role": role, "content": text}


async def test_earlier_pictures_and_questions_are_the_conversation(
    serve: Any, client: Any, writer: Any, demo_files: Path
) -> None:
    """ "The first picture" of a request whose first message brought it shows its pixels again."""
    model = writer(says=["Aye."])
    async with serve(writer=model) as served, client(served) as asks:
        messages = [
            shows(demo_files / "lighthouse.jpg", "What is this?"),
            says("A lighthouse.", "assistant"),
            shows(demo_files / "receipt-cafe.jpg", "And this?"),
            says("A receipt.", "assistant"),
            says("How high is the tower in the first picture?"),
        ]
        whole = await asks.chat.completions.create(model="default", messages=messages)
        prompt = next(p for p, _ in model.asked if "first picture" in str(p[-1].text))
        shown = [part for part in prompt[-1].content if part["type"] == "image"]
        evidence = whole.choices[0].message.model_extra["bifocal"]["evidence"]
        assert shown
        assert evidence[0] == "shown:1"
        assert [str(m.text) for m in prompt if m.type == "ai"] == ["A lighthouse.", "A receipt."]


async def test_a_follow_up_carries_its_picture_over_two_questions(
    serve: Any, client: Any, writer: Any, demo_files: Path
) -> None:
    """ "How tall is it?" and then "And what colour is it?" are both about the picture."""
    async with serve(writer=writer(says=["Aye."])) as served, client(served) as asks:
        messages = [
            shows(demo_files / "lighthouse.jpg", "What is this?"),
            says("A lighthouse.", "assistant"),
            says("What colour is it?"),
            says("White.", "assistant"),
            says("How tall is it?"),
        ]
        whole = await asks.chat.completions.create(model="default", messages=messages)
        assert whole.choices[0].message.model_extra["bifocal"]["evidence"][0] == "shown:1"


async def test_what_was_asked_back_is_answered_by_the_next_message(
    serve: Any, client: Any, demo_files: Path
) -> None:
    """ "Which picture?", told statelessly, is understood when the client sends it back."""
    async with serve() as served, client(served) as asks:
        messages = [
            {**shows(demo_files / "lighthouse.jpg", "Look."), "name": "Anna"},
            says("I see.", "assistant"),
            {**shows(demo_files / "receipt-cafe.jpg", "And look."), "name": "Anna"},
            says("I see.", "assistant"),
            says("What is in Anna's picture?"),
        ]
        first = await asks.chat.completions.create(model="default", messages=messages)
        back = first.choices[0].message
        assert back.content.startswith("Which picture do you mean by “Anna's picture”")
        messages += [says(back.content, "assistant"), says("The second one.")]
        then = await asks.chat.completions.create(model="default", messages=messages)
        assert then.choices[0].message.model_extra["bifocal"]["evidence"][0] == "shown:2"


async def test_nothing_is_kept_unless_a_conversation_is_named(serve: Any, client: Any) -> None:
    """Stateless questions leave no conversation; a named one goes on with its last message."""
    async with serve() as served, client(served) as asks:
        history = ""
        for extra in ({}, {"conversation": "c1"}, {"metadata": {"conversation": "c1"}}):
            text = TALL if not history else "And how many steps has it?"
            whole = await asks.chat.completions.create(
                model="default", messages=[says("Ignored?"), says("No.", "assistant"), says(text)],
                extra_body=extra,
            )  # fmt: skip
            told = whole.choices[0].message.model_extra["bifocal"]
            assert told["conversation"] == ("c1" if extra else None)
            history = whole.choices[0].message.content if extra else ""
        assert "163" in history
        kept = await served.server.config.app.inner.state.bots.history.conversations()
        assert [(one.id, one.turns) for one in kept] == [("c1", 2)]


async def test_a_repeat_of_a_kept_question_is_one_turn(serve: Any, client: Any) -> None:
    """The client's ``Idempotency-Key`` does for a kept conversation what it does elsewhere."""
    async with serve() as served, client(served) as asks:
        turns = set()
        for _ in range(2):
            whole = await asks.chat.completions.create(
                model="default",
                messages=[says(TALL)],
                extra_body={"conversation": "c1"},
                extra_headers={"Idempotency-Key": "k1"},
            )
            turns.add(whole.choices[0].message.model_extra["bifocal"]["turn"])
        assert len(turns) == 1


async def test_tenants_libraries_and_conversations_stay_apart(serve: Any) -> None:
    """What a key may not read is told as what is not there, word for word; a conversation of the
    same name is another for another tenant."""
    async with serve(serve={"keys": "on"}) as served:
        await served.server.config.app.inner.state.bots.create("secret")
        anna = await served.key("anna", read=["default"])
        ben = await served.key("ben", read=["default", "secret"])
        asked = {"messages": [says(TALL)], "conversation": "c1"}
        told = []
        for model in ("secret", "absent"):
            answer = await served.client.post(
                "/v1/chat/completions", json={"model": model, **asked}, headers=anna
            )
            told.append((answer.status_code, answer.text.replace(model, "X")))
        assert told[0] == told[1]
        assert told[0][0] == 404
        for key, models in ((anna, 3), (ben, 4)):
            listed = (await served.client.get("/v1/models", headers=key)).json()["data"]
            assert len(listed) == models
        for key in (anna, ben):
            answer = await served.client.post(
                "/v1/chat/completions", json={"model": "default", **asked}, headers=key
            )
            assert answer.status_code == 200
            bots = served.server.config.app.inner.state.bots
            tenant = "anna" if key is anna else "ben"
            assert (await bots.history_of(tenant).load("c1")).total == 1


async def test_a_long_chat_is_read_from_its_end_and_leaves_nothing(
    serve: Any, client: Any, writer: Any
) -> None:
    """Only the last turns are put before the model, which is told; no summary is made for later,
    and footnotes that came back are not read as words."""
    model = writer(says=["Aye."])
    async with serve(writer=model, history_turns=3) as served, client(served) as asks:
        messages = []
        for n in range(6):
            noted = f"Answer {n} [1].\n\n[1] skerrin-guide.md: “a footnote”"
            messages += [says(f"Question number {n}?"), says(noted, "assistant")]
        messages.append(says(TALL))
        whole = await asks.chat.completions.create(model="default", messages=messages)
        prompt = next(p for p, _ in model.asked if p[0].type == "system")
        earlier = [str(m.text) for m in prompt if m.type == "ai"]
        assert earlier == ["Answer 3 .", "Answer 4 .", "Answer 5 ."]
        assert "a footnote" not in str(prompt)
        notices = whole.choices[0].message.model_extra["bifocal"]["notices"]
        assert "only the last 3 of 6 turns were looked at" in notices
        bots = served.server.config.app.inner.state.bots
        bot = await bots.bot("default", "default")
        await bot.parts.beside.settled()
        assert sum(1 for p, _ in model.asked if p[0].type == "system") == 1
        assert not [p for p, _ in model.asked if "summary" in str(p[-1].text)[:200]]
        assert await bots.history.conversations() == []


async def test_an_earlier_picture_that_is_none_is_refused(serve: Any, client: Any) -> None:
    """By its number among the pictures of the messages."""
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        {"role": "user", "content": [broken]},
        says("I see.", "assistant"),
        says("What is it?"),
    ]
    async with serve() as served, client(served) as asks:
        with pytest.raises(openai.BadRequestError, match="picture 1 of the earlier messages"):
            await asks.chat.completions.create(model="default", messages=messages)


async def test_a_given_history_does_what_a_turn_needs_and_nothing_else(open_bot: Any) -> None:
    """It loads, is claimed, gives pictures and saves nothing; all else says why it cannot."""
    async with open_bot() as bot:
        turns = [GivenTurn("First?", "One."), GivenTurn("Second?", "Two.")]
        history = await GivenHistory.of(turns, bot.parts)
        assert [t.answer.text for t in (await history.load("x", last=1)).turns] == ["Two."]
        assert (await history.load("x", last=0)).turns == ()
        async with history.claim("x", "t") as claim:
            assert claim.conversation.total == 2
        assert (await history.load("x")).total == 2
        with pytest.raises(PictureNotFound):
            await history.picture("x", 1)
        for work in (history.forget, history.search, history.drop, history.conversations):
            with pytest.raises(HistoryError, match="not kept"):
                await work("x")
        with pytest.raises(HistoryError, match="not kept"):
            history.as_langchain("x")
