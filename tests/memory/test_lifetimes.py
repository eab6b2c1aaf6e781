"""Pixels, captions and turns go in their time, each in its own; nothing else breaks."""

import asyncio
import importlib.util
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from memory.errors import PictureGone
from memory.lifetimes import Lifetimes
from memory.messages import Message, PictureRef, Turn
from memory.records import conversation_key, index_key, picture_key
from memory.redis_history import RedisHistory

MakeTurn = Callable[..., Turn]
MakePicture = Callable[..., tuple[PictureRef, dict[str, bytes]]]
LONG = 3600.0


@pytest.fixture
def history(history_anywhere: RedisHistory) -> RedisHistory:
    """Return a history on the embedded server, and one on a cluster."""
    return history_anywhere


@pytest.fixture
def place(history_anywhere: RedisHistory, shared_folder: Path) -> Path | str:
    """Return where the history is: the embedded server's folder, or the cluster's address."""
    shown = history_anywhere._link.name.removeprefix("Redis at ")
    return shown if shown.startswith("redis+cluster") else shared_folder


@asynccontextmanager
async def opened(
    place: Path | str, tenant: str = "", **lives: float
) -> AsyncIterator[RedisHistory]:
    url, folder = (place, None) if isinstance(place, str) else (None, place)
    async with await RedisHistory.open(
        url, folder=folder, tenant=tenant or uuid.uuid4().hex, lifetimes=Lifetimes(**lives)
    ) as history:
        yield history


async def until_gone(history: RedisHistory, *keys: str) -> None:
    client: Any = history._link.client
    for key in keys:
        while await client.exists(key):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.02)


async def test_without_lifetimes_nothing_ends(
    history: RedisHistory, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """No key of a conversation or a picture has an end."""
    ref, blobs = make_picture(1)
    turn = make_turn(pictures=(1,))
    async with history.claim("c1", turn.id) as claim:
        await history.save("c1", turn, (replace(ref, caption="red"),), blobs, claim=claim)
    client: Any = history._link.client
    for key in await client.keys(f"bifocal:?:?{history.tenant}*"):
        assert await client.ttl(key) == -1


async def test_pixels_go_and_their_handle_and_caption_stay(
    place: Path | str, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Reading them says so; sent again they are back, under both numbers; forgetting works."""
    async with opened(place, pictures=0.3) as history:
        ref, blobs = make_picture(1, name="a.png")
        ref = replace(ref, caption="a red ball")
        await history.save("c1", make_turn(pictures=(1,)), (ref,), blobs)
        await until_gone(history, picture_key(history.tenant, ref.sha256, "bytes"))
        assert (await history.load("c1")).pictures == (ref,)
        with pytest.raises(PictureGone, match=r"picture 1 \(a.png\) are not kept any longer"):
            await history.picture("c1", 1)
        assert await history.fork("c1", "copy") == 1
        assert (await history.load("copy")).pictures == (ref,)
        await history.forget("copy")
    async with opened(place, history.tenant, pictures=LONG) as history:
        await history.save("c1", make_turn(pictures=(2,)), (replace(ref, number=2),), blobs)
        assert await history.picture("c1", 1) == blobs[ref.sha256]
        await history.forget("c1")
        client: Any = history._link.client
        assert await client.keys(picture_key(history.tenant, "*", "*").replace("{", "?")) == []


async def test_captions_go_and_the_picture_stays(
    place: Path | str, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """By Redis' own expiry, and before that to every reader; a later caption lives on."""
    now = time.time()
    async with opened(place, captions=LONG) as history:
        for number, at in ((1, now - 2 * LONG), (2, now)):
            ref, blobs = make_picture(number)
            ref = replace(ref, caption=f"caption {number}")
            await history.save("c1", make_turn(pictures=(number,), at=at), (ref,), blobs)
        assert [p.caption for p in (await history.load("c1")).pictures] == ["", "caption 2"]
        await history.fork("c1", "copy")
        assert [p.caption for p in (await history.load("copy")).pictures] == ["", "caption 2"]
        for _ in range(6):  # to the eighth turn
            await history.save("c1", make_turn(at=now))
        client: Any = history._link.client
        key = conversation_key(history.tenant, "c1", "captions")
        assert await client.hkeys(key) == [b"2"]
        assert 0 < await client.ttl(key) <= LONG
        assert await history.picture("c1", 1)


async def test_turns_go_with_their_pictures_and_what_is_younger_stays(
    place: Path | str, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Not shown once past their time, removed at the eighth turn, and never called missing."""
    now = time.time()
    async with opened(place, turns=LONG) as history:
        (old, blobs), (new, more) = make_picture(1), make_picture(2)
        await history.save("c1", make_turn("old", (1,), at=now - 2 * LONG), (old,), blobs)
        await history.save("c1", make_turn("old", (), at=now - 2 * LONG))
        young = [make_turn(f"young {n}", (2,) if n == 0 else (), at=now) for n in range(6)]
        await history.save("c1", young[0], (new,), more)
        loaded = await history.load("c1")
        assert (loaded.turns, loaded.total, loaded.notices) == ((young[0],), 1, ())
        for turn in young[1:]:
            await history.save("c1", turn)
        loaded = await history.load("c1")
        assert loaded.turns == tuple(young)
        assert [p.number for p in loaded.pictures] == [2]
        assert loaded.notices == ()
        client: Any = history._link.client
        assert await client.llen(conversation_key(history.tenant, "c1", "turns")) == 6
        assert await client.exists(picture_key(history.tenant, old.sha256, "bytes")) == 0
        assert await history.picture("c1", 2) == more[new.sha256]
        assert [line.title for line in await history.conversations()] == ["young 0"]


async def test_a_search_and_the_list_show_only_what_is_not_past_its_lifetime(
    place: Path | str, make_turn: MakeTurn
) -> None:
    """Also before it is removed; a title that a person gave stays."""
    now = time.time()
    async with opened(place, turns=LONG) as history:
        old, young = make_turn("the ferry", at=now - 2 * LONG), make_turn("a ferry", at=now)
        for turn in (old, young):
            await history.save("c1", turn)
        found = (await history.search("ferry")).found
        assert [(one.id, one.title) for one in found] == [(young.id, "")]
        assert [line.title for line in await history.conversations()] == [""]
        await history.rename("c1", "boats")
        assert [one.title for one in (await history.search("ferry")).found] == ["boats"]
        assert [line.title for line in await history.conversations()] == ["boats"]
    async with opened(place, history.tenant) as history:
        assert len((await history.search("ferry")).found) == 2


async def test_what_completes_a_turn_gives_the_conversation_its_lifetime_and_captions_theirs(
    place: Path | str, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """As a turn that is saved: every key ends, and the caption is stored apart."""
    async with opened(place) as history:
        open_ = replace(make_turn("how tall?", at=time.time()), answer=Message())
        await history.save("c1", open_)
    async with opened(place, history.tenant, captions=LONG, turns=2 * LONG) as history:
        ref, blobs = make_picture(1)
        whole = replace(open_, answer=Message("34", (1,)))
        await history.complete("c1", open_, whole, (replace(ref, caption="tower"),), blobs)
        assert [p.caption for p in (await history.load("c1")).pictures] == ["tower"]
        client: Any = history._link.client
        for part in ("turns", "meta", "pictures"):
            assert await client.ttl(conversation_key(history.tenant, "c1", part)) > LONG
        assert 0 < await client.ttl(conversation_key(history.tenant, "c1", "captions")) <= LONG


async def test_a_conversation_that_nobody_goes_on_with_is_gone_whole(
    place: Path | str, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """Its keys, its pictures, its line in the list; what was begun since is there."""
    async with opened(place, turns=0.5) as history:
        ref, blobs = make_picture(1)
        turn = make_turn(pictures=(1,), at=time.time())
        await history.save("c1", turn, (ref,), blobs, idempotency_key="k")
        parts = ("turns", "pictures", "meta")
        keys = [conversation_key(history.tenant, "c1", part) for part in parts]
        await until_gone(history, *keys, picture_key(history.tenant, ref.sha256, "holders"))
        assert (await history.load("c1")).notices == ()
        await history.save("c2", make_turn(at=time.time() + LONG))
        client: Any = history._link.client
        assert await client.zrange(index_key(history.tenant), 0, -1) == [b"c2"]
        again = make_turn(pictures=(1,), at=time.time() + LONG)
        stored = await history.save("c1", again, (ref,), blobs)
        assert stored.question.pictures == (1,)


async def test_a_lifetime_that_was_taken_back_ends_nothing_more(
    place: Path | str, make_turn: MakeTurn, make_picture: MakePicture
) -> None:
    """The next turn of a conversation is kept by the settings of then, and so is a picture."""
    ref, blobs = make_picture(1)
    async with opened(place, turns=LONG) as history:
        await history.save("c1", make_turn(pictures=(1,), at=time.time()), (ref,), blobs)
    async with opened(place, history.tenant) as history:
        await history.save("c1", make_turn(pictures=(2,)), (replace(ref, number=2),), blobs)
        client: Any = history._link.client
        for key in await client.keys(f"bifocal:?:?{history.tenant}*"):
            assert await client.ttl(key) == -1


@pytest.fixture
def soaking() -> ModuleType:
    """The script that soaks."""
    path = Path(__file__).parents[1] / "benchmarks" / "soak_memory.py"
    spec = importlib.util.spec_from_file_location("soak_memory", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak_memory"] = module
    spec.loader.exec_module(module)
    return module


async def test_what_is_kept_is_bounded_by_the_lifetimes(
    soaking: ModuleType, tmp_path: Path
) -> None:
    """A short soak by the script of the long one: old conversations and pictures are gone."""
    done = await soaking.soak(tmp_path, turns=500, rate=150, ttl=0.5)
    assert done.growth < 1.5
    assert done.left == 1
    assert done.listed <= done.begun
