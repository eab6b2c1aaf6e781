"""RedisHistory as LangChain's chat history: the same as LangChain's own, and what it adds."""

import asyncio
import base64
import copy
import io
import itertools
import logging
import os
import random
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from PIL import Image

from memory import ChatHistories, RedisChatMessageHistory, RedisHistory
from memory.errors import HistoryDamaged, HistoryError, HistoryUnavailable
from memory.messages import Message, PictureRef, Turn
from memory.records import conversation_key, pack
from memory.redis_server import ask, socket_path

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
Open = Callable[[str], BaseChatMessageHistory]

#: 2 in the ordinary run; BIFOCAL_TEST_ROUNDS=50 for many
ROUNDS = int(os.environ.get("BIFOCAL_TEST_ROUNDS", "2"))

HUMAN = HumanMessage("Hello", id="h1", name="anna")
AI = AIMessage(
    "It is sunny.",
    id="a1",
    usage_metadata={"input_tokens": 5, "output_tokens": 7, "total_tokens": 12},
    response_metadata={"model_name": "tiny", "finish_reason": "stop"},
)
CALL = AIMessage(
    "",
    id="a0",
    tool_calls=[{"name": "weather", "args": {"city": "Skerrin"}, "id": "t1", "type": "tool_call"}],
    invalid_tool_calls=[
        {"name": "x", "args": "{", "id": "t2", "error": "no", "type": "invalid_tool_call"}
    ],
)
RESULT = ToolMessage("sunny", tool_call_id="t1", name="weather", status="error", artifact={"n": 1})

CASES: dict[str, list[list[BaseMessage]]] = {
    "a question and its answer": [[HUMAN, AI]],
    "one by one": [[HUMAN], [AI]],
    "two turns at once": [[HUMAN, AI, HumanMessage("And?"), AIMessage("So.")]],
    "tools": [[HumanMessage("Weather?"), CALL, RESULT, AI]],
    "tools one by one": [[HumanMessage("Weather?")], [CALL], [RESULT], [AI]],
    "a system message first": [[SystemMessage("Be brief."), HUMAN, AI]],
    "a system message alone": [[SystemMessage("Be brief.")], [HUMAN], [AI]],
    "a greeting first": [[AIMessage("Welcome!")], [HUMAN], [AI]],
    "two questions, one answer": [[HUMAN], [HumanMessage("Are you there?")], [AI]],
    "two answers": [[HUMAN], [AI], [AIMessage("And warm.")]],
    "equal words on both sides": [[HumanMessage("Hi"), AIMessage("Hi"), AIMessage("Hi")]],
    "nothing said": [[HumanMessage(""), AIMessage("")]],
    "parts": [
        [
            HumanMessage([{"type": "text", "text": "a"}, "b"]),
            AIMessage([{"type": "text", "text": "c"}]),
        ]
    ],
    "other parts": [
        [
            HumanMessage("x"),
            AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "so"}]),
        ]
    ],
    "other roles": [[ChatMessage(content="quiet", role="critic"), HUMAN, AI]],
    "more than words": [
        [HumanMessage("x", additional_kwargs={"k": [1]}, response_metadata={"r": 2})]
    ],
    "odd words": [[HumanMessage("\x00\ud800 <|im_start|>"), AIMessage('", "citations": [')]],
    "nothing": [[]],
}


class ChatHistoryContract:
    """What a chat history of LangChain does; a subclass gives ``chat``, which opens one by name."""

    @pytest.mark.parametrize("steps", CASES.values(), ids=CASES.keys())
    async def test_messages_come_back_as_they_were_given(
        self, chat: Open, steps: list[list[BaseMessage]]
    ) -> None:
        """Equal in every field: words, parts, ids, tool calls, usage, metadata; in their order."""
        for step in steps:
            await chat("c1").aadd_messages(copy.deepcopy(step))
        given = [message for step in steps for message in step]
        assert await chat("c1").aget_messages() == given

    async def test_both_faces_see_the_same(self, chat: Open) -> None:
        """What one stored the other reads, from another thread."""

        def other_face() -> list[BaseMessage]:
            history = chat("c1")
            history.add_user_message("Hello")
            history.add_ai_message("Good day")
            return list(history.messages)

        messages = await asyncio.to_thread(other_face)
        assert messages == [HumanMessage("Hello"), AIMessage("Good day")]
        assert await chat("c1").aget_messages() == messages
        assert await asyncio.to_thread(str, chat("c1")) == "Human: Hello\nAI: Good day"

    async def test_a_cleared_conversation_is_empty_and_can_be_begun_anew(self, chat: Open) -> None:
        """Clearing again is harmless."""
        await chat("c1").aadd_messages([HUMAN, AI])
        await chat("c1").aclear()
        assert await chat("c1").aget_messages() == []
        await asyncio.to_thread(chat("c1").clear)
        await chat("c1").aadd_messages([AI])
        assert await chat("c1").aget_messages() == [AI]

    async def test_conversations_are_apart(self, chat: Open) -> None:
        """Each name is a conversation."""
        await chat("c1").aadd_messages([HUMAN])
        await chat("c2").aadd_messages([AI])
        assert await chat("c1").aget_messages() == [HUMAN]
        assert await chat("c2").aget_messages() == [AI]


@pytest.mark.filterwarnings("ignore:The class `InMemoryChatMessageHistory` was deprecated")
class TestLangChainsOwn(ChatHistoryContract):
    """The reference: LangChain's history in memory passes the contract."""

    @pytest.fixture
    def chat(self) -> Open:
        kept: dict[str, InMemoryChatMessageHistory] = {}
        return lambda name: kept.setdefault(name, InMemoryChatMessageHistory())


class TestInTheLoop(ChatHistoryContract):
    """Ours, used in the event loop that opened the history."""

    @pytest.fixture
    def chat(self, history: RedisHistory) -> Open:
        return history.as_langchain


class TestFromElsewhere(ChatHistoryContract):
    """Ours, opened in a thread of its own and used from another event loop."""

    @pytest.fixture
    def chat(self, shared_folder: Path) -> Iterator[Open]:
        with ChatHistories.open(folder=shared_folder, tenant=uuid.uuid4().hex) as histories:
            yield histories.of


def png(colour: str = "red", size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def block(data: bytes, **more: Any) -> dict[str, Any]:
    return {
        "type": "image",
        "base64": base64.b64encode(data).decode(),
        "mime_type": "image/png",
    } | more


def address(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def pixels_of(message: BaseMessage) -> list[bytes]:
    return [base64.b64decode(p["base64"]) for p in message.content if p["type"] == "image"]  # type: ignore[index]


def drawn_message(drawn: random.Random) -> BaseMessage:
    """Return any message: words that meet others' words, parts, pictures, calls, results."""
    words = drawn.choice(["", "a", "b", "a\n\nb", "a\nb", "  ", "\n"])
    parts: list[Any] = [
        words,
        {"type": "text", "text": words},
        {"type": "reasoning", "x": words},
        block(png(drawn.choice(["red", "green", "blue"]))),
    ]
    content: Any = drawn.choice([words, drawn.choices(parts, k=drawn.randint(0, 3))])
    id = drawn.choice([None, "", uuid.uuid4().hex])
    match drawn.randrange(5):
        case 0 | 1:
            return HumanMessage(content, id=id)
        case 2:
            return SystemMessage(content, id=id)
        case 3:
            return ToolMessage(
                content, tool_call_id="t", artifact=drawn.choice([None, 0, [], "", {"a": 1}])
            )
        case _:
            return AIMessage(content, id=id, tool_calls=drawn.choice([[], CALL.tool_calls]))


@pytest.mark.parametrize("seed", range(12 * ROUNDS))
async def test_any_messages_in_any_steps_come_back_as_they_were_given(
    history: RedisHistory, seed: int
) -> None:
    """Random messages, cut into random calls: the same messages and pictures, in their order."""
    drawn = random.Random(seed)
    given = [drawn_message(drawn) for _ in range(drawn.randint(1, 12))]
    rest = list(given)
    while rest:
        count = drawn.randint(1, 4)
        await history.as_langchain("c1").aadd_messages(copy.deepcopy(rest[:count]))
        rest = rest[count:]
    messages = await history.as_langchain("c1", pixels=None).aget_messages()
    numbers = [
        part.pop("extras")["picture"]
        for message in messages
        for part in message.content
        if isinstance(part, dict) and part["type"] == "image"
    ]
    assert messages == given
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    "part",
    [
        block(png()),
        {"type": "image", "data": base64.b64encode(png()).decode(), "source_type": "base64"},
        {"type": "image", "url": address(png())},
        {"type": "image", "image": png()},
        {"type": "image_url", "image_url": {"url": address(png()), "detail": "low"}},
        {"type": "image_url", "image_url": address(png())},
        {
            "type": "image",
            "source": {
                "type": "base64",
                "media_type": "image/png",
                "data": base64.b64encode(png()).decode(),
            },
        },
    ],
)
async def test_a_picture_gets_a_number_and_comes_back_as_an_image_block(
    history: RedisHistory, part: dict[str, Any]
) -> None:
    """Whatever form it came in; it is the conversation's picture for Bifocal, too."""
    chat = history.as_langchain("c1")
    await chat.aadd_messages([HumanMessage(["What is ", part, "this?"]), AIMessage("Red.")])
    question, answer = await chat.aget_messages()
    assert pixels_of(HumanMessage([p for p in question.content if isinstance(p, dict)])) == [png()]
    shown = next(p for p in question.content if isinstance(p, dict))
    assert shown["mime_type"] == "image/png"
    assert shown["extras"]["picture"] == 1
    assert [p for p in question.content if isinstance(p, str)] == ["What is ", "this?"]
    assert answer == AIMessage("Red.")
    loaded = await history.load("c1")
    (ref,) = loaded.pictures
    assert (ref.number, ref.media_type, ref.width, ref.height, ref.sender) == (
        1,
        "image/png",
        40,
        30,
        "user",
    )
    assert loaded.turns[0].question == Message("What is \nthis?", (1,))
    assert await history.picture("c1", 1) == await chat.apicture(1) == png()


async def test_pictures_of_tools_and_of_the_model_are_kept_when_they_complete_a_turn(
    history: RedisHistory,
) -> None:
    """Numbers go on; the sender is the bot; a picture inside the result of a tool counts."""
    chat = history.as_langchain("c1")
    await chat.aadd_messages([HumanMessage([block(png("red"))])])
    await chat.aadd_messages([CALL])
    inner = {"type": "tool_result", "content": [block(png("green"))]}
    await chat.aadd_messages([ToolMessage([inner], tool_call_id="t1")])
    await chat.aadd_messages([AIMessage([{"type": "text", "text": "Look:"}, block(png("blue"))])])
    loaded = await history.load("c1")
    (turn,) = loaded.turns
    assert (turn.question, turn.answer) == (Message("", (1,)), Message("Look:", (2, 3)))
    assert [(p.number, p.sender) for p in loaded.pictures] == [(1, "user"), (2, "bot"), (3, "bot")]
    messages = await chat.aget_messages()
    assert pixels_of(messages[0]) == [png("red")]
    assert pixels_of(messages[3])[-1:] == [png("blue")]
    tool: Any = messages[2].content
    assert base64.b64decode(tool[0]["content"][0]["base64"]) == png("green")


async def test_only_the_last_pictures_come_back_with_their_pixels(history: RedisHistory) -> None:
    """The others are a line of text with number, name, size and caption; no bytes are read."""
    for number, colour in enumerate(("red", "green", "blue"), start=1):
        extras = {"name": f"{colour}.png", "caption": "a\x1b wall"}
        message = HumanMessage([block(png(colour), extras=extras)])
        await history.as_langchain("c1").aadd_messages([message, AIMessage(f"{number}")])
    found = await history.as_langchain("c1", pixels=1).aget_messages()
    assert found[0].content == [{"type": "text", "text": "(picture 1, red.png, 40x30: a wall)"}]
    assert pixels_of(found[4]) == [png("blue")]
    none: Any = await history.as_langchain("c1", pixels=0).aget_messages()
    assert [m.content[0]["type"] for m in none[::2]] == ["text"] * 3
    every = await history.as_langchain("c1", pixels=None).aget_messages()
    assert [pixels_of(m) for m in every[::2]] == [[png("red")], [png("green")], [png("blue")]]
    assert len(await history.as_langchain("c1", last=1).aget_messages()) == 2


async def test_a_picture_that_came_from_here_keeps_its_number(history: RedisHistory) -> None:
    """A message that is given again does not store its picture again; a forged number does."""
    chat = history.as_langchain("c1")
    await chat.aadd_messages([HumanMessage([block(png())])])
    (again,) = await chat.aget_messages()
    await chat.aadd_messages([again, HumanMessage([block(png("blue"), extras={"picture": 1})])])
    loaded = await history.load("c1")
    assert [turn.question.pictures for turn in loaded.turns] == [(1,), (1,), (2,)]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"type": "image", "url": "https://example.com/x.png"}, "a 'https' address"),
        (
            {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}},
            "a 'http' address",
        ),
        ({"type": "image_url", "image_url": "file:///etc/passwd"}, "a 'file' address"),
        ({"type": "image_url", "image_url": "/etc/passwd"}, "a path"),
        ({"type": "image", "source": {"type": "url", "url": "https://x.y/z"}}, "a 'https' address"),
        ({"type": "image", "url": "data:image/png,abc"}, "not base64"),
        ({"type": "image", "base64": "%%%"}, "cannot be decoded"),
        ({"type": "image", "base64": base64.b64encode(b"<svg/>").decode()}, "not a picture"),
        ({"type": "image", "base64": "A" * 45_000_000}, "33.8 MB"),
        ({"type": "image", "picture": 1}, "without a picture"),
        ({"type": "image"}, "without a picture"),
        (block(png(size=(17_000, 1))), "17000x1"),
        ({"type": "text", "text": "x" * 1_000_001}, "1,0"),
        ({"type": "file", "data": b"raw"}, "not JSON"),
    ],
)
async def test_what_cannot_be_kept_is_refused_in_one_line_and_nothing_is_stored(
    history: RedisHistory, part: dict[str, Any], why: str
) -> None:
    """Addresses are never fetched; sizes are capped; the messages beside it are not stored."""
    chat = history.as_langchain("c1")
    with pytest.raises(HistoryError, match=why) as caught:
        await chat.aadd_messages([HumanMessage("before"), AIMessage("x"), HumanMessage([part])])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert await history.conversations() == []


async def test_more_that_is_refused(history: RedisHistory) -> None:
    """Too many pictures at once, blocks too deep, and messages that are orders."""
    chat = history.as_langchain("c1")
    deep: Any = block(png())
    for _ in range(12):
        deep = {"type": "tool_result", "content": [deep]}
    for message, why in (
        (HumanMessage([block(png())] * 33), "33 pictures"),
        (HumanMessage([deep]), "levels deep"),
        (RemoveMessage(id="x"), "type 'remove'"),
    ):
        with pytest.raises(HistoryError, match=why):
            await chat.aadd_messages([message])
    assert await history.conversations() == []


async def test_what_is_not_json_is_left_out_and_noted(history: RedisHistory) -> None:
    """The artifact of a tool may be any object: its message is kept without it."""
    chat = history.as_langchain("c1")
    result = ToolMessage("x", tool_call_id="t1", artifact=object())
    await chat.aadd_messages([HumanMessage("?"), CALL, result])
    assert (await chat.aget_messages())[2] == result.model_copy(update={"artifact": None})
    (turn,) = (await history.load("c1")).turns
    assert turn.ledger["notices"] == ["artifact of a message of type tool is not JSON: not kept"]


async def test_a_chunk_is_kept_as_the_message_that_it_is(history: RedisHistory) -> None:
    """What streaming gives."""
    chat = history.as_langchain("c1")
    await chat.aadd_messages([AIMessageChunk(content="so", id="a1") + AIMessageChunk(content="!")])
    assert await chat.aget_messages() == [AIMessage("so!", id="a1")]


async def test_a_question_is_stored_when_it_comes_and_its_answer_completes_the_turn(
    history: RedisHistory,
) -> None:
    """One turn, one entry of the list; a title from the question."""
    chat = history.as_langchain("c1")
    await chat.aadd_messages([HumanMessage("How tall?")])
    (open_,) = (await history.load("c1")).turns
    assert (open_.question.text, open_.answer.text) == ("How tall?", "")
    await chat.aadd_messages([AIMessage("34 metres.")])
    loaded = await history.load("c1")
    (turn,) = loaded.turns
    assert (turn.id, turn.answer.text, loaded.notices) == (open_.id, "34 metres.", ())
    assert [(s.title, s.turns) for s in await history.conversations()] == [("How tall?", 1)]
    assert [hit.turn for hit in (await history.search("metres")).found] == [1]


async def test_a_conversation_without_a_question_yet_gets_its_title_later(
    history: RedisHistory,
) -> None:
    """A system message says nothing that could be a title."""
    chat = history.as_langchain("c1")
    await chat.aadd_messages([SystemMessage("Be brief.")])
    await chat.aadd_messages([HumanMessage("How tall?")])
    assert [s.title for s in await history.conversations()] == ["How tall?"]


async def test_answers_that_come_at_once_are_all_kept(history: RedisHistory) -> None:
    """Nobody's message is written over: each completes what the one before left."""
    chat = history.as_langchain("c1")
    await chat.aadd_messages([HumanMessage("?")])
    parts = [
        AIMessage([{"type": "text", "text": f"{n}"}, block(png(size=(n + 1, 1)))]) for n in range(4)
    ]
    await asyncio.gather(*(chat.aadd_messages([part]) for part in parts))
    loaded = await history.load("c1")
    (turn,) = loaded.turns
    assert sorted(turn.answer.text.split()) == ["0", "1", "2", "3"]
    assert sorted(turn.answer.pictures) == [1, 2, 3, 4]
    for message in (await chat.aget_messages())[1:]:  # every picture is with its own words
        words: Any = message.content
        assert pixels_of(message.model_copy(update={"content": words[1:]})) == [
            png(size=(int(words[0]["text"]) + 1, 1))
        ]


async def test_turns_of_bifocal_are_messages_with_citations(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """The same conversation from both sides: a turn of Bifocal's is never changed by LangChain."""
    ref, blobs = make_picture(1, png())
    turn = make_turn("why?", pictures=(1,))
    await history.save("c1", turn, (ref,), blobs)
    chat = history.as_langchain("c1")
    question, answer = await chat.aget_messages()
    content: Any = question.content
    assert content[0] == {"type": "text", "text": "why?"}
    assert base64.b64decode(content[1]["base64"]) == png()
    assert answer.content == "because why?"
    assert answer.response_metadata["citations"] == list(turn.citations)
    assert (question.id, answer.id) == (f"{turn.id}-human", f"{turn.id}-ai")
    await chat.aadd_messages([AIMessage("And one thing more.")])
    await chat.aadd_messages([HumanMessage("What?")])
    loaded = await history.load("c1")
    assert loaded.turns[0] == turn
    assert [(t.question.text, t.answer.text) for t in loaded.turns[1:]] == [
        ("", "And one thing more."),
        ("What?", ""),
    ]


async def test_words_that_were_edited_since_go_before_those_that_were_given(
    history: RedisHistory,
) -> None:
    """A turn's question and answer are the truth; pictures, tool calls and ids stay."""
    chat = history.as_langchain("c1")
    picture = block(png())
    asked = HumanMessage([{"type": "text", "text": "old"}, picture], id="h")
    await chat.aadd_messages([asked, CALL, RESULT, AIMessage("old answer", id="a")])
    (turn,) = (await history.load("c1")).turns
    edited = turn.to_json()
    edited["q"]["text"], edited["a"]["text"] = "new", "new answer"
    key = conversation_key(history.tenant, "c1", "turns")
    await history._link.client.lset(key, 0, pack(edited).decode())
    human, call, result, ai = await chat.aget_messages()
    assert human.content[0] == {"type": "text", "text": "new"}
    assert pixels_of(human) == [png()]
    assert (call, result, ai) == (CALL, RESULT, AIMessage("new answer", id="a"))


async def test_damaged_turns_are_left_out_told_and_never_an_empty_history(
    history: RedisHistory, caplog: pytest.LogCaptureFixture
) -> None:
    """LangChain has no place for notices: they are logged, and kept beside the messages."""
    chat = history.as_langchain("c1")
    await chat.aadd_messages([HumanMessage("a"), AIMessage("b"), HumanMessage("c"), AIMessage("d")])
    key = conversation_key(history.tenant, "c1", "turns")
    client = history._link.client
    await client.lset(key, 0, "nonsense")
    with caplog.at_level(logging.WARNING, "memory"):
        assert [m.content for m in await chat.aget_messages()] == ["c", "d"]
    assert "turn 1 of 2" in caplog.text
    assert "turn 1 of 2" in chat.notices[0]
    await client.lset(key, 1, "nonsense")
    with pytest.raises(HistoryDamaged, match="nothing of conversation 'c1' can be read"):
        await chat.aget_messages()
    await client.delete(key)
    with pytest.raises(HistoryDamaged, match="nothing of conversation 'c1' can be read"):
        await chat.aget_messages()


async def test_a_ledger_that_another_program_wrote_costs_no_words(
    history: RedisHistory, make_turn: MakeTurn
) -> None:
    """Entries that are no messages: question and answer are given instead."""
    for kept in ({"v": 1, "messages": [{"type": "tool", "content": "x"}]}, {"v": 2}, "?", {"v": 1}):
        turn = make_turn("why?").to_json()
        turn["ledger"]["langchain"] = kept
        await history.save("c1", Turn.from_json(turn))
        messages = await history.as_langchain("c1", last=1).aget_messages()
        assert [m.content for m in messages] == ["why?", "because why?"]


async def test_pixels_that_are_gone_are_a_line_of_text(history: RedisHistory) -> None:
    """A conversation outlives its pictures' bytes."""
    chat = history.as_langchain("c1")
    await chat.aadd_messages([HumanMessage([block(png())])])
    client = history._link.client
    await client.delete(*await client.keys(f"bifocal:p:{{{history.tenant}:*:bytes"))
    (message,) = await chat.aget_messages()
    assert message.content == [{"type": "text", "text": "(picture 1, 40x30; its pixels are gone)"}]
    assert "are gone" in chat.notices[0]


@pytest.mark.parametrize("at_once", [1, 7])
async def test_a_long_loop_of_tools_begins_another_turn_before_it_grows_without_bound(
    history: RedisHistory, at_once: int
) -> None:
    """A turn's record stays below a limit, and no message is lost."""
    chat = history.as_langchain("c1")
    given = [
        HumanMessage("?"),
        *(ToolMessage("x" * 900_000, tool_call_id=f"t{n}") for n in range(6)),
    ]
    for start in range(0, len(given), at_once):
        await chat.aadd_messages(given[start : start + at_once])
    assert await chat.aget_messages() == given
    assert (await history.load("c1")).total == 2


async def test_the_synchronous_face_in_the_same_loop_says_what_to_use(
    history: RedisHistory,
) -> None:
    """It would wait for the loop that it stops."""
    chat = history.as_langchain("c1")
    for use in (lambda: chat.messages, lambda: chat.add_messages([HUMAN]), chat.clear):
        with pytest.raises(HistoryError, match="aget_messages"):
            use()


def test_a_history_whose_loop_has_ended_says_so(tmp_path: Path) -> None:
    """Instead of waiting for ever."""

    async def opened() -> RedisChatMessageHistory:
        async with await RedisHistory.open(folder=tmp_path) as history:
            return history.as_langchain("c1")

    chat = asyncio.run(opened())
    with pytest.raises(HistoryUnavailable, match="has ended"):
        _ = chat.messages


def test_histories_end_without_leaving_a_thread(tmp_path: Path) -> None:
    """What ``ChatHistories.open`` started is gone after the block; what was said is on disk."""
    before = threading.active_count()
    with ChatHistories.open(folder=tmp_path) as histories:
        histories.of("c1").add_messages([HUMAN, AI])
    assert threading.active_count() == before
    with ChatHistories.open(folder=str(tmp_path)) as histories:
        assert histories.of("c1").messages == [HUMAN, AI]


def test_a_redis_that_is_not_there_is_one_line() -> None:
    """Opening fails, not the first message."""
    with (
        pytest.raises(HistoryUnavailable, match=r"127\.0\.0\.1:1"),
        ChatHistories.open("redis://:hunter2@127.0.0.1:1/0"),
    ):
        pass


TALK = """
import sys
from langchain_core.messages import AIMessage, HumanMessage
from memory import ChatHistories
with ChatHistories.open(folder=sys.argv[1], fsync="always") as histories:
    chat = histories.of("c1")
    for number in range(100_000):
        chat.add_messages([HumanMessage(f"question {number}")])
        print(f"asked {number}", flush=True)
        chat.add_messages([AIMessage(f"answer {number}")])
        print(f"answered {number}", flush=True)
"""


def test_a_completed_turn_survives_a_kill_and_none_is_torn(
    tmp_path: Path, run_python: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """The server is killed between a question and its answer, or in the middle of either."""
    for seed in range(ROUNDS):
        folder = tmp_path / str(seed)
        talk = run_python(TALK, str(folder))
        assert talk.stdout is not None
        told = [talk.stdout.readline().split() for _ in range(20 + seed * 7)]
        pid = int(ask(socket_path(folder), "INFO", "server").split(b"process_id:")[1].split()[0])
        os.kill(pid, signal.SIGKILL)
        # a failed write ends the talk; where a reading failed, the server was started again
        told += [line.split() for line in itertools.islice(talk.stdout, 40)]
        talk.kill()
        told += [line.split() for line in talk.communicate()[0].splitlines()]
        with ChatHistories.open(folder=folder) as histories:
            messages = [m.content for m in histories.of("c1").messages]
            notices = histories.of("c1").notices
        done = {kind: sum(word == kind for word, *_ in told) for kind in ("asked", "answered")}
        expected = [
            f"{kind} {n}" for n in range(done["asked"] + 2) for kind in ("question", "answer")
        ]
        assert messages == expected[: len(messages)]
        assert done["asked"] + done["answered"] <= len(messages) <= sum(done.values()) + 1
        assert notices == ()
