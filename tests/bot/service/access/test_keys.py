"""API keys on real Redis servers: what they open, when they end, and that nobody is told them."""

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import random
import signal
import string
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest
from redis import Redis

from bot.errors import AccessError
from bot.service.access.keys import KEYS, MEMORY, MOST, NOTED, USED, KeyStore, Record
from bot.service.access.limiting import Limiter
from bot.service.stores.shared_redis import SharedRedis
from memory.embedded import EmbeddedRedis
from memory.errors import HistoryUnavailable

LETTERS = string.ascii_letters + string.digits + "_-"


class Clock:
    """A clock that a test moves: monotonic when called, and the time of day."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def now(self) -> float:
        return 1.8e9 + self.at


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that stays up for all tests."""
    with EmbeddedRedis.open(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def raw(url: str) -> Iterator[Any]:
    """A plain client of that server, which is emptied first."""
    with Redis.from_url(url) as client:
        client.flushall()
        client.config_resetstat()
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def redis(url: str, raw: Any) -> AsyncIterator[SharedRedis]:
    async with await SharedRedis.open(url) as opened:
        yield opened


@pytest.fixture
async def store(redis: SharedRedis, clock: Clock) -> AsyncIterator[KeyStore]:
    opened = KeyStore(redis, clock, clock.now)
    yield opened
    await opened.aclose()


@pytest.fixture(scope="module")
def starters() -> ModuleType:
    """The module that starts servers, clusters and Sentinels for the tests of memory/."""
    path = Path(__file__).parents[3] / "memory" / "conftest.py"
    spec = importlib.util.spec_from_file_location("redis_starters", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["redis_starters"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def servers(starters: ModuleType, tmp_path: Path) -> Iterator[Any]:
    started = starters.Servers(tmp_path)
    yield started
    started.close()


def looked_up(raw: Any) -> int:
    """Return how often a record was asked for since the test began."""
    return int(raw.info("commandstats").get("cmdstat_hget", {"calls": 0})["calls"])


def guess(key_id: str) -> str:
    return f"bf_{key_id}_{''.join(random.choices(LETTERS, k=43))}"


async def test_a_key_opens_what_it_was_made_for(store: KeyStore) -> None:
    """Tenant, libraries, rate and budget come back whole, from Redis and then from memory."""
    access, token = await store.add(
        "press", tenant="news", read=["archive"], write=["today"], rate="9/hour", turns_per_day=7
    )
    assert len(token) == 55
    assert token.startswith(f"bf_{access.key_id}_")
    assert (access.name, access.tenant, access.rate, access.turns_per_day) == (
        *("press", "news", "9/hour", 7),
    )
    assert access.may_read("archive")
    assert not access.may_write("archive")
    assert access.may_write("today")
    assert await store.check(token) == access
    assert await store.check(token) == access


async def test_no_two_keys_are_alike(store: KeyStore) -> None:
    """Ids and secrets differ, and each opens its own tenant alone."""
    made = [await store.add(f"k{n}", tenant=f"t{n}") for n in range(30)]
    assert len({access.key_id for access, _ in made}) == 30
    assert len({token[12:] for _, token in made}) == 30
    for access, token in made:
        assert await store.check(token) == access


async def test_a_thousand_malformed_keys_cost_no_call_of_redis(store: KeyStore, raw: Any) -> None:
    """Whatever comes in place of a key is refused; Redis is asked about well-formed ones only."""
    _, token = await store.add("phone", read=["*"])
    rng = random.Random(7)
    odd = " \n\t\x00+/=.!*'\"{}:é٣ａ\u202e\ud800"
    for _ in range(1000):
        place = rng.randrange(len(token))
        bad = rng.choice(
            [
                token[:place],
                token[:place] + rng.choice(odd) + token[place + 1 :],
                token[:place] + rng.choice(LETTERS) + token[place:],
                "".join(rng.choices(string.printable, k=rng.randrange(200))),
                rng.choice(["BF_", "bf-", "sk_", "bf "]) + token[3:],
                token[:3] + token[3:11].upper().replace(token[3], "Z", 1) + token[11:],
                token[:11] + "-" + token[12:],
                rng.choice(["Bearer ", " ", "\n"]) + token,
                token + rng.choice(["\n", " ", "=", "\x00"]),
                rng.choice([token, "bf_"]) * rng.choice([2, 1000]),
            ]
        )
        assert await store.check(bad) is None
    assert looked_up(raw) == 0
    assert await store.check(token)
    assert looked_up(raw) == 1


async def test_a_key_with_any_one_character_changed_opens_nothing(store: KeyStore) -> None:
    """Each of the 55 places counts, the last one with its idle bits too."""
    _, token = await store.add("phone", read=["*"])
    for place, was in enumerate(token):
        for char in random.Random(place).sample(LETTERS, 5):
            if char != was:
                assert await store.check(token[:place] + char + token[place + 1 :]) is None
    assert await store.check(token)


async def count_work(store: KeyStore, token: str) -> Counter[str]:
    """Return how often a check hashes, compares, reads a record and asks Redis."""
    counted: Counter[str] = Counter()
    watched = {"openssl_sha256", "compare_digest", "validate_json"}

    def see(frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call" and (name := getattr(arg, "__name__", "")) in watched:
            counted[name] += 1
        elif event == "call" and frame.f_code.co_name == "hget":
            counted["hget"] += 1

    sys.setprofile(see)
    try:
        await store.check(token)
    finally:
        sys.setprofile(None)
    return counted


async def test_an_unknown_id_costs_the_same_work_as_a_wrong_secret(
    store: KeyStore, clock: Clock
) -> None:
    """The same number of hashes, comparisons, records read and calls, counted as they are made."""
    access, token = await store.add("phone", read=["*"])
    _, past = await store.add("past", expires=clock.now() - 1)
    expected = {"openssl_sha256": 1, "compare_digest": 1, "validate_json": 1, "hget": 1}
    assert await count_work(store, token) == expected
    assert await count_work(store, guess(access.key_id)) == expected
    assert await count_work(store, guess("zzzzzzzz")) == expected
    assert await count_work(store, past) == expected


async def test_a_revoked_key_ends_here_at_once_and_elsewhere_within_five_seconds(
    store: KeyStore, url: str, clock: Clock
) -> None:
    """Another process remembers what it was told for five seconds, and no longer."""
    access, token = await store.add("phone", read=["*"])
    async with await SharedRedis.open(url) as redis:
        elsewhere = KeyStore(redis, clock, clock.now)
        assert await elsewhere.check(token) == access
        assert await store.check(token) == access
        gone = await store.revoke("phone")
        assert gone.key_id == access.key_id
        assert await store.check(token) is None
        clock.at += MEMORY - 0.01
        assert await elsewhere.check(token) == access
        clock.at += 0.01
        assert await elsewhere.check(token) is None
        await elsewhere.aclose()
    assert await store.list() == []


async def test_the_five_seconds_count_from_the_question_not_from_the_answer(
    store: KeyStore, url: str, clock: Clock
) -> None:
    """A Redis that takes long to answer gives a revoked key no time beyond that."""

    class Slow(SharedRedis):
        async def read(self, work: Callable[[Any], Any]) -> Any:
            answer = await super().read(work)
            clock.at += 4
            return answer

    async with await Slow.open(url) as redis:
        elsewhere = KeyStore(redis, clock, clock.now)
        _, token = await store.add("phone")
        begun = clock.at
        assert await elsewhere.check(token)
        await store.revoke("phone")
        clock.at = begun + 4.9
        assert await elsewhere.check(token)
        clock.at = begun + 5
        assert await elsewhere.check(token) is None
        await elsewhere.aclose()


async def test_a_check_under_way_does_not_bring_back_a_key_that_is_revoked_meanwhile(
    url: str, raw: Any
) -> None:
    """Its answer left Redis before the key did, and comes after."""
    revoked = asyncio.Event()

    class Late(SharedRedis):
        async def read(self, work: Callable[[Any], Any]) -> Any:
            answer = await super().read(work)
            if isinstance(answer, bytes):
                await revoked.wait()
            return answer

    async with await Late.open(url) as redis:
        store = KeyStore(redis)
        _, token = await store.add("phone")
        checking = asyncio.create_task(store.check(token))
        while not looked_up(raw):  # noqa: ASYNC110 - what the server counts
            await asyncio.sleep(0.01)
        await store.revoke("phone")
        revoked.set()
        assert await checking is None
        assert await store.check(token) is None
        await store.aclose()


async def test_an_answer_is_remembered_and_redis_is_asked_once(
    store: KeyStore, raw: Any, clock: Clock
) -> None:
    """Good and bad ones alike, until five seconds have passed."""
    access, token = await store.add("phone")
    wrong = guess(access.key_id)
    for _ in range(50):
        assert await store.check(token)
        assert await store.check(wrong) is None
    assert looked_up(raw) == 2
    clock.at += MEMORY
    assert await store.check(token)
    assert await store.check(wrong) is None
    assert looked_up(raw) == 4


async def test_guesses_fill_no_memory_and_displace_no_good_key(store: KeyStore, raw: Any) -> None:
    """However many are tried, a thousand are remembered, and good ones are not asked for again."""
    _, token = await store.add("phone")
    assert await store.check(token)
    for _ in range(MOST + 200):
        assert await store.check(guess("zzzzzzzz")) is None
    assert len(store._bad) == MOST
    assert await store.check(token)
    assert looked_up(raw) == MOST + 201


async def test_a_key_ends_when_it_expires_though_it_is_remembered(
    store: KeyStore, clock: Clock
) -> None:
    """To the second, and for good; the list still shows it."""
    _, token = await store.add("phone", expires=clock.now() + 2)
    assert await store.check(token)
    clock.at += 1.9
    assert await store.check(token)
    clock.at += 0.1
    assert await store.check(token) is None
    clock.at += 100
    assert await store.check(token) is None
    (listed,) = await store.list()
    assert listed.expires == 1.8e9 + 1002


@pytest.mark.parametrize(
    "change",
    [
        lambda record: b"",
        lambda record: b"\xff\xfe",
        lambda record: b"[]",
        lambda record: b"null",
        lambda record: json.dumps(record)[:-5],
        lambda record: json.dumps(record | {"v": 2}),
        lambda record: json.dumps(record | {"more": 1}),
        lambda record: json.dumps(record | {"sha256": None}),
        lambda record: json.dumps(record | {"sha256": ""}),
        lambda record: json.dumps(record | {"expires": "never"}),
        lambda record: json.dumps(record).replace('"created": ', '"created": 1e999, "was": '),
        lambda record: json.dumps({k: v for k, v in record.items() if k != "created"}),
        lambda record: json.dumps(record | {"access": None}),
        lambda record: json.dumps(record | {"access": record["access"] | {"tenant": "../x"}}),
        lambda record: json.dumps(record | {"access": record["access"] | {"write": "*"}}),
        lambda record: json.dumps(record | {"access": record["access"] | {"read": ["A B"]}}),
        lambda record: json.dumps(record | {"access": record["access"] | {"rate": "lots"}}),
        lambda record: json.dumps(record | {"access": record["access"] | {"turns_per_day": 0}}),
        lambda record: json.dumps(record | {"access": record["access"] | {"key_id": "zzzzzzzz"}}),
    ],
)
async def test_a_damaged_record_opens_nothing_and_is_named_once(
    store: KeyStore, raw: Any, change: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Its id stands in the log and in the list; revoking by id removes it; others are unharmed."""
    access, token = await store.add("phone", read=["*"])
    _, other = await store.add("laptop")
    raw.hset(KEYS, access.key_id, change(json.loads(raw.hget(KEYS, access.key_id))))
    assert await store.check(token) is None
    assert await store.check(guess(access.key_id)) is None
    told = [line for line in caplog.messages if "damaged" in line]
    assert len(told) == 1
    assert access.key_id in told[0]
    assert [key.access is None for key in await store.list()] == [False, True]
    await store.add("tablet")
    assert await store.check(other)
    assert (await store.revoke(access.key_id)).access is None
    assert len(await store.list()) == 2


async def test_a_record_put_under_another_id_opens_nothing(store: KeyStore, raw: Any) -> None:
    """Neither for the one key nor for the other."""
    one, first = await store.add("one", tenant="a")
    two, second = await store.add("two", tenant="b")
    raw.hset(KEYS, two.key_id, raw.hget(KEYS, one.key_id))
    assert await store.check(second) is None
    assert await store.check(first) == one


async def test_a_key_is_told_to_nobody_but_who_made_it(
    store: KeyStore, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the key nor its hash is in a log at DEBUG, a repr, an error or a list; the key is
    not in Redis either."""
    caplog.set_level(logging.DEBUG)
    access, token = await store.add("phone", read=["*"])
    await store.check(token)
    wrong = guess(access.key_id)
    await store.check(wrong)
    await store.check(token[:-1] + "!")
    listed = await store.list()
    record = Record.model_validate_json(raw.hget(KEYS, access.key_id))
    other, damaged = await store.add("laptop")
    raw.hset(KEYS, other.key_id, "{")
    await store.check(damaged)
    shown = repr((access, listed, store, record, store.__dict__))
    with pytest.raises(AccessError) as taken:
        await store.add("phone")
    with pytest.raises(AccessError) as unknown:
        await store.revoke(token + "x")
    await store.revoke("phone")
    await store.check(token)
    await store.aclose()
    assert "damaged" in caplog.text
    for secret in (token, token[12:], wrong, wrong[12:], damaged[12:]):
        assert secret not in caplog.text + shown + str(taken.value)
        assert secret not in str(unknown.value)
    assert record.sha256 not in caplog.text + repr((access, listed, record))
    stored = str([raw.hgetall(key) for key in raw.keys("*")])
    assert token[12:] not in stored


async def test_a_name_is_taken_once_however_many_ask_at_once(store: KeyStore, url: str) -> None:
    """Of ten that add the same name one succeeds; ten of other names all do."""
    async with await SharedRedis.open(url) as redis:
        stores = [store, KeyStore(redis)]
        same = await asyncio.gather(
            *(stores[n % 2].add("phone") for n in range(10)), return_exceptions=True
        )
        made = [result for result in same if isinstance(result, tuple)]
        assert len(made) == 1
        for result in same:
            if not isinstance(result, tuple):
                assert isinstance(result, AccessError)
                assert "'phone': the name is taken" in str(result)
        await asyncio.gather(*(stores[n % 2].add(f"k{n}") for n in range(10)))
    assert len(await store.list()) == 11


async def test_a_key_that_leaked_can_be_revoked_by_itself(store: KeyStore) -> None:
    """Whoever holds nothing but the key need not look for its name."""
    _, token = await store.add("phone")
    await store.revoke(token)
    assert await store.check(token) is None
    with pytest.raises(AccessError) as caught:
        await store.revoke(token)
    assert token[12:] not in str(caught.value)


async def test_a_name_is_never_another_keys_id(store: KeyStore) -> None:
    """So revoking by name or id means one key."""
    access, _ = await store.add("phone")
    with pytest.raises(AccessError, match="taken"):
        await store.add(access.key_id)
    with pytest.raises(AccessError, match=r"'nobody': .* bifocal keys list"):
        await store.revoke("nobody")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "A"}, "key 'A'"),
        ({"tenant": "a/b"}, "tenant 'a/b'"),
        ({"read": ["x", "a b"]}, "library 'a b'"),
        ({"write": [""]}, "library ''"),
        ({"rate": "lots"}, "rate 'lots'"),
        ({"turns_per_day": 0}, "turns per day 0"),
    ],
)
async def test_what_cannot_be_used_is_refused_and_nothing_is_stored(
    store: KeyStore, raw: Any, values: dict[str, Any], said: str
) -> None:
    """The error names the value."""
    with pytest.raises(AccessError, match=said):
        await store.add(**{"name": "phone", **values})
    assert raw.keys("*") == []


async def test_the_day_of_the_last_use_is_noted_once_an_hour(
    store: KeyStore, raw: Any, clock: Clock
) -> None:
    """Beside the request, not in it; a revoked key leaves nothing behind."""
    access, token = await store.add("phone")
    assert (await store.list())[0].last_used is None
    for _ in range(20):
        await store.check(token)
    await store.aclose()
    writes = raw.info("commandstats")["cmdstat_hset"]["calls"]
    assert writes == 2  # the key itself, and one note
    day = datetime.fromtimestamp(clock.now(), UTC).date().isoformat()
    assert (await store.list())[0].last_used == day
    clock.at += max(NOTED, 86_400)
    await store.check(token)
    await store.aclose()
    assert (await store.list())[0].last_used == raw.hget(USED, access.key_id).decode() != day
    await store.revoke("phone")
    assert raw.keys("*") == []


async def test_without_redis_nobody_is_let_in_and_the_error_passes_through(
    servers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A key is unknown only if Redis said so: that it could not be asked is another thing."""
    port = servers.start()
    clock = Clock()
    async with await SharedRedis.open(f"redis://127.0.0.1:{port}/0") as redis:
        store = KeyStore(redis, clock)
        _, token = await store.add("phone")
        assert await store.check(token)
        servers.kill(port)
        assert await store.check(token)  # remembered
        clock.at += MEMORY
        for _ in range(2):
            with pytest.raises(HistoryUnavailable):
                await store.check(token)
        for work in (store.list(), store.add("other"), store.revoke("phone")):
            with pytest.raises(HistoryUnavailable):
                await work
        assert await store.check("nonsense") is None
        await store.aclose()
    assert token not in caplog.text


async def test_an_embedded_server_that_died_is_started_again_and_knows_its_keys(
    tmp_path: Path,
) -> None:
    """The check that finds it dead is answered all the same."""
    async with await SharedRedis.open(folder=tmp_path / "redis", fsync="always") as redis:
        clock = Clock()
        store = KeyStore(redis, clock)
        access, token = await store.add("phone")
        pid = (await redis.read(lambda client: client.info("server")))["process_id"]
        os.kill(pid, signal.SIGKILL)
        assert await store.check(token) == access
        await store.aclose()


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
async def test_keys_and_limits_work_on_a_cluster_and_behind_sentinels(
    starters: ModuleType, servers: Any, kind: str
) -> None:
    """The same client as that of the conversations, so every address that they take."""
    if kind == "cluster":
        url = f"redis+cluster://127.0.0.1:{starters.start_cluster(servers)[0]}"
    else:
        url = starters.start_sentinel(servers).url
    async with await SharedRedis.open(url) as redis, contextlib.AsyncExitStack() as stack:
        store, limiter = KeyStore(redis), Limiter(redis)
        stack.push_async_callback(store.aclose)
        made = [
            await store.add(f"k{n}", rate="2/day", turns_per_day=1, read=["*"]) for n in range(8)
        ]
        for access, token in made:  # on several nodes
            assert await store.check(token) == access
            verdicts = [await limiter.hit_request(access) for _ in range(3)]
            assert [v.allowed for v in verdicts] == [True, True, False]
            assert [(await limiter.hit_turn(access)).allowed for _ in range(2)] == [True, False]
        await store.revoke("k3")
        assert len(await store.list()) == 7
        assert await store.check(made[3][1]) is None
