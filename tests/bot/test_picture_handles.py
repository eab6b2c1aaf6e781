"""Pictures of a conversation through whole turns: who sent them, which are meant, what is kept."""

import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scripted_chat import ScriptedChat

from bot import Notice, Token
from memory.errors import PictureNotFound
from memory.records import picture_key


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Path]:
    """Plain pictures in files whose names say what they show."""
    found = {}
    for name, colour in (("dog", "brown"), ("car", "red"), ("cat", "grey")):
        found[name] = tmp_path / f"{name}.png"
        Image.new("RGB", (24, 16), colour).save(found[name])
    return found


async def test_a_picture_keeps_its_number_size_hash_time_and_the_name_of_who_sent_it(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    """The name is cut short and loses its control characters."""
    before = time.time()
    async with open_bot(ScriptedChat(says=["Seen."], pictures=True)) as bot:
        await bot.ask("Look.", images=[photos["dog"]], conversation="c", sender="An\x1b[2Jna\n")
        await bot.ask("Look.", images=[photos["car"]], conversation="c", sender="B" * 900)
        await bot.ask("Look.", images=[photos["cat"]], conversation="c")
        first, second, third = (await bot.conversation("c")).pictures
    assert (first.number, first.name, first.width, first.height) == (1, "dog.png", 24, 16)
    assert before <= first.at <= time.time()
    assert (first.who, second.who, third.who) == ("An[2Jna", "B" * 64, "")
    assert len({first.sha256, second.sha256, third.sha256}) == 3


async def test_an_ambiguous_picture_is_asked_for_and_the_reply_answers_the_first_question(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    """Neither retrieval nor the model runs for the question that asks back; both turns are saved,
    and the ledgers say what was meant and what the model was shown."""
    model = ScriptedChat(says=["It is grey."], pictures=True)
    async with open_bot(model) as bot:
        for name in ("dog", "car", "cat"):
            who = "Ben" if name == "car" else "Anna"
            await bot.ask("Look.", images=[photos[name]], conversation="c", sender=who)
        asked_before = len(model.seen)
        events = [e async for e in bot.stream("What breed is on Anna's photo?", conversation="c")]
        back = events[-1].answer
        assert len(model.seen) == asked_before
        answer = await bot.ask("the second one", conversation="c")
        turns = (await bot.conversation("c")).turns
    assert back.text == (
        "Which picture do you mean by “Anna's photo”: picture 1 (dog.png) or picture 3 (cat.png)?"
    )
    assert [e.type for e in events] == ["evidence", "token", "done"]
    assert (back.evidence, back.citations, back.found) == ((), (), False)
    assert back.model == "no model"
    assert [(r.phrase, r.pictures, r.sure) for r in back.references] == [
        ("Anna's photo", (1, 3), False)
    ]
    assert answer.question == "What breed is on Anna's photo?"
    assert answer.evidence[0].evidence.id == "shown:3"
    assert [(r.phrase, r.pictures, r.shown) for r in answer.references] == [
        ("Anna's photo", (3,), (3,))
    ]
    assert "What breed is on Anna's photo?" in model.seen[-1][-1].text
    assert [turn.question.text for turn in turns[-2:]] == [
        "What breed is on Anna's photo?",
        "the second one",
    ]
    assert turns[-2].answer.text == back.text
    assert turns[-1].ledger["question"] == "What breed is on Anna's photo?"
    assert turns[-1].ledger["references"][0]["shown"] == [3]


async def test_a_picture_sent_with_an_ambiguous_question_is_kept_and_looked_at_with_the_reply(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    async with open_bot(ScriptedChat(says=["Different."], pictures=True)) as bot:
        for name in ("dog", "cat"):
            await bot.ask("Look.", images=[photos[name]], conversation="c", sender="Anna")
        back = await bot.ask(
            "Compare this with Anna's photo.", images=[photos["car"]], conversation="c"
        )
        answer = await bot.ask("2", conversation="c")
        pictures = (await bot.conversation("c")).pictures
    assert "picture 1 (dog.png) or picture 2 (cat.png)" in back.text
    assert [p.number for p in pictures] == [1, 2, 3]
    shown = [e.evidence.id for e in answer.evidence if e.evidence.id.startswith("shown:")]
    assert shown == ["shown:3", "shown:2"]


async def test_after_asking_back_another_question_is_just_another_question(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    async with open_bot() as bot:
        for name in ("dog", "cat"):
            await bot.ask("Look.", images=[photos[name]], conversation="c")
        await bot.ask("How tall is the lighthouse?", conversation="c")
        back = await bot.ask("What is in the picture?", conversation="c")
        answer = await bot.ask("How tall is the lighthouse?", conversation="c")
    assert back.text.startswith("Which picture do you mean")
    assert answer.question == "How tall is the lighthouse?"
    assert answer.citations


async def test_a_follow_up_on_the_picture_of_the_last_turn_does_not_ask(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    """Among several pictures, "the picture" is the one that was just spoken of."""
    async with open_bot(ScriptedChat(says=["A dog."], pictures=True)) as bot:
        for name in ("dog", "car", "cat"):
            await bot.ask("Look.", images=[photos[name]], conversation="c")
        await bot.ask("What is in picture 2?", conversation="c")
        answer = await bot.ask("What else is in the picture?", conversation="c")
        before = await bot.ask("And the one before that?", conversation="c")
    assert answer.references[0].pictures == (2,)
    assert before.references[0].pictures == (1,)


async def test_the_events_of_asking_back_come_in_the_order_of_any_turn(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    async with open_bot() as bot:
        images = [photos["dog"], photos["cat"]]
        await bot.ask("Look.", images=images, conversation="c")
        await bot.ask("How tall is the lighthouse?", conversation="c")
        events = [e async for e in bot.stream("Was zeigt das Foto?", conversation="c")]
    kinds = [e.type for e in events if not isinstance(e, Notice)]
    assert kinds == ["evidence", "token", "done"]
    words = "".join(e.text for e in events if isinstance(e, Token))
    assert words == (
        "Welches Bild ist mit „das Foto“ gemeint: Bild 1 (dog.png) oder Bild 2 (cat.png)?"
    )


async def test_a_dropped_picture_is_said_to_be_dropped_and_the_next_has_a_number_of_its_own(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    async with open_bot(ScriptedChat(says=["Seen."], pictures=True)) as bot:
        for name in ("dog", "car"):
            await bot.ask("Look.", images=[photos[name]], conversation="c")
        await bot.drop("c", 2)
        gone = await bot.ask("What is in the second picture?", conversation="c")
        both = await bot.ask("Compare pictures 1, 2 and 9.", conversation="c")
        new = await bot.ask("Look.", images=[photos["cat"]], conversation="c")
        pictures = (await bot.conversation("c")).pictures
        with pytest.raises(PictureNotFound, match="picture 2 of conversation 'c' was dropped"):
            await bot.drop("c", 2)
    assert "“the second picture”: picture 2 was dropped" in gone.notices
    assert "“pictures 1, 2 and 9”: picture 2 was dropped" in both.notices
    assert [r.pictures for r in both.references] == [(1,)]
    assert [p.number for p in pictures] == [1, 3]
    assert not any("numbered anew" in notice for notice in new.notices)


async def test_only_the_pictures_that_matter_are_shown_to_the_model_and_it_is_said(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    """The others are in its prompt as captions; a model without eyes is told nothing of it."""
    model = ScriptedChat(says=["Seen."], pictures=True)
    async with open_bot(model, pictures_shown=1) as bot:
        for name in ("dog", "car", "cat"):
            await bot.ask("Look.", images=[photos[name]], conversation="c")
        answer = await bot.ask("What is in picture 2?", conversation="c")
    images = [part for part in model.seen[-1][-1].content_blocks if part["type"] == "image"]
    assert len(images) == 1
    assert answer.references[0].shown == (2,)
    assert "of the earlier pictures 1, 3 the model was given captions only" in answer.notices


async def test_a_picture_that_an_answer_showed_gets_a_lasting_number_when_it_is_spoken_of(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    """Not before: then "the second picture" is the second that was sent. It keeps its number."""
    async with open_bot() as bot:
        await bot.ask("Look.", images=[photos["dog"]], conversation="c")
        shown = await bot.ask("Which receipt is over 50?", conversation="c")
        assert len((await bot.conversation("c")).pictures) == 1
        await bot.ask("Look.", images=[photos["cat"]], conversation="c")
        spoken = await bot.ask("What does the receipt you showed me say?", conversation="c")
        again = await bot.ask("What is on the picture you showed?", conversation="c")
        found = await bot.conversation("c")
        second = await bot.ask("What is in the second picture?", conversation="c")
        cited = next(c for c in shown.citations if c.kind == "picture")
        assert await bot.picture("c", 3) == await bot.cited_picture(shown, cited)
    ref = found.pictures[2]
    assert [p.number for p in found.pictures] == [1, 2, 3]
    assert (ref.sender, ref.name, ref.sha256) == ("bot", "receipt-chandlery.png", cited.media)
    assert ref.caption
    assert ref.width > 0
    for answer in (spoken, again):
        assert answer.references[0].pictures == (3,)
        assert answer.evidence[0].evidence.id == "shown:3"
    assert second.references[0].pictures == (2,)
    assert not any("numbered anew" in notice for notice in spoken.notices)


async def test_of_several_pictures_that_were_shown_it_is_asked_which(open_bot: Any) -> None:
    """Those that are named get numbers, by which the reply can speak of them."""
    model = ScriptedChat(says=[" ".join(f"[{n}]" for n in range(1, 9))], pictures=True)
    async with open_bot(model) as bot:
        answer = await bot.ask("pictures of boats and birds", conversation="c")
        media = list(dict.fromkeys(c.media for c in answer.citations if c.kind == "picture"))
        assert len(media) > 1
        back = await bot.ask("What is on the picture you showed?", conversation="c")
        found = (await bot.conversation("c")).pictures
        reply = await bot.ask("the second one", conversation="c")
    assert back.text.startswith(
        "Which picture do you mean by “the picture you showed”: picture 1 ("
    )
    assert [p.sha256 for p in found] == media
    assert reply.question == "What is on the picture you showed?"
    assert reply.references[0].pictures == (2,)


async def test_without_words_for_it_no_picture_that_was_shown_is_meant(open_bot: Any) -> None:
    async with open_bot() as bot:
        await bot.ask("Which receipt is over 50?", conversation="c")
        answer = await bot.ask("What does the picture show?", conversation="c")
        found = await bot.conversation("c")
    assert answer.references == ()
    assert found.pictures == ()


async def test_a_picture_whose_pixels_are_gone_is_said_and_the_others_are_looked_at(
    open_bot: Any, photos: dict[str, Path]
) -> None:
    """Its caption and number are still there; the turn does not fail."""
    async with open_bot(ScriptedChat(says=["Seen."], pictures=True)) as bot:
        for name in ("dog", "car"):
            await bot.ask("Look.", images=[photos[name]], conversation="c")
        history: Any = bot.parts.history
        (first, _) = (await bot.conversation("c")).pictures
        await history._link.client.delete(picture_key(history.tenant, first.sha256, "bytes"))
        answer = await bot.ask("Compare pictures 1 and 2.", conversation="c")
    assert "the bytes of picture 1 (dog.png) are gone: send it again" in answer.notices
    shown = [e.evidence.id for e in answer.evidence if e.evidence.id.startswith("shown:")]
    assert shown == ["shown:2"]


async def test_a_shown_picture_that_left_the_library_is_said(open_bot: Any) -> None:
    async with open_bot() as bot:
        shown = await bot.ask("Which receipt is over 50?", conversation="c")
        bot.parts.library.forget(shown.citations[0].source)
        answer = await bot.ask("What does the receipt you showed say?", conversation="c")
        pictures = (await bot.conversation("c")).pictures
    assert any("a picture that was shown is no longer there" in n for n in answer.notices)
    assert (answer.references[0].pictures, pictures) == ((), ())
