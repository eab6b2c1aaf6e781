"""Pictures get captions: from their senders, from what is written in them, else by the model."""

import asyncio
from typing import Any

import pytest
from PIL import Image

from bot import AsyncChatBot, SentPicture
from bot.captioner import cleaned
from memory.redis_history import RedisHistory

BEGIN = "Say what this picture shows"
RED, BLUE = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (40, 30), "blue")


@pytest.fixture
def seeing(aside_chat: Any) -> Any:
    """A model that sees pictures and is asked for captions; ``asides`` says what it says then."""
    return aside_chat(pictures=True, asides={BEGIN: ["A red circle on ", "the left."]})


async def captions(bot: AsyncChatBot, conversation: str = "c") -> list[str]:
    """Return the captions of a conversation's pictures."""
    await bot.parts.beside.settled()
    return [picture.caption for picture in (await bot.conversation(conversation)).pictures]


async def test_what_the_sender_says_is_the_caption_and_the_model_is_not_asked(
    open_bot: Any, seeing: Any
) -> None:
    async with open_bot(seeing) as bot:
        sent = SentPicture(RED, name="boat.png", alt="a boat\n\x1b[31m at sea\u202e" + "x" * 10_000)
        await bot.ask("Look.", images=[sent], conversation="c")
        (picture,) = (await bot.conversation("c")).pictures
        assert picture.name == "boat.png"
        assert picture.caption.startswith("a boat [31m at sea")
        assert len(picture.caption) == 120
        assert picture.caption.isprintable()
        assert seeing.asked == []
        await bot.ask("Hm.", images=[BLUE], conversation="c")
        answer = await bot.ask("What colour has the picture with the boat?", conversation="c")
        assert [r.pictures for r in answer.references] == [(1,)]


async def test_the_model_writes_a_caption_by_which_a_later_turn_finds_the_picture(
    open_bot: Any, seeing: Any
) -> None:
    async with open_bot(seeing) as bot:
        await bot.ask("Look.", images=[RED], conversation="c")
        assert await captions(bot) == ["A red circle on the left."]
        seeing.asides[BEGIN] = ["A blue square."]
        await bot.ask("And this.", images=[BLUE], conversation="c")
        assert await captions(bot) == ["A red circle on the left.", "A blue square."]
        answer = await bot.ask("Where is the picture with the circle?", conversation="c")
        assert [(r.pictures, r.sure) for r in answer.references] == [((1,), True)]


@pytest.mark.parametrize("captions_ttl", [None, 3600.0])
async def test_a_caption_is_kept_as_its_lifetime_says(
    open_bot: Any, seeing: Any, captions_ttl: float | None
) -> None:
    async with open_bot(seeing, captions_ttl=captions_ttl) as bot:
        await bot.ask("Look.", images=[RED], conversation="c")
        assert await captions(bot) == ["A red circle on the left."]


async def test_writing_in_a_picture_goes_before_the_model(
    open_bot: Any, seeing: Any, demo_files: Any
) -> None:
    async with open_bot(seeing) as bot:
        await bot.ask("Look.", images=[demo_files / "receipt-cafe.jpg"], conversation="c")
        assert (await captions(bot))[0]
        assert seeing.asked == []


async def test_an_answer_breaks_a_caption_off_and_the_next_turn_offers_it_again(
    open_bot: Any, seeing: Any
) -> None:
    seeing.asides[BEGIN] = None  # it stalls
    async with open_bot(seeing) as bot:
        await bot.ask("Look.", images=[RED], conversation="c")
        async with asyncio.timeout(30):
            while not seeing.asked:  # noqa: ASYNC110 - a model tells nobody that it is asked
                await asyncio.sleep(0.01)
        seeing.asides[BEGIN] = ["Red."]
        await bot.ask("And?", conversation="c")
        assert seeing.ended == 1
        assert await captions(bot) == ["Red."]


async def test_a_model_that_is_slow_or_fails_is_told_with_the_next_turn_and_stops_nothing(
    open_bot: Any, seeing: Any
) -> None:
    async with open_bot(seeing, caption_seconds=0.05) as bot:
        for trouble, told in ((None, "within 0.05 s"), (OSError("no"), "the model")):
            seeing.asides[BEGIN] = trouble
            await bot.ask("Look.", images=[RED], conversation="c")
            await bot.parts.beside.settled()
            answer = await bot.ask("And?", conversation="c")
            assert any("got no caption" in n and told in n for n in answer.notices), answer.notices
            await bot.parts.beside.settled()
            await bot.forget("c")


async def test_nothing_is_written_for_a_picture_that_went_meanwhile(
    open_bot: Any, seeing: Any
) -> None:
    async with open_bot(seeing, caption_seconds=0) as bot:
        await bot.ask("Look.", images=[RED, BLUE], conversation="c")
        history = bot.parts.history
        assert isinstance(history, RedisHistory)
        red, blue = (await bot.conversation("c")).pictures
        from dataclasses import replace

        said = replace(red, caption="Red.")
        assert await history.save_caption("c", said)
        assert not await history.save_caption("c", replace(red, caption="Another."))
        assert not await history.save_caption("c", replace(red, number=2, caption="Another's."))
        await bot.drop("c", 2)
        assert not await history.save_caption("c", replace(blue, caption="Blue."))
        assert await captions(bot) == ["Red."]
        await bot.forget("c")
        assert not await history.save_caption("c", said)
        assert (await bot.conversation("c")).total == 0


@pytest.mark.parametrize(
    ("said", "caption"),
    [
        ("\n  A cat [1].\nAnd more", "A cat ."),
        ('"A dog."', "A dog."),
        ("", ""),
        ("\x00\x1b", ""),
        ("x" * 500, "x" * 120),
    ],
)
def test_a_models_reply_is_made_one_short_line(said: str, caption: str) -> None:
    assert cleaned(said) == caption
