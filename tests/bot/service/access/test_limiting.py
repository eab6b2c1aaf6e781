"""Rates and budgets, counted on real Redis servers by one process and by several."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from bot.errors import AccessError
from bot.service.access.limiting import Limiter, read_rate
from bot.service.access.rights import OPEN, Access
from bot.service.stores.shared_redis import SharedRedis
from memory.embedded import EmbeddedRedis
from memory.errors import HistoryUnavailable

ROOT = Path(__file__).parents[4]

HITS = """
import asyncio, sys
from bot.service.access.rights import Access
from bot.service.access.limiting import Limiter
from bot.service.stores.shared_redis import SharedRedis

async def main(url, which):
    access = Access("abcd1234", "phone", "default", frozenset(), frozenset(), "50/day", 50)
    async with await SharedRedis.open(url) as redis:
        limiter = Limiter(redis)
        print("ready", flush=True)
        sys.stdin.readline()
        hit = limiter.hit_request if which == "rate" else limiter.hit_turn
        seen = await asyncio.gather(*(hit(access) for _ in range(40)))
        print(sum(verdict.allowed for verdict in seen))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis.open(tmp_path_factory.mktemp("redis")) as opened:
        yield opened


@pytest.fixture
def raw(server: EmbeddedRedis) -> Iterator[Any]:
    """A plain client of the server, which is emptied first."""
    with Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
async def redis(server: EmbeddedRedis, raw: Any) -> AsyncIterator[SharedRedis]:
    async with await SharedRedis.open(server.url) as opened:
        yield opened


def key(name: str = "abcd1234", rate: str = "", turns: int | None = None) -> Access:
    return Access(name, "phone", "default", frozenset(), frozenset(), rate, turns)


async def test_a_rate_allows_so_many_requests_and_says_what_is_left(redis: SharedRedis) -> None:
    """Each verdict tells the limit, the rest, and when there is more; other keys are unharmed."""
    limiter = Limiter(redis)
    seen = [await limiter.hit_request(key(rate="3/hour")) for _ in range(5)]
    assert [v.allowed for v in seen] == [True, True, True, False, False]
    assert [v.remaining for v in seen] == [2, 1, 0, 0, 0]
    assert {(v.limit, v.which) for v in seen} == {(3, "rate")}
    assert all(1 <= v.reset_seconds <= 3600 for v in seen)
    assert (await limiter.hit_request(key("other123", rate="3/hour"))).allowed


async def test_a_request_that_is_worth_more_counts_for_more(redis: SharedRedis) -> None:
    """What is refused is not counted: a smaller one still finds its place."""
    limiter, access = Limiter(redis), key(rate="10/day")
    seen = [(await limiter.hit_request(access, cost=cost)).allowed for cost in (8, 3, 2, 1)]
    assert seen == [True, False, True, False]


async def test_a_rate_allows_again_when_its_time_has_passed(redis: SharedRedis) -> None:
    """After a refusal it is asked again and again; it ends when one is allowed."""
    limiter, access = Limiter(redis), key(rate="2/second")
    while (await limiter.hit_request(access)).allowed:
        pass
    while not (await limiter.hit_request(access)).allowed:  # noqa: ASYNC110 - Redis' clock
        await asyncio.sleep(0.05)


async def test_a_budget_allows_so_many_turns_in_a_day(redis: SharedRedis, raw: Any) -> None:
    """Beside the rate and counted apart; refused turns do not make the day longer."""
    limiter, access = Limiter(redis), key(rate="1/day", turns=2)
    assert (await limiter.hit_request(access)).allowed
    seen = [await limiter.hit_turn(access) for _ in range(4)]
    assert [v.allowed for v in seen] == [True, True, False, False]
    assert [v.remaining for v in seen] == [1, 0, 0, 0]
    assert {(v.limit, v.which) for v in seen} == {(2, "turns")}
    assert all(1 <= v.reset_seconds <= 86_400 for v in seen)
    (counter,) = raw.keys("bifocal:limits:*turns*")
    raw.expire(counter, 10)
    refused = await limiter.hit_turn(access)
    assert not refused.allowed
    assert 1 <= refused.reset_seconds <= 10
    raw.delete(counter)  # the day is over
    assert (await limiter.hit_turn(access)).allowed


async def test_a_key_without_limits_of_its_own_has_the_services(redis: SharedRedis) -> None:
    """And one with its own has these, be they larger or smaller."""
    limiter = Limiter(redis, rate="1/day", turns_per_day=1)
    for access, allowed in ((key("plain123"), 1), (key("own12345", "2/day", 2), 2)):
        for hit in (limiter.hit_request, limiter.hit_turn):
            assert [(await hit(access)).allowed for _ in range(3)].count(True) == allowed


async def test_without_a_budget_turns_are_not_counted(redis: SharedRedis, raw: Any) -> None:
    """Nor is anything where there are no keys."""
    limiter = Limiter(redis, rate="1/day")
    for _ in range(3):
        verdict = await limiter.hit_turn(key())
        assert (verdict.allowed, verdict.limit, verdict.which) == (True, None, "turns")
        assert (await limiter.hit_request(OPEN)).allowed
        assert (await limiter.hit_turn(OPEN)).allowed
    assert raw.keys("*") == []


@pytest.mark.parametrize("which", ["rate", "turns"])
def test_two_processes_agree(server: EmbeddedRedis, raw: Any, which: str) -> None:
    """Of 80 that two of them ask for at once, exactly the 50 of the limit are allowed."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HITS, server.url, which],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        allowed = [int(process.communicate(timeout=120)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sum(allowed) == 50


async def test_without_redis_nothing_is_allowed_unseen(tmp_path: Path) -> None:
    """The error passes through; it is neither a yes nor a no."""
    with EmbeddedRedis.open(tmp_path / "redis") as server:
        redis = await SharedRedis.open(server.url)
        limiter = Limiter(redis)
        assert (await limiter.hit_request(key(turns=5))).allowed
        with Redis.from_url(server.url) as raw:
            raw.shutdown(nosave=True)
        with pytest.raises(HistoryUnavailable):
            await limiter.hit_request(key(turns=5))
        with pytest.raises(HistoryUnavailable):
            await limiter.hit_turn(key(turns=5))
        await redis.aclose()


async def test_nothing_stays_in_redis_for_ever(redis: SharedRedis, raw: Any) -> None:
    """Every counter has an end."""
    limiter = Limiter(redis)
    await limiter.hit_request(key(rate="3/hour", turns=3))
    await limiter.hit_turn(key(rate="3/hour", turns=3))
    keys = raw.keys("*")
    assert len(keys) == 2
    assert all(raw.ttl(name) > 0 for name in keys)


@pytest.mark.parametrize(
    ("rate", "amount", "seconds"),
    [
        ("60/minute", 60, 60),
        ("5 per 10 seconds", 5, 10),
        ("1/day", 1, 86_400),
        ("2/2hour", 2, 7200),
    ],
)
def test_a_rate_is_an_amount_and_a_time(rate: str, amount: int, seconds: int) -> None:
    """In the notation of the ``limits`` library."""
    item = read_rate(rate)
    assert (item.amount, item.get_expiry()) == (amount, seconds)


@pytest.mark.parametrize(
    "rate",
    [
        *(
            "",
            "lots",
            "60",
            "/minute",
            "60/",
            "60/fortnight",
            "-1/minute",
            "1.5/minute",
            "0/minute",
        ),
        *("1/second; 5/minute", "1/second,5/minute", "9999999999/minute", "1/400day", "1/2year"),
        *(
            "1" * 1_000_000 + "/minute",
            "1/minute " * 100,
            "1/minute" + " " * 33,
            "٣/minuté",
            "60/minute\x00",
            "60//minute",
        ),
    ],
)
def test_a_rate_that_is_none_is_refused_in_one_short_line(rate: str) -> None:
    """Wherever it comes from; two in one are refused, not read by half."""
    with pytest.raises(AccessError, match="rate") as caught:
        read_rate(rate)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


async def test_a_services_own_rate_is_checked_when_it_begins(redis: SharedRedis) -> None:
    """Not at the first request."""
    with pytest.raises(AccessError, match="'often'"):
        Limiter(redis, rate="often")


async def test_the_rights_that_the_page_names_are_enough_and_needed(
    server: EmbeddedRedis, raw: Any
) -> None:
    """A user of Redis with docs/access.md's two rights more than docs/redis.md's may do it all."""
    said = (ROOT / "docs" / "redis.md").read_text("utf-8")
    found = re.search(r"ACL SETUSER bifocal on >PASSWORD (.+?)\n```", said, re.DOTALL)
    assert found is not None
    rights = [word for word in found[1].split() if not word.startswith("+cluster")]
    more = re.search(r"`(\+evalsha .+?)`", (ROOT / "docs" / "access.md").read_text("utf-8"))
    assert more is not None
    raw.execute_command("ACL", "SETUSER", "most", "on", ">pw", *rights)
    raw.execute_command("ACL", "SETUSER", "all", "on", ">pw", *rights, *more[1].split())
    raw.script_flush()
    for user in ("most", "all"):
        url = server.url.replace("unix://", f"unix://{user}:pw@")
        async with await SharedRedis.open(url) as redis:
            limiter = Limiter(redis)
            if user == "most":
                with pytest.raises(HistoryUnavailable, match="does not let this user"):
                    await limiter.hit_request(key())
            else:
                assert (await limiter.hit_request(key(turns=1))).allowed
                assert (await limiter.hit_turn(key(turns=1))).allowed
